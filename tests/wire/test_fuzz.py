"""Damaged bytes: a ProtocolError or a valid parse, and nothing else."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import ProtocolError
from penstock.model import UNCHANGED, Change, Raw
from penstock.sources.postgres.wire import LogDecoder, RelationFacts
from penstock.sources.postgres.wire.copytext import read_copy_row
from tests.wire.payloads import (
    INT8,
    JSONB,
    ORDERS,
    ORDERS_COLUMNS,
    begin,
    commit,
    decoder,
    delete,
    insert,
    keepalive,
    message,
    orders,
    origin,
    relation,
    truncate,
    type_,
    update,
)

STREAM = [
    begin(0x100),
    type_(90, "mood"),
    relation(ORDERS, "orders", ORDERS_COLUMNS),
    relation(ORDERS + 1, "lines", (("id", INT8), ("data", JSONB)), identity="f"),
    insert(ORDERS, b"1", b"new", None),
    insert(ORDERS + 1, b"1", b'{"a": 1}'),
    update(ORDERS, b"1", b"paid", UNCHANGED),
    update(ORDERS, b"2", b"paid", UNCHANGED, key=[b"1", None, None]),
    update(ORDERS + 1, b"2", UNCHANGED, old=[b"1", b"{}"]),
    delete(ORDERS, key=[b"2", None, None]),
    delete(ORDERS + 1, old=[b"2", b"{}"]),
    truncate(ORDERS, ORDERS + 1, flags=1),
    message("audit", b"who"),
    origin(),
    commit(0x100),
    keepalive(0x200),
    message("beat", b"", lsn=0x210, transactional=False),
]


def read(source: LogDecoder, payloads: list[bytes]) -> None:
    """Feed all, describing whatever relation the damage made up."""
    batches = source.feed(payloads)
    while source.needs is not None:
        source.describe(RelationFacts("0/1"))
        batches += source.feed([])
    for batch in batches:
        for event in batch:
            if isinstance(event, Change):
                assert event.mark.transaction == event.origin.mark
                assert event.transaction is None or event.transaction.committed_at.year > 0


def test_the_stream_itself_is_sound() -> None:
    source = decoder(messages=None)
    read(source, STREAM)
    assert not source.in_transaction


@pytest.mark.parametrize("number", range(len(STREAM)))
def test_a_payload_cut_anywhere_is_an_error(number: int) -> None:
    payload = STREAM[number]
    for length in range(len(payload)):
        with pytest.raises(ProtocolError):
            read(decoder(messages=None), [*STREAM[:number], payload[:length]])


@pytest.mark.parametrize("number", range(len(STREAM)))
def test_a_byte_changed_anywhere_is_an_error_or_sound(number: int) -> None:
    payload = STREAM[number]
    for at in range(len(payload)):
        for value in {0, 1, 0x7F, 0xFF, payload[at] ^ 1, payload[at] ^ 0x80}:
            damaged = payload[:at] + bytes([value]) + payload[at + 1 :]
            with suppress(ProtocolError):
                read(decoder(messages=None), [*STREAM[:number], damaged, *STREAM[number + 1 :]])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=80), max_size=4), st.booleans())
def test_any_bytes_at_all(garbage: list[bytes], framed: bool) -> None:
    source = orders(messages=None)
    source.feed([begin(0x100)])
    with suppress(ProtocolError):
        read(source, [b"w" + bytes(24) + g if framed else g for g in garbage])


raws: st.SearchStrategy[Raw] = st.one_of(
    st.none(), st.just(UNCHANGED), st.binary(max_size=40), st.binary(min_size=1000, max_size=1100)
)


@settings(deadline=None)
@given(st.tuples(raws, raws, raws), st.data())
def test_damaged_rows_and_sound_ones(values: tuple[Raw, Raw, Raw], data: st.DataObject) -> None:
    payload = insert(ORDERS, *values)
    (batch,) = orders().feed([begin(0x100), payload, commit(0x100)])
    change = list(batch)[1]
    assert isinstance(change, Change)
    assert change.values_after == list(values)
    at = data.draw(st.integers(0, len(payload) - 1))
    damaged = data.draw(st.binary(max_size=6))
    with suppress(ProtocolError):
        orders().feed([begin(0x100), payload[:at] + damaged + payload[at + len(damaged) :]])


@pytest.mark.parametrize(
    "payload",
    [
        b"w" + bytes(24) + b"T\xff\xff\xff\xff\0" + bytes(8),
        b"w" + bytes(24) + b"M\0" + bytes(8) + b"p\0\xff\xff\xff\xff",
        b"w" + bytes(24) + b"R" + bytes(4) + b"s\0n\0d\xff\xff",
        b"w" + bytes(24) + b"I" + ORDERS.to_bytes(4, "big") + b"N\0\x03t\xff\xff\xff\xff",
    ],
    ids=["truncate", "message", "relation", "row"],
)
def test_no_memory_is_taken_for_an_announced_length(payload: bytes) -> None:
    source = orders(messages=None)
    source.feed([begin(0x100)])
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            source.feed([payload])
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=60), st.integers(0, 4))
def test_copied_rows_of_any_bytes(line: bytes, arity: int) -> None:
    with suppress(ProtocolError):
        assert len(read_copy_row(line, arity)) == arity
