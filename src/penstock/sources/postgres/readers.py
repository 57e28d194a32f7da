"""The connections that hold the locks of a snapshot's tables, and then read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from penstock import readers
from penstock.errors import PenstockError
from penstock.registry import driver
from penstock.sources.postgres.catalog import Relkind
from penstock.sources.postgres.reader import SnapshotReader, Task
from penstock.sources.postgres.wire.copies import Payloads, size_of

BUFFER: Final = 4 << 20
"""Bytes of rows that wait to be taken, in all, at which the readers stop."""


Block: TypeAlias = tuple[Payloads, int]
"""Rows, and their size in bytes."""


class Readers(readers.Readers[SnapshotReader, Task, Payloads]):
    """The connections that hold the due tables' locks, and their threads once they read.

    Parameters
    ----------
    first: waits for its locks, and is the one that is asked for shapes and sizes.
    """

    def __init__(self, first: SnapshotReader) -> None:
        super().__init__([first], BUFFER)
        self.first = first

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

    def _cut(self, reader: SnapshotReader, left: Task) -> tuple[Iterable[Block], None]:
        return ((rows, size_of(rows)) for rows in reader.blocks(left)), None
