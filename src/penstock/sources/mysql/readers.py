"""The readers of one moment, which cut tables by their keys while they read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from penstock import readers
from penstock.sources.mysql.parts import Whole
from penstock.sources.mysql.reader import SnapshotReader
from penstock.sources.mysql.wire.resultrows import Row

BUFFER: Final = 1 << 20
"""Bytes of rows that wait to be taken, in all, at which the readers stop; in memory they take
several times as much."""

Block: TypeAlias = tuple[list[Row], int]
"""Rows, and their size in bytes."""


class Readers(readers.Readers[SnapshotReader, Whole, list[Row]]):
    """The connections of a snapshot, which have begun, and their threads once they read."""

    def __init__(self, readers: Sequence[SnapshotReader]) -> None:
        super().__init__(readers, BUFFER)

    def _cut(self, reader: SnapshotReader, left: Whole) -> tuple[Iterable[Block], Whole | None]:
        part, rest = reader.cut(left)
        return reader.blocks(part), rest
