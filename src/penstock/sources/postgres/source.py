"""The PostgreSQL source: what to read, from where, and in which order.

``open`` compares what is remembered with what the server has (slot, publication, history), makes
what is missing, and takes hold of the slot. ``batches`` gives the due snapshots first, then the
log. Blocking calls run in threads, one at a time per connection.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from penstock.errors import (
    ConfigError,
    ConnectionLostError,
    PenstockError,
    SlotInUseError,
    SlotMissingError,
    StateMismatchError,
    StuckError,
)
from penstock.failpoints import Failpoint
from penstock.model import (
    Barrier,
    Batch,
    Change,
    Checkpoint,
    Event,
    EventBatch,
    Mark,
    Origin,
    SchemaChange,
    SnapshotBegin,
    SnapshotEnd,
)
from penstock.model.stream import MAIN, snapshot_mark, snapshot_stream
from penstock.ports import Context, Finding, SourceState
from penstock.registry import driver
from penstock.sources.postgres import catalog, check, position, publication, slot
from penstock.sources.postgres.catalog import Relkind
from penstock.sources.postgres.connection import Connection, Server, command, quote, rows
from penstock.sources.postgres.facts import Captured, Facts
from penstock.sources.postgres.link import Link
from penstock.sources.postgres.probe import Probe
from penstock.sources.postgres.snapshot import Progress, SnapshotReader
from penstock.sources.postgres.wire.copytext import read_copy_row
from penstock.sources.postgres.wire.decoder import Decoder
from penstock.sources.postgres.wire.lsn import format_lsn, parse_lsn

if TYPE_CHECKING:
    from penstock.sources.postgres.config import Postgres

PUBLICATION_CHECK_EVERY: Final = 10.0
"""Seconds between two looks whether the publication still has all our tables."""
KEEPALIVE_EVERY: Final = 10.0
"""Seconds between two checkpoints of a log that has nothing for us."""
TAKEOVER_PATIENCE: Final = 5.0
"""Seconds beyond ``wal_sender_timeout`` to wait for another client's slot to come free."""
_RETRY_SLOT: Final = 0.5
_MESSAGES_SINCE: Final = 140000

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")


@dataclass(slots=True)
class _Due:
    """A table to copy, and the number of this attempt."""

    table: Relkind
    attempt: int


class PostgresSource:
    """Reads a PostgreSQL server's log (:class:`penstock.ports.Source`)."""

    def __init__(self, config: Postgres) -> None:
        self.config = config
        self._server = Server(config.dsn)
        self._using = threading.Lock()
        self._opened = False
        self._failure: tuple[int, str] | None = None
        self._random_name = f"penstock_tmp_{secrets.token_hex(4)}"
        self._hold_until = float("inf")
        self._reset()

    def _reset(self) -> None:
        self._control: Connection | None = None
        self._walsender: Connection | None = None
        self._reader: SnapshotReader | None = None
        self._link: Link | None = None
        self._due: list[_Due] = []
        self._snapshot_at = 0
        self._progress: Progress | None = None
        self._start = 0
        self._reached = 0
        self._reached_at = self._checked_at = 0.0
        self._target: int | None = None
        self._facts = Facts("", "", "")
        self._made_publication = False

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        """Whether reading from ``checkpoint`` on would not show ``mark`` again."""
        return position.covers(checkpoint, mark)

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        """The checkpoint that comes first."""
        return position.meet(a, b)

    # -- opening -------------------------------------------------------------------------------

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
        self._server.name_sessions(context.pipeline)
        psycopg = driver("psycopg", "postgres")
        try:
            await self._open()
        except psycopg.Error as error:
            explained = self._explain(error)
            await self.close()
            raise explained from error
        except BaseException:
            await self.close()
            raise
        self._opened = True

    async def _open(self) -> None:
        state, config = self._state, self.config
        self._control = control = await self._blocking(self._server.connect)
        tables = await self._blocking(catalog.captured, control, config.tables)
        await self._blocking(check.require, control, self._server, config, tables)
        self._walsender = await self._blocking(self._server.walsender)
        facts = Facts.load(state.facts) if state.facts else None
        main = state.start.get(MAIN)
        known: dict[str, Any] = {"system": facts.system} if facts else {}
        self._system, self._timeline = await self._blocking(
            slot.check_history, self._walsender, {**known, **(main.value if main else {})}
        )
        self._database = control.info.dbname
        if config.snapshot == "only":
            await self._open_copy(facts, tables)
            return
        if facts is None or not facts.consistent or not facts.slot:
            await self._begin(facts, tables)
        else:
            await self._resume(facts, tables)
        start = position.checkpoint_lsn(main) if main else parse_lsn(self._facts.consistent)
        await self._start_link(start)

    def _names(self, pipeline: str) -> tuple[str, str]:
        config = self.config
        default = self._random_name if config.temporary else f"penstock_{pipeline}"
        return config.slot or default, config.publication or default

    async def _begin(self, old: Facts | None, tables: Sequence[Relkind]) -> None:
        """Nothing is there yet, or only half of it."""
        control = self._control
        assert control is not None
        name, published = self._names(self._context.pipeline)
        if old is None or not old.slot:
            if old is None and self._state.start:
                raise StateMismatchError(
                    "sinks hold changes of this pipeline, but nothing is remembered of its slot",
                    hint="bring the store back; or `penstock teardown`, empty the targets, "
                    "and begin again",
                )
            await self._blocking(slot.require_none, control, name)
        else:
            self._facts = old
            await self._until_free(slot.drop, control, old.slot)
        captured = (
            {table: Captured(0, was.attempt) for table, was in old.captured.items()} if old else {}
        )
        for table in tables:
            captured.setdefault(table.text, Captured(0)).oid = table.oid
        self._facts = Facts(name, published, self._system, self.config.temporary, captured=captured)
        await self._state.save(self._facts.dump())
        self._hit(Failpoint.INTENT_SAVED)
        await self._publish(tables)
        self._hit(Failpoint.PUBLICATION_CREATED)
        if self.config.snapshot != "never":
            self._due = [_Due(t, captured[t.text].attempt + 1) for t in tables]
        self._snapshot_at = await self._make_slot(self._walsender, name, self.config.temporary)
        self._hit(Failpoint.SLOT_CREATED)
        self._facts.consistent = format_lsn(self._snapshot_at)
        await self._save_attempts()

    async def _resume(self, facts: Facts, tables: Sequence[Relkind]) -> None:
        """All was there when we last looked: it must still be, and hold our place."""
        control = self._control
        assert control is not None
        self._facts = facts
        main = self._state.start.get(MAIN)
        start = position.checkpoint_lsn(main) if main else parse_lsn(facts.consistent)
        if facts.temporary:
            raise SlotMissingError(
                f"the temporary slot went with its connection: what was committed after "
                f"{format_lsn(start)} is lost to us",
                hint="give the stream a name: it then has a slot that lasts",
            )
        names = self._names(self._context.pipeline)
        if names != (facts.slot, facts.publication):
            raise StateMismatchError(
                f"this pipeline has the slot {facts.slot} and the publication "
                f"{facts.publication}; the configuration says {names[0]} and {names[1]}",
                hint="set slot and publication back; or `penstock teardown` and begin again",
            )
        await self._blocking(slot.check, control, facts.slot, start)
        await self._check_publication(tables)
        await self._publish(tables)
        self._due = self._unfinished(tables)
        if self._due:
            walsender = await self._blocking(self._server.walsender)
            try:
                name = f"penstock_tmp_{secrets.token_hex(4)}"
                self._snapshot_at = await self._make_slot(walsender, name, True)
            finally:
                await self._blocking(walsender.close)
        await self._save_attempts()

    def _unfinished(self, tables: Sequence[Relkind]) -> list[_Due]:
        """The tables to copy, and notes of those that are only followed from here on."""
        policy, captured = self.config.snapshot, self._facts.captured
        due = []
        for table in tables:
            was = captured.get(table.text)
            attempt = was.attempt if was else 0
            new = was is None or was.oid != table.oid
            done = self._state.start.get(snapshot_stream(table.text))
            finished = attempt == 0 or (done is not None and done.value["attempt"] >= attempt)
            again = policy == "always" and not self._opened
            if policy != "never" and (new or not finished or again):
                due.append(_Due(table, attempt + 1))
            captured[table.text] = Captured(table.oid, attempt)
        for name in captured.keys() - {table.text for table in tables}:
            captured[name].oid = 0  # should it come back, it needs a new copy
        return due

    async def _save_attempts(self) -> None:
        """Remember the attempts before any of their rows is seen."""
        for due in self._due:
            self._facts.captured[due.table.text].attempt = due.attempt
        if self._facts.dump() != self._state.facts:
            await self._state.save(self._facts.dump())

    async def _publish(self, tables: Sequence[Relkind]) -> None:
        control, name = self._control, self._facts.publication
        assert control is not None
        found = await self._blocking(publication.find, control, name)
        if found is None:
            self._made_publication = True
            found = await self._blocking(publication.create, control, name, tables)
        else:
            await self._blocking(publication.cover, control, found, tables)
        self._facts.publication_oid = found.oid

    async def _check_publication(self, tables: Sequence[Relkind] | None = None) -> None:
        """Raises GapError when the publication lost a table of the last run.

        Dropped tables are not missed: their OIDs are not among ``tables``, which the running
        stream, that has no such list, asks for.
        """
        control, facts = self._control, self._facts
        assert control is not None
        self._checked_at = self._context.clock.monotonic()
        if tables is None:
            tables = await self._blocking(catalog.user_tables, control)
        here = {table.oid for table in tables}
        captured = {name: was.oid for name, was in facts.captured.items() if was.oid in here}
        found = await self._blocking(publication.find, control, facts.publication)
        publication.check(found, facts.publication, facts.publication_oid, captured)

    async def _make_slot(self, walsender: Connection | None, name: str, temporary: bool) -> int:
        """Make a slot; where tables are due, lock them before and adopt its snapshot after."""
        timeout = self.config.slot_timeout
        control = self._control
        assert walsender is not None
        assert control is not None
        if self._due:
            tables = [due.table for due in self._due]
            self._reader = await self._blocking(SnapshotReader.lock, self._server, tables, timeout)

        def make() -> slot.Created:
            return slot.create(walsender, control, name, temporary=temporary, timeout=timeout)

        created = await self._blocking(make)
        if self._reader is not None:
            await self._blocking(self._reader.adopt, created.snapshot)
        return created.consistent

    async def _open_copy(self, facts: Facts | None, tables: Sequence[Relkind]) -> None:
        """A copy without the log needs no slot: one transaction's snapshot is enough."""
        control = self._control
        assert control is not None
        if facts is not None and facts.slot:
            raise ConfigError(
                f"snapshot='only' makes no use of this pipeline's slot {facts.slot}",
                hint="use snapshot='always', or another name for the copy",
            )
        at = await self._blocking(rows, control, "SELECT pg_current_wal_lsn()::text")
        self._facts = facts or Facts("", "", self._system, consistent=at[0][0])
        self._snapshot_at = parse_lsn(at[0][0])
        self._due = self._unfinished(tables)
        if self._due:
            self._reader = await self._blocking(
                SnapshotReader.lock,
                self._server,
                [due.table for due in self._due],
                self.config.slot_timeout,
            )
        await self._save_attempts()

    async def _start_link(self, start: int) -> None:
        walsender, control, facts = self._walsender, self._control, self._facts
        assert walsender is not None
        assert control is not None
        version = walsender.info.server_version
        options = {"proto_version": "1", "publication_names": quote(facts.publication)}
        if self.config.messages and version >= _MESSAGES_SINCE:
            options["messages"] = "true"
        listed = ", ".join(
            f"{name} '{value.replace(chr(39), chr(39) * 2)}'" for name, value in options.items()
        )
        sql = f"START_REPLICATION SLOT {quote(facts.slot)} LOGICAL {format_lsn(start)} ({listed})"
        before = time.monotonic()
        timeout, clock = (
            await self._blocking(
                rows,
                control,
                "SELECT setting::float8 / 1000, extract(epoch FROM clock_timestamp())::float8"
                " FROM pg_settings WHERE name = 'wal_sender_timeout'",
            )
        )[0]
        skew = clock - (before + time.monotonic()) / 2
        await self._until_free(command, walsender.pgconn, sql, patience=timeout)
        self._start = self._reached = start
        self._link = Link(
            walsender,
            start=start,
            timeout=timeout,
            skew=skew,
            probe=Probe(self._server.connect, facts.slot, walsender.info.backend_pid),
            explain=self._explain,
        )
        self._walsender = None  # the link's own now

    async def _until_free(
        self,
        call: Callable[[*_Arguments], _T],
        *arguments: *_Arguments,
        patience: float = 60.0,
    ) -> _T:
        """Do what needs the slot for itself; wait for a client that is about to lose it."""
        psycopg = driver("psycopg", "postgres")
        clock = self._context.clock
        until = clock.monotonic() + patience + TAKEOVER_PATIENCE
        while True:
            try:
                return await self._blocking(call, *arguments)
            except (psycopg.errors.ObjectInUse, SlotInUseError) as error:
                if clock.monotonic() >= until:
                    assert self._control is not None
                    name = self._facts.slot
                    raise await self._blocking(slot.in_use, self._control, name) from error
            except psycopg.Error as error:
                raise self._explain(error) from error
            await clock.sleep(_RETRY_SLOT)

    # -- reading -------------------------------------------------------------------------------

    async def batches(self) -> AsyncIterator[Batch | Barrier]:
        """The due snapshots, a barrier, then the log for ever (not with ``snapshot="only"``)."""
        if self._due:
            async for batch in self._snapshots():
                yield batch
            yield Barrier(tuple(snapshot_stream(due.table.text) for due in self._due))
        if self.config.snapshot == "only":
            return
        async for batch in self._log():
            yield batch

    async def _snapshots(self) -> AsyncIterator[Batch]:
        reader = self._reader
        assert reader is not None
        shapes = [
            await self._blocking(reader.describe, due.table, self._facts.publication)
            for due in self._due
        ]
        estimates = [shape.estimate for shape in shapes]
        self._progress = progress = Progress(
            tables=len(shapes),
            total=None if None in estimates else sum(filter(None, estimates)),
            started=time.monotonic(),
        )
        for due, shape in zip(self._due, shapes, strict=True):
            progress.table = due.table.text
            async for batch in self._snapshot(reader, due, shape):
                yield batch
            progress.tables_done += 1
        await asyncio.to_thread(reader.close)
        self._reader = self._progress = None

    async def _snapshot(
        self, reader: SnapshotReader, due: _Due, shape: catalog.Published
    ) -> AsyncIterator[Batch]:
        """One table's rows. A block is held back until the next is there, so that the last rows
        come with the end and the checkpoint."""
        table, stream = shape.table, snapshot_stream(due.table.text)
        lsn = format_lsn(self._snapshot_at)
        origin = Origin(
            snapshot_mark(table.text, due.attempt),
            None,
            self._snapshot_at - 1,  # all that it shows was committed before
            {"type": "postgres", "database": self._database, "lsn": lsn},
        )
        events: list[Event] = [SnapshotBegin(table, due.attempt)]
        self._hit(Failpoint.SNAPSHOT_BEGUN)
        blocks = reader.blocks(due.table, shape)
        ordinal = size = 0
        last: Mark | None = None
        while lines := await asyncio.to_thread(reader.next, blocks):
            if last is not None:
                yield EventBatch(stream, events, last, None, size)
                events = []
            size = sum(map(len, lines))
            for number, line in enumerate(lines, ordinal):
                events.append(
                    Change(
                        "read", table, origin, number, None, read_copy_row(line, len(table.columns))
                    )
                )
            ordinal += len(lines)
            last = Mark(origin.mark, ordinal - 1)
            if self._progress is not None:
                self._progress.rows = self._progress.rows + len(lines)
            self._hit(Failpoint.SNAPSHOT_BLOCK)
        events.append(SnapshotEnd(table, due.attempt, ordinal))
        checkpoint = position.snapshot_checkpoint(table.text, due.attempt, self._snapshot_at)
        self._hit(Failpoint.SNAPSHOT_READ)
        yield EventBatch(stream, events, last, checkpoint, size)

    async def _log(self) -> AsyncIterator[Batch]:
        link = self._link
        assert link is not None
        patterns = self.config.tables
        messages = self.config.messages
        decoder = Decoder(
            database=self._database,
            system=self._system,
            timeline=self._timeline,
            wanted=lambda schema, name: catalog.wanted(patterns, schema, name),
            messages=None if "*" in messages else messages,
            known=self._facts.tables.values(),
        )
        while True:
            payloads, _ = await link.receive()
            self._hit(Failpoint.LINK_RECEIVED)
            batches = await self._decode(decoder, payloads)
            if self._context.clock.monotonic() - self._checked_at >= PUBLICATION_CHECK_EVERY:
                await self._check_publication()
            for batch in batches:
                if self._worth_passing(batch):
                    self._hit(Failpoint.BATCH_DECODED)
                    yield batch

    async def _decode(self, decoder: Decoder, payloads: list[bytes]) -> list[EventBatch]:
        batches = decoder.feed(payloads)
        while decoder.needs is not None:
            assert self._control is not None
            facts = await self._blocking(catalog.relation_facts, self._control, decoder.needs)
            decoder.describe(facts)
            batches += decoder.feed([])
        await self._remember_tables(batches)
        return batches

    def _worth_passing(self, batch: EventBatch) -> bool:
        """Whether a batch goes on: all with events, and of the empty ones (keepalives, and
        transactions of others) one in :data:`KEEPALIVE_EVERY` seconds, or the awaited one."""
        checkpoint = batch.checkpoint
        # While the server reads its log up to our start, its keepalives are before it.
        lsn = position.checkpoint_lsn(checkpoint) if checkpoint is not None else 0
        now = self._context.clock.monotonic()
        if not batch.events:
            awaited = self._target is not None and lsn >= self._target
            if lsn <= self._reached or not (awaited or now - self._reached_at >= KEEPALIVE_EVERY):
                return False
        if lsn > self._reached:
            self._reached, self._reached_at = lsn, now
            if self._target is not None and lsn >= self._target:
                self._target = None
        return True

    async def _remember_tables(self, batches: Sequence[EventBatch]) -> None:
        """Save new shapes before anything depends on them; one save for many."""
        tables = self._facts.tables
        new = [
            event.after
            for batch in batches
            for event in batch.events[:1]  # a batch is split at a SchemaChange
            if isinstance(event, SchemaChange) and tables.get(event.after.oid) != event.after
        ]
        if new:
            tables.update((table.oid, table) for table in new)
            await self._state.save(self._facts.dump())

    def _explain(self, error: Exception) -> PenstockError:
        """Our error for the server's. One that we do not know is tried again once: the same at
        the same place is a change that the server cannot send."""
        known = slot.explain(error, self._facts.slot, self._facts.publication)
        if known is not None:
            return known
        text = self._server.scrub(str(error).strip())
        failure = (self._link.received if self._link is not None else self._start, text)
        if failure == self._failure:
            return StuckError(
                f"the server fails again and again after {format_lsn(failure[0])}: {text}",
                hint="a value of some 500 MB or more cannot be sent as text; nothing was skipped "
                "and the slot waits: `penstock teardown` and a new snapshot without that value",
            )
        self._failure = failure
        return ConnectionLostError(f"the server ended the stream: {text}")

    # -- acknowledging, looking, leaving -------------------------------------------------------

    async def acknowledge(self, checkpoint: Checkpoint) -> None:
        """Let the server forget all before ``checkpoint``."""
        self._hit(Failpoint.BEFORE_ACKNOWLEDGE)
        if checkpoint.stream == MAIN and self._link is not None:
            self._link.acknowledge(position.checkpoint_lsn(checkpoint))
        self._hit(Failpoint.AFTER_ACKNOWLEDGE)

    async def head(self) -> Checkpoint | None:
        """A checkpoint after everything committed by now.

        Writes an empty logical message: its place is one that the walsender passes, and passing
        it makes the walsender speak even when nothing else is written.
        """
        if self.config.snapshot == "only":
            return None
        assert self._control is not None
        sql = "SELECT pg_logical_emit_message(true, 'penstock', '')::text"
        self._target = parse_lsn((await self._blocking(rows, self._control, sql))[0][0])
        return position.main_checkpoint(self._target, self._system, self._timeline)

    def authority(self) -> float:
        """Seconds for which the server still holds the slot for us, even if we are cut off.

        What was left when the link ended goes on running down: a process that was frozen must not
        take the end of its link for a new beginning.
        """
        if self._link is not None:
            return self._link.authority
        return self._hold_until - time.monotonic()

    def waiting(self) -> bool:
        """Whether data of the log has arrived that was not passed on."""
        return self._link is not None and self._link.queued > 0

    async def check(self, context: Context) -> list[Finding]:
        """What would keep this source from running, or from capturing everything."""
        self._server.name_sessions(context.pipeline)
        name, published = self._names(context.pipeline)
        return await asyncio.to_thread(check.check, self._server, self.config, name, published)

    async def status(self, context: Context) -> dict[str, Any]:
        """Slot, retained log and lag as the server tells them; a running snapshot's progress."""
        self._server.name_sessions(context.pipeline)
        name, published = self._names(context.pipeline)
        status = await asyncio.to_thread(check.status, self._server, name, published)
        if self._progress is not None:
            status["snapshot"] = self._progress.status(time.monotonic())
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
        if self._using.locked():
            for connection in (self._control, self._walsender):
                if connection is not None and not connection.closed:
                    await asyncio.to_thread(connection.cancel)
        await asyncio.to_thread(self._disconnect)
        self._reset()

    def _disconnect(self) -> None:
        psycopg = driver("psycopg", "postgres")
        if self._reader is not None:
            self._reader.close()
        with self._using:
            if self._control is not None and self.config.temporary and self._made_publication:
                try:
                    publication.drop(self._control, self._facts.publication)
                except (psycopg.Error, PenstockError) as error:
                    self._context.logger.warning(
                        "the publication %s stays on the server: %s",
                        self._facts.publication,
                        error,
                    )
            for connection in (self._control, self._walsender):
                if connection is not None:
                    connection.close()

    async def _blocking(self, call: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
        """Run in a thread; one at a time, since ``close`` must not pull a connection away."""

        def locked() -> _T:
            with self._using:
                return call(*arguments)

        return await asyncio.to_thread(locked)

    def _hit(self, point: Failpoint) -> None:
        self._context.failpoints.hit(point)
