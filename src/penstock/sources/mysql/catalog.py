"""Tables as the server's catalog has them today: for snapshots and checks, never for the log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from penstock.errors import SourceError
from penstock.model.pattern import matches
from penstock.model.table import qualified
from penstock.sources.mysql.connection import Connection, rows
from penstock.sources.mysql.wire.charsets import BINARY
from penstock.sources.mysql.wire.tablemap import Code, MappedColumn, TableMap

SYSTEM: Final = ("information_schema", "mysql", "performance_schema", "sys")
_UTF8: Final = 45
_CODES: Final = {
    "tinyint": Code.TINY,
    "smallint": Code.SHORT,
    "mediumint": Code.INT24,
    "int": Code.LONG,
    "bigint": Code.LONGLONG,
    "float": Code.FLOAT,
    "double": Code.DOUBLE,
    "decimal": Code.NEWDECIMAL,
    "date": Code.DATE,
    "datetime": Code.DATETIME2,
    "timestamp": Code.TIMESTAMP2,
    "time": Code.TIME2,
    "year": Code.YEAR,
    "bit": Code.BIT,
    "enum": Code.ENUM,
    "set": Code.SET,
    "json": Code.JSON,
    "vector": Code.VECTOR,
    "char": Code.STRING,
    "binary": Code.STRING,
    "varchar": Code.VARCHAR,
    "varbinary": Code.VARCHAR,
}
_LARGE: Final = {"tiny": 1, "": 2, "medium": 3, "long": 4}
_GEOMETRIES: Final = {
    "geometry": 0,
    "point": 1,
    "linestring": 2,
    "polygon": 3,
    "multipoint": 4,
    "multilinestring": 5,
    "multipolygon": 6,
    "geometrycollection": 7,
    "geomcollection": 7,
}
_HIDDEN: Final = {"uuid": 16, "inet4": 4, "inet6": 16}
_LABEL: Final = re.compile(r"'((?:[^']|'')*)'")
_LARGE_TYPE: Final = re.compile(r"(tiny|medium|long|)(text|blob)")


def wanted(patterns: Sequence[str], schema: str, name: str) -> bool:
    """Whether a table is captured: never the server's own."""
    table = qualified(schema, name)
    return schema not in SYSTEM and any(matches(pattern, table) for pattern in patterns)


def captured(connection: Connection, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """The captured tables of today, as (schema, name).

    Raises SourceError when a pattern without a star names no table.
    """
    found = rows(
        connection,
        "SELECT table_schema, table_name FROM information_schema.tables"
        " WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1, 2",
    )
    tables = [(schema, name) for schema, name in found if wanted(patterns, schema, name)]
    for pattern in patterns:
        if "*" not in pattern and pattern not in {qualified(s, n) for s, n in tables}:
            raise SourceError(
                f"there is no table {pattern}", hint="a name is database.table, and case matters"
            )
    return tables


def hidden(connection: Connection) -> dict[tuple[str, str], dict[str, str]]:
    """The types of columns that MariaDB's log shows as four or sixteen bytes."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, kind in rows(
        connection,
        "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
        " WHERE data_type IN ('binary', 'uuid', 'inet4', 'inet6')",
    ):
        found.setdefault((schema, table), {})[column] = kind
    return found


def mapped(connection: Connection, schema: str, name: str, numbers: Mapping[str, int]) -> TableMap:
    """A table as the log would describe it, were its rows written now.

    Parameters
    ----------
    numbers: those of collations, by name.
    """
    columns = rows(
        connection,
        "SELECT column_name, data_type, column_type, is_nullable, character_octet_length,"
        " numeric_precision, numeric_scale, datetime_precision, collation_name, column_default"
        " FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
        " ORDER BY ordinal_position",
        schema,
        name,
    )
    key = rows(
        connection,
        "SELECT column_name FROM information_schema.statistics WHERE table_schema = %s"
        " AND table_name = %s AND index_name = 'PRIMARY' ORDER BY seq_in_index",
        schema,
        name,
    )
    names = [column[0] for column in columns]
    return TableMap(
        schema,
        name,
        tuple(_column(column, numbers) for column in columns),
        tuple(names.index(column) for (column,) in key),
    )


def collations(connection: Connection) -> dict[str, int]:
    """The number of each collation. MariaDB has several names for one set of rules."""
    found: dict[str, int] = dict(
        rows(connection, "SELECT collation_name, id FROM information_schema.collations")
    )
    try:
        found |= dict(
            rows(
                connection,
                "SELECT full_collation_name, id FROM"
                " information_schema.collation_character_set_applicability",
            )
        )
    except Exception as error:
        if error.args[:1] != (1054,):
            raise
    return found


def _column(row: tuple[Any, ...], numbers: Mapping[str, int]) -> MappedColumn:
    name, kind, spelled, nullable, octets, precision, scale, digits, collation, _ = row
    nulls = nullable == "YES"
    number = numbers[collation] if collation else BINARY
    unsigned = "unsigned" in spelled
    large = _LARGE_TYPE.fullmatch(kind)
    if large is not None:
        mapped = MappedColumn(Code.BLOB, _LARGE[large[1]], collation=number)
    elif kind in _GEOMETRIES:
        mapped = MappedColumn(Code.GEOMETRY, 4, geometry=_GEOMETRIES[kind])
    elif kind in _HIDDEN:
        mapped = MappedColumn(Code.STRING, _HIDDEN[kind], collation=BINARY, shown_as=kind)
    elif kind not in _CODES:
        raise SourceError(f"columns of type {kind} are not known: {name}")
    else:
        code = _CODES[kind]
        labels = tuple(label.replace("''", "'").encode() for label in _LABEL.findall(spelled))
        if code in (Code.ENUM, Code.SET):
            mapped = MappedColumn(code, 1, labels=labels, collation=_UTF8)
        elif code == Code.NEWDECIMAL:
            mapped = MappedColumn(code, precision, scale, unsigned=unsigned)
        elif code in (Code.STRING, Code.VARCHAR):
            mapped = MappedColumn(code, octets, collation=number)
        elif code == Code.BIT:
            mapped = MappedColumn(code, precision)
        elif code == Code.VECTOR:
            mapped = MappedColumn(code, 4, dimension=int(re.findall(r"\d+", spelled)[0]))
        else:
            mapped = MappedColumn(code, digits or 0, unsigned=unsigned)
    return replace(mapped, name=name, nullable=nulls)
