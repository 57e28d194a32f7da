"""The copy of the due tables' rows, all as they were at one moment, where the log goes on.

The readers have begun together (:mod:`~penstock.sources.mysql.moment`), and know the tables as
they were then. Nothing keeps statements from altering a table before it is read: one that is not as
it was is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import SchemaError
from penstock.failpoints import Failpoint
from penstock.model import (
    Batch,
    Change,
    Checkpoint,
    Event,
    EventBatch,
    Origin,
    SnapshotBegin,
    SnapshotEnd,
    Table,
)
from penstock.model.projection import Projection, ProjectionOf, whole
from penstock.model.stream import snapshot_mark, snapshot_stream
from penstock.sources.mysql import catalog, parts, position
from penstock.sources.mysql.position import Flavor
from penstock.sources.mysql.reader import altered
from penstock.sources.mysql.readers import Block, Readers
from penstock.sources.mysql.wire.alterations import Name
from penstock.sources.mysql.wire.layouts import as_told
from penstock.sources.mysql.wire.resultrows import Row
from penstock.sources.mysql.wire.tablemap import TableMap
from penstock.sources.mysql.wire.types import make_table

if TYPE_CHECKING:
    from penstock.sources.mysql.session import Session

_OBJECT: Final = 48
"""Bytes that a value takes beside those of the row, which are few: budgets are there for memory."""


@dataclass(frozen=True, slots=True)
class Due:
    """A table to copy, and the number of this attempt."""

    schema: str
    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Moment:
    """What all readers see.

    Parameters
    ----------
    at: the transactions that it shows.
    place: where in the log that is: a file and a position.
    shapes: the tables as they were; None for those that were not there.
    """

    readers: Readers
    at: str
    place: tuple[str, int]
    shapes: Mapping[Name, TableMap | None]


@dataclass(slots=True)
class Progress:
    """How far a snapshot is, for people who wait.

    Parameters
    ----------
    table: the table whose rows are given out now.
    rows: rows given out of all tables.
    total: the server's idea of how many there are.
    tables_done, tables: how many tables are finished, and how many there are.
    started: on the monotonic clock.
    """

    tables: int
    total: int
    started: float
    table: str = ""
    rows: int = 0
    tables_done: int = 0

    def status(self, now: float) -> dict[str, Any]:
        """For ``status()``: with the rate, and the seconds left where they can be guessed."""
        rate = self.rows / max(now - self.started, 1e-9)
        return {
            "table": self.table,
            "rows": self.rows,
            "rows_total": self.total,
            "rows_per_second": round(rate),
            "seconds_left": max(self.total - self.rows, 0) / rate if rate else None,
            "tables_done": self.tables_done,
            "tables": self.tables,
        }


@dataclass(frozen=True, slots=True)
class _Table:
    due: Due
    whole: parts.Whole
    estimate: parts.Estimate


class Snapshot:
    """The rows of the due tables, table by table, the largest first.

    Parameters
    ----------
    session: closes the readers, whatever happens.
    due: the tables.
    hit: called at each failpoint.
    projection_of: what goes on of a table.
    complete: adds to a table what the catalog says of it.
    """

    def __init__(
        self,
        session: Session,
        due: Sequence[Due],
        flavor: Flavor,
        moment: Moment,
        hit: Callable[[Failpoint], None],
        projection_of: ProjectionOf = whole,
        complete: Callable[[Table], Table] = as_told,
    ) -> None:
        self._session = session
        self._due = due
        self._flavor: Flavor = flavor
        self._moment = moment
        self._hit = hit
        self._projection_of = projection_of
        self._complete = complete
        file, place = moment.place
        self._facts = {"type": flavor, "gtids": moment.at, "file": file, "pos": place}
        self.progress: Progress | None = None

    async def batches(self) -> AsyncIterator[Batch]:
        """All rows; each table with its beginning, its end, and its checkpoint only there."""
        tables = await self._session.blocking(self._describe)
        rows = sum(table.estimate.rows for table in tables)
        self.progress = progress = Progress(len(tables), rows, time.monotonic())
        self._moment.readers.read((table.whole.table.text, table.whole) for table in tables)
        for table in tables:
            first, last = table is tables[0], table is tables[-1]
            async for batch in self._rows(table, progress, first=first, last=last):
                yield batch
            progress.tables_done += 1

    def _describe(self) -> list[_Table]:
        self._collations = catalog.collations(self._session.control)
        tables = [self._describe_one(due) for due in self._due]
        return sorted(tables, key=lambda table: table.estimate.size, reverse=True)

    def _altered(self, due: Due) -> bool:
        """Whether a table is not what it was at the moment."""
        control, name = self._session.control, (due.schema, due.name)
        return catalog.mapped(control, *name, self._collations) != self._moment.shapes[name]

    def _describe_one(self, due: Due) -> _Table:
        shape = self._moment.shapes.get((due.schema, due.name))
        if shape is None:
            raise SchemaError(f"{due.schema}.{due.name} is gone", table=f"{due.schema}.{due.name}")
        return _Table(due, *parts.whole(self._session.control, make_table(shape)))

    async def _rows(
        self, table: _Table, progress: Progress, *, first: bool, last: bool
    ) -> AsyncIterator[Batch]:
        """One table's rows. A block is held back until the next is there, so that the last rows
        come with the end and the checkpoint."""
        self._hit(Failpoint.SNAPSHOT_BEGUN)
        whole, due = table.whole.table, table.due
        shown = self._complete(whole)
        copy = _Copy(
            shown,
            due.attempt,
            self._facts,
            self._projection_of(shown),
            first=first,
            last=last,
        )
        progress.table = copy.table.text
        done = progress.rows
        held: Block = ([], 0)
        while True:
            block, batch = await asyncio.to_thread(self._go_on, whole.text, copy, held)
            if batch is not None:
                progress.rows = done + copy.rows
                yield batch
            if block is None:
                break
            held = block
            self._hit(Failpoint.SNAPSHOT_BLOCK)
        self._hit(Failpoint.SNAPSHOT_READ)
        if await self._session.blocking(self._altered, due):
            raise altered(whole.text)
        end = position.snapshot_checkpoint(
            copy.table.text, due.attempt, self._flavor, self._moment.at
        )
        batch = await asyncio.to_thread(copy.batch, held, end)
        progress.rows = done + copy.rows
        yield batch

    def _go_on(self, table: str, copy: _Copy, held: Block) -> tuple[Block | None, Batch | None]:
        """The next block, None after the last, and the rows of the one before unless they are the
        last. Blocks the thread."""
        block = self._moment.readers.next(table)
        return block, copy.batch(held) if held[0] and block is not None else None


class _Copy:
    """Makes batches of one table's rows.

    Parameters
    ----------
    facts: about the source, for changes.
    projection: what goes on of the table.
    first, last: whether it is the first or the last table of the snapshot.

    Attributes
    ----------
    table: the table that goes on.
    rows: how many rows went on.
    """

    def __init__(
        self,
        table: Table,
        attempt: int,
        facts: Mapping[str, Any],
        projection: Projection | None,
        *,
        first: bool,
        last: bool,
    ) -> None:
        self._projection = projection
        self.table = table if projection is None else projection.table
        self.rows = 0
        self._begin = SnapshotBegin(self.table, attempt, first=first)
        self._attempt = attempt
        self._last = last
        self._origin = Origin(snapshot_mark(self.table.text, attempt), None, None, facts)

    def batch(self, block: Block, end: Checkpoint | None = None) -> Batch:
        """A block of rows, with the table's beginning before the first, and its end."""
        rows, size = block
        table, origin, first = self.table, self._origin, self.rows
        begin: list[Event] = [] if first else [self._begin]
        events: list[Event] = [
            *begin,
            *(
                Change("read", table, origin, n, None, row)
                for n, row in enumerate(self._projected(rows), first)
            ),
        ]
        self.rows += len(rows)
        last = events[-1].mark if rows and isinstance(events[-1], Change) else None
        if end is not None:
            events.append(SnapshotEnd(table, self._attempt, self.rows, last=self._last))
        size += _OBJECT * len(rows) * len(table.columns)
        return EventBatch(snapshot_stream(table.text), events, last, end, size)

    def _projected(self, rows: list[Row]) -> list[Row]:
        projection = self._projection
        return rows if projection is None else [projection.values(row) for row in rows]
