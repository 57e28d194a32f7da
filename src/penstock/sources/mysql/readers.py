"""Several connections that read one moment at the same time.

The tables stand in one line. A reader takes the next part of the first, and then reads it while
others take theirs; so one table after the other is read by all. Who finds no part of one left is
ahead with the next, as far as the buffer allows.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from penstock.errors import ConnectionLostError
from penstock.sources.mysql.parts import Part, Whole
from penstock.sources.mysql.reader import SnapshotReader
from penstock.sources.mysql.wire.resultrows import Row

BUFFER: Final = 1 << 20
"""Bytes of rows that wait to be taken, in all, at which the readers stop; in memory they take
several times as much."""

Block: TypeAlias = tuple[list[Row], int]
"""Rows, and their size in bytes."""


class Readers:
    """The connections of a snapshot, which have begun, and their threads once they read."""

    def __init__(self, readers: Sequence[SnapshotReader]) -> None:
        self._all = readers
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._left: deque[Whole] = deque()
        self._cutting = False
        self._unread: Counter[str] = Counter()  # parts of each table, and what is left as one
        self._waiting: defaultdict[str, deque[Block]] = defaultdict(deque)
        self._size = 0
        self._wanted = ""
        self._error: BaseException | None = None

    def read(self, tables: Iterable[Whole]) -> None:
        """Begin to read, in the order of :meth:`next`."""
        self._left.extend(tables)
        self._unread.update(whole.table.text for whole in self._left)
        for number, reader in enumerate(self._all, 1):
            name = f"penstock-snapshot-{number}"
            thread = threading.Thread(target=self._run, args=(reader,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def next(self, table: str) -> Block | None:
        """The next rows of a table, in no order; None after the last. Blocks the thread.

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

    def _run(self, reader: SnapshotReader) -> None:
        try:
            while (part := self._take(reader)) is not None:
                for block in reader.blocks(part):
                    self._give(part.whole.table.text, block)
                with self._changed:
                    self._unread[part.whole.table.text] -= 1
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - handed to who takes the rows
            self._end(error)

    def _take(self, reader: SnapshotReader) -> Part | None:
        """The next part; others wait for what is left of its table."""
        with self._changed:
            self._changed.wait_for(lambda: not self._cutting or self._error)
            if not self._left or self._error:
                return None
            whole = self._left.popleft()
            self._cutting = True
        part, left = reader.cut(whole)
        with self._changed:
            self._cutting = False
            if left is not None:
                self._left.appendleft(left)
                self._unread[whole.table.text] += 1
            self._changed.notify_all()
        return part

    def _give(self, table: str, block: Block) -> None:
        """Hand rows over, when there is room: of the table that is wanted now there always is."""
        with self._changed:
            waiting = self._waiting[table]
            self._changed.wait_for(
                lambda: (
                    self._error is not None
                    or self._size < BUFFER
                    or (table == self._wanted and not waiting)
                )
            )
            if self._error is not None:
                raise self._error
            waiting.append(block)
            self._size += block[1]
            self._changed.notify_all()

    def _end(self, error: BaseException) -> None:
        """The first error ends all readers."""
        with self._changed:
            self._error = self._error or error
            self._left.clear()
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
