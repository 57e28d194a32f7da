"""What the catalog says of tables and the log does not: defaults, and unique keys.

They are facts of today, taken where the log shows a column of that name and type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, TypeAlias

from penstock.model import Column, Table
from penstock.sources.mysql.connection import Connection, quote, rows
from penstock.sources.mysql.position import Flavor
from penstock.sources.mysql.wire.layouts import TypesNeeded

_Name: TypeAlias = tuple[str, str]
_GENERATED: Final = "DEFAULT_GENERATED"
_AS_BYTES: Final = ("binary", "varbinary")


class Declared(NamedTuple):
    """A column as it was declared: the name of its type, and its default as SQL, if any."""

    kind: str
    default: str | None


class Declarations:
    """Of each table its columns by name, and the columns of the unique key that takes the place of
    a primary one. What was read is good for one description of the table."""

    def __init__(
        self,
        columns: Mapping[_Name, Mapping[str, Declared]],
        unique: Mapping[_Name, tuple[str, ...]],
        tables: Iterable[_Name] = (),
    ) -> None:
        self._columns = dict(columns)
        self._unique = dict(unique)
        self._fresh = set(tables)

    def learn(self, needed: TypesNeeded, news: Declarations) -> str:
        """Take over what was read of a table. Gives the name of the column's type, which is empty
        where it is gone."""
        table = needed.table
        self._columns[table] = news._columns.get(table, {})
        self._unique[table] = news._unique.get(table, ())
        self._fresh.add(table)
        found = self._columns[table].get(needed.column)
        return "" if found is None else found.kind

    def complete(self, table: Table) -> Table:
        """The table with what the catalog says of it. Raises TypesNeeded where it must be read."""
        name = (table.schema, table.name)
        if name not in self._fresh and table.columns:
            raise TypesNeeded(name, table.names[0])
        self._fresh.discard(name)
        declared = self._columns.get(name, {})
        columns = tuple(_column(column, declared.get(column.name)) for column in table.columns)
        unique: tuple[str, ...] = ()
        if not table.key_columns:
            nullable = {column.name: column.nullable for column in columns}
            found = self._unique.get(name, ())
            if all(nullable.get(column) is False for column in found):
                unique = found
        return replace(table, columns=columns, unique_columns=unique)


def _column(column: Column, declared: Declared | None) -> Column:
    if declared is None or declared.kind != column.type.name.removesuffix(" unsigned"):
        return column
    return replace(column, expression=declared.default)


def read(connection: Connection, flavor: Flavor, tables: Sequence[_Name]) -> Declarations:
    """The declarations of these tables."""
    if not tables:
        return Declarations({}, {})
    wanted = set(tables)
    names = sorted({schema for schema, _ in tables})
    within = f"table_schema IN ({', '.join(['%s'] * len(names))})"
    if len(tables) == 1:
        names, within = list(tables[0]), "table_schema = %s AND table_name = %s"
    columns: dict[_Name, dict[str, Declared]] = {}
    for schema, table, column, kind, default, extra in rows(
        connection,
        "SELECT table_schema, table_name, column_name, data_type, column_default, extra"
        f" FROM information_schema.columns WHERE {within}",
        *names,
    ):
        if (schema, table) in wanted:
            sql = _default(flavor, kind, default, extra)
            columns.setdefault((schema, table), {})[column] = Declared(kind, sql)
    return Declarations(columns, _unique(connection, within, names, wanted), tables)


def _default(flavor: Flavor, kind: str, default: str | None, extra: str) -> str | None:
    """A default as SQL, which MariaDB gives as such."""
    if default is None or (flavor == "mariadb" and default == "NULL"):
        return None
    if flavor == "mariadb" or kind == "bit":
        return default
    if extra.startswith(_GENERATED):
        return default if default.startswith("CURRENT_TIMESTAMP") else f"({default})"
    if kind in _AS_BYTES and default.startswith("0x"):
        return default if len(default) > 2 else None  # MySQL leaves out what begins with a zero
    return "'" + default.replace("\\", "\\\\").replace("'", "''") + "'"


def _unique(
    connection: Connection, within: str, names: Sequence[str], wanted: set[_Name]
) -> dict[_Name, tuple[str, ...]]:
    """Of tables without a primary key the columns of their first unique index without nulls."""
    indexes: dict[_Name, dict[str, list[str | None]]] = {}
    for schema, table, index, column, nulls in rows(
        connection,
        "SELECT table_schema, table_name, index_name, column_name, nullable"
        f" FROM information_schema.statistics WHERE non_unique = 0 AND {within}"
        " ORDER BY seq_in_index",
        *names,
    ):
        of_table = indexes.setdefault((schema, table), {})
        of_table.setdefault(index, []).append(None if nulls == "YES" else column)
    found: dict[_Name, tuple[str, ...]] = {}
    for name, of_table in indexes.items():
        fit = {i: columns for i, columns in of_table.items() if None not in columns}
        if name in wanted and fit and "PRIMARY" not in of_table:
            first = next(iter(fit)) if len(fit) == 1 else _first(connection, name, fit)
            found[name] = tuple(column for column in fit[first] if column is not None)
    return found


def _first(connection: Connection, name: _Name, indexes: Mapping[str, Any]) -> str:
    """Which of the indexes the table has first: an order that only this statement tells."""
    shown = rows(connection, f"SHOW INDEX FROM {'.'.join(map(quote, name))}")
    return next(str(row[2]) for row in shown if row[2] in indexes)
