"""Several connections that read one snapshot at the same time.

The parts of all tables stand in one line, table after table, and each reader takes the next. So
while the rows of one table are given out, readers that find no part of it left are ahead with the
next table, as far as the buffer allows.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Final

from penstock.errors import ConnectionLostError, PenstockError
from penstock.registry import driver
from penstock.sources.postgres.catalog import Relkind
from penstock.sources.postgres.reader import SnapshotReader, Task
from penstock.sources.postgres.wire.copies import Payloads, size_of

BUFFER: Final = 4 << 20
"""Bytes of rows that wait to be taken, in all, at which the readers stop."""


class Readers:
    """The connections that hold the due tables' locks, and their threads once they read.

    Parameters
    ----------
    first: waits for its locks, and is the one that is asked for shapes and sizes.
    """

    def __init__(self, first: SnapshotReader) -> None:
        self.first = first
        self._all = [first]
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._tasks: deque[Task] = deque()
        self._unread: Counter[str] = Counter()  # parts of each table
        self._waiting: defaultdict[str, deque[Payloads]] = defaultdict(deque)
        self._size = 0
        self._wanted = ""
        self._error: BaseException | None = None

    def add(self, reader: SnapshotReader, tables: Sequence[Relkind]) -> str:
        """Have one more reader, if it gets its locks without waiting; why it did not, else empty.

        It would wait behind whoever waits for the first reader to end.
        """
        psycopg = driver("psycopg", "postgres")
        try:
            reader.lock(tables, None)
        except (psycopg.Error, PenstockError) as error:
            reader.close()
            return str(error).strip()
        self._all.append(reader)
        return ""

    def adopt(self, snapshot: str | None) -> None:
        """Have all read that exported snapshot; None for one of their own."""
        readers = self._all
        if snapshot is None:
            if len(readers) == 1:
                return
            snapshot, readers = self.first.export(), readers[1:]
        for reader in readers:
            reader.adopt(snapshot)

    def read(self, tasks: Iterable[Task]) -> None:
        """Begin to read; the tasks of one table stand together, in the order of :meth:`next`."""
        self._tasks.extend(tasks)
        self._unread.update(task.table.text for task in self._tasks)
        for number, reader in enumerate(self._all, 1):
            name = f"penstock-snapshot-{number}"
            thread = threading.Thread(target=self._run, args=(reader,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def next(self, table: Relkind) -> Payloads:
        """The next rows of a table, in no order; empty after the last. Blocks the thread.

        Raises what ended any of the readers.
        """
        name = table.text
        with self._changed:
            self._wanted = name
            self._changed.notify_all()
            waiting = self._waiting[name]
            self._changed.wait_for(lambda: waiting or self._error or not self._unread[name])
            if self._error is not None:
                raise self._error
            if not waiting:
                return []
            rows = waiting.popleft()
            self._size -= size_of(rows)
            self._changed.notify_all()
            return rows

    def _run(self, reader: SnapshotReader) -> None:
        try:
            while (task := self._take()) is not None:
                for rows in reader.blocks(task):
                    self._give(task.table.text, rows)
                with self._changed:
                    self._unread[task.table.text] -= 1
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - handed to who takes the rows
            self._end(error)

    def _take(self) -> Task | None:
        with self._changed:
            return self._tasks.popleft() if self._tasks else None

    def _give(self, table: str, rows: Payloads) -> None:
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
            waiting.append(rows)
            self._size += size_of(rows)
            self._changed.notify_all()

    def _end(self, error: BaseException) -> None:
        """The first error ends all readers."""
        with self._changed:
            self._error = self._error or error
            self._tasks.clear()
            self._changed.notify_all()
        for reader in self._all:
            reader.give_up()

    def close(self) -> None:
        """Let the locks and the snapshot go, once no thread reads any more."""
        self._end(ConnectionLostError("the snapshot was given up"))
        for thread in self._threads:
            thread.join()
        for reader in self._all:
            reader.close()
