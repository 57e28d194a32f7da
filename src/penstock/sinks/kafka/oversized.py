"""Changes whose records no topic takes, and what comes later for their keys: set aside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

from penstock.model import Batch, Change
from penstock.model.archive import load_change
from penstock.parking import Parking
from penstock.ports import Context, Parked

Examine: TypeAlias = Callable[[Batch], Awaitable[Mapping[str, str]]]


class Oversized:
    """Keeps back what a topic would refuse for its size.

    Parameters
    ----------
    limit: how many changes may be parked before the pipeline is stuck.
    """

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._parking = Parking(context, limit)

    async def load(self) -> None:
        """Read what is parked already."""
        await self._parking.load()

    async def keep_back(self, batch: Batch, examine: Examine) -> Batch:
        """What can go on of a batch; the rest is parked, durably, when this returns.

        ``examine`` gives the ids of changes that are too large, and what to say of each.
        """
        reasons = await examine(batch)
        if not reasons and not len(self._parking):
            return batch
        aside = set()
        for event in batch:
            if not isinstance(event, Change):
                continue
            if event.operation == "truncate":
                self._supersede(event)
                continue
            ahead = await self._parking.ahead(event)
            reason = reasons.get(event.id) or (ahead and f"waits behind {ahead}")
            if reason:
                self._parking.add(event, reason)
                aside.add(event.id)
                self._context.logger.error("%s is parked: %s", event.id, reason)
        await self._parking.flush()
        if not aside:
            return batch
        return batch.select(lambda event: not (isinstance(event, Change) and event.id in aside))

    async def replay(
        self, parked: Iterable[Parked], write: Callable[[Change], Awaitable[bool]]
    ) -> list[str]:
        """Write parked changes, in order; the ids of those that a topic took.

        A change whose key has one that was refused again is left alone.
        """
        store = self._context.store
        assert store is not None
        passed: list[str] = []
        refused: set[str] = set()
        for one in parked:
            free = refused.isdisjoint(one.keys) and one.table not in refused
            if free and await write(load_change(dict(one.change))):
                await store.unpark(self._context.component, [one.id])
                passed.append(one.id)
            else:
                refused.update(one.keys)
        return passed

    def _supersede(self, change: Change) -> None:
        gone = self._parking.supersede(change.table)
        if gone:
            self._context.logger.warning(
                "%s was truncated: %d parked changes of it are forgotten (%s)",
                change.table,
                len(gone),
                ", ".join(gone),
            )
