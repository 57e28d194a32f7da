"""Batches that the native kernel keeps packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from penstock.model.batch import Batch, Event, EventBatch, Record, RecordFormat
from penstock.model.lines import json_lines
from penstock.model.mark import Checkpoint, Mark
from penstock.model.table import Table

if TYPE_CHECKING:
    import pyarrow

    from penstock.model.loads import Load


class Packed(Protocol):
    """A batch of the native kernel."""

    @property
    def stream(self) -> str: ...
    @property
    def last(self) -> tuple[str, int] | None: ...
    @property
    def position(self) -> int | None: ...
    @property
    def changes(self) -> int: ...
    @property
    def committed_us(self) -> int | None: ...
    @property
    def size(self) -> int: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Event]: ...
    def lines(self, format: str) -> bytes: ...
    def records(
        self, format: Any
    ) -> Iterable[tuple[str, bytes | None, bytes | None, Mapping[str, str]]]: ...
    def loads(self, least: int) -> list[Event | Load]: ...
    def to_arrow(self, schema: Callable[[Table], pyarrow.Schema]) -> Sequence[object]: ...


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch whose rows stay as the bytes that they came in.

    Objects are made for who iterates, each time anew; the other exits need none.
    """

    packed: Packed
    checkpoint: Checkpoint | None = None

    @property
    def stream(self) -> str:
        """The stream that its events belong to."""
        return self.packed.stream

    @property
    def last(self) -> Mark | None:
        """The mark of the last event that has one."""
        last = self.packed.last
        return None if last is None else Mark(*last)

    @property
    def size(self) -> int:
        """In wire bytes."""
        return self.packed.size

    @property
    def changes(self) -> int:
        """How many changes it holds."""
        return self.packed.changes

    @property
    def committed_us(self) -> int | None:
        """When its last transaction was committed, in µs since 1970; None for a snapshot."""
        return self.packed.committed_us

    def __len__(self) -> int:
        return len(self.packed)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.packed)

    def records(self, format: RecordFormat) -> Iterable[Record]:
        """Key and value bytes, for brokers."""
        native = _native(format)
        if native is None:
            return format.records(self)
        return map(_record, self.packed.records(native))

    def lines(self, format: RecordFormat) -> bytes:
        """The records as JSON lines (:mod:`penstock.model.lines`), for files."""
        native = _native(format)
        if isinstance(native, str):
            return self.packed.lines(native)
        return json_lines(self.records(format))

    def loads(self, least: int) -> Iterable[Event | Load]:
        """Loads of new rows, and the rest as objects."""
        return self.packed.loads(least)

    def to_arrow(self, prefix: str = "_") -> list[pyarrow.RecordBatch]:
        """The changes as record batches, one per table, as :mod:`penstock.model.arrow` says."""
        from penstock.model import arrow

        return arrow.packed_batches(self.packed, prefix)

    def select(self, keep: Callable[[Event], bool]) -> Batch:
        """The same batch with only the events that ``keep`` says; still packed if that is all."""
        kept = [event for event in self if keep(event)]
        if len(kept) == len(self):
            return self
        return EventBatch(self.stream, kept, self.last, self.checkpoint, self.size)

    def with_checkpoint(self, checkpoint: Checkpoint | None) -> PackedBatch:
        """The same events with another checkpoint."""
        return PackedBatch(self.packed, checkpoint)


_record: Callable[[Iterable[Any]], Record] = partial(tuple.__new__, Record)


def _native(format: RecordFormat) -> Any:
    """By which name the native kernel knows the format, or the encoder that it gave to it; None
    where it makes its records itself. A class that refines one that the kernel knows does not say
    so, and may do what it likes."""
    return getattr(format, "native", None) if "native" in vars(type(format)) else None
