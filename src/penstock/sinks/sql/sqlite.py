"""SQLite as a target.

There are no schemas, so a table keeps its name only; two source tables of one name are refused.
The file is put in write-ahead mode: readers see the last whole transaction while we write.

====================== ============ =================================================
source                 column       value
====================== ============ =================================================
integers               ``INTEGER``  the number
boolean                ``INTEGER``  0 or 1
floats                 ``REAL``     the number (0 for -0, which SQLite has not); NaN and
                                    infinities as their exact text
bytes                  ``BLOB``     the bytes
numeric and all others ``TEXT``     the exact text
====================== ============ =================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from penstock.errors import SchemaError
from penstock.model import Column, Kind, Table, Type
from penstock.registry import driver
from penstock.sinks.sql.dialect import Binder, Dialect, Target

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

NUMBER_MAX: Final = 2**63 - 1
BUSY_SECONDS = 10
"""How long to wait for another writer of the file."""


def _integer(raw: bytes) -> int:
    number = int(raw)
    if not -NUMBER_MAX - 1 <= number <= NUMBER_MAX:
        raise ValueError("SQLite keeps integers of 64 bits")
    return number


def _boolean(raw: bytes) -> int:
    return int(raw in (b"t", b"true", b"1"))


def _float(raw: bytes) -> float | str:
    number = float(raw)
    return number if math.isfinite(number) else raw.decode()


def _bytes(raw: bytes) -> bytes:
    return bytes.fromhex(raw[2:].decode()) if raw.startswith(b"\\x") else raw


_STORAGE: Final[dict[Kind, tuple[str, Binder]]] = {
    Kind.INTEGER: ("INTEGER", _integer),
    Kind.BOOLEAN: ("INTEGER", _boolean),
    Kind.FLOAT: ("REAL", _float),
    Kind.BYTES: ("BLOB", _bytes),
}
_TEXT: Final[tuple[str, Binder]] = ("TEXT", bytes.decode)


class SqliteDialect(Dialect):
    """See the module."""

    placeholder: ClassVar[str] = "?"
    has_schemas: ClassVar[bool] = False

    def engine(self) -> Engine:
        sqlalchemy = driver("sqlalchemy", "sql")
        engine: Engine = sqlalchemy.create_engine(
            self.url,
            poolclass=sqlalchemy.pool.NullPool,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
            hide_parameters=True,
        )
        sqlalchemy.event.listen(engine, "connect", _set_up)
        sqlalchemy.event.listen(engine, "begin", _begin)
        return engine

    def interrupt(self, connection: Connection) -> None:
        connection.connection.driver_connection.interrupt()  # type: ignore[union-attr]

    def check_name(self, name: str) -> None:
        if "\0" in name or name.lower().startswith("sqlite_"):
            raise SchemaError(f"SQLite reserves the name {name!r}", hint="rename it: transforms")

    def check_table(self, connection: Connection, table: Table) -> None:
        folded: dict[str, str] = {}
        for name in table.names:
            twin = folded.setdefault(_fold(name), name)
            if twin != name:
                raise SchemaError(
                    f"{table.text}: SQLite takes the columns {twin!r} and {name!r} for one",
                    hint="rename one of them with a transform",
                    table=table.text,
                )
        if _fold(table.name) in ("penstock_checkpoint", "penstock_table"):
            raise SchemaError(f"{table.text} is the sink's own table", table=table.text)
        connection.exec_driver_sql(
            "INSERT INTO penstock_table (name, source) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (_fold(table.name), table.text),
        )
        owner = connection.exec_driver_sql(
            "SELECT source FROM penstock_table WHERE name = ?", (_fold(table.name),)
        ).scalar_one()
        if owner != table.text:
            raise SchemaError(
                f"{owner} and {table.text} would both be the table {table.name!r} in SQLite",
                hint="rename one of them with a transform, or write to PostgreSQL",
                table=table.text,
            )

    def prepare(self, connection: Connection) -> None:
        """Whose table is whose: two source tables of one name must not meet, now or later."""
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS penstock_table "
            "(name TEXT PRIMARY KEY, source TEXT NOT NULL) WITHOUT ROWID"
        )

    def exists(self, connection: Connection, table: Table) -> bool:
        return self.describe(connection, table) is not None

    def describe(self, connection: Connection, table: Table) -> Target | None:
        columns = connection.exec_driver_sql(
            "SELECT name, type, pk FROM pragma_table_info(?)", (table.name,)
        ).all()
        if not columns:
            return None
        keys = [frozenset(name for name, _, part in columns if part)]
        indexes = connection.exec_driver_sql(
            'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (table.name,)
        ).scalars()
        for index in indexes.all():
            parts = connection.exec_driver_sql("SELECT name FROM pragma_index_info(?)", (index,))
            keys.append(frozenset(parts.scalars()))
        return Target(
            self.name(table),
            {name: declared.upper() for name, declared, _ in columns},
            [key for key in keys if key],
        )

    def declare(self, connection: Connection, table: Table, column: Column) -> str:
        return _STORAGE.get(column.type.kind, _TEXT)[0]

    def create_schema(self, connection: Connection, schema: str) -> None:
        raise AssertionError("SQLite has no schemas")

    def alter_type(self, target: Target, column: str, definition: str) -> str | None:
        return None

    def holds(self, declared: str, wanted: str) -> bool:
        return declared in (wanted, "", "BLOB", _TEXT[0])

    def literal(self, raw: bytes, type: Type) -> str:
        value = _STORAGE.get(type.kind, _TEXT)[1](raw)
        if isinstance(value, bytes):
            return f"X'{value.hex()}'"
        return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)

    def truncate(self, target: Target) -> str:
        return f"DELETE FROM {target.name}"

    def binders(
        self, connection: Connection, definition: Table, target: Target
    ) -> Sequence[Binder] | None:
        return [
            _TEXT[1]
            if target.columns[column.name] == _TEXT[0]
            else _STORAGE.get(column.type.kind, _TEXT)[1]
            for column in definition.columns
        ]


def _fold(name: str) -> str:
    """A name as SQLite compares it: ASCII letters without case."""
    return name.encode().lower().decode()


def _set_up(connection: Any, _: object) -> None:
    # The driver begins no transaction by itself (it would leave DDL outside): `_begin` does.
    connection.isolation_level = None
    execute: Callable[[str], object] = connection.execute
    execute("PRAGMA journal_mode = WAL")
    execute("PRAGMA synchronous = FULL")
    execute("PRAGMA foreign_keys = OFF")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
