"""Between a pipeline and a loop: batches go down, and what the loop is done with comes back up.

The loop takes a change when it likes, so the sink cannot say in ``flush`` that it is done. Instead
checkpoints are held back where they enter: the source's batches go on without theirs, and each is
sent after them, in an empty batch, once the loop is done with all before it. The runner saves and
acknowledges that like any other checkpoint.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from penstock.errors import ConfigError, PenstockError
from penstock.model import Barrier, Batch, Change, Checkpoint, Event, EventBatch, Mark, Message
from penstock.pipeline.passage import Passage
from penstock.ports import Context, Source, SourceState, Store, StreamState


@dataclass(slots=True)
class _Held:
    """A batch on its way to the loop, and the checkpoint that it would have had."""

    stream: str
    last: Mark | None
    checkpoint: Checkpoint | None
    delivered: bool


class Handover:
    """The one place where a pipeline and a loop meet: all of it runs in the pipeline's event loop.

    Parameters
    ----------
    source: the pipeline's source.
    manual: whether the loop itself says what is done.

    Attributes
    ----------
    opened: the source has been opened once: it shows what is written from now on.
    """

    def __init__(self, source: Source, *, manual: bool) -> None:
        self.source = HeldSource(source, self)
        self.sink = LoopSink(self)
        self.changed = asyncio.Condition()
        self.pending: deque[Batch] = deque()
        self.held: deque[_Held] = deque()
        self.released: dict[str, Checkpoint] = {}
        self.owed: dict[str, Checkpoint] = {}
        self.saved: dict[str, Checkpoint] = {}
        self.at_barrier = False
        self.complete = False
        self.closing = False
        self.opened = asyncio.Event()
        self._manual = manual
        self._error: BaseException | None = None
        self._over = False

    @property
    def has_room(self) -> bool:
        """Whether the loop may be given one batch more: one waits while it works on another."""
        coming = sum(not held.delivered for held in self.held)
        return len(self.pending) + coming < 1

    # -- the loop's side

    async def take(self) -> Batch | None:
        """The next batch for the loop; None at the end. Raises what stopped the pipeline."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.pending or self._over or self._at_end())
            if self.pending:
                batch = self.pending.popleft()
                self.changed.notify_all()
                return batch
            self._raise()
            if self.at_barrier and not self._over and not self.complete:
                raise ConfigError(
                    "the snapshot ends here: what came so far has to be saved before more comes",
                    hint="call commit() before asking for more, or leave autocommit on",
                )
            return None

    def _at_end(self) -> bool:
        delivered = all(held.delivered for held in self.held)
        return delivered and (self.complete or (self._manual and self.at_barrier))

    async def done(self, mark: Mark) -> None:
        """The loop is done with the batch whose last mark this is, and with all before."""
        async with self.changed:
            # The end of a snapshot has the last row's mark once more: the last of them counts.
            same = [i for i, held in enumerate(self.held) if held.delivered and held.last == mark]
            count = same[-1] + 1 if same else 0
            while count and count < len(self.held) and self.held[count].last is None:
                count += 1
            for _ in range(count):
                held = self.held.popleft()
                if held.checkpoint is not None:
                    self.released[held.stream] = self.owed[held.stream] = held.checkpoint
            self.changed.notify_all()

    async def durable(self) -> None:
        """Wait until all that is done is saved. Raises what stopped the pipeline before."""
        async with self.changed:
            await self.changed.wait_for(lambda: self._over or not self.owed)
            if self.owed:
                self._raise_ended()

    async def remember(self, stream: str, mark: Mark) -> None:
        """Save that the loop is done up to ``mark``, inside a batch. Raises as durable()."""
        if self._over:
            self._raise_ended()
        await self.sink.remember(stream, mark)

    def _raise_ended(self) -> None:
        self._raise()
        raise PenstockError("the pipeline ended before this was saved: it will come again")

    async def end(self, error: BaseException | None) -> None:
        """The pipeline is over."""
        async with self.changed:
            self._error, self._over = error, True
            self.changed.notify_all()

    async def close(self) -> None:
        """The loop takes no more."""
        async with self.changed:
            self.closing = True
            self.pending.clear()
            self.changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def mark_delivered(held: deque[_Held], last: Mark | None) -> None:
    """The first batch with this last mark that was not delivered yet is, and all before it."""
    for place, one in enumerate(held):
        if not one.delivered and one.last == last:
            for earlier in islice(held, place + 1):
                earlier.delivered = True
            return


class LoopSink:
    """Hands batches to the loop."""

    name = "loop"

    def __init__(self, handover: Handover) -> None:
        self._handover = handover
        self._last: Mark | None = None
        self.store: Store | None = None

    async def open(self, context: Context) -> None:
        """Note the store, which knows how far an earlier loop came inside a batch."""
        self.store = context.store
        saved = await context.store.load() if context.store is not None else None
        for (sink, stream), state in (saved.streams if saved else {}).items():
            if sink == context.component and state.data is not None:
                self._handover.source.skip(stream, state.data, state.safe)

    async def resume(self, stream: str) -> Checkpoint | None:
        """None: a loop stores nothing."""
        return None

    async def write(self, batch: Batch) -> None:
        """Hand the batch over."""
        handover = self._handover
        self._last = batch.last or self._last
        async with handover.changed:
            if not handover.closing and len(batch):
                handover.pending.append(batch)
            mark_delivered(handover.held, batch.last)
            handover.changed.notify_all()

    async def flush(self) -> Mark | None:
        """All was handed over; its checkpoints are held back by the source."""
        last, self._last = self._last, None
        return last

    async def close(self) -> None:
        """Nothing to let go of."""

    async def remember(self, stream: str, mark: Mark) -> None:
        """Save that the loop is done up to ``mark``, inside a batch."""
        assert self.store is not None
        safe = self._handover.saved.get(stream)
        await self.store.save({(self.name, stream): StreamState(mark, safe)})


class HeldSource:
    """A source whose checkpoints wait for the loop; all else is the inner source's."""

    def __init__(self, inner: Source, handover: Handover) -> None:
        self._inner = inner
        self._handover = handover
        self._emitted: dict[str, Checkpoint] = {}
        self._skips: dict[str, Mark] = {}
        self._target: Checkpoint | None = None
        self._passage = Passage(inner, {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def skip(self, stream: str, mark: Mark, safe: Checkpoint | None) -> None:
        """Leave out what an earlier loop did after ``safe``, up to ``mark``."""
        if safe is None or not self._inner.covers(safe, mark):
            self._skips[stream] = mark

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        """As the inner source."""
        return self._inner.covers(checkpoint, mark)

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        """As the inner source."""
        return self._inner.meet(a, b)

    async def open(self, context: Context, state: SourceState) -> None:
        """Forget what was on its way: it comes again."""
        handover = self._handover
        async with handover.changed:
            handover.pending.clear()
            handover.held.clear()
            handover.at_barrier = handover.complete = False
            for stream, checkpoint in state.start.items():
                handover.saved.setdefault(stream, checkpoint)
                handover.released.setdefault(stream, checkpoint)
            self._emitted = dict(handover.saved)
            self._passage = Passage(self._inner, handover.released)
        await self._inner.open(context, state)
        handover.opened.set()

    async def acknowledge(self, checkpoint: Checkpoint) -> None:
        """It is saved: the loop may know."""
        async with self._handover.changed:
            stream, owed = checkpoint.stream, self._handover.owed
            self._handover.saved[stream] = checkpoint
            if stream in owed and self._inner.meet(owed[stream], checkpoint) == owed[stream]:
                del owed[stream]
            self._handover.changed.notify_all()
        await self._inner.acknowledge(checkpoint)

    async def head(self) -> Checkpoint | None:
        """As the inner source; once that is delivered the loop ends."""
        self._target = await self._inner.head()
        return self._target

    def waiting(self) -> bool:
        """As the inner source; while the loop works, it is not the source that stands still."""
        waiting = getattr(self._inner, "waiting", None)
        return waiting is not None and not self._handover.held and bool(waiting())

    async def close(self) -> None:
        """Close the inner source."""
        await self._inner.close()

    async def batches(self) -> AsyncIterator[Batch | Barrier]:
        """The inner source's batches without checkpoints, and checkpoints when they are due."""
        handover = self._handover
        arriving: asyncio.Future[Batch | Barrier | None] | None = None
        changing: asyncio.Future[None] | None = None
        inner = self._inner.batches()
        try:
            while True:
                for checkpoint in self._due():
                    yield EventBatch(checkpoint.stream, (), None, checkpoint)
                if arriving is None:
                    arriving = asyncio.ensure_future(_next(inner))
                if changing is None or changing.done():
                    changing = asyncio.ensure_future(self._until_due())
                await asyncio.wait((arriving, changing), return_when=asyncio.FIRST_COMPLETED)
                if not arriving.done() or self._is_due():
                    continue
                item = arriving.result()
                if item is None or isinstance(item, Barrier):
                    if await self._all_done(barrier=item is not None):
                        if item is None:
                            return
                        handover.at_barrier, arriving = False, None
                        yield item
                    continue
                if not await self._has_room():
                    continue
                arriving = asyncio.ensure_future(_next(_none())) if self._reached(item) else None
                batch = self._without_done(item)
                batch = self._hold(batch) if batch is not None else None
                if batch is not None:
                    yield batch
        finally:
            waited = [one for one in (arriving, changing) if one is not None]
            for one in waited:
                one.cancel()
            await asyncio.gather(*waited, return_exceptions=True)

    async def _all_done(self, *, barrier: bool) -> bool:
        """Wait until the loop is done with all; False when a checkpoint is due before."""
        handover = self._handover
        async with handover.changed:
            handover.complete, handover.at_barrier = not barrier, barrier
            handover.changed.notify_all()
            await handover.changed.wait_for(lambda: not handover.held or self._is_due())
        return not self._is_due()

    async def _has_room(self) -> bool:
        """Wait until the loop needs more; False when a checkpoint is due before.

        It is here that a slow loop stops the source: were the sink to wait, the checkpoints would
        wait behind it.
        """
        handover = self._handover
        async with handover.changed:
            await handover.changed.wait_for(lambda: handover.has_room or self._is_due())
        return not self._is_due()

    def _is_due(self) -> bool:
        return self._emitted != self._handover.released

    def _due(self) -> list[Checkpoint]:
        """The checkpoints that the loop released since the last time."""
        due = [
            checkpoint
            for stream, checkpoint in self._handover.released.items()
            if self._emitted.get(stream) != checkpoint
        ]
        self._emitted.update({checkpoint.stream: checkpoint for checkpoint in due})
        return due

    async def _until_due(self) -> None:
        async with self._handover.changed:
            await self._handover.changed.wait_for(self._is_due)

    def _hold(self, batch: Batch) -> Batch | None:
        """Keep a batch's checkpoint until the loop is done with it and all before."""
        handover = self._handover
        # What is empty by now is not delivered, so nothing could say that it is done.
        last = batch.last if len(batch) else None
        if last is None and not handover.held:
            if batch.checkpoint is not None:
                handover.released[batch.stream] = batch.checkpoint
                self._emitted[batch.stream] = batch.checkpoint
            if len(batch):
                return batch
            return EventBatch(batch.stream, (), None, batch.checkpoint, batch.size)
        handover.held.append(_Held(batch.stream, last, batch.checkpoint, delivered=last is None))
        if not len(batch):
            return None
        return batch.with_checkpoint(None)

    def _reached(self, batch: Batch) -> bool:
        """Whether this is the last batch that was asked for."""
        target, at = self._target, batch.checkpoint
        return (
            target is not None
            and at is not None
            and at.stream == target.stream
            and self._inner.meet(target, at) == target
        )

    def _without_done(self, batch: Batch) -> Batch | None:
        """A batch without what the loop has done: before a reconnection, or in an earlier run."""
        batch, _ = self._passage.admit(batch)
        if not len(batch) and batch.checkpoint is None:
            return None
        stream, last = batch.stream, batch.last
        mark = self._skips.get(stream)
        if mark is None or last is None:
            return batch
        there = [place for place, event in enumerate(batch) if _in(mark.transaction, event)]
        if not there:
            if batch.checkpoint is None:
                return batch
            if self._inner.covers(batch.checkpoint, mark):
                # The mark comes no more; what is here may have been done, or not.
                del self._skips[stream]
                return batch
            return EventBatch(stream, (), None, batch.checkpoint)
        if batch.checkpoint is not None or not _in(mark.transaction, list(batch)[-1]):
            del self._skips[stream]
        rest = [
            event
            for place, event in enumerate(batch)
            if place >= there[0] and not _done(event, mark)
        ]
        return EventBatch(stream, rest, last, batch.checkpoint, batch.size)


async def _none() -> AsyncIterator[Batch | Barrier]:
    return
    yield


async def _next(batches: AsyncIterator[Batch | Barrier]) -> Batch | Barrier | None:
    return await anext(batches, None)


def _in(transaction: str, event: Event) -> bool:
    return isinstance(event, Change | Message) and event.mark.transaction == transaction


def _done(event: Event, mark: Mark) -> bool:
    """Whether an event of the mark's transaction stands at the mark or before it."""
    return (
        isinstance(event, Change | Message)
        and event.mark.transaction == mark.transaction
        and (event.mark.ordinal, event.mark.part) <= (mark.ordinal, mark.part)
    )
