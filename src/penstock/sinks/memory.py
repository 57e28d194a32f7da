"""A sink that collects what it gets: for tests, and for a look at a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from penstock.component import SinkComponent
from penstock.errors import FencedError
from penstock.failpoints import Failpoint
from penstock.model import Batch, Change, Checkpoint, Event, Mark
from penstock.ports import Context


class Memory(SinkComponent):
    """Collects events in memory.

    Parameters
    ----------
    stores_checkpoints: commit events and checkpoints together at each flush, as a transactional
        target does.
    """

    type: Literal["memory"] = "memory"
    stores_checkpoints: bool = False

    def build(self) -> MemorySink:
        """The sink, with a target of its own."""
        return MemorySink(stores_checkpoints=self.stores_checkpoints)


@dataclass(slots=True)
class Target:
    """What outlives a memory sink, as a database outlives its clients; sinks may share one.

    Parameters
    ----------
    events: all that arrived, in order.
    flushed: what each flush returned, in order.
    checkpoints: by stream, where the sink stores them.
    """

    events: list[Event] = field(default_factory=list)
    flushed: list[Mark | None] = field(default_factory=list)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)

    @property
    def changes(self) -> list[Change]:
        """The changes among the events."""
        return [event for event in self.events if isinstance(event, Change)]


class MemorySink:
    """Collects events in a :class:`Target`.

    Without ``stores_checkpoints`` an event is there once it is written, flushed or not. With it,
    events and checkpoints appear together at the flush, or not at all; a flush raises FencedError
    when another sink moved the checkpoint meanwhile.
    """

    def __init__(self, target: Target | None = None, *, stores_checkpoints: bool = False) -> None:
        self.target = target if target is not None else Target()
        self.stores_checkpoints = stores_checkpoints
        self._context: Context | None = None
        self._seen: dict[str, Checkpoint | None] = {}
        self._moves: dict[str, Checkpoint] = {}
        self._pending: list[Event] = []
        self._last: Mark | None = None

    @property
    def events(self) -> list[Event]:
        """All that arrived, in order."""
        return self.target.events

    @property
    def changes(self) -> list[Change]:
        """The changes among the events."""
        return self.target.changes

    @property
    def flushed(self) -> list[Mark | None]:
        """What each flush returned, in order."""
        return self.target.flushed

    async def open(self, context: Context) -> None:
        """Begin with nothing pending."""
        self._context = context
        self._drop()

    def _drop(self) -> None:
        self._seen.clear()
        self._moves.clear()
        self._pending.clear()
        self._last = None

    async def resume(self, stream: str) -> Checkpoint | None:
        """The stream's checkpoint in the target; None unless it is kept there."""
        if not self.stores_checkpoints:
            return None
        return self._seen.setdefault(stream, self.target.checkpoints.get(stream))

    async def write(self, batch: Batch) -> None:
        """Take the batch's events."""
        self._last = batch.last or self._last
        if not self.stores_checkpoints:
            self.target.events.extend(batch)
            return
        await self.resume(batch.stream)
        self._pending.extend(batch)
        if batch.checkpoint is not None:
            self._moves[batch.stream] = batch.checkpoint

    async def flush(self) -> Mark | None:
        """Commit what is pending. Raises FencedError when the checkpoint was moved by another."""
        for stream in self._moves:
            if self.target.checkpoints.get(stream) != self._seen[stream]:
                raise FencedError(
                    f"the checkpoint of {stream!r} was moved by another copy of this pipeline"
                )
        if self.stores_checkpoints and self._context is not None:
            self._context.failpoints.hit(Failpoint.SINK_COMMIT)
        self.target.events.extend(self._pending)
        self.target.checkpoints.update(self._moves)
        self._seen.update(self._moves)
        self._moves.clear()
        self._pending.clear()
        last, self._last = self._last, None
        self.target.flushed.append(last)
        return last

    async def close(self) -> None:
        """Drop what is pending."""
        self._drop()
