"""Parked changes: set aside with their reason, and with them what comes later for their keys."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from penstock.errors import ConfigError, StuckError
from penstock.failpoints import Failpoint
from penstock.model import UNCHANGED, Change, Raw
from penstock.model.archive import dump_change
from penstock.ports import Context, Parked

REREAD_AFTER: Final = 5.0
"""Seconds after which a hit on a parked key looks into the store: a replay may have freed it."""


def _text(raw: Raw) -> str | None:
    return None if raw is None or raw is UNCHANGED else raw.decode(errors="backslashreplace")


def _key(table: str, values: Iterable[Raw]) -> str:
    return table + json.dumps([_text(raw) for raw in values], ensure_ascii=False)


def keys(change: Change[Any]) -> tuple[str, ...]:
    """The canonical texts of a change's keys: two where the key changed.

    A change without a key has the table's name alone: it stands for every row.
    """
    table = change.table
    new = change.key_values
    if new is None:
        return (table,)
    if change.key_old is None:
        return (_key(table, new),)
    return (_key(table, new), _key(table, change.key_old))


class Parking:
    """The parked changes of one sink: those in the store, and those that the next flush adds.

    Parameters
    ----------
    limit: how many changes may be parked.
    """

    def __init__(self, context: Context, limit: int) -> None:
        if context.store is None:
            raise ConfigError("parking needs a store")
        self._context = context
        self._store = context.store
        self._sink = context.component
        self._limit = limit
        self._stored: dict[str, Parked] = {}
        self._added: dict[str, Parked] = {}
        self._superseded: list[str] = []
        self._behind: dict[str, str] = {}
        self._read_at = 0.0

    def __len__(self) -> int:
        return len(self._stored.keys() | self._added.keys())

    async def load(self) -> None:
        """Read what the store holds."""
        parked = await self._store.parked(self._sink)
        gone = set(self._superseded)
        self._stored = {one.id: one for one in parked if one.id not in gone}
        self._read_at = self._context.clock.monotonic()
        self._index()

    def _index(self) -> None:
        self._behind = {
            key: one.id
            for one in (*self._stored.values(), *self._added.values())
            for key in one.keys
        }

    def _ahead(self, change: Change[Any]) -> str | None:
        """The parked change that this one must wait behind."""
        if not self._behind:
            return None
        for key in (change.table, *keys(change)):
            if key in self._behind:
                return self._behind[key]
        if change.key_values is None:
            # It may be about any row of its table.
            rows = change.table + "["
            return next((id for key, id in self._behind.items() if key.startswith(rows)), None)
        return None

    async def ahead(self, change: Change[Any]) -> str | None:
        """The parked change that this one must wait behind, as the store has it now."""
        found = self._ahead(change)
        if found is None:
            return None
        if self._context.clock.monotonic() - self._read_at >= REREAD_AFTER:
            await self.load()
            found = self._ahead(change)
        return found

    def add(self, change: Change[Any], reason: str) -> None:
        """Set a change aside with the next flush. Raises StuckError above the limit."""
        if change.id in self._added:
            return
        if len(self) >= self._limit and change.id not in self._stored:
            raise StuckError(
                f"{len(self)} changes are parked in sink {self._sink!r}, and {change.id} would "
                f"be one more than max_parked: {reason}",
                hint="mend the cause, then: penstock parked TARGET replay",
                table=change.table,
                mark=change.mark,
            )
        parked = Parked(
            self._sink,
            change.id,
            change.table,
            keys(change),
            reason,
            self._context.clock.now(),
            dump_change(change),
        )
        self._added[change.id] = parked
        self._behind.update(dict.fromkeys(parked.keys, parked.id))

    def supersede(self, table: str) -> list[str]:
        """Forget a truncated table's parked changes, with the next flush; their ids."""
        stored = [id for id, one in self._stored.items() if one.table == table]
        added = [id for id, one in self._added.items() if one.table == table]
        self._superseded += stored
        for id in (*stored, *added):
            self._stored.pop(id, None)
            self._added.pop(id, None)
        self._index()
        return [*stored, *added]

    async def flush(self) -> None:
        """Make it durable, before the checkpoint passes these changes."""
        if self._superseded:
            await self._store.unpark(self._sink, self._superseded)
            self._superseded = []
        if not self._added:
            return
        failpoints = self._context.failpoints
        failpoints.hit(Failpoint.BEFORE_PARK)
        await self._store.park(list(self._added.values()))
        failpoints.hit(Failpoint.AFTER_PARK)
        self._stored.update(self._added)
        self._added = {}
