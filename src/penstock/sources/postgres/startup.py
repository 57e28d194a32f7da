"""Start-up: what is remembered, compared with what the server has, and made where it is missing.

Nothing anywhere: the intent is saved, then publication, slot and snapshot are made, in this order.
An intent without completion: that slot is dropped, and all begins again. All there: it must hold
our place. Anything else is for people to decide.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.errors import (
    ConfigError,
    ConnectionLostError,
    GapError,
    PenstockError,
    SlotMissingError,
    StateMismatchError,
)
from penstock.failpoints import Failpoint
from penstock.model import Checkpoint
from penstock.model.stream import MAIN, snapshot_stream
from penstock.ports import SourceState
from penstock.sources.postgres import catalog, check, partitions, publication, slot
from penstock.sources.postgres.catalog import Relkind
from penstock.sources.postgres.config import ALL_TABLES
from penstock.sources.postgres.connection import Connection, rows
from penstock.sources.postgres.facts import Captured, Facts
from penstock.sources.postgres.position import checkpoint_lsn
from penstock.sources.postgres.reader import SnapshotReader
from penstock.sources.postgres.readers import Readers
from penstock.sources.postgres.session import Session
from penstock.sources.postgres.snapshot import Due
from penstock.sources.postgres.wire.lsn import format_lsn, parse_lsn

if TYPE_CHECKING:
    from penstock.sources.postgres.config import Postgres


@dataclass(frozen=True, slots=True)
class Plan:
    """What start-up found.

    Parameters
    ----------
    start: where the log is read from.
    due: the tables to copy first; their rows show all that was committed before ``due_at``.
    """

    system: str
    timeline: int
    database: str
    facts: Facts
    start: int
    due: Sequence[Due]
    due_at: int


class Startup:
    """One start-up.

    Parameters
    ----------
    names: of slot and publication, as configured.
    first: whether this process has not opened the source before.
    """

    def __init__(
        self,
        config: Postgres,
        session: Session,
        state: SourceState,
        names: tuple[str, str],
        *,
        first: bool,
    ) -> None:
        self._config = config
        self._session = session
        self._state = state
        self._names = names
        self._first = first
        self._due: Sequence[Due] = ()
        self._due_at = 0
        self._entries: Mapping[int, int] = {}
        self._system = ""
        self._timeline = 0

    async def run(self) -> Plan:
        """Connect, judge, and make. Raises as :meth:`PostgresSource.open`."""
        session, config, state = self._session, self._config, self._state
        facts = Facts.load(state.facts) if state.facts else None
        await session.connect_control()
        control = session.control
        if not self._first:
            standby = await session.blocking(rows, control, "SELECT pg_is_in_recovery()")
            if standby[0][0]:  # in the middle of a failover
                raise ConnectionLostError("the server is a standby now: waiting for a primary")
        known_tables = facts.captured if facts is not None and facts.consistent else ()
        found = await session.blocking(catalog.captured, control, config.tables, known_tables)
        tables = self._without_unidentified(found)
        await session.blocking(check.require, control, session.server, config, tables)
        await session.connect_walsender()
        main = state.start.get(MAIN)
        known: dict[str, Any] = {"system": facts.system} if facts else {}
        self._system, self._timeline = await session.blocking(
            slot.check_history, session.walsender, {**known, **(main.value if main else {})}
        )
        for at in state.reached.get(MAIN, ()):
            await session.blocking(slot.check_history, session.walsender, at.value)
        if config.snapshot == "only":
            facts = await self._copy_only(facts, tables)
        elif facts is None or not facts.consistent or not facts.slot:
            facts = await self._begin(facts, tables)
        else:
            await self._resume(facts, tables)
        return Plan(
            self._system,
            self._timeline,
            control.info.dbname,
            facts,
            _start(main, facts),
            self._due,
            self._due_at,
        )

    def _without_unidentified(self, tables: Sequence[Relkind]) -> Sequence[Relkind]:
        """Who only looks at all there is must not make the application's updates fail."""
        config = self._config
        identified = [table for table in tables if table.identified]
        looks = config.temporary and config.tables == ALL_TABLES and not config.publication
        if not looks or not identified or len(identified) == len(tables):
            return tables
        self._session.context.logger.warning(
            "not shown, for want of a primary key or other replica identity (were it published, "
            "the application's own UPDATE and DELETE would fail): %s",
            ", ".join(table.text for table in tables if not table.identified),
        )
        return identified

    async def _begin(self, old: Facts | None, tables: Sequence[Relkind]) -> Facts:
        """Nothing is there yet, or only half of it."""
        session, control = self._session, self._session.control
        failpoints = session.context.failpoints
        name, published = self._names
        if old is None and self._state.start:
            raise StateMismatchError(
                "sinks hold changes of this pipeline, but nothing is remembered of its slot",
                hint="bring the store back; or `penstock teardown`, empty the targets, and begin "
                "again",
            )
        if old is not None and old.slot:
            await session.when_free(old.slot, slot.drop, control, old.slot)
        else:
            await session.blocking(slot.require_none, control, name)
        before = old.captured if old else {}
        captured = {table: Captured(0, was.attempt) for table, was in before.items()}
        for table in tables:
            captured.setdefault(table.text, Captured(0)).oid = table.oid
        temporary = self._config.temporary
        facts = Facts(name, published, self._system, temporary, captured=captured)
        await self._state.save(facts.dump())
        failpoints.hit(Failpoint.INTENT_SAVED)
        await self._publish(facts, tables)
        failpoints.hit(Failpoint.PUBLICATION_CREATED)
        if self._config.snapshot != "never":
            self._due = [Due(t, captured[t.text].attempt + 1) for t in tables]
            for due in self._due:
                captured[due.table.text].needed = due.attempt
        self._due_at = await self._make_slot(session.walsender, name, temporary)
        failpoints.hit(Failpoint.SLOT_CREATED)
        facts.consistent = format_lsn(self._due_at)
        await self._save(facts)
        return facts

    async def _resume(self, facts: Facts, tables: Sequence[Relkind]) -> None:
        """All was there when we last looked: it must still be, and hold our place."""
        session, control = self._session, self._session.control
        start = _start(self._state.start.get(MAIN), facts)
        if facts.temporary:
            raise SlotMissingError(
                f"the temporary slot went with its connection: what was committed after "
                f"{format_lsn(start)} is lost to us",
                hint="give the stream a name: it then has a slot that lasts",
            )
        if self._names != (facts.slot, facts.publication):
            raise StateMismatchError(
                f"this pipeline has the slot {facts.slot} and the publication "
                f"{facts.publication}; the configuration says {' and '.join(self._names)}",
                hint="set slot and publication back; or `penstock teardown` and begin again",
            )
        reached = max([start, *map(checkpoint_lsn, self._state.reached.get(MAIN, ()))])
        await session.blocking(slot.check, control, facts.slot, start, reached)
        await session.blocking(publication.check, control, facts, tables)
        await self._publish(facts, tables)
        self._due = self._unfinished(facts, tables)
        if self._due:
            walsender = await session.connect(session.server.walsender)
            try:
                name = publication.TEMPORARY + secrets.token_hex(4)
                self._due_at = await self._make_slot(walsender, name, True)
            finally:
                await session.blocking(walsender.close)
        await self._save(facts)

    async def _copy_only(self, facts: Facts | None, tables: Sequence[Relkind]) -> Facts:
        """A copy without the log needs no slot: one transaction's snapshot is enough."""
        if facts is not None and facts.slot:
            raise ConfigError(
                f"snapshot='only' makes no use of this pipeline's slot {facts.slot}",
                hint="use snapshot='always', or another name for the copy",
            )
        session = self._session
        at = await session.blocking(rows, session.control, "SELECT pg_current_wal_lsn()::text")
        self._due_at = parse_lsn(at[0][0])
        facts = facts or Facts("", "", self._system, consistent=at[0][0])
        self._due = self._unfinished(facts, tables)
        await self._lock_due()
        if session.readers is not None:
            await session.blocking(session.readers.adopt, None)
        await self._save(facts)
        return facts

    def _unfinished(self, facts: Facts, tables: Sequence[Relkind]) -> list[Due]:
        """The tables to copy; the rest is only followed from here on."""
        policy, captured = self._config.snapshot, facts.captured
        again = policy == "always" and self._first
        warn = self._session.context.logger.warning
        due = []
        for table in tables:
            was = captured.get(table.text)
            attempt, needed = (was.attempt, was.needed) if was else (0, 0)
            new = was is None or was.oid != table.oid
            done = self._state.start.get(snapshot_stream(table.text))
            finished = needed == 0 or (done is not None and done.value["attempt"] >= needed)
            if policy != "never" and (new or not finished or again):
                due.append(Due(table, attempt + 1))
                needed = attempt + 1 if new or again else needed
            if policy == "never" and was is not None and was.oid not in (0, table.oid):
                raise GapError(
                    f"{table.text} is another table now (dropped and made anew, or renamed): what "
                    "was written to it until now is lost to us",
                    hint="run once with snapshot = 'initial', which copies that table alone; or "
                    "`penstock teardown`, and begin again from now",
                    table=table.text,
                )
            partitions = was.partitions if was else None
            captured[table.text] = Captured(table.oid, attempt, needed, partitions=partitions)
        for name in captured.keys() - {table.text for table in tables}:
            if captured[name].oid:
                warn("%s was dropped, renamed or left out: it is not captured any more", name)
            captured[name].oid = 0  # should it come back, it needs a new copy
        return due

    async def _publish(self, facts: Facts, tables: Sequence[Relkind]) -> None:
        session, control, name = self._session, self._session.control, facts.publication
        found = await session.blocking(publication.find, control, name)
        if found is None:
            if facts.temporary:
                await session.blocking(publication.claim_temporary, control, name)
                session.made_publication = name
            found = await session.blocking(publication.create, control, name, tables)
        else:
            found = await session.blocking(publication.cover, control, found, tables)
        facts.publication_oid = found.oid
        facts.operations = tuple(sorted(found.operations))
        self._entries = found.members

    async def _make_slot(self, walsender: Connection, name: str, temporary: bool) -> int:
        """Make a slot; where tables are due, lock them before and adopt its snapshot after."""
        session, timeout = self._session, self._config.slot_timeout
        await self._lock_due()

        def make() -> slot.Created:
            return slot.create(
                walsender, session.control, name, temporary=temporary, timeout=timeout
            )

        created = await session.blocking(make)
        if session.readers is not None:
            await session.blocking(session.readers.adopt, created.snapshot)
        return created.consistent

    async def _lock_due(self) -> None:
        """Lock the due tables, by each connection that is to read them."""
        if not self._due:
            return
        session, tables = self._session, [due.table for due in self._due]
        first = SnapshotReader(await session.connect(session.server.connect))
        session.readers = readers = Readers(first)
        await session.blocking(first.lock, tables, self._config.slot_timeout)
        wanted = self._config.snapshot_connections
        for count in range(1, wanted):
            try:
                reader = SnapshotReader(await session.connect(session.server.connect))
                refused = await session.blocking(readers.add, reader, tables)
            except PenstockError as error:
                refused = error.message
            if refused:
                session.context.logger.warning(
                    "the snapshot is read by %d connections, not %d: %s", count, wanted, refused
                )
                break

    async def _save(self, facts: Facts) -> None:
        """Remember all of it, and the attempts before any of their rows is seen."""
        for due in self._due:
            facts.captured[due.table.text].attempt = due.attempt
        copied = {due.table.text for due in self._due}
        wanted = None if self._config.snapshot == "never" else copied
        session = self._session
        for warning in await session.blocking(
            lambda: partitions.compare(session.control, facts, copied=wanted)
        ):
            session.context.logger.warning("%s", warning)
        for captured in facts.captured.values():
            captured.entry = self._entries.get(captured.oid, 0)
        if facts.dump() != self._state.facts:
            await self._state.save(facts.dump())


def _start(main: Checkpoint | None, facts: Facts) -> int:
    return checkpoint_lsn(main) if main is not None else parse_lsn(facts.consistent)
