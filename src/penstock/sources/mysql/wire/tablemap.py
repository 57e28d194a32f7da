"""The Table_map event: what the rows behind it are made of.

https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Table__map__event.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire.charsets import BINARY
from penstock.sources.mysql.wire.reader import Reader

_MOST_COLUMNS: Final = 4096  # more than any table can have


class Code(IntEnum):
    """Types of columns in the binlog."""

    DECIMAL = 0
    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    NEWDATE = 14
    VARCHAR = 15
    BIT = 16
    TIMESTAMP2 = 17
    DATETIME2 = 18
    TIME2 = 19
    TYPED_ARRAY = 20
    BLOB_COMPRESSED = 140
    VARCHAR_COMPRESSED = 141
    VECTOR = 242
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    TINY_BLOB = 249
    MEDIUM_BLOB = 250
    LONG_BLOB = 251
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


NUMERIC: Final = frozenset(
    {
        Code.TINY,
        Code.SHORT,
        Code.INT24,
        Code.LONG,
        Code.LONGLONG,
        Code.FLOAT,
        Code.DOUBLE,
        Code.NEWDECIMAL,
        Code.YEAR,
    }
)
"""Of these the log tells whether they are unsigned."""
CHARACTER: Final = frozenset(
    {
        Code.STRING,
        Code.VAR_STRING,
        Code.VARCHAR,
        Code.TINY_BLOB,
        Code.MEDIUM_BLOB,
        Code.LONG_BLOB,
        Code.BLOB,
        Code.BLOB_COMPRESSED,
        Code.VARCHAR_COMPRESSED,
    }
)
LABELLED: Final = frozenset({Code.ENUM, Code.SET})
_ONE_BYTE: Final = frozenset(
    {
        Code.FLOAT,
        Code.DOUBLE,
        Code.BLOB,
        Code.TINY_BLOB,
        Code.MEDIUM_BLOB,
        Code.LONG_BLOB,
        Code.BLOB_COMPRESSED,
        Code.JSON,
        Code.GEOMETRY,
        Code.VECTOR,
        Code.TIMESTAMP2,
        Code.DATETIME2,
        Code.TIME2,
    }
)
_TWO_BYTES: Final = frozenset(
    {Code.VARCHAR, Code.VARCHAR_COMPRESSED, Code.VAR_STRING, Code.BIT, Code.NEWDECIMAL}
)


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """A column as the log describes it.

    Parameters
    ----------
    code: its type; of enums and sets that is what they are, not the STRING they come as.
    size: bytes of a length or of a fixed value; digits of a fraction of seconds; bits of BIT.
    scale: digits behind a decimal's point; ``size`` are all digits then.
    collation: number of the collation of a text; 63 is binary; 0 where it is not told.
    labels: of an enum or set, as bytes in its character set.
    geometry: which kind of geometry; 0 for any.
    dimension: most entries of a vector.
    element: an array's elements.
    shown_as: a type of MariaDB's that the log shows as bytes: ``uuid``, ``inet4`` or ``inet6``.
    """

    code: int
    size: int = 0
    scale: int = 0
    nullable: bool = True
    name: str = ""
    unsigned: bool = False
    collation: int = 0
    labels: tuple[bytes, ...] = ()
    geometry: int = 0
    visible: bool = True
    dimension: int = 0
    element: int = 0
    shown_as: str = ""

    @property
    def ambiguous(self) -> bool:
        """Whether the log may show bytes of a type of MariaDB's so."""
        return self.code == Code.STRING and self.collation == BINARY and self.size in (4, 16)


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table as the log describes it.

    Parameters
    ----------
    key: positions of the primary key's columns, in key order; empty where there is none.
    described: whether the log tells the columns' names (``binlog_row_metadata=FULL``).
    """

    schema: str
    name: str
    columns: tuple[MappedColumn, ...]
    key: tuple[int, ...] = ()
    described: bool = True

    @classmethod
    def parse(cls, reader: Reader) -> TableMap:
        """Read the event's body behind table number and flags. Raises ProtocolError."""
        schema, name = _name(reader), _name(reader)
        count = reader.packed()
        if count > _MOST_COLUMNS:
            raise ProtocolError(f"a table of {count} columns", offset=reader.base + reader.at)
        codes = reader.take(count)
        details = Reader(reader.text(), base=reader.base + reader.at)
        columns = [_column(code, details) for code in codes]
        details.finish()
        nullable = reader.take((count + 7) // 8)
        for i, column in enumerate(columns):
            column["nullable"] = bool(nullable[i >> 3] >> (i & 7) & 1)
        key: tuple[int, ...] = ()
        while reader.left:
            kind = reader.byte()
            value = Reader(reader.text(), base=reader.base + reader.at)
            if kind in (8, 9):
                key = _key(value, count, prefixes=kind == 9)
            elif (read := _OPTIONAL.get(kind)) is not None:
                read(value, columns)
        return cls(
            schema,
            name,
            tuple(MappedColumn(**column) for column in columns),
            key,
            not count or "name" in columns[0],
        )


def _name(reader: Reader) -> str:
    name = reader.take(reader.packed())
    if reader.byte():
        raise ProtocolError("a name without its end", offset=reader.base + reader.at)
    return _text(name, reader)


def _text(raw: bytes, reader: Reader) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a name is not UTF-8", offset=reader.base + reader.at) from None


_Column: TypeAlias = dict[str, Any]


def _column(code: int, details: Reader) -> _Column:
    """Type and sizes of a column."""
    if code == Code.STRING:
        first, second = details.byte(), details.byte()
        if first & 0x30 != 0x30:  # the two highest bits of a long CHAR hide in its type
            return {"code": first | 0x30, "size": second | (first & 0x30 ^ 0x30) << 4}
        return {"code": first, "size": second}
    if code == Code.NEWDECIMAL:
        return {"code": code, "size": details.byte(), "scale": details.byte()}
    if code == Code.BIT:
        bits = details.byte()
        return {"code": code, "size": bits + 8 * details.byte()}
    if code == Code.TYPED_ARRAY:
        element = details.byte()
        return {"code": code, "size": 4, "element": _column(element, details)["code"]}
    if code in (Code.ENUM, Code.SET):
        details.byte()
        return {"code": code, "size": details.byte()}
    if code in _ONE_BYTE:
        return {"code": code, "size": details.byte()}
    if code in _TWO_BYTES:
        return {"code": code, "size": details.integer(2)}
    return {"code": code}


def _of(columns: Sequence[_Column], codes: frozenset[Code]) -> list[_Column]:
    return [column for column in columns if column["code"] in codes]


def _key(value: Reader, count: int, *, prefixes: bool) -> tuple[int, ...]:
    key = []
    while value.left:
        position = value.packed()
        if position >= count:
            raise ProtocolError(f"column {position} of {count} in a key", offset=value.base)
        key.append(position)
        if prefixes:
            value.packed()
    return tuple(key)


def _signs(value: Reader, columns: Sequence[_Column]) -> None:
    numbers = _of(columns, NUMERIC)
    bits = value.take((len(numbers) + 7) // 8)
    for i, column in enumerate(numbers):
        column["unsigned"] = bool(bits[i >> 3] >> (7 - (i & 7)) & 1)


def _visibility(value: Reader, columns: Sequence[_Column]) -> None:
    bits = value.take((len(columns) + 7) // 8)
    for i, column in enumerate(columns):
        column["visible"] = bool(bits[i >> 3] >> (7 - (i & 7)) & 1)


def _names(value: Reader, columns: Sequence[_Column]) -> None:
    for column in columns:
        column["name"] = _text(value.text(), value)


def _default_collation(codes: frozenset[Code]) -> Callable[[Reader, Sequence[_Column]], None]:
    def read(value: Reader, columns: Sequence[_Column]) -> None:
        texts = _of(columns, codes)
        default = value.packed()
        for column in texts:
            column["collation"] = default
        while value.left:
            i, collation = value.packed(), value.packed()
            if i >= len(texts):
                raise ProtocolError(f"text column {i} of {len(texts)}", offset=value.base)
            texts[i]["collation"] = collation

    return read


def _each(
    codes: frozenset[Code], field: str, read_one: Callable[[Reader], object]
) -> Callable[[Reader, Sequence[_Column]], None]:
    def read(value: Reader, columns: Sequence[_Column]) -> None:
        for column in _of(columns, codes):
            column[field] = read_one(value)

    return read


def _labels(value: Reader) -> tuple[bytes, ...]:
    return tuple(value.text() for _ in range(value.packed()))


_OPTIONAL: Final[dict[int, Callable[[Reader, Sequence[_Column]], None]]] = {
    1: _signs,
    2: _default_collation(CHARACTER),
    3: _each(CHARACTER, "collation", Reader.packed),
    4: _names,
    5: _each(frozenset({Code.SET}), "labels", _labels),
    6: _each(frozenset({Code.ENUM}), "labels", _labels),
    7: _each(frozenset({Code.GEOMETRY}), "geometry", Reader.packed),
    10: _default_collation(LABELLED),
    11: _each(LABELLED, "collation", Reader.packed),
    12: _visibility,
    13: _each(frozenset({Code.VECTOR}), "dimension", Reader.packed),
}
