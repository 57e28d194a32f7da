"""The MySQL source: what to read, from where, and in which order.

``open`` compares what is remembered with what the server has
(:mod:`~penstock.sources.mysql.startup`) and asks for the log. ``batches`` gives the due snapshots
first, then the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import ConnectionLostError, PenstockError, SlotInUseError, StuckError
from penstock.failpoints import Failpoint
from penstock.model import (
    Barrier,
    Batch,
    Change,
    Checkpoint,
    EventBatch,
    Mark,
    SchemaChange,
    Table,
)
from penstock.model.projection import ProjectionOf, whole
from penstock.model.stream import MAIN, snapshot_stream
from penstock.model.table import qualified
from penstock.ports import Context, Finding, SourceState
from penstock.registry import driver
from penstock.sources.mysql import catalog, check, declarations, dump, fence, position
from penstock.sources.mysql.connection import Server
from penstock.sources.mysql.dump import Replica
from penstock.sources.mysql.history import executed
from penstock.sources.mysql.link import Link
from penstock.sources.mysql.session import Session
from penstock.sources.mysql.snapshot import Moment, Snapshot
from penstock.sources.mysql.startup import Plan, Startup
from penstock.sources.mysql.wire.alterations import Name
from penstock.sources.mysql.wire.decoder import Decoder
from penstock.sources.mysql.wire.gtid import Gtids
from penstock.sources.mysql.wire.kernels import decoder_class
from penstock.sources.mysql.wire.layouts import TypesNeeded
from penstock.sources.mysql.wire.packets import StreamError
from penstock.sources.mysql.wire.shapes import Shapes, ShapesNeeded, Statement, extend
from penstock.sources.mysql.wire.types import make_table

if TYPE_CHECKING:
    from penstock.sources.mysql.config import MySQL
    from penstock.sources.mysql.connection import Connection

KEEPALIVE_EVERY: Final = 10.0
"""Seconds between two checkpoints of a log that has nothing for us."""

CONTEST: Final = 600.0
"""Seconds within which two that take over our stream have the same ``server_id`` for good."""


class MySQLSource:
    """Reads a MySQL or MariaDB server's binlog (:class:`penstock.ports.Source`)."""

    def __init__(self, config: MySQL) -> None:
        self.config = config
        self._server = Server(config.dsn)
        self._session: Session | None = None
        self._link: Link | None = None
        self._snapshot: Snapshot | None = None
        self._opened = False
        self._failure: str | None = None
        self._own = secrets.token_hex(8)
        self._replaced_at: float | None = None
        self._asked: set[tuple[Name, str]] = set()
        self._shown: list[Table] = []  # new shapes, of which no row has come yet
        self._hold_until = float("inf")
        self._projection_of: ProjectionOf = whole

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        """Whether reading from ``checkpoint`` on would not show ``mark`` again."""
        return position.covers(checkpoint, mark)

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        """The checkpoint of what both have."""
        return position.meet(a, b)

    def project(self, projection_of: ProjectionOf) -> None:
        """From the next opening on, let go on of each table what its projection says."""
        self._projection_of = projection_of

    async def open(self, context: Context, state: SourceState) -> None:
        """Connect, judge what is there, begin a due snapshot, and ask for the log.

        Raises
        ------
        ConfigError: no such table.
        PrivilegeError: our user lacks a right; the hint grants it.
        StateMismatchError: only one of store and sinks remembers this pipeline.
        GapError: changes are lost.
        DivergedError: another server, or another history.
        SlotInUseError: another copy of this pipeline reads.
        ConnectionLostError: the server, reached before, is not there.
        """
        await self.close()
        self._context, self._state = context, state
        self._target: Gtids | None = None
        self._held: Batch | None = None
        self._reached_at = context.clock.monotonic()
        if self._server.weak and not self._opened:
            context.logger.warning("%s", self._server.weak)
        config = self.config
        # Any number may look at once; of a pipeline's two copies one is to be told.
        name = f"{context.pipeline} {self._own}" if config.temporary else context.pipeline
        replica = Replica.named(name, config.server_id, config.heartbeat)
        self._session = session = Session(self._server, context, replica)
        pymysql = driver("pymysql", "mysql")
        try:
            self._plan = await Startup(self.config, session, state, first=not self._opened).run()
            if self.config.snapshot != "only":
                await self._start_link(session, self._plan)
        except (pymysql.Error, OSError) as error:
            await self.close()
            raise self._server.explain(error) from error
        except BaseException:
            await self.close()
            raise
        self._opened = True

    async def _start_link(self, session: Session, plan: Plan) -> None:
        heartbeat = self.config.heartbeat
        stream = await session.blocking(self._ask, plan.start, heartbeat)
        self._link = Link(stream, heartbeat=heartbeat, explain=self._explain)

    def _ask(self, gtids: Gtids, heartbeat: float, **options: Any) -> Connection:
        """A stream of the log behind these transactions."""
        assert self._session is not None
        connection = self._server.connect(**options)
        try:
            dump.ask(connection, gtids, replace(self._session.replica, heartbeat=heartbeat))
        except BaseException:
            connection.close()
            raise
        return connection

    # -- reading

    async def batches(self) -> AsyncIterator[Batch | Barrier]:
        """The due snapshots, a barrier, then the log for ever (not with ``snapshot="only"``)."""
        session, plan = self._session, self._plan
        assert session is not None
        pymysql = driver("pymysql", "mysql")
        try:
            if plan.moment is not None:
                async for batch in self._copy(session, plan, plan.moment):
                    yield batch
                yield Barrier(
                    tuple(snapshot_stream(qualified(due.schema, due.name)) for due in plan.due)
                )
            if self._link is not None:
                try:
                    async for batch in self._log(plan, self._link):
                        yield batch
                except ShapesNeeded as needed:
                    await self._learn_shapes(session, plan, self._link, needed)
                    raise
        except (pymysql.Error, OSError) as error:
            raise self._server.explain(error) from None
        except StreamError as error:
            raise self._explain(error) from None
        except ShapesNeeded as needed:
            raise ConnectionLostError(
                f"{', '.join(sorted(qualified(*name) for name in needed.tables))}: the catalog was "
                "asked for what the log does not tell"
            ) from None
        except TypesNeeded as needed:
            raise ConnectionLostError(
                f"{qualified(*needed.table)}.{needed.column} was altered before it was read"
            ) from None

    async def _copy(self, session: Session, plan: Plan, moment: Moment) -> AsyncIterator[Batch]:
        self._snapshot = snapshot = Snapshot(
            session,
            plan.due,
            plan.facts.flavor,
            moment,
            self._hit,
            self._projection_of,
            plan.declarations.complete,
        )
        async for batch in snapshot.batches():
            yield batch
        await session.close_readers()
        self._snapshot = None

    async def _log(self, plan: Plan, link: Link) -> AsyncIterator[Batch]:
        flavor = plan.facts.flavor

        def checkpoint(gtids: Gtids, file: str, place: int) -> Checkpoint:
            return position.main_checkpoint(flavor, gtids)

        self._reached = begin = checkpoint(plan.start, "", 0)
        self._safe, self._shown = plan.start, []
        schemas = Shapes(plan.facts.history, partial(_covers, begin), self._asked)
        decoder = decoder_class()(
            gtids=plan.start,
            checkpoint=checkpoint,
            source={"type": flavor},
            wanted=self._captures,
            known=plan.facts.rewind(plan.start),
            projection_of=self._projection_of,
            checksums=plan.checksums,
            hidden=plan.hidden,
            schemas=schemas,
            complete=plan.declarations.complete,
        )
        if MAIN not in self._state.start:
            yield self._standing()
        while True:
            events = await link.receive()
            self._hit(Failpoint.LINK_RECEIVED)
            for batch in decoder.feed(events):
                if isinstance(batch, TypesNeeded):
                    await self._ask_catalog(batch)
                    continue
                await self._remember(decoder, schemas, batch)
                for passing in self._passing(batch):
                    self._hit(Failpoint.BATCH_DECODED)
                    yield passing
            for passing in self._due_held():
                yield passing
            while decoder.notices:
                self._context.logger.warning("%s", decoder.notices.popleft())

    async def _ask_catalog(self, needed: TypesNeeded) -> None:
        """Learn what the log does not tell of a column that is new."""
        session, plan = self._session, self._plan
        assert session is not None
        flavor, tables = plan.facts.flavor, [needed.table]
        found = await session.blocking(declarations.read, session.control, flavor, tables)
        kind = plan.declarations.learn(needed, found)
        if plan.hidden is not None:  # where it is gone, its bytes stay bytes
            plan.hidden.setdefault(needed.table, {}).setdefault(needed.column, kind)

    def _captures(self, schema: str, name: str) -> bool:
        return catalog.wanted(self.config.tables, schema, name)

    async def _remember(self, decoder: Decoder, schemas: Shapes, batch: Batch) -> None:
        """Save new shapes before any of their rows goes on."""
        facts, news = self._plan.facts, schemas.news
        schemas.news = False
        if isinstance(next(iter(batch), None), SchemaChange):
            self._shown.append(decoder.shapes.popleft())  # a batch is split at a SchemaChange
        if self._shown and batch.last is not None:
            row = next(event for event in batch if isinstance(event, Change))
            for table in self._shown:
                news |= facts.learn(table, row.mark.transaction, self._safe)
            self._shown.clear()
        if news:
            await self._state.save(facts.dump())

    async def _learn_shapes(
        self, session: Session, plan: Plan, link: Link, needed: ShapesNeeded
    ) -> None:
        """Ask the catalog what tables are like that the log does not describe."""
        await link.close()  # the server sends its log to one of us
        facts, reached = plan.facts, self._reached

        def scan(end: fence.Place) -> list[Statement]:
            gtids = position.gtids_in(reached)
            stream = self._ask(gtids, fence.HEARTBEAT, read_timeout=fence.PATIENCE)
            return fence.scan(stream, gtids, end, checksums=plan.checksums)

        statements, shapes = await session.blocking(
            partial(
                fence.read,
                self._server,
                needed.tables,
                scan,
                known=tuple(facts.history),
                wanted=self._captures,
                patience=self.config.lock_timeout,
            )
        )
        extend(facts.history, partial(_covers, reached), statements, shapes)
        self._asked |= needed.versions
        for name in shapes:
            self._asked |= {(name, version.at) for version in facts.history[name]}
        await self._state.save(facts.dump())

    def _passing(self, batch: Batch) -> Iterator[Batch]:
        """The batches that go on: all with events, and of the empty ones, transactions of others,
        the last, once in :data:`KEEPALIVE_EVERY` seconds or if awaited."""
        if len(batch):
            self._held = None
            if batch.checkpoint is not None:
                self._note(batch.checkpoint)
            yield batch
        elif batch.checkpoint is not None:
            self._held = batch

    def _due_held(self) -> Iterator[Batch]:
        idle = self._context.clock.monotonic() - self._reached_at
        held = self._held
        if held is None and self._target is not None:
            held = self._standing()
        if held is None or held.checkpoint is None:
            return
        awaited = self._target is not None and self._target <= position.gtids_in(held.checkpoint)
        if awaited or (self._held is not None and idle >= KEEPALIVE_EVERY):
            self._held = None
            self._note(held.checkpoint)
            yield held

    def _standing(self) -> Batch:
        """Nothing, where we are."""
        return EventBatch(MAIN, (), None, self._reached)

    def _note(self, checkpoint: Checkpoint) -> None:
        self._reached = checkpoint
        self._reached_at = self._context.clock.monotonic()
        if self._target is not None and self._target <= position.gtids_in(checkpoint):
            self._target = None

    def _explain(self, error: StreamError) -> PenstockError:
        """Our error for the server's. One that we do not know is tried again once.

        So is a stream that another took over; if that one does the same, we end and it stays.
        """
        known = dump.explain(error)
        if isinstance(known, SlotInUseError):
            before, self._replaced_at = self._replaced_at, time.monotonic()
            if before is None or self._replaced_at - before > CONTEST:
                return ConnectionLostError(f"another took over our stream: {known.message}")
        if known is not None:
            return known
        text = self._server.scrub(error.text)
        if error.number and text == self._failure:
            return StuckError(
                f"the server fails to send its log again and again: {text}",
                hint="nothing was skipped; the server's own log may say more",
            )
        self._failure = text
        return ConnectionLostError(f"the server ended the stream: {text}")

    # -- acknowledging, looking, leaving

    async def acknowledge(self, checkpoint: Checkpoint) -> None:
        """Nothing is told to the server, which keeps its log as long as it was set to."""
        if checkpoint.stream == MAIN:
            self._safe = position.gtids_in(checkpoint)
        self._hit(Failpoint.BEFORE_ACKNOWLEDGE)
        self._hit(Failpoint.AFTER_ACKNOWLEDGE)

    async def head(self) -> Checkpoint | None:
        """A checkpoint after everything committed by now."""
        if self.config.snapshot == "only":
            return None
        session, flavor = self._session, self._plan.facts.flavor
        assert session is not None
        by_place = not self._plan.start.named
        text = await session.blocking(partial(executed, session.control, flavor, by_place=by_place))
        self._target = target = position.gtids_of(flavor, text)
        if self._link is not None:
            self._link.nudge()
        return position.main_checkpoint(flavor, target)

    def authority(self) -> float:
        """Seconds for which nobody else reads for this pipeline, even if we are cut off."""
        lease = self._session.lease if self._session is not None else None
        if lease is not None:
            return lease.authority
        return self._hold_until - time.monotonic()

    def waiting(self) -> bool:
        """Whether data of the log has arrived that was not passed on."""
        return self._link is not None and self._link.queued > 0

    async def check(self, context: Context) -> list[Finding]:
        """What would keep this source from running, or from capturing everything."""
        return await asyncio.to_thread(check.check, self._server, self.config)

    async def describe(self, context: Context) -> list[Table]:
        """The captured tables as they are today; none where ``check`` tells why."""
        lost = driver("pymysql", "mysql").Error

        def look() -> list[Table]:
            with contextlib.suppress(PenstockError, lost), self._server.connect() as connection:
                tables = catalog.captured(connection, self.config.tables)
                return [
                    make_table(shape)
                    for shape in fence.shapes(connection, tables).values()
                    if shape
                ]
            return []

        return await asyncio.to_thread(look)

    async def status(self, context: Context) -> dict[str, Any]:
        """The log as the server tells it; a running snapshot's progress."""
        status = await asyncio.to_thread(check.status, self._server)
        if self._snapshot is not None and self._snapshot.progress is not None:
            status["snapshot"] = self._snapshot.progress.status(time.monotonic())
        return status

    async def teardown(self, context: Context) -> list[str]:
        """Nothing is on the server."""
        return []

    async def close(self) -> None:
        """Leave the stream, disconnect. Safe to call twice, and after a failed open."""
        if self._link is not None:
            await self._link.close()
            self._link = None
        if self._session is not None:
            if self._session.lease is not None:
                self._hold_until = time.monotonic() + self._session.lease.authority
            await self._session.close()
            self._session = None
        self._snapshot = None

    def _hit(self, point: Failpoint) -> None:
        self._context.failpoints.hit(point)


def _covers(checkpoint: Checkpoint, transaction: str) -> bool:
    return position.covers(checkpoint, Mark(transaction, 0))
