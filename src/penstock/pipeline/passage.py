"""Which events a sink still needs.

A sink may be ahead of where the source had to start: another sink was behind, or the sink
committed a checkpoint that the store never saw. And a snapshot may already show changes that the
log still brings. Both are decided by ``Source.covers`` alone, transaction by transaction: what a
sink has need not be the first that the source shows, since another server may show the same
transactions in another order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from penstock.model import (
    Batch,
    Change,
    Checkpoint,
    Event,
    EventBatch,
    Mark,
    Message,
    SnapshotBegin,
    SnapshotEnd,
    TransactionBegin,
    TransactionEnd,
)
from penstock.model.stream import MAIN, snapshot_mark, snapshot_table
from penstock.ports import Source


class Passage:
    """Lets through what one sink still needs.

    Parameters
    ----------
    positions: the sink's own checkpoint per stream.
    finished: snapshot streams that this sink has and is not to get again, though another does.
    """

    def __init__(
        self,
        source: Source,
        positions: Mapping[str, Checkpoint],
        finished: Collection[str] = (),
    ) -> None:
        self.source = source
        self._positions = dict(positions)
        self._finished = frozenset(finished)
        self._shown: dict[str, Checkpoint] = {}
        self._open: dict[str, str] = {}  # the transaction that each stream's last batch left open
        for stream, checkpoint in positions.items():
            self._note_snapshot(stream, checkpoint)

    def _note_snapshot(self, stream: str, checkpoint: Checkpoint) -> None:
        table = snapshot_table(stream)
        if table is not None:
            self._shown[table] = checkpoint

    def admit(self, batch: Batch) -> tuple[Batch, bool]:
        """The part of a batch that the sink needs, and whether its checkpoint is news to it.

        One that is none is left out: a sink would commit it, without all that it has.
        """
        stream, end = batch.stream, batch.checkpoint
        if stream in self._finished:
            return batch.select(lambda event: False), False
        inside = self._inside(batch)
        news = True
        position = self._positions.get(stream)
        if position is not None:
            news = end is not None and self.source.meet(position, end) == position
            if not inside or self._covers(position, batch.last):
                batch = self._without_covered(batch, position)
            if news:
                del self._positions[stream]
            else:
                batch = batch.with_checkpoint(None)
        if end is not None:
            self._note_snapshot(stream, end)
        if self._shown and stream == MAIN:
            if not inside or any(self._covers(at, batch.last) for at in self._shown.values()):
                batch = self._without_shown(batch)
            if end is not None:
                self._shown = {
                    table: at
                    for table, at in self._shown.items()
                    if self.source.meet(at, end) != at
                }
        return batch, news

    def _covers(self, checkpoint: Checkpoint, mark: Mark | None) -> bool:
        return mark is not None and self.source.covers(checkpoint, mark)

    def _inside(self, batch: Batch) -> bool:
        """Whether all of a batch is of the transaction in whose midst the one before it ended."""
        before = self._open.pop(batch.stream, None)
        if batch.last is None:
            return False
        if batch.checkpoint is None:
            self._open[batch.stream] = batch.last.transaction
        return before == batch.last.transaction

    def _without_covered(self, batch: Batch, position: Checkpoint) -> Batch:
        """A batch without what the sink has; shapes go with the last of their rows."""
        marks = [(event, _mark(event)) for event in batch]
        marked = any(mark is not None for _, mark in marks)
        kept = [(event, mark) for event, mark in marks if not self._covers(position, mark)]
        if marked and all(mark is None for _, mark in kept):
            kept = []
        if len(kept) == len(marks):
            return batch
        events = [event for event, _ in kept]
        return EventBatch(batch.stream, events, _last(events), batch.checkpoint, batch.size)

    def _without_shown(self, batch: Batch) -> Batch:
        """A batch without the changes that a snapshot's rows already show."""
        shown = self._shown
        return batch.select(
            lambda event: (
                not (
                    isinstance(event, Change)
                    and event.table in shown
                    and self.source.covers(shown[event.table], event.mark)
                )
            )
        )


def _last(events: Sequence[Event]) -> Mark | None:
    return next((e.mark for e in reversed(events) if isinstance(e, Change | Message)), None)


def _mark(event: Event) -> Mark | None:
    if isinstance(event, Change | Message):
        return event.mark
    if isinstance(event, TransactionBegin | TransactionEnd):
        return Mark(event.origin.mark, 0)
    if isinstance(event, SnapshotBegin | SnapshotEnd):
        return Mark(snapshot_mark(event.table.text, event.attempt), 0)
    return None
