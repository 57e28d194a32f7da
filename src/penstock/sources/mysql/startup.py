"""Start-up: what is remembered, compared with what the server has.

Nothing anywhere: the intent is saved, then the snapshot begins, whose place is where the log will
go on. An intent without completion: all begins again. All there: the server must still have what we
have not read, and know all that we have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from penstock.errors import DivergedError, SourceError, StateMismatchError
from penstock.failpoints import Failpoint
from penstock.model import Checkpoint, Mark
from penstock.model.stream import MAIN, snapshot_stream
from penstock.model.table import qualified
from penstock.ports import SourceState
from penstock.registry import driver
from penstock.sources.mysql import catalog, check, declarations, dump, fence, moment
from penstock.sources.mysql.connection import error_number, one, rows
from penstock.sources.mysql.declarations import Declarations
from penstock.sources.mysql.facts import Captured, Facts
from penstock.sources.mysql.history import compare, executed, flavor_of, nameless
from penstock.sources.mysql.moment import BusyError
from penstock.sources.mysql.position import Flavor, covers, gtids_in, gtids_of, is_place
from penstock.sources.mysql.reader import SnapshotReader
from penstock.sources.mysql.readers import Readers
from penstock.sources.mysql.session import Session
from penstock.sources.mysql.snapshot import Due, Moment
from penstock.sources.mysql.wire.gtid import Gtids
from penstock.sources.mysql.wire.shapes import History, Version, current
from penstock.sources.mysql.wire.tablemap import TableMap

if TYPE_CHECKING:
    from penstock.sources.mysql.config import MySQL


_MAY_NOT_RECOVER: Final = 1401
_AGAIN: Final = 0.1
_AGAIN_BUSY: Final = 1.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What start-up found.

    Parameters
    ----------
    start: the transactions that the log need not show any more.
    due: the tables to copy first.
    moment: what their rows show; None where no table is due.
    checksums: whether the log's events end in a checksum.
    hidden: types that the log does not tell; None where it tells all.
    declarations: what the catalog says of the tables to copy.
    """

    facts: Facts
    start: Gtids
    due: Sequence[Due]
    moment: Moment | None
    checksums: bool
    hidden: dict[tuple[str, str], dict[str, str]] | None
    declarations: Declarations


class Startup:
    """One start-up.

    Parameters
    ----------
    first: whether this process has not opened the source before.
    """

    def __init__(self, config: MySQL, session: Session, state: SourceState, *, first: bool) -> None:
        self._config = config
        self._session = session
        self._state = state
        self._first = first
        self._due: Sequence[Due] = ()
        self._moment: Moment | None = None
        self._by_place = False

    async def run(self) -> Plan:
        """Connect, judge, and begin. Raises as :meth:`MySQLSource.open`."""
        session, config, state = self._session, self._config, self._state
        await session.connect()
        flavor = await session.blocking(flavor_of, session.control)
        tables = await session.blocking(catalog.captured, session.control, config.tables)
        await session.blocking(check.require, session.control, flavor, config, tables)
        if not config.temporary:
            await session.take_lease()
        facts = Facts.load(state.facts) if state.facts else None
        if facts is not None and facts.flavor != flavor:
            raise DivergedError(
                f"this pipeline began on {facts.flavor}, and the server is {flavor}",
                hint="bring the old server back; or `penstock teardown` and a new snapshot",
            )
        if facts is None or facts.began is None:
            self._by_place = await session.blocking(nameless, session.control, flavor)
            if self._by_place:
                session.context.logger.warning(
                    "transactions of %s have no GTIDs: no other server can be read on after a "
                    "failover",
                    session.server,
                )
            facts = await self._begin(facts, flavor, tables)
        else:
            await self._resume(facts, tables)
        main = state.start.get(MAIN)
        began = gtids_of(flavor, facts.began or "")
        start = gtids_in(main).copy() if main is not None else began
        checksum = await session.blocking(one, session.control, "SELECT @@GLOBAL.binlog_checksum")
        hidden = None
        if flavor == "mariadb":
            hidden = await session.blocking(catalog.hidden, session.control)
        due = [(due.schema, due.name) for due in self._due]
        declared = await session.blocking(declarations.read, session.control, flavor, due)
        moment, checksums = self._moment, checksum == "CRC32"
        return Plan(facts, start, self._due, moment, checksums, hidden, declared)

    async def _begin(
        self, old: Facts | None, flavor: Flavor, tables: Sequence[tuple[str, str]]
    ) -> Facts:
        """Nothing is there yet, or only half of it."""
        session, config = self._session, self._config
        if old is None and self._state.start:
            raise StateMismatchError(
                "sinks hold changes of this pipeline, but nothing is remembered of its beginning",
                hint="bring the store back; or `penstock teardown`, empty the targets, and begin "
                "again",
            )
        facts = Facts(flavor, None, dict(old.captured) if old else {})
        await self._state.save(facts.dump())
        session.context.failpoints.hit(Failpoint.INTENT_SAVED)
        if config.snapshot != "never":
            self._due = self._unfinished(facts, tables)
        if self._due:
            self._moment = await self._begin_snapshot(flavor, tables)
            facts.began = self._moment.at
            if not await session.blocking(fence.told_by_log, session.control):
                facts.history = _first_versions(self._moment.shapes)
        else:
            facts.began, facts.history = await self._between_prepared(
                lambda: self._begin_log(flavor, tables)
            )
        await self._state.save(facts.dump())
        return facts

    async def _resume(self, facts: Facts, tables: Sequence[tuple[str, str]]) -> None:
        """The server must have all that we have not read, and know all that we have."""
        session, main = self._session, self._state.start.get(MAIN)
        text = main.value["gtids"] if main is not None else facts.began or ""
        self._by_place = is_place(text)
        reached = [at.value["gtids"] for at in self._state.reached.get(MAIN, ())]
        await session.blocking(compare, session.control, facts.flavor, text, reached)
        if facts.flavor == "mariadb":
            # A position names one transaction of each domain; that it is the server's own, and not
            # another's of the same number, only the server can say. It does so for where we start.
            for at in {*reached} - {text}:
                theirs = gtids_of(facts.flavor, at)
                await session.blocking(dump.probe, session.server, theirs, session.replica)
        if self._config.snapshot != "never":
            self._due = self._unfinished(facts, tables)
        if self._due:
            due = [(due.schema, due.name) for due in self._due]
            self._moment = await self._begin_snapshot(facts.flavor, due)
        self._forget(facts.history, main)
        if facts.dump() != self._state.facts:
            await self._state.save(facts.dump())

    def _begin_log(self, flavor: Flavor, tables: Sequence[tuple[str, str]]) -> tuple[str, History]:
        """The transactions of now, and the tables as they are where the log does not tell."""
        session = self._session
        if fence.told_by_log(session.control):
            return executed(session.control, flavor, by_place=self._by_place), {}
        with fence.held(session.server, tables, self._config.lock_timeout) as connection:
            began = executed(connection, flavor, by_place=self._by_place)
            return began, _first_versions(fence.shapes(connection, tables))

    async def _begin_snapshot(self, flavor: Flavor, tables: Sequence[tuple[str, str]]) -> Moment:
        """Let the readers begin, at one moment, while no statement alters the tables."""
        session, config = self._session, self._config

        def begin() -> Moment:
            server, readers = session.server, []
            with fence.held(server, tables, config.lock_timeout) as connection:
                try:
                    for _ in range(config.snapshot_connections):
                        readers.append(SnapshotReader(server))
                    together, at, place = moment.begin(
                        server, readers, flavor, by_place=self._by_place
                    )
                    shapes = fence.shapes(connection, tables)
                    for reader in readers[:together]:
                        reader.begun()
                except BaseException:
                    for reader in readers:
                        reader.close()
                    raise
            for reader in readers[together:]:
                reader.close()
            return Moment(Readers(readers[:together]), at, place, shapes)

        def give_back(begun: Moment) -> None:
            begun.readers.close()

        begun = await self._between_prepared(begin, give_back)
        session.readers = begun.readers
        return begun

    def _forget(self, history: History, main: Checkpoint | None) -> None:
        """Versions before where the log goes on."""
        if main is None:
            return
        for name, versions in history.items():
            now = current(versions, lambda transaction: covers(main, Mark(transaction, 0)))
            history[name] = versions[versions.index(now) :]

    async def _between_prepared(
        self, take: Callable[[], _T], give_back: Callable[[_T], None] = lambda _: None
    ) -> _T:
        """Take a place in the log at which no XA transaction is prepared: the log shows the rows
        of one when it is prepared, and reads of the tables when it is committed.

        Raises SourceError when there is none for so long as a lock is waited for.
        """
        session, clock = self._session, self._session.context.clock
        until = clock.monotonic() + self._config.lock_timeout
        while True:
            before = await session.blocking(self._prepared)
            try:
                taken = await session.blocking(take)
            except BusyError:
                if clock.monotonic() > until:
                    raise SourceError(
                        f"writers could not be held up within {self._config.lock_timeout:g} s, for "
                        "the moment in which the snapshot begins",
                        hint="a statement that runs long holds a table; see SHOW PROCESSLIST",
                    ) from None
                await clock.sleep(_AGAIN_BUSY)
                continue
            after = await session.blocking(self._prepared)
            if before is None or (before == after and not before[1]):
                return taken
            await session.blocking(give_back, taken)
            if clock.monotonic() > until:
                raise SourceError(
                    "XA transactions are prepared, or come and go without a pause: whether what we "
                    "begin with shows their rows is open until they end",
                    hint="commit those that XA RECOVER lists, or roll them back; or begin when "
                    "fewer are on their way, with a longer lock_timeout",
                )
            await clock.sleep(_AGAIN)

    def _prepared(self) -> tuple[str, Sequence[object]] | None:
        """How many XA transactions were ever prepared, and those that are; None for who may not
        ask, and learns of a gap when such a transaction is committed."""
        pymysql = driver("pymysql", "mysql")
        control = self._session.control
        try:
            [(_, ever)] = rows(control, "SHOW GLOBAL STATUS LIKE 'Com_xa_prepare'")
            return str(ever), rows(control, "XA RECOVER")
        except pymysql.Error as error:
            if error_number(error) != _MAY_NOT_RECOVER:
                raise
            return None

    def _unfinished(self, facts: Facts, tables: Sequence[tuple[str, str]]) -> list[Due]:
        """The tables to copy; the rest is only followed from here on."""
        again = self._config.snapshot == "always" and self._first
        due = []
        for schema, name in tables:
            text = qualified(schema, name)
            new = text not in facts.captured
            was = facts.captured.setdefault(text, Captured())
            done = self._state.start.get(snapshot_stream(text))
            finished = done is not None and done.value["attempt"] >= was.needed > 0
            if new or again or not finished:
                was.attempt += 1
                if new or again or not was.needed:
                    was.needed = was.attempt
                due.append(Due(schema, name, was.attempt))
        return due


def _first_versions(shapes: Mapping[tuple[str, str], TableMap | None]) -> History:
    return {name: [Version("", shape=shape)] for name, shape in shapes.items() if shape}
