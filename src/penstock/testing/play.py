"""Playing changes to an App's handlers: no server, no sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import PenstockError
from penstock.model import Change, Checkpoint, EventBatch, Message
from penstock.pipeline.chain import Chain
from penstock.ports import Context, Parked, Store
from penstock.stores.memory import MemoryStore
from penstock.testing.clock import START

if TYPE_CHECKING:
    from penstock.app import App

PATIENCE: Final = 86_400.0
"""Played seconds after which a handler that keeps asking for a retry is taken to never end."""


@dataclass(frozen=True, slots=True)
class Played:
    """What became of the changes.

    Parameters
    ----------
    handled: how often a handler took a change (a list counts its changes).
    retried: how often a handler was called again.
    parked: the changes that were set aside, with their reasons.
    """

    handled: int
    retried: int
    parked: tuple[Parked, ...]


def play(
    app: App,
    changes: Iterable[Change[Any] | Message],
    *,
    store: Store | str | Path | None = None,
) -> Played:
    """Call an App's handlers for these changes as the App would, in a test that is plain ``def``.

    The App's transforms apply. Handlers run for real, ``async`` ones in an event loop of their
    own; the waits between retries do not.

    Parameters
    ----------
    app: the App.
    changes: made with :func:`insert`, :func:`update`, …; neighbours of one origin are one
        transaction.
    store: a store, path or URL, as for the App; needed where handlers write in its transaction.
        Changes that it has already are not played again.

    Raises
    ------
    PenstockError: what would stop the App.
    """
    return asyncio.run(aplay(app, changes, store=store))


async def aplay(
    app: App,
    changes: Iterable[Change[Any] | Message],
    *,
    store: Store | str | Path | None = None,
) -> Played:
    """:func:`play`, for tests that are ``async def``."""
    sink = app.sink()
    opened = MemoryStore() if store is None else app.open_store(store)
    context = Context(app.name, sink.name, store=opened, clock=_LeapingClock(), random=Random(0))
    await opened.open(context)
    try:
        await sink.open(context)
        for batch in _unseen(_transactions(changes), await sink.resume("main")):
            await sink.write(_transformed(app, batch))
            await sink.flush()
        parked = tuple(await opened.parked(sink.name))
    finally:
        await sink.close()
        await opened.close()
    tallies = sink.tallies.values()
    return Played(
        sum(tally.handled for tally in tallies), sum(tally.retried for tally in tallies), parked
    )


def _transactions(changes: Iterable[Change[Any] | Message]) -> list[EventBatch]:
    batches = []
    for transaction, group in groupby(changes, key=lambda event: event.mark.transaction):
        events = list(group)
        checkpoint = Checkpoint.of("main", played=transaction)
        batches.append(EventBatch("main", events, events[-1].mark, checkpoint))
    return batches


def _transformed(app: App, batch: EventBatch) -> EventBatch:
    """What the App's transforms make of a batch. The changes of a test need not all have the same
    columns, so none is a new column."""
    events = [
        event
        for change in batch
        for event in Chain(app.transforms).apply(EventBatch(batch.stream, [change]))
    ]
    return replace(batch, events=events)


def _unseen(batches: list[EventBatch], checkpoint: Checkpoint | None) -> list[EventBatch]:
    """The batches after the one at which the store's checkpoint stands."""
    for i, batch in enumerate(batches):
        if batch.checkpoint == checkpoint:
            return batches[i + 1 :]
    return batches


class _LeapingClock:
    """A clock on which a sleep takes no time at all."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def now(self) -> datetime:
        return START + timedelta(seconds=self._now)

    async def sleep(self, seconds: float) -> None:
        self._now += seconds
        if self._now > PATIENCE:
            raise PenstockError(
                "a handler asked for retries for more than a day: it never stops doing so",
                hint="let the test make it succeed, or raise Park",
            )
        await asyncio.sleep(0)
