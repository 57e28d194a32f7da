"""What the log's columns are to the rest: names, types, spellings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from penstock.errors import ProtocolError, SchemaError
from penstock.model import Column, Kind, Table, Type
from penstock.sources.mysql.wire import values
from penstock.sources.mysql.wire.charsets import BINARY, charset_of
from penstock.sources.mysql.wire.tablemap import Code, MappedColumn, TableMap

_CODEC: Final = f"{values.__name__}:parser"
_INTEGERS: Final = {
    Code.TINY: ("tinyint", "int8", "uint8"),
    Code.SHORT: ("smallint", "int16", "uint16"),
    Code.INT24: ("mediumint", "int32", "uint32"),
    Code.LONG: ("int", "int32", "uint32"),
    Code.LONGLONG: ("bigint", "int64", "uint64"),
}
_GEOMETRIES: Final = (
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
)
_LARGE: Final = {1: "tiny", 2: "", 3: "medium", 4: "long"}
_CLOCKS: Final = {
    Code.TIMESTAMP: ("timestamp", Kind.TIMESTAMPTZ),
    Code.TIMESTAMP2: ("timestamp", Kind.TIMESTAMPTZ),
    Code.DATETIME: ("datetime", Kind.TIMESTAMP),
    Code.DATETIME2: ("datetime", Kind.TIMESTAMP),
    Code.TIME: ("time", Kind.INTERVAL),
    Code.TIME2: ("time", Kind.INTERVAL),
}


def make_table(mapped: TableMap) -> Table:
    """The table that the log describes.

    Raises
    ------
    SchemaError: the log does not tell its columns' names.
    ProtocolError: it has a column of a type that we do not know.
    """
    text = f"{mapped.schema}.{mapped.name}"
    if not mapped.described:
        raise SchemaError(
            f"the log does not tell the columns of {text}",
            hint="SET GLOBAL binlog_row_metadata = FULL; what was written before cannot be read",
            table=text,
        )
    columns = []
    for column in mapped.columns:
        try:
            columns.append(Column(column.name, make_type(column), column.nullable))
        except ProtocolError as error:
            raise ProtocolError(f"{text}.{column.name}: {error.message}", table=text) from None
    key = tuple(mapped.columns[i].name for i in mapped.key)
    return Table(mapped.schema, mapped.name, tuple(columns), key)


@lru_cache(maxsize=4096)
def make_type(column: MappedColumn) -> Type:
    """The type of a column. Raises ProtocolError for one that we do not know."""
    made = _make(replace(column, name="", nullable=True, visible=True))
    return replace(made, codec=_CODEC, parse=values.parser(made))


def _make(column: MappedColumn) -> Type:
    code, size = column.code, column.size
    if column.shown_as:
        return Type(column.shown_as, Kind.TEXT, column.shown_as)
    if code in _INTEGERS:
        name, signed, unsigned = _INTEGERS[Code(code)]
        sign = " unsigned" if column.unsigned else ""
        return Type(
            name + sign,
            Kind.INTEGER,
            name + sign,
            arrow=unsigned if column.unsigned else signed,
        )
    if code in (Code.FLOAT, Code.DOUBLE):
        name = "float" if code == Code.FLOAT else "double"
        sql = name + (" unsigned" if column.unsigned else "")
        return Type(sql, Kind.FLOAT, sql, arrow="float32" if code == Code.FLOAT else "")
    if code == Code.NEWDECIMAL:
        sign = " unsigned" if column.unsigned else ""
        arrow = f"decimal128({size}, {column.scale})" if size <= 38 else ""
        sql = f"decimal({size},{column.scale}){sign}"
        return Type("decimal" + sign, Kind.NUMERIC, sql, arrow=arrow)
    if code in (Code.DATE, Code.NEWDATE):
        return Type("date", Kind.DATE, "date")
    if code in _CLOCKS:
        name, kind = _CLOCKS[Code(code)]
        return Type(name, kind, f"{name}({size})" if size else name)
    if code == Code.YEAR:
        return Type("year", Kind.INTEGER, "year", arrow="int16")
    if code == Code.BIT:
        return Type("bit", Kind.BYTES, f"bit({size})")
    if code in (Code.ENUM, Code.SET):
        name = "enum" if code == Code.ENUM else "set"
        labels = tuple(map(_label(column), column.labels))
        quoted = ",".join("'" + label.replace("'", "''") + "'" for label in labels)
        kind = Kind.ENUM if code == Code.ENUM else Kind.TEXT
        return Type(name, kind, f"{name}({quoted})", labels=labels)
    if code in (Code.JSON, Code.TYPED_ARRAY):
        return Type("json", Kind.JSON, "json")
    if code == Code.GEOMETRY:
        known = column.geometry < len(_GEOMETRIES)
        name = _GEOMETRIES[column.geometry] if known else "geometry"
        return Type(name, Kind.BYTES, name)
    if code == Code.VECTOR:
        return Type("vector", Kind.BYTES, f"vector({column.dimension})")
    return _string(column)


def _label(column: MappedColumn) -> Callable[[bytes], str]:
    charset = charset_of(column.collation)
    if charset is None or charset.to_utf8 is None:
        return bytes.decode
    to_utf8 = charset.to_utf8
    return lambda raw: to_utf8(raw).decode()


def _string(column: MappedColumn) -> Type:
    code, size = column.code, column.size
    binary = column.collation == BINARY
    charset = charset_of(column.collation)
    if charset is None and code in _STRINGS:
        raise ProtocolError(f"collation {column.collation} is not known")
    length = size // charset.widest if charset is not None else size
    kind = Kind.BYTES if binary else Kind.TEXT
    if code in (Code.VARCHAR, Code.VAR_STRING, Code.VARCHAR_COMPRESSED):
        name = "varbinary" if binary else "varchar"
        return Type(name, kind, f"{name}({length})")
    if code == Code.STRING:
        name = "binary" if binary else "char"
        return Type(name, kind, f"{name}({length})")
    if code in _STRINGS:
        name = _LARGE.get(size, "") + ("blob" if binary else "text")
        return Type(name, kind, name)
    raise ProtocolError(f"columns of type {code} are not known")


_STRINGS: Final = frozenset(
    {
        Code.VARCHAR,
        Code.VAR_STRING,
        Code.STRING,
        Code.TINY_BLOB,
        Code.MEDIUM_BLOB,
        Code.LONG_BLOB,
        Code.BLOB,
        Code.BLOB_COMPRESSED,
        Code.VARCHAR_COMPRESSED,
    }
)
