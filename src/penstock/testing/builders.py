"""Changes made of Python values, for tests.

Types are taken from the values: an ``int`` becomes an ``int8`` column, a ``str`` a ``text`` one.
A :class:`~penstock.model.Table` in place of a name gives the exact types.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from penstock.errors import SchemaError
from penstock.model import (
    UNCHANGED,
    Change,
    Column,
    Kind,
    Mark,
    Message,
    Operation,
    Origin,
    Raw,
    Table,
    Transaction,
    Type,
)

START_US: Final = 1_767_225_600_000_000  # 2026-01-01 UTC, in microseconds
_CODEC: Final = "penstock.testing.builders:parser"
_counter = itertools.count(1)


def parser(type: Type) -> Callable[[bytes], object]:
    """The function that reads back what the builders wrote for a type (its codec)."""
    return _PARSE.get(type.name, bytes.decode)


def _interval(raw: bytes) -> timedelta:
    days, _, clock = raw.decode().partition(" days ")
    sign = -1 if clock.startswith("-") else 1
    hours, minutes, seconds = clock.lstrip("-").split(":")
    whole, _, micros = seconds.partition(".")
    return timedelta(days=int(days)) + sign * timedelta(
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(whole),
        microseconds=int(micros.ljust(6, "0")),
    )


def _interval_text(value: timedelta) -> str:
    hours, rest = divmod(value.seconds, 3600)
    return f"{value.days} days {hours:02}:{rest // 60:02}:{rest % 60:02}.{value.microseconds:06}"


def _float_text(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "NaN" if math.isnan(value) else repr(value).removesuffix(".0")


def _datetime_text(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(" ")
    return value.astimezone(UTC).isoformat(" ").removesuffix(":00")


_PARSE: Final[Mapping[str, Callable[[bytes], object]]] = {
    "bool": lambda raw: raw == b"t",
    "int8": int,
    "float8": float,
    "numeric": lambda raw: Decimal(raw.decode()),
    "timestamptz": lambda raw: datetime.fromisoformat(raw.decode()),
    "timestamp": lambda raw: datetime.fromisoformat(raw.decode()),
    "date": lambda raw: date.fromisoformat(raw.decode()),
    "time": lambda raw: time.fromisoformat(raw.decode()),
    "interval": _interval,
    "uuid": lambda raw: UUID(raw.decode()),
    "bytea": lambda raw: bytes.fromhex(raw.decode()[2:]),
    "jsonb": json.loads,
}


def _type(name: str, kind: Kind, sql: str, oid: int) -> Type:
    return Type(name, kind, sql, _PARSE.get(name, bytes.decode), oid=oid, codec=_CODEC)


_TEXT: Final = _type("text", Kind.TEXT, "text", 25)
_TYPES: Final[tuple[tuple[type | tuple[type, ...], Type, Callable[[Any], str]], ...]] = (
    # bool is an int and datetime is a date: the order matters.
    (bool, _type("bool", Kind.BOOLEAN, "boolean", 16), lambda v: "t" if v else "f"),
    (int, _type("int8", Kind.INTEGER, "bigint", 20), str),
    (float, _type("float8", Kind.FLOAT, "double precision", 701), _float_text),
    (Decimal, _type("numeric", Kind.NUMERIC, "numeric", 1700), lambda v: f"{v:f}"),
    (
        datetime,
        _type("timestamp", Kind.TIMESTAMP, "timestamp without time zone", 1114),
        _datetime_text,
    ),
    (date, _type("date", Kind.DATE, "date", 1082), date.isoformat),
    (time, _type("time", Kind.TIME, "time without time zone", 1083), time.isoformat),
    (timedelta, _type("interval", Kind.INTERVAL, "interval", 1186), _interval_text),
    (UUID, _type("uuid", Kind.UUID, "uuid", 2950), str),
    (bytes, _type("bytea", Kind.BYTES, "bytea", 17), lambda v: "\\x" + v.hex()),
    (
        (dict, list),
        _type("jsonb", Kind.JSON, "jsonb", 3802),
        lambda v: json.dumps(v, ensure_ascii=False),
    ),
    (str, _TEXT, str),
)
_TIMESTAMPTZ: Final = _type("timestamptz", Kind.TIMESTAMPTZ, "timestamp with time zone", 1184)


def _type_of(value: object) -> Type:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return _TIMESTAMPTZ
    for python, type, _ in _TYPES:
        if isinstance(value, python):
            return type
    if value is None or value is UNCHANGED:
        return _TEXT
    raise SchemaError(
        f"no column type is known for {value!r}", hint="give its exact text as a str, and a Table"
    )


def _raw(value: object) -> Raw:
    if value is None or value is UNCHANGED:
        return value
    for python, _, text in _TYPES:
        if isinstance(value, python):
            return text(value).encode()
    raise SchemaError(f"no column type is known for {value!r}")


def table_of(name: str, row: Mapping[str, Any], key: Sequence[str] | None = None) -> Table:
    """A table that fits a row of Python values.

    Parameters
    ----------
    name: ``schema.name``; without a schema ``public`` is meant.
    key: the key's columns; by default ``id`` where there is one, else the first column.
    """
    schema, _, bare = name.rpartition(".")
    if key is None:
        key = ("id",) if "id" in row else tuple(row)[:1]
    columns = tuple((column, _type_of(value)) for column, value in row.items())
    return _table(schema or "public", bare, columns, tuple(key))


@lru_cache(maxsize=1000)
def _table(
    schema: str, name: str, columns: tuple[tuple[str, Type], ...], key: tuple[str, ...]
) -> Table:
    """One object for equal tables, as a source would have it."""
    made = tuple(Column(column, type) for column, type in columns)
    return Table(schema, name, made, key, "full")


def _values(table: Table, row: Mapping[str, Any]) -> tuple[Raw, ...]:
    unknown = [name for name in row if name not in table.index]
    if unknown:
        raise SchemaError(f"{table.text} has no column {unknown[0]!r}", table=table.text)
    return tuple(_raw(row.get(name)) for name in table.names)


def _origin() -> Origin:
    n = next(_counter)
    return Origin(str(n), Transaction(str(n), START_US + n * 1_000_000), n, {"connector": "test"})


def _change(
    operation: Operation,
    table: str | Table,
    after: Mapping[str, Any] | None,
    before: Mapping[str, Any] | None,
    key: Sequence[str] | None,
    origin: Origin | None,
    ordinal: int,
    old_key: Mapping[str, Any] | None = None,
) -> Change:
    row = {**(before or {}), **(after or {})}
    definition = table if isinstance(table, Table) else table_of(table, row, key)
    old: Mapping[str, Any] | None = old_key
    if old is None and before is not None and after is not None:
        names = definition.key_columns
        if any(before.get(name) != after.get(name) for name in names):
            old = {name: before.get(name) for name in names}
    return Change(
        operation,
        definition,
        origin or _origin(),
        ordinal,
        None if before is None else _values(definition, before),
        None if after is None else _values(definition, after),
        None,
        None if old is None else tuple(_raw(old[name]) for name in definition.key_columns),
    )


def insert(
    table: str | Table,
    row: Mapping[str, Any],
    *,
    key: Sequence[str] | None = None,
    origin: Origin | None = None,
    ordinal: int = 0,
) -> Change:
    """An insert.

    Parameters
    ----------
    table: its name, or its exact definition (columns that the row lacks are then null).
    row: column names and Python values; UNCHANGED where the log would not repeat a value.
    key: the key's columns; by default ``id`` where there is one, else the first column.
    origin: the transaction; by default each call is a transaction of its own, numbered on.
    ordinal: which change of its transaction this is.
    """
    return _change("insert", table, row, None, key, origin, ordinal)


def update(
    table: str | Table,
    after: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
    *,
    old_key: Mapping[str, Any] | None = None,
    key: Sequence[str] | None = None,
    origin: Origin | None = None,
    ordinal: int = 0,
) -> Change:
    """An update; parameters as :func:`insert`.

    Parameters
    ----------
    before: the whole old row, as under REPLICA IDENTITY FULL.
    old_key: the key before the change; taken from ``before`` where that is given.
    """
    return _change("update", table, after, before, key, origin, ordinal, old_key)


def delete(
    table: str | Table,
    row: Mapping[str, Any],
    *,
    key: Sequence[str] | None = None,
    origin: Origin | None = None,
    ordinal: int = 0,
) -> Change:
    """A delete of ``row``, which the log carried whole; parameters as :func:`insert`."""
    return _change("delete", table, None, row, key, origin, ordinal)


def read(
    table: str | Table,
    row: Mapping[str, Any],
    *,
    key: Sequence[str] | None = None,
    attempt: int = 1,
    ordinal: int = 0,
) -> Change:
    """A row of a snapshot; parameters as :func:`insert`."""
    change = _change("read", table, row, None, key, Origin(""), ordinal)
    change.origin = Origin(f"snapshot:{change.table}@{attempt}", source={"connector": "test"})
    return change


def truncate(table: str | Table, *, origin: Origin | None = None, ordinal: int = 0) -> Change:
    """A TRUNCATE of a table."""
    definition = table if isinstance(table, Table) else table_of(table, {})
    return Change("truncate", definition, origin or _origin(), ordinal)


def message(prefix: str, content: bytes | str, *, origin: Origin | None = None) -> Message:
    """A logical message."""
    origin = origin or _origin()
    body = content.encode() if isinstance(content, str) else content
    return Message(prefix, body, Mark(origin.mark, 0), origin.transaction)
