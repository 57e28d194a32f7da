"""A source that plays a script and a sink that fails by one, for tests of what stands between.

Positions are whole numbers: :func:`batch` number 3 is transaction ``3``, its marks are ``3:0``,
``3:1``, … and its checkpoint is ``{"at": 3}``.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from penstock.errors import PenstockError, RejectedError
from penstock.model import (
    Barrier,
    Batch,
    Change,
    Checkpoint,
    Event,
    EventBatch,
    Mark,
    Origin,
    SnapshotBegin,
    SnapshotEnd,
    Table,
    Transaction,
)
from penstock.ports import Context, Sink, SourceState
from penstock.testing.builders import START_US

_SNAPSHOT = "snapshot:"


def checkpoint(at: int, stream: str = "main") -> Checkpoint:
    """The checkpoint after transaction ``at``."""
    return Checkpoint.of(stream, at=at)


def batch(
    at: int,
    *events: Event,
    first: int = 0,
    complete: bool = True,
    size: int | None = None,
    stream: str = "main",
) -> EventBatch:
    """A batch that holds transaction ``at``, or a part of it.

    Parameters
    ----------
    events: changes get the transaction's origin and ordinals; all else stays as it is.
    first: the ordinal of the first change, for the later parts of a transaction.
    complete: whether the transaction ends here; only then is there a checkpoint.
    size: in wire bytes; 100 a change unless told.
    """
    origin = Origin(str(at), Transaction(str(at), START_US + at * 1_000_000), at)
    placed: list[Event] = []
    ordinal = first
    for event in events:
        if isinstance(event, Change):
            placed.append(_placed(event, origin, ordinal))
            ordinal += 1
        else:
            placed.append(event)
    return EventBatch(
        stream,
        placed,
        Mark(str(at), ordinal - 1) if ordinal > first else None,
        checkpoint(at, stream) if complete else None,
        100 * (ordinal - first) if size is None else size,
    )


def keepalive(at: int) -> EventBatch:
    """An empty batch with a checkpoint, as an idle server's word gives."""
    return EventBatch("main", (), None, checkpoint(at), 0)


def snapshot(
    table: Table, rows: Sequence[Change], *, at: int, attempt: int = 1, per_batch: int = 1000
) -> list[EventBatch]:
    """The batches of a table's snapshot, whose rows show all transactions before ``at``."""
    stream = f"{_SNAPSHOT}{table.text}"
    origin = Origin(f"{stream}@{attempt}")
    placed = [_placed(row, origin, i) for i, row in enumerate(rows)]
    batches = [
        EventBatch(
            stream,
            placed[i : i + per_batch],
            placed[min(i + per_batch, len(placed)) - 1].mark,
            None,
            100 * len(placed[i : i + per_batch]),
        )
        for i in range(0, len(placed), per_batch)
    ]
    begin = EventBatch(stream, (SnapshotBegin(table, attempt),))
    end = EventBatch(
        stream,
        (SnapshotEnd(table, attempt, len(rows)),),
        placed[-1].mark if placed else None,
        Checkpoint.of(stream, at=at, attempt=attempt),
    )
    return [begin, *batches, end]


def _placed(change: Change, origin: Origin, ordinal: int) -> Change:
    placed: Change = Change(
        change.operation,
        change.definition,
        origin,
        ordinal,
        change.values_before,
        change.values_after,
        change.key_new,
        change.key_old,
    )
    placed.route, placed.headers, placed.part = change.route, change.headers, change.part
    placed.own_id = change.own_id
    return placed


@dataclass(frozen=True, slots=True)
class Pause:
    """The source has nothing for that many seconds."""

    seconds: float


Step: TypeAlias = Batch | Barrier | Pause | PenstockError


class ScriptedSource:
    """A source that plays ``script`` and then waits until it is closed.

    Opened again, it leaves out what the checkpoints cover and plays the rest once more; an error
    and a pause happen once.

    Parameters
    ----------
    script: batches and barriers to give, pauses to wait, errors to raise, in order.
    ends: whether the iterator ends after the script, as that of a finite source.

    Attributes
    ----------
    starts: what each ``open`` was told to start from.
    acknowledged: all that was acknowledged, in order.
    hold: what ``authority()`` answers: seconds for which the hold on the source is certain.
    """

    def __init__(self, script: Sequence[Step], *, ends: bool = False) -> None:
        self.script = list(script)
        self.starts: list[dict[str, Checkpoint]] = []
        self.acknowledged: list[Checkpoint] = []
        self.hold = math.inf
        self.closed = 0
        self._ends = ends
        self._happened: set[int] = set()
        self._waiting = False
        self._end = asyncio.Event()

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        """Whether reading from ``checkpoint`` on would not show ``mark`` again."""
        value = checkpoint.value
        if checkpoint.stream.startswith(_SNAPSHOT):
            if mark.transaction.startswith(_SNAPSHOT):
                stream, _, attempt = mark.transaction.rpartition("@")
                return stream == checkpoint.stream and int(attempt) <= value["attempt"]
            return int(mark.transaction) < int(value["at"])
        if mark.transaction.startswith(_SNAPSHOT):
            return False
        return int(mark.transaction) <= int(value["at"])

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        """The earlier of two checkpoints."""
        if "main" in (a.stream, b.stream):
            # A snapshot shows what is before its place, a checkpoint what is up to it.
            return min(a, b, key=lambda c: c.value["at"] - c.stream.startswith(_SNAPSHOT))
        return min(a, b, key=lambda c: (c.value["attempt"], c.value["at"]))

    async def open(self, context: Context, state: SourceState) -> None:
        """Start again from what the state says."""
        self.starts.append(dict(state.start))
        self._end = asyncio.Event()

    async def batches(self) -> AsyncIterator[Batch | Barrier]:
        """The script, without what the start covers."""
        start = self.starts[-1]
        for i, step in enumerate(self.script):
            self._waiting = not isinstance(step, Pause)
            if isinstance(step, Pause | PenstockError):
                if i in self._happened:
                    continue
                self._happened.add(i)
                if isinstance(step, PenstockError):
                    raise step
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Barrier) or not self._done(start.get(step.stream), step):
                yield step
        self._waiting = False
        if not self._ends:
            await self._end.wait()

    def _done(self, start: Checkpoint | None, batch: Batch) -> bool:
        if start is None:
            return False
        if batch.last is not None:
            return self.covers(start, batch.last)
        if batch.checkpoint is not None:
            return self.meet(start, batch.checkpoint) == batch.checkpoint
        return start.stream.startswith(_SNAPSHOT)

    async def acknowledge(self, checkpoint: Checkpoint) -> None:
        """Note it."""
        self.acknowledged.append(checkpoint)

    async def head(self) -> Checkpoint | None:
        """The last checkpoint of ``main`` in the script."""
        found = [
            step.checkpoint
            for step in self.script
            if not isinstance(step, Barrier | Pause | PenstockError) and step.stream == "main"
        ]
        return next((found for found in reversed(found) if found is not None), None)

    def authority(self) -> float:
        """:attr:`hold`."""
        return self.hold

    def waiting(self) -> bool:
        """Whether the script has a batch that was not asked for yet."""
        return self._waiting

    async def close(self) -> None:
        """End the wait after the script."""
        self.closed += 1
        self._end.set()


Method: TypeAlias = Literal["open", "resume", "write", "flush", "close"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at the ``number``-th call (from 1) of a sink's method.

    Parameters
    ----------
    delay: wait that many seconds before the call; ``inf`` waits for :meth:`FlakySink.release`.
    error: raise this instead of the call.
    after: raise this after the call was carried out: the answer was lost on its way.
    """

    method: Method
    number: int = 1
    delay: float = 0.0
    error: Exception | None = None
    after: Exception | None = None


class FlakySink:
    """A sink that fails by a script and else does what the ``inner`` one does.

    Parameters
    ----------
    faults: what goes wrong, and when.
    rejects: ids of changes that it refuses for good.

    Attributes
    ----------
    calls: how often each method was called.
    """

    def __init__(
        self, inner: Sink, faults: Sequence[Fault] = (), *, rejects: Sequence[str] = ()
    ) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()
        self.rejects = frozenset(rejects)
        self._faults = {(fault.method, fault.number): fault for fault in faults}
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let a call go on that waits for ever."""
        self._released.set()

    async def _before(self, method: Method) -> Exception | None:
        self.calls[method] += 1
        fault = self._faults.get((method, self.calls[method]))
        if fault is None:
            return None
        if math.isinf(fault.delay):
            self._released.clear()
            await self._released.wait()
        elif fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.error is not None:
            raise fault.error
        return fault.after

    async def _call(self, method: Method, *arguments: Any) -> Any:
        lost = await self._before(method)
        result = await getattr(self.inner, method)(*arguments)
        if lost is not None:
            raise lost
        return result

    async def open(self, context: Context) -> None:
        """Open the inner sink."""
        await self._call("open", context)

    async def resume(self, stream: str) -> Checkpoint | None:
        """The inner sink's checkpoint."""
        found: Checkpoint | None = await self._call("resume", stream)
        return found

    async def write(self, batch: Batch) -> None:
        """Write to the inner sink, unless the batch holds what is rejected."""
        which = [e.id for e in batch if isinstance(e, Change) and e.id in self.rejects]
        if which:
            raise RejectedError(f"refused by the test: {', '.join(which)}", which=which)
        await self._call("write", batch)

    async def flush(self) -> Mark | None:
        """Flush the inner sink."""
        mark: Mark | None = await self._call("flush")
        return mark

    async def close(self) -> None:
        """Close the inner sink."""
        await self._call("close")
