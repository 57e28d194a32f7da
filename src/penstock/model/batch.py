"""Batches: what flows through a pipeline, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from penstock.model.change import Change, Message, Origin
from penstock.model.lines import json_lines
from penstock.model.mark import Checkpoint, Mark
from penstock.model.table import Table

if TYPE_CHECKING:
    import pyarrow

    from penstock.model.loads import Load


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A table's shape changed; ``before`` is None when the stream shows it for the first time."""

    before: Table | None
    after: Table


@dataclass(frozen=True, slots=True)
class SnapshotBegin:
    """Rows of a table's snapshot follow: discard what an earlier attempt left. ``first`` when no
    other table's snapshot came before it now."""

    table: Table
    attempt: int
    first: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """All ``rows`` rows of a table's snapshot have been read; ``last`` when no other table's
    snapshot follows it now."""

    table: Table
    attempt: int
    rows: int
    last: bool = False


@dataclass(frozen=True, slots=True)
class TransactionBegin:
    """A source transaction begins."""

    origin: Origin


@dataclass(frozen=True, slots=True)
class TransactionEnd:
    """A source transaction ends; ``counts`` are its captured changes per table."""

    origin: Origin
    counts: Mapping[str, int]


Event: TypeAlias = (
    Change[Any]
    | Message
    | SchemaChange
    | SnapshotBegin
    | SnapshotEnd
    | TransactionBegin
    | TransactionEnd
)


class Record(NamedTuple):
    """What a format makes of a change. ``value`` None is a tombstone."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]


class RecordFormat(Protocol):
    """What a batch asks of a format (:class:`penstock.ports.Format`)."""

    def records(self, batch: Batch) -> Iterable[Record]:
        """The records of a batch's changes, in order."""


@runtime_checkable
class Batch(Protocol):
    """Events of one stream in order.

    ``last`` is the mark of the last event that has one; ``checkpoint`` is set only where a
    transaction ends (or between transactions, for a keepalive); ``size`` is in wire bytes.
    """

    @property
    def stream(self) -> str: ...
    @property
    def last(self) -> Mark | None: ...
    @property
    def checkpoint(self) -> Checkpoint | None: ...
    @property
    def size(self) -> int: ...
    @property
    def changes(self) -> int:
        """How many changes it holds."""

    @property
    def committed_us(self) -> int | None:
        """When its last transaction was committed, in µs since 1970; None for a snapshot."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Event]: ...
    def records(self, format: RecordFormat) -> Iterable[Record]:
        """Key and value bytes, for brokers."""

    def lines(self, format: RecordFormat) -> bytes:
        """The records as JSON lines (:mod:`penstock.model.lines`), for files."""

    def loads(self, least: int) -> Iterable[Event | Load]:
        """What a target that can COPY takes: new rows of a table as one load, where ``least`` or
        more of them follow each other, and what is not in loads as objects.

        Order is kept among the events of one table, and around those that are of no transaction.
        Messages and the begins of transactions are left out, as are the ends of those all of whose
        changes are in loads.
        """

    def to_arrow(self, prefix: str = "_") -> list[pyarrow.RecordBatch]:
        """The changes as record batches, one per table, as :mod:`penstock.model.arrow` says.

        ``prefix`` begins the names of the columns that are added.

        Raises
        ------
        MissingExtraError: pyarrow is not installed.
        SchemaError: a table has a column of such a name.
        DecodeError: a value is none of its column's type.
        """

    def select(self, keep: Callable[[Event], bool]) -> Batch:
        """The same batch with only the events that ``keep`` says; nothing else changes."""

    def with_checkpoint(self, checkpoint: Checkpoint | None) -> Batch:
        """The same events with another checkpoint."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """A batch that holds its events as objects."""

    stream: str
    events: Sequence[Event]
    last: Mark | None = None
    checkpoint: Checkpoint | None = None
    size: int = 0

    @property
    def changes(self) -> int:
        """How many changes it holds."""
        return sum(1 for event in self.events if isinstance(event, Change))

    @property
    def committed_us(self) -> int | None:
        """When its last transaction was committed, in µs since 1970; None for a snapshot."""
        for event in reversed(self.events):
            if isinstance(event, Change | TransactionEnd):
                transaction = event.origin.transaction
                return transaction.committed_us if transaction is not None else None
        return None

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def records(self, format: RecordFormat) -> Iterable[Record]:
        """Key and value bytes, for brokers."""
        return format.records(self)

    def lines(self, format: RecordFormat) -> bytes:
        """The records as JSON lines (:mod:`penstock.model.lines`), for files."""
        return json_lines(format.records(self))

    def loads(self, least: int) -> Iterable[Event | Load]:
        """Loads of new rows, and the rest as objects."""
        from penstock.model.loads import loads

        return loads(self.events, least)

    def to_arrow(self, prefix: str = "_") -> list[pyarrow.RecordBatch]:
        """The changes as record batches, one per table, as :mod:`penstock.model.arrow` says."""
        from penstock.model import arrow

        return arrow.record_batches(self.events, prefix)

    def select(self, keep: Callable[[Event], bool]) -> EventBatch:
        """The same batch with only the events that ``keep`` says; nothing else changes."""
        kept = [event for event in self.events if keep(event)]
        return EventBatch(self.stream, kept, self.last, self.checkpoint, self.size)

    def with_checkpoint(self, checkpoint: Checkpoint | None) -> EventBatch:
        """The same events with another checkpoint."""
        return replace(self, checkpoint=checkpoint)


@dataclass(frozen=True, slots=True)
class Barrier:
    """Flush, save and acknowledge these streams before the next batch is read."""

    streams: tuple[str, ...]
