"""Rows of queries, in the same exact texts as the log's rows.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Sequence
from struct import Struct
from typing import TypeAlias

from penstock.model import Column, Kind, Raw, Table
from penstock.sources.mysql.wire.numbers import float_text

Read: TypeAlias = Callable[[Sequence[bytes | None]], list[Raw]]

_FLOAT32 = Struct("<f")


def selected(column: Column) -> str:
    """How a column is asked for, so that its text is exact."""
    name = "`" + column.name.replace("`", "``") + "`"
    return f"CAST({name} AS DOUBLE)" if column.type.name.startswith("float") else name


def row_reader(table: Table) -> Read:
    """Makes rows of what a query of all columns gives, as bytes."""
    texts = [(i, text) for i, c in enumerate(table.columns) if (text := _text_of(c)) is not None]

    def read(values: Sequence[bytes | None]) -> list[Raw]:
        row: list[Raw] = list(values)
        for i, text in texts:
            raw = values[i]
            if raw is not None:
                row[i] = text(raw)
        return row

    return read


def _text_of(column: Column) -> Callable[[bytes], bytes] | None:
    kind, name = column.type.kind, column.type.name
    if kind is Kind.BYTES:
        return lambda raw: b"\\x" + hexlify(raw)
    if kind is Kind.TIMESTAMPTZ:
        return lambda raw: raw if raw.startswith(b"0000") else raw + b"+00"
    if name.startswith("float"):
        return lambda raw: float_text(_FLOAT32.unpack(_FLOAT32.pack(float(raw)))[0])
    if kind in (Kind.INTEGER, Kind.NUMERIC):
        return _without_zeros
    return None


def _without_zeros(raw: bytes) -> bytes:
    """Without what ZEROFILL adds, and the year 0000 as a number."""
    if raw[:1] != b"0" or len(raw) == 1:
        return raw
    left = raw.lstrip(b"0")
    return left if left[:1].isdigit() else b"0" + left
