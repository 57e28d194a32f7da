"""Bytes that no server would write: refused with their place, never a crash."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import PenstockError, ProtocolError
from penstock.model import Change
from penstock.sources.mysql.wire.decoder import Decoder
from penstock.sources.mysql.wire.events import EventType
from penstock.sources.mysql.wire.jsonb import json_form, json_node, json_text
from penstock.sources.mysql.wire.jsondiff import apply_diffs
from penstock.sources.mysql.wire.reader import Reader
from penstock.sources.mysql.wire.tablemap import TableMap
from penstock.sources.mysql.wire.types import make_table
from tests.support.binlog import changes, decode, event, events, make_decoder
from tools.capture_binlog import BINLOGS, load
from tools.mysql import FLAVORS, Flavor

STREAMS: dict[Flavor, list[bytes]] = {
    flavor: list(events(*load(BINLOGS / f"{flavor}.gz").files)) for flavor in FLAVORS
}


def resealed(data: bytes) -> bytes:
    """An event whose length and checksum are right again."""
    body = bytearray(data[:-4])
    body[9:13] = (len(body) + 4).to_bytes(4, "little")
    return bytes(body) + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("flavor", FLAVORS)
@given(data=st.data())
def test_damaged_events_are_refused_or_decoded(flavor: Flavor, data: st.DataObject) -> None:
    stream = STREAMS[flavor]
    i = data.draw(st.integers(0, len(stream) - 1))
    begin = max(0, i - 12)
    damaged = bytearray(stream[i])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(4, len(damaged) - 5))
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 8))
    decoder = make_decoder(flavor, checksums=True)
    with suppress(PenstockError):
        for change in changes(decode(decoder, stream[begin:i])):
            read(change)
        damaged = damaged[: max(len(damaged) - cut, 23)]
        for change in changes(decode(decoder, [resealed(bytes(damaged)), *stream[i + 1 : i + 4]])):
            read(change)


def read(change: Change[object]) -> None:
    for row in (change.before, change.after, change.key):
        for name in row or ():
            with suppress(PenstockError):
                assert row is not None
                row[name]


@given(st.binary(max_size=200))
def test_hostile_json_is_refused_or_read(data: bytes) -> None:
    with suppress(ProtocolError):
        json_text(data)


def small_object(members: dict[str, str | int]) -> bytes:
    """A small binary JSON object, as the server lays it out."""
    keys = sorted((key.encode() for key in members), key=lambda key: (len(key), key))
    place = 4 + 7 * len(keys)
    entries, values, texts = b"", b"", b""
    for key in keys:
        entries += pack("<HH", place, len(key))
        place += len(key)
    for key in keys:
        value = members[key.decode()]
        if isinstance(value, int):
            values += pack("<Bh", 5, value)
        else:
            text = value.encode()
            values += pack("<BH", 12, place)
            texts += bytes((len(text),)) + text
            place += 1 + len(text)
    return b"\0" + pack("<HH", len(keys), place) + entries + values + b"".join(keys) + texts


def outcome(text_of: Callable[[bytes], bytes], data: bytes) -> bytes | str:
    try:
        return text_of(data)
    except ProtocolError as error:
        return error.message


@given(
    members=st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers(-99, 999)),
    damage=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3),
)
def test_both_ways_to_read_an_object_give_the_same(
    members: dict[str, str | int], damage: list[tuple[int, int]]
) -> None:
    data = bytearray(small_object(members))
    if not damage:
        shown = json.loads(json_text(bytes(data)))
        assert shown == members
    for place, value in damage:
        data[place % len(data)] = value
    raw = bytes(data)
    assert outcome(json_text, raw) == outcome(lambda raw: json_form(json_node(raw)), raw)


@given(st.binary(max_size=60), st.binary(max_size=60))
@example(before=b"\x04\0", diffs=b"\0\2\0\x80")
@example(before=b"\x04\0", diffs=b'\2\6$."\\x"')
def test_hostile_diffs_are_refused_or_applied(before: bytes, diffs: bytes) -> None:
    with suppress(ProtocolError):
        apply_diffs(before, diffs)


@given(st.binary(max_size=200))
def test_hostile_descriptions_are_refused_or_read(data: bytes) -> None:
    with suppress(PenstockError):
        make_table(TableMap.parse(Reader(data)))


@given(kind=st.integers(0, 255), body=st.binary(max_size=120))
def test_any_event_is_refused_or_read(kind: int, body: bytes) -> None:
    with suppress(PenstockError):
        decode(make_decoder(), [event(kind, body)])


def begun() -> Decoder:
    """A decoder inside a transaction."""
    decoder = make_decoder()
    decode(decoder, [event(EventType.GTID, b"\0" + bytes(range(16)) + (5).to_bytes(8, "little"))])
    return decoder


def test_rows_of_a_table_that_was_not_described_are_refused() -> None:
    body = (9).to_bytes(6, "little") + b"\1\0" + b"\2\0" + b"\1\1\0"
    with pytest.raises(ProtocolError, match="table 9, which was not described"):
        decode(begun(), [event(EventType.WRITE_ROWS, body)])


@pytest.mark.parametrize("kind", [20, 22, 43, 60, 128, 172, 255])
def test_an_unknown_event_that_may_carry_rows_stops(kind: int) -> None:
    with pytest.raises(ProtocolError, match=f"event of type {kind} .* may carry rows"):
        decode(begun(), [event(kind, b"")])


def test_an_unknown_event_that_may_be_ignored_is() -> None:
    assert decode(begun(), [event(200, b"whatever", flags=0x80)]) == []


def test_a_begin_inside_a_transaction_is_refused() -> None:
    gtid = event(EventType.GTID, b"\0" + bytes(range(16)) + (6).to_bytes(8, "little"))
    with pytest.raises(ProtocolError, match="inside"):
        decode(begun(), [gtid])


def test_a_row_outside_a_transaction_is_refused() -> None:
    with pytest.raises(ProtocolError, match="outside a transaction"):
        decode(make_decoder(), [event(EventType.WRITE_ROWS, bytes(12))])
