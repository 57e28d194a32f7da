"""Columns as the native kernel is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire.charsets import BINARY, charset_of
from penstock.sources.mysql.wire.fields import field_of
from penstock.sources.mysql.wire.tablemap import Code, MappedColumn

Told: TypeAlias = tuple[Any, ...]
"""The name of a field of the native kernel, and its parameters."""

_INTEGERS: Final = {
    Code.TINY: 1,
    Code.SHORT: 2,
    Code.INT24: 3,
    Code.LONG: 4,
    Code.LONGLONG: 8,
}
_PLAIN: Final = {
    Code.FLOAT: "float",
    Code.DOUBLE: "double",
    Code.DATE: "date",
    Code.NEWDATE: "date",
    Code.YEAR: "year",
}
_CLOCKS: Final = {
    Code.TIMESTAMP2: "timestamp",
    Code.DATETIME2: "datetime",
    Code.TIME2: "time",
}
_BLOBS: Final = frozenset({Code.BLOB, Code.TINY_BLOB, Code.MEDIUM_BLOB, Code.LONG_BLOB})


def told_fields(columns: Sequence[MappedColumn]) -> list[Told] | None:
    """How the native kernel reads these columns; None where it cannot read one of them."""
    fields = []
    for column in columns:
        try:
            field_of(column)
        except ProtocolError:  # which is told when a row comes
            return None
        told = _told(column)
        if told is None:
            return None
        fields.append(told)
    return fields


def _told(column: MappedColumn) -> Told | None:
    code, size = column.code, column.size
    if column.shown_as:
        return ("uuid",) if column.shown_as == "uuid" else None
    if code in _INTEGERS:
        return "integer", _INTEGERS[Code(code)], column.unsigned
    if code in _PLAIN:
        return (_PLAIN[Code(code)],)
    if code in _CLOCKS:
        return _CLOCKS[Code(code)], size
    if code == Code.NEWDECIMAL:
        return "decimal", size, column.scale
    if code == Code.BIT:
        return "bit", (size + 7) // 8
    if code in (Code.ENUM, Code.SET):
        return "enum" if code == Code.ENUM else "set", size, _labels(column)
    if code in (Code.JSON, Code.TYPED_ARRAY):
        return "json", size
    if code in (Code.GEOMETRY, Code.VECTOR):
        return "bytes", size, 0
    if code in (Code.VARCHAR, Code.VAR_STRING):
        return _text(column, 1 if size < 256 else 2)
    if code == Code.STRING:
        prefix = 1 if size < 256 else 2
        return ("bytes", prefix, size) if column.collation == BINARY else _text(column, prefix)
    return _text(column, size) if code in _BLOBS else None


def _text(column: MappedColumn, prefix: int) -> Told | None:
    if column.collation == BINARY:
        return "bytes", prefix, 0
    charset = charset_of(column.collation)
    if charset is None:
        return None
    if charset.to_utf8 is None:
        return "text", prefix
    if charset.widest > 1:
        return None
    return "single", prefix, [charset.to_utf8(bytes((i,))) for i in range(256)]


def _labels(column: MappedColumn) -> list[bytes]:
    charset = charset_of(column.collation)
    to_utf8 = None if charset is None else charset.to_utf8
    return list(column.labels) if to_utf8 is None else list(map(to_utf8, column.labels))
