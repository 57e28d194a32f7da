"""Target tables: created on first sight, widened as the source's grow, never narrowed or dropped.

A column that the source dropped stays, a renamed one becomes a new one. A table version older
than the target alters nothing. Whatever would lose or alter values stops the sink before it
writes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from penstock.errors import SchemaError, SinkUnavailableError
from penstock.model import Column, Table
from penstock.sinks.sql.dialect import Dialect, Target
from penstock.sinks.sql.widening import widens

if TYPE_CHECKING:
    from sqlalchemy import Connection

NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})

_CONSTANT: Final = re.compile(
    r"\(?(?P<number>-?\d+(?:\.\d+)?)\)?|(?P<word>true|false)|'(?P<text>(?:[^']|'')*)'"
)
_CAST: Final = re.compile(r"""(::[a-z_"][\w\s."(),]*(\[\])*)?""")


def constant(default: str | None) -> bytes | None:
    """The raw text of a column's default where it is a constant; else None."""
    if default is None:
        return None
    match = _CONSTANT.match(default)
    if match is None or not _CAST.fullmatch(default, match.end()):
        return None
    if match["text"] is not None:
        return match["text"].replace("''", "'").encode()
    return (match["number"] or match["word"]).encode()


class Schema:
    """The target's tables, as seen on one connection; a rollback ends its life.

    DDL runs in the open transaction, with the rows that need it. Where it would commit that, it
    runs beside it, and never alters a table that our transaction may use.

    Parameters
    ----------
    connection: that of the transaction; or, where DDL commits, another one in autocommit mode.
    let_go: rolls the transaction back.
    """

    def __init__(
        self,
        connection: Connection,
        dialect: Dialect,
        logger: logging.Logger,
        let_go: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._dialect = dialect
        self._let_go = let_go
        self._logger = logger
        self._targets: dict[str, Target] = {}

    def change(self, before: Table | None, after: Table) -> None:
        """Follow a change of a table's shape.

        Raises SchemaError when a column's new type does not hold all values of its old one: the
        source altered old rows, and the log does not tell how.
        """
        if not self._dialect.transactional_ddl:
            self._dialect.revive(self._connection)
        if before is not None:
            self._compare(before, after)
            self._tell_returning(before, after)
        self.ensure(after, self._renamed(before, after))

    def _tell_returning(self, before: Table, after: Table) -> None:
        """A column that was dropped and is added again: the target still has its old values."""
        target = self._dialect.describe(self._connection, after)
        for name in after.names if target is not None else ():
            if name not in before.index and name in target.columns:  # type: ignore[union-attr] # the loop asks
                self._logger.warning(
                    "%s: the new column %r has the name of one that the target already has, with "
                    "that one's values in old rows: if the source dropped it and added it again, "
                    "snapshot the table again",
                    after.text,
                    name,
                )

    def _renamed(self, before: Table | None, after: Table) -> Mapping[str, str]:
        """Columns that came while one of the same type went, and that one: the log shows a
        renaming no otherwise. What the log did not show before is compared with the target."""
        if before is not None:
            old = {c.name: c.type.sql for c in before.columns}
            new = {c.name: c.type.sql for c in after.columns}
        else:
            target = self._dialect.describe(self._connection, after)
            old = target.columns if target is not None else {}
            new = {c.name: self._dialect.declare(self._connection, after, c) for c in after.columns}
        gone = {type: name for name, type in old.items() if name not in new}
        return {n: gone[type] for n, type in new.items() if n not in old and type in gone}

    def _compare(self, before: Table, after: Table) -> None:
        if before.text == after.text:
            if before.oid != after.oid:
                self._logger.warning(
                    "%s was made again at the source: rows of the dropped table stay in the "
                    "target until a snapshot or a truncate removes them",
                    after.text,
                )
        elif self._dialect.exists(self._connection, before):
            raise SchemaError(
                f"{before.text} was renamed to {after.text} at the source",
                hint=f"rename it in the target: ALTER TABLE {self._dialect.plain_name(before)} "
                f"RENAME TO {self._dialect.plain(self._dialect.quote(after.name))}",
                table=after.text,
            )
        for column in after.columns:
            position = before.index.get(column.name)
            if position is None:
                continue
            old, new = before.columns[position].type.sql, column.type.sql
            if not widens(old, new):
                raise SchemaError(
                    f"{after.text}.{column.name} became {new}, which does not hold every {old}: "
                    "old rows may have been altered, and the log does not tell",
                    hint=f"snapshot {after.text} again into a new target table",
                    table=after.text,
                )

    def ensure(self, table: Table, renamed: Mapping[str, str] = NO_NAMES) -> Target:
        """The target of a table, made or widened to hold this version of it.

        Parameters
        ----------
        renamed: new columns that may be old ones under a new name, and those.

        Raises SchemaError where the two cannot fit.
        """
        target = self._targets.get(table.text)
        if target is None:
            if not self._dialect.transactional_ddl:
                self._dialect.revive(self._connection)
            if not table.columns:
                raise SchemaError(f"{table.text} has no columns to keep", table=table.text)
            self._dialect.check_table(self._connection, table)
            target = self._dialect.describe(self._connection, table)
            if target is None:
                target = self._create(table)
            self._targets[table.text] = target
        self._check_key(table, target)
        additions = [c for c in table.columns if c.name not in target.columns]
        changes = self._type_changes(table, target)
        for column in additions:
            self._add(table, target, column, renamed.get(column.name))
        for name, declared in changes.items():
            statement = self._dialect.alter_type(target, name, self._definition(declared))
            if statement is not None:
                self._logger.info("%s: %s becomes %s", table.text, name, declared)
                self._alter(statement, table, name, declared)
            target.columns[name] = declared
        return target

    def _create(self, table: Table) -> Target:
        dialect = self._dialect
        columns = {c.name: dialect.declare(self._connection, table, c) for c in table.columns}
        lines = [
            f"{dialect.quote(name)} {self._definition(declared)}"
            + (" NOT NULL" if name in table.key_columns else "")
            for name, declared in columns.items()
        ]
        if table.key_columns:
            lines.append(f"PRIMARY KEY ({', '.join(map(dialect.quote, table.key_columns))})")
        schema = dialect.schema(table)
        if schema:
            dialect.create_schema(self._connection, schema)
        target = Target(dialect.name(table), columns, [frozenset(table.key_columns)])
        self._logger.info("create table %s", dialect.plain(target.name))
        statement = f"CREATE TABLE {target.name} ({', '.join(lines)}){dialect.table_options()}"
        self._connection.exec_driver_sql(statement)
        return target

    def _check_key(self, table: Table, target: Target) -> None:
        if not table.key_columns or frozenset(table.key_columns) in target.keys:
            return
        key = ", ".join(self._dialect.plain(self._dialect.quote(k)) for k in table.key_columns)
        name = self._dialect.plain(target.name)
        raise SchemaError(
            f"{table.text} has the key ({', '.join(table.key_columns)}), "
            f"which the target's {name} does not keep unique",
            hint=self._dialect.key_hint(self._connection, name, key),
            table=table.text,
        )

    def _type_changes(self, table: Table, target: Target) -> dict[str, str]:
        changes = {}
        for column in table.columns:
            declared = target.columns.get(column.name)
            if declared is None:
                continue
            wanted = self._dialect.declare(self._connection, table, column)
            if self._dialect.holds(declared, wanted):
                continue
            if not widens(declared, wanted):
                name = self._dialect.plain(target.name)
                raise SchemaError(
                    f"{table.text}.{column.name} is {column.type.sql}; "
                    f"the target's {declared} does not hold it",
                    hint=f"make {name}.{column.name} {wanted}, by hand or by a new snapshot",
                    table=table.text,
                )
            changes[column.name] = wanted
        return changes

    def _add(self, table: Table, target: Target, column: Column, renamed: str | None) -> None:
        dialect = self._dialect
        declared = dialect.declare(self._connection, table, column)
        statement = (
            f"ALTER TABLE {target.name} ADD COLUMN {dialect.quote(column.name)} "
            f"{self._definition(declared)}"
        )
        default = constant(column.default) if renamed is None else None
        if default is not None:
            statement += f" DEFAULT {dialect.literal(default, column.type)}"
        self._logger.info("%s: add column %s %s", table.text, column.name, declared)
        self._tell_added(table, column, renamed, default)
        self._alter(statement, table, column.name, declared)
        target.columns[column.name] = declared

    def _tell_added(
        self, table: Table, column: Column, renamed: str | None, default: bytes | None
    ) -> None:
        """What rows that the target already had do not have in a new column."""
        if renamed is not None:
            self._logger.warning(
                "%s: the new column %r is null in rows that the target already had: if it is %r "
                "under a new name, copy that column, which stays, or snapshot the table again",
                table.text,
                column.name,
                renamed,
            )
        elif default is None and (column.default is not None or column.nullable is False):
            self._logger.warning(
                "%s: the new column %r is null in rows that the target already had; "
                "the source's values of them are not in the log: snapshot the table again",
                table.text,
                column.name,
            )

    def _alter(self, statement: str, table: Table, column: str, declared: str) -> None:
        """Alter a table, so that a column is as declared.

        Raises SinkUnavailableError, so that all is fed again, where that is only possible between
        two transactions: it is then done, and the open one rolled back.
        """
        if not self._dialect.transactional_ddl:
            self._let_go()
        self._connection.exec_driver_sql(statement)
        if self._dialect.transactional_ddl:
            return
        target = self._dialect.describe(self._connection, table)
        found = target.columns.get(column) if target is not None else None
        if found != declared:  # all would be fed again for ever
            raise SchemaError(
                f"{table.text}.{column} was to become {declared} in the target, and is {found}",
                hint="make it so by hand",
                table=table.text,
            )
        raise SinkUnavailableError(
            f"{table.text} was altered, which the target does between transactions only: what came "
            "before is fed again"
        )

    def _definition(self, declared: str) -> str:
        """A declared type for a statement's text."""
        definition = self._dialect.define(self._connection, declared)
        return definition.replace("%", "%%") if self._dialect.placeholder == "%s" else definition
