"""The way from the thread that reads to the loop that delivers."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from penstock.errors import ConnectionLostError
from penstock.model import Change, Checkpoint, EventBatch
from penstock.sources.kafka.offsets import States

ROOM: Final = 8 << 20
"""Bytes of batches that wait at most, and what is fetched above it."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """The group gave us these partitions, in place of all others; answered with the offsets from
    which on they are read."""

    streams: dict[str, Checkpoint]
    states: States
    answer: Future[dict[str, Checkpoint]] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """The group wants all back; answered when all is flushed and saved."""

    streams: tuple[str, ...]
    answer: Future[tuple[str, ...]] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that is no change, and what is wrong with it."""

    record: Change[Any]
    reason: str


class Ended:
    """All that was there at the start has been read."""


Item: TypeAlias = EventBatch | Given | Taken | Poison | Ended | Exception


class Inbox:
    """Filled by one thread, emptied by the loop that it was made in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[Item] = deque()
        self._news = asyncio.Event()
        self._lock = threading.Lock()
        self._room = threading.Event()
        self._room.set()
        self._size = 0

    def put(self, item: Item) -> None:
        """From the thread. What ends our hold on the partitions goes before the batches that wait:
        whoever has them next reads those again."""
        with self._lock:
            if isinstance(item, Taken | ConnectionLostError):
                kept = [one for one in self._items if not isinstance(one, EventBatch)]
                self._items = deque(kept)
                self._size = 0
                self._room.set()
            self._items.append(item)
            if isinstance(item, EventBatch):
                self._size += item.size
                if self._size >= ROOM:
                    self._room.clear()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    def has_room(self, timeout: float) -> bool:
        """From the thread: whether more may be read, within so many seconds."""
        return self._room.wait(timeout)

    async def get(self) -> Item:
        """The next item."""
        while True:
            with self._lock:
                if self._items:
                    item = self._items.popleft()
                    if isinstance(item, EventBatch):
                        self._size -= item.size
                        if self._size < ROOM:
                            self._room.set()
                    return item
                self._news.clear()
            await self._news.wait()
