"""What others do, while we read, to what we capture: looked at every few seconds.

The server says nothing when a table is taken out of the publication, replaced by another of its
name, or given a partition with rows, nor when its walsender stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.errors import ConnectionLostError
from penstock.ports import Context, SourceState
from penstock.sources.postgres import catalog, partitions, publication, slot
from penstock.sources.postgres.catalog import Relkind
from penstock.sources.postgres.config import Postgres
from penstock.sources.postgres.facts import Facts
from penstock.sources.postgres.session import Session

EVERY: Final = 10.0
"""Seconds between two looks."""
WELL_BEHIND: Final = 16 << 20
"""Bytes of log that a walsender which waits has not passed, and should have."""


class Watch:
    """Looks at the server through the session's ordinary connection.

    Attributes
    ----------
    standing: the walsender answers, has more log to read, and does not read it.
    """

    def __init__(
        self, config: Postgres, session: Session, context: Context, state: SourceState, facts: Facts
    ) -> None:
        self.standing = False
        self._config = config
        self._session = session
        self._context = context
        self._state = state
        self._facts = facts
        self._looked_at = context.clock.monotonic()
        self._received_then = 0
        self._missed: set[str] = set()

    async def look(self, received: int) -> None:
        """Look, when it is time to.

        Parameters
        ----------
        received: the last position that the walsender told.

        Raises
        ------
        GapError: others took something out of the publication.
        ConnectionLostError: a captured name is another table by now: start-up captures it anew.
        """
        now = self._context.clock.monotonic()
        if now - self._looked_at < EVERY:
            return
        self._looked_at = now
        session = self._session
        tables = await session.blocking(catalog.user_tables, session.control)
        await session.blocking(publication.check, session.control, self._facts, tables)
        self._look_for_others(tables)
        await self._look_at_partitions()
        await self.look_at_progress(received)

    async def look_at_progress(self, received: int) -> None:
        """Note whether the walsender stands still, though it answers and has more log to read."""
        before, self._received_then = self._received_then, received
        self.standing = False
        if received == before:
            session = self._session
            end = await session.blocking(slot.ahead, session.control, self._facts.slot)
            self.standing = end - received > WELL_BEHIND

    async def _look_at_partitions(self) -> None:
        session, facts = self._session, self._facts
        before = facts.dump()
        copied = None if self._config.snapshot == "never" else ()
        for warning in await session.blocking(
            lambda: partitions.compare(session.control, facts, copied=copied)
        ):
            self._context.logger.warning("%s", warning)
        if facts.dump() != before:
            await self._state.save(facts.dump())

    def _look_for_others(self, tables: Sequence[Relkind]) -> None:
        """A captured name may stand for another table by now, which is not published."""
        facts = self._facts
        named = {table.text: table for table in tables if not table.unlogged}
        here = {table.oid: table for table in tables}
        for name, was in facts.captured.items():
            now, same = named.get(name), here.get(was.oid)
            if not was.oid or (now and now.oid == was.oid):
                continue
            if now is not None and not facts.temporary:
                raise ConnectionLostError(f"{name} is another table now: it is captured anew")
            tables_wanted = self._config.tables
            known = same is not None and catalog.wanted(tables_wanted, same.schema, same.name)
            if known or name in self._missed:
                continue
            self._missed.add(name)
            self._context.logger.warning(
                "%s was %s: what is written there now is not captured",
                name,
                f"renamed to {same.text}" if same is not None else "dropped, or is a partition now",
            )
