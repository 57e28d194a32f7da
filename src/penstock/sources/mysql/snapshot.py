"""The copy of the due tables' rows, all in one consistent read, which begins where the log goes on.

MariaDB tells a consistent read's place in the log without a lock. MySQL does not: there commits are
held up by a global lock for the moment that the read takes to begin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from penstock.errors import SchemaError, SourceError
from penstock.failpoints import Failpoint
from penstock.model import (
    Batch,
    Change,
    Checkpoint,
    Event,
    EventBatch,
    Mark,
    Origin,
    SnapshotBegin,
    SnapshotEnd,
    Table,
)
from penstock.model.projection import ProjectionOf, whole
from penstock.model.stream import snapshot_mark, snapshot_stream
from penstock.registry import driver
from penstock.sources.mysql import catalog, position
from penstock.sources.mysql.connection import Server, error_number, one, quote, rows
from penstock.sources.mysql.history import executed, place
from penstock.sources.mysql.position import Flavor
from penstock.sources.mysql.wire.layouts import as_told
from penstock.sources.mysql.wire.resultrows import row_reader, selected

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection
    from penstock.sources.mysql.session import Session

BLOCK: Final = 1000
"""Rows of a batch at most."""
_BLOCK_BYTES: Final = 1 << 20
_LOCK_WAIT: Final = (1205, 3024)
_CHANGED: Final = 1412


@dataclass(frozen=True, slots=True)
class Due:
    """A table to copy, and the number of this attempt."""

    schema: str
    name: str
    attempt: int


@dataclass(slots=True)
class Progress:
    """How far a snapshot is, for people who wait."""

    tables: int
    started: float
    table: str = ""
    rows: int = 0
    tables_done: int = 0

    def status(self, now: float) -> dict[str, Any]:
        """For ``status()``."""
        seconds = max(now - self.started, 1e-9)
        return {
            "table": self.table,
            "rows": self.rows,
            "rows_per_second": round(self.rows / seconds),
            "tables_done": self.tables_done,
            "tables": self.tables,
        }


class Begun(NamedTuple):
    """A connection whose reads are consistent, the transactions that they show, and their place in
    the log: a file and a position."""

    reader: Connection
    gtids: str
    place: tuple[str, int]


def begin(server: Server, flavor: Flavor, lock_timeout: float, *, by_place: bool) -> Begun:
    """Begin a consistent read.

    Parameters
    ----------
    by_place: tell what it shows by a place in the log.

    Raises SourceError when the lock is not to be had in time.
    """
    cursors = driver("pymysql.cursors", "mysql")
    reader = server.connect(cursorclass=cursors.SSCursor, use_unicode=False, autocommit=False)
    reader.decoders = {}  # values stay what the server wrote
    try:
        rows(reader, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        if flavor == "mariadb":
            return Begun(reader, *_begin_mariadb(reader))
        return Begun(reader, *_begin_locked(server, reader, lock_timeout, by_place))
    except BaseException:
        reader.close()
        raise


def _begin_mariadb(reader: Connection) -> tuple[str, tuple[str, int]]:
    """https://mariadb.com/kb/en/enhancements-for-start-transaction-with-consistent-snapshot/"""
    rows(reader, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
    found = {
        name.decode().lower(): value
        for name, value in rows(reader, "SHOW STATUS LIKE 'binlog_snapshot_%'")
    }
    file, place = found["binlog_snapshot_file"].decode(), found["binlog_snapshot_position"].decode()
    gtids: bytes = one(reader, f"SELECT BINLOG_GTID_POS('{file}', {place})")
    return gtids.decode(), (file, int(place))


def _begin_locked(
    server: Server, reader: Connection, lock_timeout: float, by_place: bool
) -> tuple[str, tuple[str, int]]:
    pymysql = driver("pymysql", "mysql")
    with server.connect() as locking:
        rows(locking, f"SET SESSION lock_wait_timeout = {int(lock_timeout)}")
        try:
            rows(locking, "FLUSH TABLES WITH READ LOCK")
        except pymysql.Error as error:
            if error_number(error) not in _LOCK_WAIT:
                raise
            raise SourceError(
                f"writers could not be held up within {lock_timeout:g} s, for the moment in which "
                "the snapshot begins",
                hint="a statement that runs long holds a table; see SHOW PROCESSLIST",
            ) from None
        try:
            rows(reader, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
            return executed(locking, "mysql", by_place=by_place), place(locking)
        finally:
            rows(locking, "UNLOCK TABLES")


class Snapshot:
    """The rows of the due tables, table by table.

    Parameters
    ----------
    session: with the reader; closed by who made it.
    due: the tables.
    at: the transactions that their rows show.
    place: where in the log that is.
    complete: adds to a table what the catalog says of it.
    """

    def __init__(
        self,
        session: Session,
        due: Sequence[Due],
        flavor: Flavor,
        at: str,
        place: tuple[str, int],
        hit: Callable[[Failpoint], None],
        projection_of: ProjectionOf = whole,
        complete: Callable[[Table], Table] = as_told,
    ) -> None:
        self._session = session
        self._due = due
        self._flavor: Flavor = flavor
        self._at = at
        self._facts = {"type": flavor, "gtids": at, "file": place[0], "pos": place[1]}
        self._hit = hit
        self._projection_of = projection_of
        self._complete = complete
        self.progress = Progress(len(due), time.monotonic())

    async def batches(self) -> AsyncIterator[Batch]:
        """All rows; each table with its beginning, its end, and its checkpoint only there."""
        for due in self._due:
            self._hit(Failpoint.SNAPSHOT_BEGUN)
            blocks = self._blocks(due)
            while (batch := await asyncio.to_thread(next, blocks, None)) is not None:
                self._hit(Failpoint.SNAPSHOT_BLOCK)
                if batch.checkpoint is not None:
                    self._hit(Failpoint.SNAPSHOT_READ)
                yield batch
            self.progress.tables_done += 1

    def _blocks(self, due: Due) -> Iterator[Batch]:
        """A table's rows in batches. Blocks the thread."""
        table = catalog.described(self._session.control, due.schema, due.name)
        if not table.columns:
            raise SchemaError(f"{due.schema}.{due.name} is gone", table=table.text)
        table = self._complete(table)
        projection = self._projection_of(table)
        shown = table if projection is None else projection.table
        read = row_reader(table)
        self.progress.table = shown.text
        origin = Origin(snapshot_mark(shown.text, due.attempt), None, None, self._facts)
        events: list[Event] = [SnapshotBegin(shown, due.attempt, first=due is self._due[0])]
        size = count = 0
        for values in self._values(table):
            row = read(values)
            if projection is not None:
                row = projection.values(row)
            events.append(Change("read", shown, origin, count, None, row))
            count += 1
            size += sum(map(len, filter(None, values)))
            if len(events) > BLOCK or size >= _BLOCK_BYTES:
                # The last rows come with the end.
                kept = events.pop()
                yield self._batch(shown, events, size)
                events, size = [kept], 0
                self.progress.rows += BLOCK
        events.append(SnapshotEnd(shown, due.attempt, count, last=due is self._due[-1]))
        end = position.snapshot_checkpoint(shown.text, due.attempt, self._flavor, self._at)
        yield self._batch(shown, events, size, end)

    def _batch(
        self, table: Table, events: list[Event], size: int, end: Checkpoint | None = None
    ) -> Batch:
        marks: Iterator[Mark] = (e.mark for e in reversed(events) if isinstance(e, Change))
        return EventBatch(snapshot_stream(table.text), events, next(marks, None), end, size)

    def _values(self, table: Table) -> Iterator[Sequence[bytes | None]]:
        pymysql = driver("pymysql", "mysql")
        reader = self._session.reader
        assert reader is not None
        columns = ", ".join(map(selected, table.columns))
        key = ", ".join(map(quote, table.key_columns))
        order = f" ORDER BY {key}" if key else ""
        sql = f"SELECT {columns} FROM {quote(table.schema)}.{quote(table.name)}{order}"
        try:
            with reader.cursor() as cursor:
                cursor.execute(sql)
                while found := cursor.fetchmany(BLOCK):
                    yield from found
        except pymysql.Error as error:
            if error_number(error) != _CHANGED:
                raise
            raise SourceError(
                f"{table.text} was altered while its snapshot was to be read",
                hint="run again: the copy of this table begins anew",
                table=table.text,
            ) from None
