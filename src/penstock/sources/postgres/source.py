"""The PostgreSQL source: what to read, from where, and in which order.

``open`` compares what is remembered with what the server has, makes what is missing
(:mod:`~penstock.sources.postgres.startup`), and takes hold of the slot. ``batches`` gives the due
snapshots first, then the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import (
    ConnectionLostError,
    PenstockError,
    StuckError,
)
from penstock.failpoints import Failpoint
from penstock.model import (
    Barrier,
    Batch,
    Change,
    Checkpoint,
    Mark,
    Message,
    SchemaChange,
    Table,
)
from penstock.model.projection import ProjectionOf, whole
from penstock.model.stream import MAIN, snapshot_stream
from penstock.ports import Context, Finding, SourceState
from penstock.registry import driver
from penstock.sources.postgres import catalog, check, position, publication, slot
from penstock.sources.postgres.connection import (
    Server,
    quote,
    quotes_rows,
    rows,
    words,
)
from penstock.sources.postgres.facts import Facts
from penstock.sources.postgres.form import Form
from penstock.sources.postgres.link import Link
from penstock.sources.postgres.probe import Probe
from penstock.sources.postgres.session import Session
from penstock.sources.postgres.snapshot import Snapshot
from penstock.sources.postgres.startup import Plan, Startup
from penstock.sources.postgres.watch import Watch
from penstock.sources.postgres.wire.copies import Payloads
from penstock.sources.postgres.wire.kernels import LogDecoder, make_decoder
from penstock.sources.postgres.wire.lsn import format_lsn, parse_lsn
from penstock.sources.postgres.wire.tables import TextNeeded

if TYPE_CHECKING:
    from penstock.sources.postgres.config import Postgres

KEEPALIVE_EVERY: Final = 10.0
"""Seconds between two checkpoints of a log that has nothing for us."""
_MESSAGES_SINCE: Final = 140000


class PostgresSource:
    """Reads a PostgreSQL server's log (:class:`penstock.ports.Source`)."""

    def __init__(self, config: Postgres) -> None:
        self.config = config
        self._server = Server(config.dsn)
        self._form = Form(allowed=config.binary, temporary=config.temporary)
        self._session: Session | None = None
        self._link: Link | None = None
        self._watch: Watch | None = None
        self._snapshot: Snapshot | None = None
        self._opened = False
        self._failure: tuple[int, str] | None = None
        self._random_name = publication.TEMPORARY + secrets.token_hex(4)
        self._hold_until = float("inf")
        self._projection_of: ProjectionOf = whole

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        """Whether reading from ``checkpoint`` on would not show ``mark`` again."""
        return position.covers(checkpoint, mark)

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        """The checkpoint that comes first."""
        return position.meet(a, b)

    def project(self, projection_of: ProjectionOf) -> None:
        """From the next opening on, let go on of each table what its projection says."""
        self._projection_of = projection_of

    async def open(self, context: Context, state: SourceState) -> None:
        """Connect, judge what is there, make what is missing, and take hold of the slot.

        Raises
        ------
        ConfigError: no such table, or the publication does not fit.
        PrivilegeError: the role lacks a right; the hint grants it.
        StateMismatchError: only one of store and server remembers this pipeline.
        GapError: changes are lost (SlotMissingError: with the slot).
        DivergedError: another server, or another history.
        SlotInUseError: another client reads from the slot.
        ConnectionLostError: the server, reached before, is not there.
        """
        await self.close()
        self._context, self._state = context, state
        self._target: int | None = None
        self._held: Batch | None = None
        self._reached = self._safe = 0
        self._reached_at = context.clock.monotonic()
        self._server.name_sessions(context.pipeline)
        if self._server.weak and not self._opened:
            context.logger.warning("%s", self._server.weak)
        self._session = session = Session(self._server, context)
        names = self._names(context.pipeline)
        startup = Startup(self.config, session, state, names, first=not self._opened)
        psycopg = driver("psycopg", "postgres")
        try:
            self._plan = await startup.run()
            if self.config.snapshot != "only":
                await self._start_link(session, self._plan)
        except psycopg.Error as error:
            explained = self._explain(error)
            await self.close()
            raise explained from error
        except BaseException:
            await self.close()
            raise
        self._opened = True

    def _names(self, pipeline: str) -> tuple[str, str]:
        """Of slot and publication."""
        config = self.config
        default = self._random_name if config.temporary else f"penstock_{pipeline}"
        return config.slot or default, config.publication or default

    async def _start_link(self, session: Session, plan: Plan) -> None:
        facts, walsender = plan.facts, session.walsender
        options = {"proto_version": "1", "publication_names": quote(facts.publication)}
        if self.config.messages and walsender.info.server_version >= _MESSAGES_SINCE:
            options["messages"] = "true"
        known = [t for t in facts.rewind(plan.start) if self._captures(t.schema, t.name)]
        await session.blocking(self._form.choose, session.control, facts, known)
        if self._form.binary:
            options["binary"] = "true"
        listed = ", ".join(
            f"{name} '{value.replace(chr(39), chr(39) * 2)}'" for name, value in options.items()
        )
        start = format_lsn(plan.start)
        sql = f"START_REPLICATION SLOT {quote(facts.slot)} LOGICAL {start} ({listed})"
        before = time.monotonic()
        found = await session.blocking(
            rows,
            session.control,
            "SELECT setting::float8 / 1000, extract(epoch FROM clock_timestamp())::float8"
            " FROM pg_settings WHERE name = 'wal_sender_timeout'",
        )
        timeout, clock = found[0]
        skew = clock - (before + time.monotonic()) / 2
        stream = await session.connect_stream()
        await session.when_free(facts.slot, stream.start, sql, patience=timeout)
        session.release_stream()
        self._reached = self._safe = plan.start
        self._link = Link(
            stream,
            start=plan.start,
            timeout=timeout,
            skew=skew,
            probe=Probe(self._server.connect, facts.slot, walsender.info.backend_pid),
            explain=self._explain,
        )

    # -- reading -------------------------------------------------------------------------------

    async def batches(self) -> AsyncIterator[Batch | Barrier]:
        """The due snapshots, a barrier, then the log for ever (not with ``snapshot="only"``)."""
        session, plan = self._session, self._plan
        assert session is not None
        psycopg = driver("psycopg", "postgres")
        try:
            if session.readers is not None:
                async for batch in self._copy(session, plan):
                    yield batch
                yield Barrier(tuple(snapshot_stream(due.table.text) for due in plan.due))
            if self._link is not None:
                async for batch in self._log(session, plan, self._link):
                    yield batch
        except psycopg.Error as error:
            raise self._explain(error) from (None if quotes_rows(error) else error)

    async def _copy(self, session: Session, plan: Plan) -> AsyncIterator[Batch]:
        self._snapshot = snapshot = Snapshot(
            session, plan, self._hit, self._projection_of, binary=self.config.binary
        )
        async for batch in snapshot.batches():
            yield batch
        await session.close_readers()
        self._snapshot = None

    async def _log(self, session: Session, plan: Plan, link: Link) -> AsyncIterator[Batch]:
        messages = self.config.messages
        decoder = make_decoder(
            database=plan.database,
            system=plan.system,
            timeline=plan.timeline,
            wanted=self._captures,
            messages=None if "*" in messages else messages,
            known=plan.facts.rewind(plan.start),
            projection_of=self._projection_of,
            binary=self._form.binary,
        )
        context, state = self._context, self._state
        self._watch = watch = Watch(self.config, session, context, state, plan.facts)
        while True:
            payloads, _ = await link.receive()
            self._hit(Failpoint.LINK_RECEIVED)
            batches = await self._decode(session, plan.facts, decoder, payloads)
            await watch.look(link.received)
            for batch in self._passing(batches):
                self._hit(Failpoint.BATCH_DECODED)
                yield batch

    def _captures(self, schema: str, name: str) -> bool:
        return catalog.wanted(self.config.tables, schema, name)

    async def _decode(
        self, session: Session, facts: Facts, decoder: LogDecoder, payloads: Payloads
    ) -> list[Batch]:
        try:
            batches = decoder.feed(payloads)
            while decoder.needs is not None:
                decoder.describe(
                    await session.blocking(catalog.relation_facts, session.control, decoder.needs)
                )
                batches += decoder.feed([])
        except TextNeeded as needed:
            self._form.rule_out(needed.column)
            raise ConnectionLostError(
                f"values of {needed.column} have no binary form that we know: from here on all "
                "values are sent as text"
            ) from None
        await self._remember_tables(facts, batches, decoder.shapes)
        return batches

    def _passing(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """The batches that go on: all with events, and of the empty ones (keepalives, and
        transactions of others) the last, once in :data:`KEEPALIVE_EVERY` seconds or if awaited.

        One that does not go on yet is held: the server may have nothing new to say for long.
        """
        for batch in batches:
            if len(batch):
                self._held = None
                yield self._reach(batch)
            elif self._lsn(batch) > self._reached:
                self._held = batch
        held = self._held
        if held is not None:
            idle = self._context.clock.monotonic() - self._reached_at
            awaited = self._target is not None and self._lsn(held) >= self._target
            if awaited or idle >= KEEPALIVE_EVERY:
                self._held = None
                yield self._reach(held)

    def _lsn(self, batch: Batch) -> int:
        return position.checkpoint_lsn(batch.checkpoint) if batch.checkpoint is not None else 0

    def _reach(self, batch: Batch) -> Batch:
        """Note how far we are. While the server reads its log up to our start, its keepalives are
        before it: such a checkpoint is none."""
        lsn = self._lsn(batch)
        if batch.checkpoint is None or lsn == self._reached:
            return batch
        if lsn < self._reached:
            return batch.with_checkpoint(None)
        self._reached, self._reached_at = lsn, self._context.clock.monotonic()
        if self._target is not None and lsn >= self._target:
            self._target = None
        return batch

    async def _remember_tables(
        self, facts: Facts, batches: Sequence[Batch], seen: deque[Table]
    ) -> None:
        """Save new shapes before anything depends on them; one save for many."""
        shapes: list[Table] = []
        news = False
        for batch in batches:
            if isinstance(next(iter(batch), None), SchemaChange):
                shapes.append(seen.popleft())  # a batch is split at a SchemaChange
            if shapes and batch.last is not None:  # the row that showed them
                row = next(e for e in batch if isinstance(e, Change | Message))
                for table in shapes:
                    news |= facts.learn(table, row.mark.transaction, self._safe)
                shapes.clear()
        if news:
            await self._state.save(facts.dump())

    def _explain(self, error: Exception) -> PenstockError:
        """Our error for the server's. One that we do not know is tried again once: the same at
        the same place is a change that the server cannot send as it is asked to. In binary, where
        that is possible, values may be twice as large."""
        known = slot.explain(error, *self._names(self._context.pipeline))
        if known is not None:
            return known
        text = self._server.scrub(words(error))
        failure = (self._link.received if self._link is not None else self._reached, text)
        if failure == self._failure:
            place = format_lsn(failure[0])
            if self._link is not None and self._form.insist():
                reason = text.partition("\n")[0]
                return ConnectionLostError(
                    f"a change after {place} cannot be sent as text ({reason}): from here on "
                    "values are sent in binary"
                )
            return StuckError(
                f"the server fails again and again after {place}: {text}",
                hint=f"{self._form.advice}; nothing was skipped and the slot waits: "
                "`penstock teardown` and a new snapshot without that value",
            )
        self._failure = failure
        return ConnectionLostError(f"the server ended the stream: {text}")

    # -- acknowledging, looking, leaving -------------------------------------------------------

    async def acknowledge(self, checkpoint: Checkpoint) -> None:
        """Let the server forget all before ``checkpoint``."""
        self._hit(Failpoint.BEFORE_ACKNOWLEDGE)
        if checkpoint.stream == MAIN and self._link is not None:
            self._safe = position.checkpoint_lsn(checkpoint)
            self._link.acknowledge(position.checkpoint_lsn(checkpoint))
        self._hit(Failpoint.AFTER_ACKNOWLEDGE)

    async def head(self) -> Checkpoint | None:
        """A checkpoint after everything committed by now.

        Writes an empty logical message: its place is one that the walsender passes, and passing
        it makes the walsender speak even when nothing else is written.
        """
        if self.config.snapshot == "only":
            return None
        session, plan = self._session, self._plan
        assert session is not None
        sql = "SELECT pg_logical_emit_message(true, 'penstock', '')::text"
        self._target = parse_lsn((await session.blocking(rows, session.control, sql))[0][0])
        if self._link is not None:
            self._link.ask()
        return position.main_checkpoint(self._target, plan.system, plan.timeline)

    def authority(self) -> float:
        """Seconds for which the server still holds the slot for us, even if we are cut off.

        What was left when the link ended goes on running down: a process that was frozen must not
        take the end of its link for a new beginning.
        """
        if self._link is not None:
            return self._link.authority
        return self._hold_until - time.monotonic()

    def waiting(self) -> bool:
        """Whether data of the log has arrived that was not passed on, or the server has some and
        its walsender stands still."""
        standing = self._watch is not None and self._watch.standing
        return self._link is not None and (self._link.queued > 0 or standing)

    async def check(self, context: Context) -> list[Finding]:
        """What would keep this source from running, or from capturing everything."""
        self._server.name_sessions(context.pipeline)
        name, published = self._names(context.pipeline)
        return await asyncio.to_thread(check.check, self._server, self.config, name, published)

    async def describe(self, context: Context) -> list[Table]:
        """The captured tables as they are today; none where ``check`` tells why."""
        self._server.name_sessions(context.pipeline)
        _, published = self._names(context.pipeline)
        lost = driver("psycopg", "postgres").Error

        def look() -> list[Table]:
            with contextlib.suppress(PenstockError, lost), self._server.connect() as connection:
                return catalog.described(connection, self.config.tables, published)
            return []

        return await asyncio.to_thread(look)

    async def status(self, context: Context) -> dict[str, Any]:
        """Slot, retained log and lag as the server tells them; a running snapshot's progress."""
        self._server.name_sessions(context.pipeline)
        name, published = self._names(context.pipeline)
        status = await asyncio.to_thread(check.status, self._server, name, published)
        if self._snapshot is not None and self._snapshot.progress is not None:
            status["snapshot"] = self._snapshot.progress.status(time.monotonic())
        return status

    async def teardown(self, context: Context) -> list[str]:
        """Drop the slot, and the publication if penstock made it; what was dropped, in words.

        Raises SlotInUseError while somebody reads from the slot.
        """
        self._server.name_sessions(context.pipeline)
        name, published = self._names(context.pipeline)

        def remove() -> list[str]:
            with self._server.connect() as connection:
                removed = [f"the slot {name}"] if slot.drop(connection, name) else []
                if publication.drop(connection, published):
                    removed.append(f"the publication {published}")
                return removed

        return await asyncio.to_thread(remove)

    async def close(self) -> None:
        """Report, leave the stream, disconnect. Safe to call twice, and after a failed open."""
        if self._link is not None:
            self._hold_until = time.monotonic() + self._link.authority
            await self._link.close()
            self._link = None
        if self._session is not None:
            await self._session.close()
            self._session = None
        self._watch = None
        self._snapshot = None

    def _hit(self, point: Failpoint) -> None:
        self._context.failpoints.hit(point)
