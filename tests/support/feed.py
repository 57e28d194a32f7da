"""Feeds a sink that stores checkpoints, as the runner does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from penstock.failpoints import Failpoints
from penstock.model import (
    Change,
    Checkpoint,
    Column,
    Event,
    EventBatch,
    Mark,
    Operation,
    Origin,
    Raw,
    SnapshotBegin,
    SnapshotEnd,
    Table,
)
from penstock.model.stream import MAIN, snapshot_mark, snapshot_stream
from penstock.ports import Context
from penstock.sinks.sql import Sql
from penstock.sources.postgres.wire.types import builtin

T = TypeVar("T")
OIDS = {
    "boolean": 16,
    "bytea": 17,
    "bigint": 20,
    "integer": 23,
    "text": 25,
    "json": 114,
    "double precision": 701,
    "date": 1082,
    "timestamptz": 1184,
    "numeric": 1700,
    "jsonb": 3802,
}


def column(
    name: str, type: str | int = "text", modifier: int = -1, default: str | None = None
) -> Column:
    """A column of a built-in type, by name or OID."""
    made = builtin(OIDS[type] if isinstance(type, str) else type, modifier)
    assert made is not None
    return Column(name, made, default=default)


def table(
    name: str, *columns: Column, key: Sequence[str] = ("id",), schema: str = "public"
) -> Table:
    """A table, by default with the key ``id``."""
    return Table(schema, name, columns, tuple(key))


def raw(value: str | Raw) -> Raw:
    """Text as the wire has it; None and UNCHANGED as they are."""
    return value.encode() if isinstance(value, str) else value


def change(
    operation: Operation, definition: Table, *values: str | Raw, old: Sequence[str] = ()
) -> Change:
    """A change from texts: a delete's are the key, ``old`` is the key before the change."""
    row = tuple(map(raw, values))
    origin = Origin("")
    if operation == "delete":
        return Change(operation, definition, origin, 0, None, None, row)
    if operation == "truncate":
        return Change(operation, definition, origin, 0)
    old_key = tuple(map(raw, old)) or None
    return Change(operation, definition, origin, 0, None, row, None, old_key)


class Feed:
    """One run of a pipeline into one SQL sink."""

    def __init__(self, url: str, *, name: str = "replica", pipeline: str = "orders") -> None:
        self.failpoints = Failpoints()
        self.sink = Sql(url=url, name=name).build()
        self._context = Context(pipeline, name, failpoints=self.failpoints)

    async def __aenter__(self) -> Feed:
        await self.sink.open(self._context)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sink.close()

    async def reopen(self) -> None:
        """What the runner does after a SinkUnavailableError."""
        await self.sink.close()
        await self.sink.open(self._context)

    async def write(self, at: int, *events: Event, whole: bool = True) -> None:
        """Write events as the transaction ``at``, or as a part of it."""
        for ordinal, event in enumerate(events):
            if isinstance(event, Change):
                event.origin, event.ordinal = Origin(f"0/{at}"), ordinal
        checkpoint = Checkpoint.of(MAIN, at=at) if whole else None
        mark = Mark(f"0/{at}", len(events))
        await self.sink.write(EventBatch(MAIN, events, mark, checkpoint))

    async def commit(self, at: int, *events: Event) -> None:
        """Write a transaction and flush it."""
        await self.write(at, *events)
        assert await self.sink.flush() == Mark(f"0/{at}", len(events))

    async def snapshot(
        self,
        definition: Table,
        rows: Iterable[Sequence[str | Raw]],
        attempt: int = 1,
        *,
        end: bool = True,
    ) -> None:
        """Write a snapshot; without ``end`` it breaks off."""
        origin = Origin(snapshot_mark(definition.text, attempt))
        stream = snapshot_stream(definition.text)
        reads: list[Event] = [
            Change("read", definition, origin, i, None, tuple(map(raw, row)))
            for i, row in enumerate(rows)
        ]
        await self.sink.write(EventBatch(stream, [SnapshotBegin(definition, attempt)]))
        await self.sink.write(EventBatch(stream, reads, Mark(origin.mark, len(reads))))
        if end:
            last = SnapshotEnd(definition, attempt, len(reads))
            await self.sink.write(
                EventBatch(stream, [last], None, Checkpoint.of(stream, attempt=attempt))
            )
            await self.sink.flush()


def feeding(url: str, work: Callable[[Feed], Coroutine[Any, Any, T]], **names: str) -> T:
    """Run ``work`` with a sink that is open before and closed after it."""

    async def run() -> T:
        async with Feed(url, **names) as feed:
            return await work(feed)

    return asyncio.run(run())
