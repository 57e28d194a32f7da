"""A table's copied rows as the batches of its snapshot, by the kernel that runs here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

from penstock import kernel
from penstock.errors import ProtocolError
from penstock.model import (
    Batch,
    Change,
    Checkpoint,
    Event,
    EventBatch,
    Mark,
    Origin,
    PackedBatch,
    Raw,
    SnapshotBegin,
    SnapshotEnd,
    Table,
)
from penstock.model.projection import Projection
from penstock.model.stream import snapshot_mark, snapshot_stream
from penstock.sources.postgres.wire.copytext import read_copy_row
from penstock.sources.postgres.wire.lsn import format_lsn

Payloads: TypeAlias = list[bytes] | bytes
"""CopyData payloads; for the native kernel also the messages as they stand in the stream."""


def size_of(payloads: Payloads) -> int:
    """How many bytes they are."""
    return len(payloads) if isinstance(payloads, bytes) else sum(len(one) for one in payloads)


class CopyDecoder(Protocol):
    """What both kernels' decoders of copied rows are.

    Rows are numbered in the order in which they are fed.
    """

    @property
    def rows(self) -> int:
        """How many were fed."""

    def feed(self, payloads: Payloads, end: Checkpoint | None = None) -> Batch:
        """The rows of some CopyData payloads.

        The first batch begins with SnapshotBegin. ``end``, the snapshot's checkpoint, says that
        these are the last rows: SnapshotEnd follows them.

        Raises ProtocolError for what is no row of the table.
        """


class PythonCopyDecoder:
    """The Python kernel's :class:`CopyDecoder`; :func:`make_copy_decoder` explains."""

    def __init__(
        self,
        table: Table,
        attempt: int,
        *,
        at: int,
        database: str,
        projection: Projection | None,
    ) -> None:
        self.rows = 0
        self._read: Callable[[bytes], Sequence[Raw]] = partial(
            read_copy_row, arity=len(table.columns)
        )
        if projection is not None:
            table, self._read = projection.table, projection.after(self._read)
        self._table = table
        self._attempt = attempt
        self._origin = Origin(
            snapshot_mark(table.text, attempt),
            None,
            at - 1,
            {"type": "postgres", "database": database, "lsn": format_lsn(at)},
        )
        self._begun = False

    def feed(self, payloads: Payloads, end: Checkpoint | None = None) -> EventBatch:
        """Decode; see :meth:`CopyDecoder.feed`."""
        if not isinstance(payloads, list):
            raise TypeError("the Python kernel takes payloads one by one")
        table, origin, read = self._table, self._origin, self._read
        events: list[Event] = []
        if not self._begun:
            self._begun = True
            events.append(SnapshotBegin(table, self._attempt))
        try:
            events += [
                Change("read", table, origin, number, None, read(line))
                for number, line in enumerate(payloads, self.rows)
            ]
        except ProtocolError as error:
            error.table = table.text
            raise
        self.rows += len(payloads)
        last = Mark(origin.mark, self.rows - 1) if payloads else None
        if end is not None:
            events.append(SnapshotEnd(table, self._attempt, self.rows))
        return EventBatch(snapshot_stream(table.text), events, last, end, size_of(payloads))


class NativeCopyDecoder:
    """The native kernel's :class:`CopyDecoder`: rows stay packed, and the GIL is let go."""

    def __init__(
        self,
        table: Table,
        attempt: int,
        *,
        at: int,
        database: str,
        projection: Projection | None,
    ) -> None:
        module = kernel.native()
        self._native = module.Copy(
            module.Shape(table if projection is None else projection.table),
            projection=projection,
            stream=snapshot_stream(table.text),
            database=database,
            attempt=attempt,
            at=at,
            binary=False,
        )

    @property
    def rows(self) -> int:
        """How many were fed."""
        rows: int = self._native.rows
        return rows

    def feed(self, payloads: Payloads, end: Checkpoint | None = None) -> PackedBatch:
        """Decode; see :meth:`CopyDecoder.feed`."""
        return PackedBatch(self._native.read(payloads, end is not None), end)


def make_copy_decoder(
    table: Table,
    attempt: int,
    *,
    at: int,
    database: str,
    projection: Projection | None = None,
) -> CopyDecoder:
    """A decoder for one attempt to copy one table.

    Parameters
    ----------
    at: the log's position that the snapshot belongs to: all that it shows was committed before.
    database: its name, which formats show.
    projection: what goes on of the table; None for all.
    """
    make = NativeCopyDecoder if kernel.kernel() == "native" else PythonCopyDecoder
    return make(table, attempt, at=at, database=database, projection=projection)
