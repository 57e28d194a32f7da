"""Which events a sink still needs.

A sink may be ahead of where the source had to start: another sink was behind, or the sink
committed a checkpoint that the store never saw. And a snapshot may already show changes that the
log still brings. Both are decided by ``Source.covers`` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from penstock.model import (
    Batch,
    Change,
    Checkpoint,
    Event,
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
        for stream, checkpoint in positions.items():
            self._note_snapshot(stream, checkpoint)

    def _note_snapshot(self, stream: str, checkpoint: Checkpoint) -> None:
        table = snapshot_table(stream)
        if table is not None:
            self._shown[table] = checkpoint

    def admit(self, batch: Batch) -> tuple[Batch, bool]:
        """The part of a batch that the sink needs, and whether its checkpoint is news to it."""
        if batch.stream in self._finished:
            return batch.select(lambda event: False), False
        news = True
        position = self._positions.get(batch.stream)
        if position is not None:
            if self._covers(position, batch.last):
                news = False
            elif batch.last is not None:
                del self._positions[batch.stream]
            elif batch.checkpoint is not None:
                news = self.source.meet(position, batch.checkpoint) == position
            # With anything left of what is no news, a shape, a transaction's end, a sink would
            # commit a checkpoint behind its own.
            batch = batch.select(lambda event: news and not self._covers(position, _mark(event)))
        if batch.checkpoint is not None:
            self._note_snapshot(batch.stream, batch.checkpoint)
        if self._shown and batch.stream == MAIN and batch.last is not None:
            batch = self._without_shown(batch)
        return batch, news

    def _covers(self, checkpoint: Checkpoint, mark: Mark | None) -> bool:
        return mark is not None and self.source.covers(checkpoint, mark)

    def _without_shown(self, batch: Batch) -> Batch:
        """Drop the changes that a snapshot's rows already show."""
        shown = self._shown
        kept = batch.select(
            lambda event: (
                not (
                    isinstance(event, Change)
                    and event.table in shown
                    and self.source.covers(shown[event.table], event.mark)
                )
            )
        )
        self._shown = {
            table: checkpoint
            for table, checkpoint in shown.items()
            if self._covers(checkpoint, batch.last)
        }
        return kept


def _mark(event: Event) -> Mark | None:
    if isinstance(event, Change | Message):
        return event.mark
    if isinstance(event, TransactionBegin | TransactionEnd):
        return Mark(event.origin.mark, 0)
    if isinstance(event, SnapshotBegin | SnapshotEnd):
        return Mark(snapshot_mark(event.table.text, event.attempt), 0)
    return None
