"""Rows of queries from the bytes that the server sends."""

from __future__ import annotations

import pytest

from penstock.errors import ProtocolError
from penstock.model import Column, Table
from penstock.sources.mysql.wire.packets import StreamError
from penstock.sources.mysql.wire.resultrows import ResultRows
from penstock.sources.mysql.wire.tablemap import Code, MappedColumn
from penstock.sources.mysql.wire.types import make_type

TABLE = Table(
    "d",
    "t",
    (
        Column("n", make_type(MappedColumn(Code.LONG)), nullable=True),
        Column("s", make_type(MappedColumn(Code.BLOB, 4, collation=45)), nullable=True),
        Column("b", make_type(MappedColumn(Code.BLOB, 4, collation=63)), nullable=True),
    ),
)
END = b"\xfe\0\0\2\0"


def value(raw: bytes | None) -> bytes:
    if raw is None:
        return b"\xfb"
    size = len(raw)
    if size < 251:
        return bytes([size]) + raw
    if size < 1 << 16:
        return b"\xfc" + size.to_bytes(2, "little") + raw
    if size < 1 << 24:
        return b"\xfd" + size.to_bytes(3, "little") + raw
    return b"\xfe" + size.to_bytes(8, "little") + raw


def packet(payload: bytes) -> bytes:
    packets = b""
    while True:
        part, payload = payload[:0xFFFFFF], payload[0xFFFFFF:]
        packets += len(part).to_bytes(3, "little") + b"\0" + part
        if len(part) < 0xFFFFFF:
            return packets


def sent(*rows: tuple[bytes | None, ...]) -> bytes:
    return b"".join(packet(b"".join(map(value, row))) for row in rows)


ROWS: list[tuple[bytes | None, ...]] = [
    (b"1", b"a", b"b"),
    (None, None, None),
    (b"-2", b"x" * 250, b""),
    (b"3", b"x" * 251, b"y" * 70_000),
    (b"", b"", b""),
]


def shown(row: tuple[bytes | None, ...]) -> list[bytes | None]:
    number, text, raw = row
    return [number, text, None if raw is None else b"\\x" + raw.hex().encode()]


@pytest.mark.parametrize("step", [1, 3, 7, 1 << 16, 1 << 20])
def test_rows_come_whole_wherever_the_bytes_are_cut(step: int) -> None:
    data = sent(*ROWS) + packet(END)
    result = ResultRows(TABLE)
    found = [row for at in range(0, len(data), step) for row in result.feed(data[at : at + step])]
    assert found == list(map(shown, ROWS))
    assert result.done


@pytest.mark.parametrize("size", [0xFFFFFF - 12, 0xFFFFFF - 6, 0xFFFFFF, 2 * 0xFFFFFF + 5])
def test_a_row_may_take_several_packets(size: int) -> None:
    row = (b"1", b"x" * size, b"")
    result = ResultRows(TABLE)
    assert result.feed(sent(row, ROWS[0]) + packet(END)) == [shown(row), shown(ROWS[0])]
    assert result.done


def test_zeros_that_are_only_shown_are_left_out() -> None:
    rows = ResultRows(TABLE, {0}).feed(sent((b"00042", b"00042", b""), (b"0000", b"", b"")))
    assert [row[:2] for row in rows] == [[b"42", b"00042"], [b"0", b""]]


def test_an_error_in_the_middle_is_raised() -> None:
    result = ResultRows(TABLE)
    error = packet(b"\xff\x84\x05#HY000Table definition has changed")
    with pytest.raises(StreamError) as caught:
        result.feed(sent(ROWS[0]) + error)
    assert (caught.value.number, caught.value.text) == (1412, "Table definition has changed")


@pytest.mark.parametrize(
    "data",
    [
        packet(b"\x01a\x01b"),  # a column too few
        packet(b"\x01a\x01b\x01c\x01d"),  # and one too many
        packet(b"\x01a\x01b\x05c"),
        packet(b"\x01a\x01b\xff"),
        packet(b"\x01a\xfc"),
        packet(b""),
        packet(END) + b"more",
    ],
)
def test_damaged_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ResultRows(TABLE).feed(data)
