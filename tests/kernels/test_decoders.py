"""The native decoder makes of any stream what the Python one makes of it: batches or an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import SchemaError
from penstock.model import Table
from penstock.sources.postgres.wire import Decoder, LogDecoder, Relation, RelationFacts
from penstock.sources.postgres.wire.messages import EPOCH_US
from penstock.sources.postgres.wire.native import NativeDecoder
from penstock.sources.postgres.wire.relations import make_table
from tests.kernels.comparing import drive
from tests.kernels.streams import catalogs, damaged, feeds, relations, streams
from tests.wire.payloads import begin, commit, decoder, insert, keepalive, relation, truncate
from tests.wire.test_fuzz import STREAM
from tools.capture_wire import CAPTURED, load

STORED = sorted(CAPTURED.glob("*.bin.gz"))


def both(
    cut: Sequence[Sequence[bytes]], facts: Callable[[Relation], RelationFacts], **chosen: Any
) -> list[Any]:
    """What the Python decoder makes of it, once the native one has made the same."""
    made = []
    for kind in (Decoder, NativeDecoder):
        source: LogDecoder = kind(database="shop", system="7", timeline=1, **chosen)
        made.append(drive(source, cut, facts))
    python, native = made
    assert native == python
    return python


choices = st.fixed_dictionaries(
    {
        "messages": st.sampled_from([None, (), ("a", "")]),
        "wanted": st.sampled_from([None, lambda schema, name: name in ("orders", "a.b")]),
        "max_bytes": st.sampled_from([1 << 20, 1 << 20, 1, 150, 2000]),
    }
)


def remembered(
    payloads: Sequence[bytes], facts: Callable[[Relation], RelationFacts]
) -> list[Table]:
    """The tables as an earlier session may have known them."""
    known = []
    for shape in relations(payloads)[::2]:
        try:
            known.append(make_table(shape, facts(shape), None))
        except SchemaError:
            continue
    return known


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_sound_streams(data: st.DataObject) -> None:
    payloads, facts = data.draw(streams()), data.draw(catalogs())
    known = remembered(payloads, facts) if data.draw(st.booleans()) else []
    cut = data.draw(feeds(payloads))
    both(cut, facts, known=known, **data.draw(choices))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_streams(data: st.DataObject) -> None:
    payloads = data.draw(damaged())
    both(data.draw(feeds(payloads)), data.draw(catalogs()), **data.draw(choices))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=4), st.booleans())
def test_any_bytes(garbage: list[bytes], framed: bool) -> None:
    head = [begin(0x100), *STREAM[1:4]]
    both([[*head, *(b"w" + bytes(24) + g if framed else g for g in garbage)]], no_facts)


def no_facts(relation: Relation) -> RelationFacts:
    return RelationFacts("0/1")


@pytest.mark.parametrize("number", range(len(STREAM)))
def test_a_payload_cut_at_every_byte(number: int) -> None:
    payload = STREAM[number]
    for length in range(len(payload)):
        made = both([[*STREAM[:number], payload[:length]]], no_facts, messages=None)
        assert isinstance(made[-1], tuple), "no error"


@pytest.mark.parametrize("number", range(len(STREAM)))
def test_a_byte_changed_anywhere(number: int) -> None:
    payload = STREAM[number]
    for at in range(len(payload)):
        for value in {0, 1, 0x7F, 0xFF, payload[at] ^ 1, payload[at] ^ 0x80} - {payload[at]}:
            changed = payload[:at] + bytes([value]) + payload[at + 1 :]
            both([[*STREAM[:number], changed, *STREAM[number + 1 :]]], no_facts, messages=None)


@pytest.mark.parametrize("max_bytes", [1, 700, 1 << 20])
@pytest.mark.parametrize("chunk", [1, 7, 100_000])
@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name.partition(".")[0])
def test_captured_streams(path: Any, chunk: int, max_bytes: int) -> None:
    captured = load(path)
    payloads = captured.payloads

    def facts(relation: Relation) -> RelationFacts:
        table = captured.tables[f"{relation.schema}.{relation.name}"]
        return RelationFacts("0/1", tuple(table.primary_key), tuple(table.identity_index))

    cut = [payloads[i : i + chunk] for i in range(0, len(payloads), chunk)]
    both(cut, facts, messages=None, max_bytes=max_bytes)


def test_texts_that_are_no_utf8() -> None:
    texts = [bytes([a, b]) for a in range(0x7F, 0x100) for b in (0x41, 0x80, 0xBF, 0xC0)]
    texts += [b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf0\x90", b"\xf4\x90\x80\x80", b"ok\xe2\x82"]
    for text in texts:
        shape = relation(1, "name", ()).replace(b"name", text)
        both([[begin(0x10), shape]], no_facts)


@pytest.mark.parametrize("moment", [-(2**63), 2**63 - 1, 253_402_300_800_000_000 - EPOCH_US])
def test_times_that_no_calendar_has(moment: int) -> None:
    stamp = moment.to_bytes(8, "big", signed=True)
    beginning = begin(0x10)
    made = both([[beginning[:34] + stamp + beginning[42:]]], no_facts)
    assert "no time stamp" in made[-1][1]
    alive = keepalive(0x10)
    both([[alive[:9] + stamp + alive[17:]]], no_facts)


def test_a_row_larger_than_a_batch() -> None:
    shape = relation(1, "orders", (("id", 20), ("note", 25)))
    rows = [insert(1, str(i).encode(), b"x" * size) for i, size in enumerate([5, 3 << 20, 5, 5])]
    made = both([[begin(0x10), shape, *rows, commit(0x10)]], no_facts)
    assert [batch["length"] for batch in made[2]] == [4, 3]


def test_what_is_no_event_counts_where_it_stands() -> None:
    """A truncate of no table at all has a size, which must not go with the batch before it."""
    shape, row = relation(1, "orders", (("id", 20),)), insert(1, b"1")
    first = [begin(0x10), shape, row, commit(0x10), begin(0x20), truncate()]
    made = both([first, [row, commit(0x20)]], no_facts)
    sizes = [batch["size"] for batches in made if isinstance(batches, list) for batch in batches]
    assert sizes == [len(row), len(truncate()) + len(row)]


def test_more_tables_than_are_kept_at_once() -> None:
    """What an open transaction still tells of is kept: here the shape that a table had before."""
    oids = range(1, 301)
    old = relations([relation(oid, f"t{oid}", (("id", 23),)) for oid in oids])
    known = [make_table(shape, no_facts(shape), None) for shape in old]
    new = [(relation(oid, f"t{oid}", (("id", 20),)), insert(oid, b"1")) for oid in oids]
    both([[begin(0x10), *chain(*new)], [commit(0x10)]], no_facts, known=known)


def test_the_tests_own_decoder_is_the_native_one() -> None:
    assert isinstance(decoder(), NativeDecoder)
