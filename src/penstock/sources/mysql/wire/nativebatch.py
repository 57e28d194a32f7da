"""The native decoder's batch and tables, as the Python code works on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from penstock import kernel
from penstock.model import (
    Batch,
    Change,
    Checkpoint,
    Event,
    PackedBatch,
    SchemaChange,
    Table,
    TransactionBegin,
    TransactionEnd,
)
from penstock.model.assembly import Assembly
from penstock.sources.mysql.wire.layouts import Layout
from penstock.sources.mysql.wire.nativefields import told_fields

_MANY: Final = 8192


class NativeTables:
    """What the native decoder knows of tables."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self._shapes: dict[Table, Any] = {}
        self._named: dict[str, Any] = {}
        self._last: Any = None
        self._ids: dict[Layout, int] = {}
        self._layouts: dict[int, Layout] = {}

    def learn(self, description: bytes, layout: Layout) -> int:
        """The native decoder's number of a description, which it is told if it does not know it."""
        known = self._ids.get(layout)
        if known is not None and self._native.is_kept(known):
            return known
        if len(self._ids) >= _MANY:
            self._layouts = {i: n for i, n in self._layouts.items() if self._native.is_kept(i)}
            self._ids = {layout: i for i, layout in self._layouts.items()}
        id: int
        if layout.shown is None:
            id = self._native.learn(description)
        else:
            mapped = layout.mapped
            id = self._native.learn(
                description,
                self.shape(layout.shown),
                told_fields(mapped.columns),
                list(mapped.key),
                layout.projection,
            )
        self._ids[layout] = id
        self._layouts[id] = layout
        return id

    @property
    def names(self) -> set[tuple[str, str]]:
        """The tables that the native decoder has descriptions of."""
        return {(layout.mapped.schema, layout.mapped.name) for layout in self._ids}

    def forget(self, tables: Collection[tuple[str, str]]) -> None:
        """The descriptions of these tables mean others from here on."""
        for layout in [n for n in self._ids if (n.mapped.schema, n.mapped.name) in tables]:
            id = self._ids.pop(layout)
            self._native.forget(id)
            if not self._native.is_kept(id):
                del self._layouts[id]

    def layout(self, id: int | None) -> Layout | None:
        """The layout of a number."""
        return None if id is None else self._layouts[id]

    def make_current(self, before: Layout | None, now: Layout) -> None:
        """A table's rows are read so from now on, and were read otherwise before."""
        old = None if before is None else self._ids.get(before)
        self._native.make_current(old, self._ids.get(now))

    def shape(self, table: Table) -> Any:
        """The table compiled; the same as before where it is the same table, so that a batch
        holds it once."""
        if self._last is not None and self._last.table is table:
            return self._last
        shape = self._shapes.get(table)
        if shape is None:
            if len(self._shapes) >= _MANY:
                self._shapes.clear()
            shape = self._shapes[table] = kernel.native().Shape(table)
        self._named[table.text] = self._last = shape
        return shape

    def counted(self, counts: Mapping[str, int]) -> list[tuple[Any, int]]:
        """Counts of changes with the compiled tables, which all had changes before."""
        return [(self._named[text], count) for text, count in counts.items()]


class NativeAssembly(Assembly):
    """The batch that the native decoder gathers: events of the Python code are handed over to it.

    ``reached`` makes the checkpoint of a position of the native decoder, or None.
    """

    __slots__ = ("_batches", "_native", "_reached", "_tables")

    def __init__(
        self,
        native: Any,
        tables: NativeTables,
        reached: Callable[[int], Checkpoint | None],
    ) -> None:
        self.events: list[Event] = []
        self.size = 0
        self._native = native
        self._tables = tables
        self._reached = reached
        self._batches: list[Batch] = []

    def flush(self) -> None:
        """Hand the events of the Python code over."""
        events, self.events = self.events, []
        for event in events:
            self._pack(event)
        self._native.grow(self.size)
        self.size = 0

    def _pack(self, event: Event) -> None:
        native, shape = self._native, self._tables.shape
        if isinstance(event, Change):
            native.change(shape(event.definition), event)
        elif isinstance(event, TransactionBegin):
            native.begin(event.origin)
        elif isinstance(event, TransactionEnd):
            native.end(event.origin, self._tables.counted(event.counts))
        else:
            assert isinstance(event, SchemaChange)
            before = None if event.before is None else shape(event.before)
            native.announce(before, shape(event.after))

    def advance(self, position: int) -> None:
        """The native decoder counts for itself."""

    def seal(self) -> None:
        """No transaction is open: all events so far may be handed over."""
        self.flush()
        self._native.seal()

    def close_sealed(self) -> None:
        """End the batch at the last transaction end; an empty one if only the position moved."""
        self.flush()
        self._native.close_sealed()

    def close_all(self) -> None:
        """End the batch here, inside a transaction if one is open."""
        self.flush()
        self._native.close_all()

    def cut(self, max_bytes: int) -> None:
        """End the batch if it is full, as the native decoder was told."""
        self.flush()
        self._native.cut()

    def take(self) -> list[Batch]:
        """The batches that have ended since the last call."""
        self._gather()
        batches, self._batches = self._batches, []
        return batches

    def settle(self) -> None:
        """Give what is complete its checkpoint, before what was read changes otherwise."""
        self._native.close_sealed()
        self._gather()

    def _gather(self) -> None:
        for batch in self._native.take():
            position = batch.position
            checkpoint = None if position is None else self._reached(position)
            self._batches.append(PackedBatch(batch, checkpoint))
