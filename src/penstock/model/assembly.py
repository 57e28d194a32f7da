"""Events into batches: cut at a commit where possible, inside a transaction only for size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.model.batch import Batch, Event, EventBatch
from penstock.model.change import Change, Message
from penstock.model.mark import Checkpoint, Mark


class Assembly:
    """Gathers the events of a stream; whoever decodes appends to ``events`` and adds to ``size``.

    Parameters
    ----------
    stream: the stream's name.
    checkpoint_at: makes the checkpoint of a position.
    """

    __slots__ = (
        "_checkpoint_at",
        "_handed",
        "_position",
        "_ready",
        "_sealed",
        "_sealed_size",
        "_stream",
        "events",
        "size",
    )

    def __init__(self, stream: str, checkpoint_at: Callable[[int], Checkpoint]) -> None:
        self.events: list[Event] = []
        self.size = 0
        """Bytes of the events that are not handed over yet."""
        self._stream = stream
        self._checkpoint_at = checkpoint_at
        self._position = 0  # where reading may start again after the sealed events
        self._handed = 0  # the position of the last checkpoint handed over
        self._sealed = 0  # how many events are sealed, and their bytes
        self._sealed_size = 0
        self._ready: list[Batch] = []

    def advance(self, position: int) -> None:
        """No transaction is open, and reading from ``position`` on repeats nothing of before."""
        self._position = max(self._position, position)

    def seal(self) -> None:
        """No transaction is open: all events so far may be handed over."""
        self._sealed = len(self.events)
        self._sealed_size = self.size

    def close_sealed(self) -> None:
        """End the batch at the last transaction end; an empty one if only the position moved."""
        if not self._sealed and self._position == self._handed:
            return
        events, self.events = self.events[: self._sealed], self.events[self._sealed :]
        checkpoint = self._checkpoint_at(self._position) if self._position else None
        self._close(events, checkpoint, self._sealed_size)
        self.size -= self._sealed_size
        self._sealed = self._sealed_size = 0
        self._handed = self._position

    def close_all(self) -> None:
        """End the batch here, inside a transaction if one is open."""
        self.close_sealed()
        if self.events:
            events, self.events = self.events, []
            self._close(events, None, self.size)
        self.size = 0

    def cut(self, max_bytes: int) -> None:
        """End a batch that is full: at the last commit, or else where it is."""
        self.close_sealed()
        if self.size >= max_bytes:
            self.close_all()

    def take(self) -> list[Batch]:
        """The batches that have ended since the last call."""
        ready, self._ready = self._ready, []
        return ready

    def _close(self, events: list[Event], checkpoint: Checkpoint | None, size: int) -> None:
        self._ready.append(EventBatch(self._stream, events, _last(events), checkpoint, size))


def _last(events: Sequence[Event]) -> Mark | None:
    for event in reversed(events):
        if isinstance(event, Change | Message):
            return event.mark
    return None
