"""What is durable where, and therefore what may be saved and acknowledged. Pure: no I/O, no clock.

Batches get a sequence number in the order in which the source gave them. A sink settles a number
when a flush has made everything up to it durable. Checkpoints are never compared here: their order
is the order of the sequence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from penstock.model import Batch, Checkpoint, Mark
from penstock.ports import StreamState

Key = tuple[str, str]
"""(sink, stream)"""


@dataclass(frozen=True, slots=True)
class Progress:
    """What changed since the last save.

    Parameters
    ----------
    streams: the new state of each (sink, stream), to be saved first.
    acknowledge: per stream the checkpoint that all sinks have passed, to be acknowledged after.
    sequence: all batches up to this one are covered.
    """

    streams: Mapping[Key, StreamState]
    acknowledge: Mapping[str, Checkpoint]
    sequence: int


@dataclass(frozen=True, slots=True)
class _Entry:
    sequence: int
    stream: str
    checkpoint: Checkpoint


class Ledger:
    """Accounts for every batch between the source and the last sink's flush.

    Parameters
    ----------
    states: where each (sink, stream) stands at the start.

    Attributes
    ----------
    sequence: the number of the last batch admitted.
    streams: all streams that batches came from.
    """

    def __init__(self, sinks: Iterable[str], states: Mapping[Key, StreamState]) -> None:
        self.states: dict[Key, StreamState] = dict(states)
        self.sequence = 0
        self.streams: set[str] = set()
        self._settled = dict.fromkeys(sinks, 0)
        self._dirty: set[Key] = set()
        self._entries: deque[_Entry] = deque()
        self._acknowledged = 0

    def admit(self, batch: Batch) -> int:
        """Enter a batch; its sequence number."""
        self.sequence += 1
        self.streams.add(batch.stream)
        if batch.checkpoint is not None:
            self._entries.append(_Entry(self.sequence, batch.stream, batch.checkpoint))
        return self.sequence

    def settle(
        self,
        sink: str,
        sequence: int,
        stream: str,
        data: Mark | None = None,
        safe: Checkpoint | None = None,
    ) -> None:
        """Everything up to ``sequence`` is durable in ``sink``.

        ``data`` and ``safe`` move that sink's state of ``stream``; None leaves them.
        """
        if sequence < self._settled[sink] or sequence > self.sequence:
            raise AssertionError(f"{sink} settles {sequence} after {self._settled[sink]}")
        self._settled[sink] = sequence
        if data is None and safe is None:
            return
        key = (sink, stream)
        old = self.state(sink, stream)
        self.states[key] = StreamState(data or old.data, safe or old.safe)
        self._dirty.add(key)

    def advance(
        self, sink: str, own: Checkpoint, meet: Callable[[Checkpoint, Checkpoint], Checkpoint]
    ) -> None:
        """A sink's own checkpoint is durable, whatever was settled."""
        old = self.state(sink, own.stream)
        if old.safe is None or meet(old.safe, own) != own:
            self.states[sink, own.stream] = StreamState(old.data, own)
            self._dirty.add((sink, own.stream))

    def state(self, sink: str, stream: str) -> StreamState:
        """Where a sink stands in a stream."""
        return self.states.get((sink, stream), StreamState(None, None))

    @property
    def durable(self) -> int:
        """Everything up to this sequence number is durable in every sink."""
        return min(self._settled.values())

    def waits_for(self, sink: str) -> bool:
        """Whether some admitted batch is not durable in that sink."""
        return self._settled[sink] < self.sequence

    @property
    def behind(self) -> bool:
        """Whether some admitted batch is not durable in some sink."""
        return self.durable < self.sequence

    def progress(self) -> Progress | None:
        """What is to be saved and acknowledged now; None when nothing changed.

        What is returned counts as taken: it is not returned again.
        """
        durable = self.durable
        acknowledge: dict[str, Checkpoint] = {}
        while self._entries and self._entries[0].sequence <= durable:
            entry = self._entries.popleft()
            acknowledge[entry.stream] = entry.checkpoint
        if not self._dirty and not acknowledge and durable == self._acknowledged:
            return None
        streams = {key: self.states[key] for key in self._dirty}
        self._dirty.clear()
        self._acknowledged = durable
        return Progress(streams, acknowledge, durable)

    def begin(self, states: Mapping[Key, StreamState]) -> None:
        """Other streams are read from now on: forget where the old ones stand."""
        self.rewind()
        self.states = dict(states)
        self.streams.clear()
        self._dirty.clear()

    def rewind(self) -> None:
        """Forget what was admitted and did not become durable: the source will show it again."""
        durable = self.durable
        while self._entries and self._entries[-1].sequence > durable:
            self._entries.pop()
        self.sequence += 1
        for sink in self._settled:
            self._settled[sink] = self.sequence
