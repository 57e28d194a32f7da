"""Rows of COPY TO STDOUT."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolError
from penstock.model import Raw
from penstock.sources.postgres.wire.copytext import read_copy_row

ESCAPES = {
    b"\\": b"\\\\",
    b"\t": b"\\t",
    b"\n": b"\\n",
    b"\r": b"\\r",
    b"\b": b"\\b",
    b"\f": b"\\f",
    b"\v": b"\\v",
}


def write(value: bytes | None) -> bytes:
    """A value as the server writes it."""
    if value is None:
        return b"\\N"
    return b"".join(ESCAPES.get(bytes([byte]), bytes([byte])) for byte in value)


@given(st.lists(st.one_of(st.none(), st.binary()), min_size=1, max_size=5))
def test_what_the_server_writes_is_read_back(values: list[bytes | None]) -> None:
    line = b"\t".join(write(value) for value in values) + b"\n"
    assert read_copy_row(line, len(values)) == values


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"1\tnew\n", (b"1", b"new")),
        (b"\\N\t\n", (None, b"")),
        (b"\\\\N\ta\n", (b"\\N", b"a")),
        (rb"\101\x41\q" + b"\t" + rb"\60\x6g" + b"\n", (b"AAq", b"0\x06g")),
        ("ä\t🐘\n".encode(), ("ä".encode(), "🐘".encode())),
        (b"a\\\nb\t\\.\n", (b"a\nb", b".")),
    ],
)
def test_examples(line: bytes, row: tuple[Raw, ...]) -> None:
    assert read_copy_row(line, 2) == list(row)


def test_a_table_without_columns() -> None:
    assert read_copy_row(b"\n", 0) == []
    assert read_copy_row(b"\n", 1) == [b""]


@pytest.mark.parametrize("line", [b"1\n", b"1\t2\t3\n", b"1\t2", b"", b"1\t2\\\n"])
def test_what_is_no_row_of_two_columns(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_copy_row(line, 2)
