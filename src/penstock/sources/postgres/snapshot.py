"""The copy of the due tables' rows, through the snapshot that a slot exported.

The locks are taken before the slot is made: a rewriting ALTER in between would show the readers no
rows at all. Each connection takes the locks, then adopts the snapshot, then reads
(:mod:`~penstock.sources.postgres.readers`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from penstock.failpoints import Failpoint
from penstock.kernel import kernel
from penstock.model import Batch
from penstock.model.projection import ProjectionOf, whole
from penstock.sources.postgres import position
from penstock.sources.postgres.catalog import Published, Relkind
from penstock.sources.postgres.parts import Parts
from penstock.sources.postgres.reader import Task
from penstock.sources.postgres.wire.binary import inexact
from penstock.sources.postgres.wire.copies import (
    CopyDecoder,
    Payloads,
    joined,
    make_copy_decoder,
    size_of,
)

if TYPE_CHECKING:
    from penstock.sources.postgres.session import Session
    from penstock.sources.postgres.startup import Plan

_NO_ROWS: Final = 64
"""A block of so few bytes may be no more than binary format's header and trailer."""


@dataclass(slots=True)
class Progress:
    """How far a snapshot is, for people who wait.

    Parameters
    ----------
    table: the table whose rows are given out now.
    rows: rows given out of all tables.
    total: the planner's idea of how many there are; None when it has none.
    tables_done, tables: how many tables are finished, and how many there are.
    started: on the monotonic clock.
    """

    tables: int
    table: str = ""
    rows: int = 0
    total: int | None = None
    tables_done: int = 0
    started: float = 0.0

    @classmethod
    def of(cls, shapes: Sequence[Published]) -> Progress:
        """Before the first row."""
        estimates = [shape.estimate for shape in shapes]
        total = None if None in estimates else sum(filter(None, estimates))
        return cls(len(shapes), total=total, started=time.monotonic())

    def status(self, now: float) -> dict[str, Any]:
        """For ``status()``: with the rate, and the seconds left where they can be guessed."""
        seconds = max(now - self.started, 1e-9)
        rate = self.rows / seconds
        left = None
        if self.total is not None and rate > 0:
            left = max(self.total - self.rows, 0) / rate
        return {
            "table": self.table,
            "rows": self.rows,
            "rows_total": self.total,
            "rows_per_second": round(rate),
            "seconds_left": left,
            "tables_done": self.tables_done,
            "tables": self.tables,
        }


@dataclass(frozen=True, slots=True)
class Due:
    """A table to copy, and the number of this attempt."""

    table: Relkind
    attempt: int


@dataclass(frozen=True, slots=True)
class _Table:
    due: Due
    shape: Published
    parts: Parts
    binary: bool


class Snapshot:
    """The rows of the due tables, table by table, the largest first.

    Parameters
    ----------
    session: with the readers, their locks and their snapshot; closed by who made it.
    hit: called at each failpoint.
    projection_of: what goes on of a table.
    binary: whether rows may come in binary, where that is faster and loses nothing.
    """

    def __init__(
        self,
        session: Session,
        plan: Plan,
        hit: Callable[[Failpoint], None],
        projection_of: ProjectionOf = whole,
        *,
        binary: bool,
    ) -> None:
        assert session.readers is not None
        self._session = session
        self._readers = session.readers
        self._plan = plan
        self._hit = hit
        self._projection_of = projection_of
        self._binary = binary and kernel() == "native"
        self.progress: Progress | None = None

    async def batches(self) -> AsyncIterator[Batch]:
        """All rows; each table with its beginning, its end, and its checkpoint only there."""
        tables = await self._session.blocking(self._describe)
        self.progress = progress = Progress.of([table.shape for table in tables])
        self._readers.read(
            (
                table.due.table.text,
                Task(table.due.table, table.shape, table.binary, part),
            )
            for table in tables
            for part in table.parts.parts
        )
        for table in tables:
            progress.table = table.due.table.text
            first, last = table is tables[0], table is tables[-1]
            async for batch in self._rows(table, progress, first=first, last=last):
                yield batch
            progress.tables_done += 1

    def _describe(self) -> list[_Table]:
        tables = [self._describe_one(due) for due in self._plan.due]
        return sorted(tables, key=lambda table: table.parts.size, reverse=True)

    def _describe_one(self, due: Due) -> _Table:
        reader = self._readers.first
        shape = reader.describe(due.table, self._plan.facts.publication)
        version = reader.connection.info.server_version
        binary = self._binary and not inexact(shape.table, version)
        return _Table(due, shape, reader.cut(due.table), binary)

    async def _rows(
        self, table: _Table, progress: Progress, *, first: bool, last: bool
    ) -> AsyncIterator[Batch]:
        """One table's rows. A block is held back until the next is there, so that the last rows
        come with the end and the checkpoint."""
        self._hit(Failpoint.SNAPSHOT_BEGUN)
        plan, due = self._plan, table.due
        decoder = make_copy_decoder(
            table.shape.table,
            due.attempt,
            at=plan.due_at,
            database=plan.database,
            projection=self._projection_of(table.shape.table),
            binary=table.binary,
            first=first,
            last=last,
        )
        blocks = self._blocks(due.table)
        held: Payloads = []
        done = progress.rows
        while True:
            block, batch = await asyncio.to_thread(_go_on, blocks, decoder, held)
            if batch is not None:
                progress.rows = done + decoder.rows
                yield batch
            if not block:
                break
            held = block
            self._hit(Failpoint.SNAPSHOT_BLOCK)
        self._hit(Failpoint.SNAPSHOT_READ)
        end = position.snapshot_checkpoint(due.table.text, due.attempt, plan.due_at)
        batch = await asyncio.to_thread(decoder.feed, held, end)
        progress.rows = done + decoder.rows
        yield batch

    def _blocks(self, table: Relkind) -> Iterator[Payloads]:
        """A table's rows; what may hold none joins the block before. Blocks the thread."""
        held: Payloads = []
        while found := self._readers.next(table.text):
            block, _ = found
            if held and min(size_of(held), size_of(block)) <= _NO_ROWS:
                held = joined(held, block)
                continue
            if held:
                yield held
            held = block
        if held:
            yield held


def _go_on(
    blocks: Iterator[Payloads], decoder: CopyDecoder, held: Payloads
) -> tuple[Payloads, Batch | None]:
    """The next block, empty after the last, and the rows of the one before unless they are the
    last. Blocks the thread."""
    block = next(blocks, [])
    return block, decoder.feed(held) if held and block else None
