"""From a thread that reads a socket to the event loop: chunks in order, within a budget."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

_Chunk = TypeVar("_Chunk")


class Inlet(Generic[_Chunk]):
    """What has been read and not taken. Made by the event loop that takes.

    Parameters
    ----------
    budget: bytes read and not taken at which the thread is to stop reading.
    join: makes one chunk of two; None keeps them apart.
    joined: bytes that a chunk has at most for being joined.
    """

    def __init__(
        self,
        budget: int,
        join: Callable[[_Chunk, _Chunk], _Chunk] | None = None,
        joined: int = 0,
    ) -> None:
        self._budget = budget
        self._join = join
        self._joined = joined
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._lock = threading.Lock()
        self._chunks: deque[tuple[_Chunk, int]] = deque()
        self._size = 0
        self._waiting = False
        self._error: BaseException | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    @property
    def size(self) -> int:
        """Bytes that were put and not taken."""
        return self._size

    @property
    def has_room(self) -> bool:
        """Whether more may be read now."""
        return self._size < self._budget

    # -- for the event loop

    async def take(self) -> tuple[_Chunk, int]:
        """The next chunk and its size; wakes the thread when there is room again.

        Raises what the thread ended by, once all that it put before was taken.
        """
        while True:
            with self._lock:
                if self._chunks:
                    chunk = self._chunks.popleft()
                    was_full = not self.has_room
                    self._size -= chunk[1]
                    break
                if self._error is not None:
                    raise self._error
                self._waiting = True
                self._ready.clear()
            await self._ready.wait()
        if was_full and self.has_room:
            self.wake()
        return chunk

    def wake(self) -> None:
        """Let the thread's poll return."""
        with self._lock:
            if self._error is None:
                with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
                    os.write(self._write, b"!")

    # -- for the thread

    def fileno(self) -> int:
        """What is readable once the thread was woken; :meth:`woken` makes it unreadable again."""
        return self._read

    def woken(self) -> None:
        """The thread is awake."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def put(self, chunk: _Chunk, size: int) -> None:
        """Hand a chunk of so many bytes over."""
        with self._lock:
            if self._join and self._chunks and self._chunks[-1][1] + size <= self._joined:
                last, before = self._chunks[-1]
                self._chunks[-1] = self._join(last, chunk), before + size
            else:
                self._chunks.append((chunk, size))
            self._size += size
        self._tell()

    def end(self, error: BaseException) -> None:
        """Nothing follows, for this reason. To be called once."""
        with self._lock:
            self._error = error
            os.close(self._read)
            os.close(self._write)
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, False
        if waiting:
            # The loop may have ended without us.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ready.set)
