"""Plays the runner for a source alone: reads, remembers, acknowledges, keeps a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

from penstock.failpoints import Failpoints
from penstock.model import Barrier, Batch, Change, Checkpoint, Event, SnapshotBegin
from penstock.model.stream import MAIN, snapshot_stream
from penstock.model.table import UNCHANGED, Raw
from penstock.ports import Context
from penstock.sources.postgres.config import Postgres

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], within: float = 120.0) -> T:
    """Run a test's coroutine; fails when it takes too long."""
    return asyncio.run(asyncio.wait_for(work, within))


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until the condition holds."""
    while not condition():  # noqa: ASYNC110 - it happens in another process
        await asyncio.sleep(0.05)


class Remembered:
    """What a store would have remembered (:class:`penstock.ports.SourceState`)."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.start: dict[str, Checkpoint] = {}
        self.ahead: tuple[Checkpoint, ...] = ()
        """Where sinks stand in ``main`` that have more than others."""

    @property
    def fresh(self) -> bool:
        return not self.facts and not self.start

    @property
    def reached(self) -> Mapping[str, Sequence[Checkpoint]]:
        found: dict[str, Sequence[Checkpoint]] = {s: (at,) for s, at in self.start.items()}
        return {**found, MAIN: (*found.get(MAIN, ()), *self.ahead)}

    async def save(self, facts: Mapping[str, Any]) -> None:
        self.facts = dict(facts)

    async def begin(self, streams: object, states: object) -> Mapping[str, Checkpoint]:
        raise AssertionError("nobody shares these streams")


class Follower:
    """A source that is open while the ``async with`` block lasts.

    Parameters
    ----------
    memory: what outlives it; give the same to the next one to play a restart.
    kind: the source's configuration.
    options: of that.

    Attributes
    ----------
    replica: by table, rows by key, as a sink that upserts and deletes would have them.
    """

    def __init__(
        self,
        dsn: str,
        memory: Remembered | None = None,
        *,
        pipeline: str = "shop",
        failpoints: Failpoints | None = None,
        replica: dict[str, dict[Any, Any]] | None = None,
        kind: type[Any] = Postgres,
        **options: Any,
    ) -> None:
        self.memory = memory if memory is not None else Remembered()
        self.source: Any = kind(dsn=dsn, **options).build()
        self.failpoints = failpoints or Failpoints()
        self.context = Context(pipeline, "source", failpoints=self.failpoints)
        self.replica = replica if replica is not None else {}
        self._batches: AsyncIterator[Batch | Barrier] | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        await self.source.open(self.context, self.memory)
        self._batches = self.source.batches()

    async def close(self) -> None:
        close = getattr(self._batches, "aclose", None)
        if close is not None:
            await close()
        await self.source.close()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    async def next(self, *, acknowledge: bool = True) -> Batch | Barrier:
        """The next item, applied to the replica; then remembered and acknowledged."""
        assert self._batches is not None
        item = await anext(self._batches)
        if isinstance(item, Batch):
            for event in item:
                self._apply(event)
            if acknowledge and item.checkpoint is not None:
                await self.remember(item.checkpoint)
        return item

    async def read_for_ever(self, *, acknowledge: bool = True) -> None:
        """Read until something is raised."""
        while True:
            await self.next(acknowledge=acknowledge)

    async def remember(self, checkpoint: Checkpoint) -> None:
        self.memory.start[checkpoint.stream] = checkpoint
        await self.source.acknowledge(checkpoint)

    async def to_head(self) -> list[Event]:
        """All events up to what is committed now."""
        head = await self.source.head()
        assert head is not None
        events: list[Event] = []
        while True:
            item = await self.next()
            if isinstance(item, Batch):
                events += item
                reached = item.checkpoint
                if reached and reached.stream == MAIN and self.source.meet(head, reached) == head:
                    return events

    async def changes(self, table: str | None = None) -> list[Change]:
        """The changes up to what is committed now."""
        return [
            event
            for event in await self.to_head()
            if isinstance(event, Change) and table in (None, event.table)
        ]

    def _apply(self, event: Event) -> None:
        if isinstance(event, SnapshotBegin):
            self.replica[event.table.text] = {}
        if not isinstance(event, Change):
            return
        rows = self.replica.setdefault(event.table, {})
        shown = self.memory.start.get(snapshot_stream(event.table))
        if shown and event.operation != "read" and self.source.covers(shown, event.mark):
            return
        if event.operation == "truncate":
            rows.clear()
            return
        key = event.key_values
        if event.key_old is not None:
            old: Any = rows.pop(tuple(event.key_old), None)
        else:
            old = rows.get(key)
        if event.operation == "delete":
            rows.pop(key, None)  # a stream without a copy has not seen every row
        else:
            assert event.values_after is not None
            rows[key] = _filled(event.values_after, old)


def _filled(values: Any, old: Any) -> tuple[Raw, ...]:
    return tuple(old[i] if value is UNCHANGED and old else value for i, value in enumerate(values))


def texts(values: Any) -> list[str | None]:
    """Raw values as text, to compare with what a query says."""
    return [None if value is None else value.decode() for value in values]
