"""Applies a table's net changes in as few statements as its rows allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain, count, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import SinkError, SinkUnavailableError
from penstock.model import UNCHANGED, Change, Raw, Table
from penstock.model.loads import Load, copy_text
from penstock.sinks.sql.dialect import Dialect, Statement, Target
from penstock.sinks.sql.failures import failure
from penstock.sinks.sql.net import Net, Values, drift, key_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

_STAGES: Final = count(1)


class Applier:
    """Writes rows of one version of a table, on one connection.

    The statements are made once. What is to be done is held until :meth:`apply`: loads, or the net
    of all other changes; whichever comes second has the first one applied.
    """

    def __init__(
        self, connection: Connection, dialect: Dialect, definition: Table, target: Target
    ) -> None:
        self.definition = definition
        self._net = Net(definition)
        self.loads: list[tuple[Load, bool]] = []
        """What is held, and whether it cannot be in the target."""
        self._connection = connection
        self._dialect = dialect
        self._target = target.name
        self._binders = dialect.binders(connection, definition, target)
        self._stage: str | None = None
        self._refused = self._untried = 0  # loads, lately
        p, quote = dialect.placeholder, dialect.quote
        names = [quote(name) for name in definition.names]
        keys = [names[i] for i in definition.key_indexes]
        rest = [name for name in names if name not in keys]
        self._names = names
        self._columns = ", ".join(names)
        self._key_is = " AND ".join(f"{name} = {p}" for name in keys)
        into = f"INSERT INTO {target.name} ({self._columns}) VALUES "
        values = f"({', '.join([p] * len(names))})"
        gone = f"DELETE FROM {target.name} WHERE "
        self._on_conflict = dialect.on_conflict(connection, target, keys, rest)
        self._insert = Statement(into + values, (into, ""))
        self._insert_or_update = Statement(
            into + values + self._on_conflict, (into, self._on_conflict)
        )
        self._delete = Statement(gone + self._key_is, (f"{gone}({', '.join(keys)}) IN (", ")"))
        self._update = cache(self._update_of)

    def load(self, load: Load, *, new: bool) -> None:
        """Take many rows that the source inserted, or read.

        Parameters
        ----------
        new: whether none of them can be in the target.
        """
        if not (new or self._net.passable):
            for change in load.changes():
                self.change(change)
            return
        if self._net:
            self.apply()
        self.loads.append((load, new))

    def append(self, row: Sequence[Raw]) -> None:
        """Take a row that cannot be in the target."""
        if self.loads or self._net.rows:
            self.apply()
        self._net.appended.append(row)

    def change(self, change: Change[Any]) -> None:
        """Take any other change, but a truncate."""
        self._copy_loads()
        if not self._net.add(change):
            self.apply()
            self._move(change)

    def end_source_transaction(self) -> None:
        """All changes of a source transaction were taken."""
        self._net.end_transaction()

    def clear(self) -> None:
        """Forget what is held."""
        self.loads.clear()
        self._net.clear()

    def apply(self) -> None:
        """Write what is held. Raises SinkError for what the target does not take."""
        self._copy_loads()
        net = self._net
        if net.appended:
            self._append(net.appended)
        deletions: list[Values] = []
        rows: list[Values] = []
        partial: dict[tuple[int, ...], list[tuple[Values, Values]]] = defaultdict(list)
        for key, row in net.rows.items():
            if row is None:
                deletions.append(key)
            elif UNCHANGED in row:
                present = tuple(i for i, raw in enumerate(row) if raw is not UNCHANGED)
                partial[present].append((key, row))
            else:
                rows.append(row)
        if deletions:
            self._run("delete from", self._delete, [self._key(k) for k in deletions], deletions)
        for present, changes in partial.items():
            self._patch(present, changes)
        if rows:
            self._upsert(rows)
        net.clear()

    def _copy_loads(self) -> None:
        """Copy what was loaded into the table; where it does not take the rows, into the net: a row
        of such a key is there, or a constraint wants to name the one it dislikes."""
        held, self.loads = self.loads, []
        for new, group in groupby(held, key=itemgetter(1)):
            loads = [load for load, _ in group]
            text, rows = b"".join(load.text for load in loads), sum(load.rows for load in loads)
            if new or not self.definition.key_columns:
                self._copy(text, rows)
            elif not self._is_copied(text, rows):
                for change in chain.from_iterable(load.changes() for load in loads):
                    self._net.add(change)
                self.apply()

    def _is_copied(self, text: bytes, rows: int) -> bool:
        """Copy rows that are hardly ever in the target; False, and nothing done, where one is.

        After a failure more and more loads are not tried.
        """
        if self._untried:
            self._untried -= 1
            return False
        savepoint = self._connection.begin_nested()
        try:
            self._copy(text, rows)
        except SinkUnavailableError:
            raise
        except SinkError:
            savepoint.rollback()
            self._refused = min(self._refused + 1, 6)
            self._untried = 2**self._refused
            return False
        savepoint.commit()
        self._refused = 0
        return True

    def _move(self, change: Change[Any]) -> None:
        """Give a row its new key where only the target knows all its values."""
        row, old = change.values_after, change.key_old
        assert row is not None
        assert old is not None
        present = tuple(i for i, raw in enumerate(row) if raw is not UNCHANGED)
        self._patch(present, [(tuple(old), tuple(row))])

    def end_transaction(self) -> None:
        """The target transaction is over, and its temporary table gone."""
        self._stage = None

    def _append(self, rows: Sequence[Sequence[Raw]]) -> None:
        if self._is_bulk(rows):
            self._copy(copy_text(rows), len(rows))
            return
        self._run("insert into", self._insert, [self._row(row) for row in rows])

    def _copy(self, text: bytes, rows: int) -> None:
        with self._explained("copy into", rows):
            self._dialect.load(self._connection, self._target, self._columns, text)

    def _upsert(self, rows: list[Values]) -> None:
        keys = [tuple(row[i] for i in self.definition.key_indexes) for row in rows]
        statement = self._insert_or_update
        if not self._is_bulk(rows):
            self._run("upsert into", statement, [self._row(row) for row in rows], keys)
            return
        with self._searching("upsert into", statement, rows, keys):
            self._merge(rows)

    def _merge(self, rows: list[Values]) -> None:
        """Upsert many rows through a temporary table."""
        execute = self._connection.exec_driver_sql
        if self._stage is None:
            self._stage = f"pg_temp.penstock_stage_{next(_STAGES)}"
            execute(
                f"CREATE TEMP TABLE {self._stage} ON COMMIT DROP "
                f"AS SELECT {self._columns} FROM {self._target} WITH NO DATA"
            )
        else:
            execute(f"TRUNCATE {self._stage}")
        self._dialect.load(self._connection, self._stage, self._columns, copy_text(rows))
        execute(
            f"INSERT INTO {self._target} ({self._columns}) SELECT {self._columns} "
            f"FROM {self._stage}{self._on_conflict}"
        )

    def _patch(self, present: tuple[int, ...], changes: list[tuple[Values, Values]]) -> None:
        statement = self._update(present)
        parameters = [
            (*(self._value(i, row[i]) for i in present), *self._key(key)) for key, row in changes
        ]
        keys = [key for key, _ in changes]
        if self._run("update", statement, parameters, keys) == len(changes):
            return
        probe = f"SELECT 1 FROM {self._target} WHERE {self._key_is}"
        for key, row in changes:
            now = tuple(row[i] for i in self.definition.key_indexes)
            if not self._connection.exec_driver_sql(probe, self._key(now)).first():
                raise drift(self.definition, key)

    def _update_of(self, present: tuple[int, ...]) -> Statement:
        p = self._dialect.placeholder
        assignments = ", ".join(f"{self._names[i]} = {p}" for i in present)
        return Statement(f"UPDATE {self._target} SET {assignments} WHERE {self._key_is}")

    def _is_bulk(self, rows: Sequence[object]) -> bool:
        bulk = self._dialect.bulk
        return bulk is not None and len(rows) >= bulk

    def _value(self, i: int, raw: Raw) -> Any:
        if raw is None or self._binders is None:
            return raw
        assert raw is not UNCHANGED
        try:
            return self._binders[i](raw)
        except ValueError as error:
            raise self._unfit(i, error) from None

    def _row(self, row: Sequence[Raw]) -> tuple[Any, ...]:
        if self._binders is None:
            return tuple(row)
        try:
            return tuple(
                None if raw is None else bind(raw)  # type: ignore[arg-type] # whole rows: none is UNCHANGED
                for bind, raw in zip(self._binders, row, strict=True)
            )
        except ValueError:
            return tuple(self._value(i, raw) for i, raw in enumerate(row))  # names the column

    def _unfit(self, i: int, error: ValueError) -> SinkError:
        column, table = self.definition.columns[i], self.definition.text
        return SinkError(
            f"{table}.{column.name}: the target has no such {column.type.sql}: {error}",
            hint="make the column a text in the target, by hand: it then keeps the exact text",
            table=table,
        )

    def _key(self, key: Values) -> tuple[Any, ...]:
        return tuple(
            self._value(i, raw) for i, raw in zip(self.definition.key_indexes, key, strict=True)
        )

    def _run(
        self,
        doing: str,
        statement: Statement,
        parameters: list[tuple[Any, ...]],
        keys: Sequence[Values] = (),
    ) -> int:
        if len(parameters) == 1:
            with self._explained(doing, 1, keys):
                return self._dialect.execute(self._connection, statement, parameters)
        with self._searching(doing, statement, parameters, keys):
            return self._dialect.execute(self._connection, statement, parameters)

    @contextmanager
    def _searching(
        self,
        doing: str,
        statement: Statement,
        parameters: Sequence[tuple[Any, ...]],
        keys: Sequence[Values],
    ) -> Iterator[None]:
        """Name the one row of many that the target does not take."""
        savepoint = self._connection.begin_nested()
        try:
            yield
        except self._dialect.errors as error:
            together = failure(error, f"{doing} {self.definition.text} ({len(parameters)} rows)")
            if isinstance(together, SinkUnavailableError):
                # SQLite may have rolled back all, the savepoint too: what came now would stay.
                raise together from None
            savepoint.rollback()
            for parameter, key in zip(parameters, keys, strict=False):
                with self._explained(doing, 1, [key]):
                    self._dialect.execute(self._connection, statement, [parameter])
            raise together from None
        savepoint.commit()

    @contextmanager
    def _explained(self, doing: str, rows: int, keys: Sequence[Values] = ()) -> Iterator[None]:
        try:
            yield
        except self._dialect.errors as error:
            which = f" ({rows} rows)" if rows > 1 else ""
            if keys:
                which = " " + key_text(self.definition, keys[0])
            table = self.definition.text
            raise failure(error, f"{doing} {table}{which}", table) from None
