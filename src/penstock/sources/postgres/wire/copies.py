"""A table's copied rows as the batches of its snapshot, by the kernel that runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeAlias

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
from penstock.sources.postgres.wire.binary import text_of
from penstock.sources.postgres.wire.copybinary import read_copy_binary
from penstock.sources.postgres.wire.copytext import read_copy_row
from penstock.sources.postgres.wire.lsn import format_lsn


class Frames(Protocol):
    """CopyData messages as they stand in the stream, for the native kernel alone. Who reads them
    takes them away."""

    def __len__(self) -> int:
        """How many bytes."""

    def __bytes__(self) -> bytes:
        """A copy of them."""

    def extend(self, next: Any, /) -> None:
        """Add the messages that follow these, and take them away there."""


Payloads: TypeAlias = list[bytes] | Frames
"""CopyData payloads."""

_Read: TypeAlias = Callable[[list[bytes]], Iterable[Sequence[Raw]]]


def size_of(payloads: Payloads) -> int:
    """How many bytes they are."""
    return sum(map(len, payloads)) if isinstance(payloads, list) else len(payloads)


def joined(first: Payloads, second: Payloads) -> Payloads:
    """Both, which are of one form; they are of no use any more themselves."""
    first.extend(second)  # type: ignore[arg-type] # of one form
    return first


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
        binary: bool,
        first: bool = False,
        last: bool = False,
    ) -> None:
        self.rows = 0
        self._first, self._last = first, last
        self._read = _binary_rows(table) if binary else _text_rows(table)
        self._project = None if projection is None else projection.values
        table = table if projection is None else projection.table
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
        table, origin = self._table, self._origin
        events: list[Event] = []
        if not self._begun:
            self._begun = True
            events.append(SnapshotBegin(table, self._attempt, self._first))
        rows = self._read(payloads)
        if self._project is not None:
            rows = map(self._project, rows)
        try:
            changes: list[Event] = [
                Change("read", table, origin, number, None, row)
                for number, row in enumerate(rows, self.rows)
            ]
        except ProtocolError as error:
            error.table = table.text
            raise
        events += changes
        self.rows += len(changes)
        last = Mark(origin.mark, self.rows - 1) if changes else None
        if end is not None:
            events.append(SnapshotEnd(table, self._attempt, self.rows, self._last))
        return EventBatch(snapshot_stream(table.text), events, last, end, size_of(payloads))


def _text_rows(table: Table) -> _Read:
    return partial(map, partial(read_copy_row, arity=len(table.columns)))


def _binary_rows(table: Table) -> _Read:
    texts = [text for column in table.columns if (text := text_of(column.type)) is not None]
    read = partial(read_copy_binary, texts=texts)
    return lambda payloads: chain.from_iterable(map(read, payloads))


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
        binary: bool,
        first: bool = False,
        last: bool = False,
    ) -> None:
        module = kernel.native()
        self._native = module.Copy(
            module.Shape(table if projection is None else projection.table),
            projection=projection,
            stream=snapshot_stream(table.text),
            database=database,
            attempt=attempt,
            at=at,
            binary=binary,
            first=first,
            last=last,
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
    binary: bool = False,
    first: bool = False,
    last: bool = False,
) -> CopyDecoder:
    """A decoder for one attempt to copy one table.

    Parameters
    ----------
    at: the log's position that the snapshot belongs to: all that it shows was committed before.
    database: its name, which formats show.
    projection: what goes on of the table; None for all.
    binary: whether the rows come in binary format: only of tables whose types all have a binary
        form that is known (:func:`~penstock.sources.postgres.wire.binary.inexact`).
    first, last: whether it is the first or the last of the tables that are copied now.
    """
    make = NativeCopyDecoder if kernel.kernel() == "native" else PythonCopyDecoder
    return make(
        table,
        attempt,
        at=at,
        database=database,
        projection=projection,
        binary=binary,
        first=first,
        last=last,
    )
