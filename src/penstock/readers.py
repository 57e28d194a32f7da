"""Several connections that read one snapshot at the same time.

The tables stand in one line. Each reader cuts the next part off what comes first, and reads it
while others cut theirs. So while the rows of one table are given out, readers that find no part of
it left are ahead with the next table, as far as the buffer allows.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from penstock.errors import ConnectionLostError


class Reader(Protocol):
    """A connection that reads the snapshot."""

    def give_up(self) -> None:
        """End what another thread reads."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


_Reader = TypeVar("_Reader", bound=Reader)
_Left = TypeVar("_Left")
_Rows = TypeVar("_Rows")


class Readers(ABC, Generic[_Reader, _Left, _Rows]):
    """The connections of a snapshot, and their threads once they read.

    Parameters
    ----------
    buffer: bytes of rows that wait to be taken, in all, at which the readers stop.
    """

    def __init__(self, readers: Sequence[_Reader], buffer: int) -> None:
        self._all = list(readers)
        self._buffer = buffer
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._line: deque[tuple[str, _Left]] = deque()
        self._cutting = False
        self._unread: Counter[str] = Counter()  # of each table, what is in the line or being read
        self._waiting: defaultdict[str, deque[tuple[_Rows, int]]] = defaultdict(deque)
        self._size = 0
        self._wanted = ""
        self._error: BaseException | None = None

    @abstractmethod
    def _cut(
        self, reader: _Reader, left: _Left
    ) -> tuple[Iterable[tuple[_Rows, int]], _Left | None]:
        """A part for a reader: its rows with their size in bytes, as much as comes at once; and
        what is left for others. One at a time is cut."""

    def read(self, tables: Iterable[tuple[str, _Left]]) -> None:
        """Begin to read. What is of one table stands together, in the order of :meth:`next`."""
        self._line.extend(tables)
        self._unread.update(table for table, _ in self._line)
        for number, reader in enumerate(self._all, 1):
            name = f"penstock-snapshot-{number}"
            thread = threading.Thread(target=self._run, args=(reader,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def next(self, table: str) -> tuple[_Rows, int] | None:
        """The next rows of a table, in no order, and their size; None after the last. Blocks.

        Raises what ended any of the readers.
        """
        with self._changed:
            self._wanted = table
            self._changed.notify_all()
            waiting = self._waiting[table]
            self._changed.wait_for(lambda: waiting or self._error or not self._unread[table])
            if self._error is not None:
                raise self._error
            if not waiting:
                return None
            block = waiting.popleft()
            self._size -= block[1]
            self._changed.notify_all()
            return block

    def _run(self, reader: _Reader) -> None:
        try:
            while (part := self._take(reader)) is not None:
                table, blocks = part
                for rows, size in blocks:
                    self._give(table, rows, size)
                with self._changed:
                    self._unread[table] -= 1
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - handed to who takes the rows
            self._end(error)

    def _take(self, reader: _Reader) -> tuple[str, Iterable[tuple[_Rows, int]]] | None:
        """The next part; others wait for what is left of its table."""
        with self._changed:
            self._changed.wait_for(lambda: not self._cutting or self._error)
            if not self._line or self._error:
                return None
            table, left = self._line.popleft()
            self._cutting = True
        blocks, rest = self._cut(reader, left)
        with self._changed:
            self._cutting = False
            if rest is not None:
                self._line.appendleft((table, rest))
                self._unread[table] += 1
            self._changed.notify_all()
        return table, blocks

    def _give(self, table: str, rows: _Rows, size: int) -> None:
        """Hand rows over, when there is room: of the table that is wanted now there always is."""
        with self._changed:
            waiting = self._waiting[table]
            self._changed.wait_for(
                lambda: (
                    self._error is not None
                    or self._size < self._buffer
                    or (table == self._wanted and not waiting)
                )
            )
            if self._error is not None:
                raise self._error
            waiting.append((rows, size))
            self._size += size
            self._changed.notify_all()

    def _end(self, error: BaseException) -> None:
        """The first error ends all readers."""
        with self._changed:
            self._error = self._error or error
            self._line.clear()
            self._changed.notify_all()
        for reader in self._all:
            reader.give_up()

    def close(self) -> None:
        """Let the snapshot go, once no thread reads any more."""
        self._end(ConnectionLostError("the snapshot was given up"))
        for thread in self._threads:
            thread.join()
        for reader in self._all:
            reader.close()
