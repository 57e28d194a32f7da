"""A lane: one sink's way from the reader to the ledger.

The lane owns its sink. It keeps what was written until a flush covers it, so that a sink that
failed can be opened again and fed again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from penstock.errors import FencedError, PenstockError, SinkError, SinkUnavailableError
from penstock.failpoints import Failpoint
from penstock.model import Batch, Checkpoint
from penstock.pipeline.ledger import Ledger
from penstock.pipeline.observe import SinkMeter
from penstock.pipeline.passage import Passage
from penstock.pipeline.retry import pause, waits
from penstock.ports import Context, Sink

QUEUE = 2
"""Batches that wait while one is in flight."""

BUDGET = 8 << 20
"""Wire bytes of written batches that a lane keeps for a second feeding."""

GROUP = 4 << 20
"""Wire bytes of complete transactions that are flushed together, at most."""

PATIENCE = 0.1
"""Seconds that a complete transaction waits for others that are there to be flushed with it."""


@dataclass(frozen=True, slots=True)
class _Item:
    sequence: int
    batch: Batch
    news: bool

    @property
    def is_complete(self) -> bool:
        """Whether there is something to write, and it ends with a transaction."""
        return len(self.batch) > 0 and self.batch.checkpoint is not None


class Lane:
    """Delivers batches to one sink, in order.

    Parameters
    ----------
    name: the sink's unique name.
    rewind: called when what the sink lost can only come from the source again.
    authority: seconds for which our hold on the source is still certain; a lane writes nothing
        once it has run out, since another copy of the pipeline may have taken over.
    shared: whether streams are shared with other workers, so that who is fenced has lost them and
        asks for others.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        context: Context,
        ledger: Ledger,
        meter: SinkMeter,
        *,
        rewind: Callable[[str], None],
        authority: Callable[[], float],
        settled: Callable[[], None],
        shared: bool = False,
        budget: int = BUDGET,
    ) -> None:
        self.name = name
        self.sink = sink
        self._context = context
        self._ledger = ledger
        self._meter = meter
        self._rewind = rewind
        self._authority = authority
        self._settled = settled
        self._shared = shared
        self._budget = budget
        self._queue: asyncio.Queue[_Item | asyncio.Future[bool]] = asyncio.Queue(QUEUE)
        self._kept: deque[_Item] = deque()
        self._written = 0
        self._waiting_since = 0.0
        self._may_wait = False
        self._lost = False
        self._abandoned = False
        self._open = False
        self._idle = bool(getattr(context.format, "idle", False))
        self._waits: Iterator[float] = waits(context.random)
        self.passage: Passage | None = None

    async def open(self) -> None:
        """Open the sink, waiting for it as long as it takes."""
        await self._persist(self._open_once)

    async def resume(self, stream: str) -> Checkpoint | None:
        """The checkpoint that the sink itself holds."""
        found: list[Checkpoint | None] = []

        async def ask() -> None:
            await self._open_once()
            found.append(await self.sink.resume(stream))

        await self._persist(ask)
        return found[0]

    async def restart(self) -> None:
        """Let the sink forget what it knows of streams: other workers have had them since."""
        self.passage = None
        await self.close()
        release = getattr(self.sink, "release", None)
        if release is not None:
            release()

    async def put(self, sequence: int, batch: Batch) -> None:
        """Hand over a batch; waits while the lane is full."""
        if self.passage is None:
            raise AssertionError("a lane needs its passage before its first batch")
        passed, news = self.passage.admit(batch)
        await self._queue.put(_Item(sequence, passed, news))

    async def settle(self) -> bool:
        """Deliver all that is complete; throw away what belongs to an unfinished transaction.

        False when the lane had to give up: what is complete was not all delivered.
        """
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await self._queue.put(done)
        return await done

    async def run(self) -> None:
        """Deliver for ever."""
        item = await self._queue.get()
        while True:
            following = None if self._queue.empty() else self._queue.get_nowait()
            if isinstance(item, asyncio.Future):
                delivered = not self._abandoned
                await self._discard()
                item.set_result(delivered)
            elif not self._abandoned:
                await self._deliver(item, following)
            item = following if following is not None else await self._queue.get()

    async def close(self) -> None:
        """Close the sink without a flush."""
        self._open = False
        await self.sink.close()
        close = getattr(self._context.format, "close", None)
        if close is not None:
            close()

    @property
    def keeps_checkpoints(self) -> bool:
        """Whether the sink stores checkpoints with its data."""
        return bool(getattr(self.sink, "stores_checkpoints", False))

    async def _discard(self) -> None:
        if self._kept or self._abandoned:
            await self.close()
        self._kept.clear()
        self._written = 0
        self._lost = self._abandoned = False

    async def _deliver(self, item: _Item, following: _Item | asyncio.Future[bool] | None) -> None:
        if not len(item.batch) and not self._kept and not self._idle:
            self._record(item, wrote=False)
            return
        if not self._kept:
            self._waiting_since = self._context.clock.monotonic()
        self._kept.append(item)
        self._may_wait = isinstance(following, _Item) and following.is_complete
        await self._persist(self._feed)

    async def _feed(self) -> None:
        """Write what is kept and not yet written; flush where the last one has a checkpoint, unless
        the next one is there and has one too."""
        if self._authority() <= 0:
            self._give_up("nothing was heard from the source for too long")
            return
        await self._open_once()
        failpoints = self._context.failpoints
        while self._written < len(self._kept):
            batch = self._kept[self._written].batch
            failpoints.hit(Failpoint.BEFORE_WRITE)
            await self.sink.write(batch)
            failpoints.hit(Failpoint.AFTER_WRITE)
            self._written += 1
            self._meter.count(batch.changes)
        size = sum(item.batch.size for item in self._kept)
        if self._authority() <= 0:
            self._give_up("nothing was heard from the source for too long")
        elif self._kept[-1].batch.checkpoint is not None:
            waited = self._context.clock.monotonic() - self._waiting_since
            if not self._may_wait or size >= GROUP or waited >= PATIENCE:
                await self._flush()
        elif size > self._budget:
            self._lost = True
            last = self._kept.pop()
            self._kept.clear()
            self._kept.append(last)
            self._written = 1

    async def _flush(self) -> None:
        failpoints = self._context.failpoints
        failpoints.hit(Failpoint.BEFORE_FLUSH)
        mark = await self.sink.flush()
        failpoints.hit(Failpoint.AFTER_FLUSH)
        self._meter.flushes += 1
        marks = [item.batch.last for item in self._kept if item.batch.last is not None]
        if marks and mark != marks[-1]:
            raise SinkError(
                f"sink {self.name!r} flushed up to {mark}, but {marks[-1]} was written",
                hint="flush() returns the last mark of the last written batch",
                mark=marks[-1],
            )
        kept = list(self._kept)
        self._kept.clear()
        self._written = 0
        self._lost = False
        self._meter.committed_us = kept[-1].batch.committed_us or self._meter.committed_us
        for item in kept:
            self._record(item, wrote=True)

    def _record(self, item: _Item, *, wrote: bool) -> None:
        self._ledger.settle(
            self.name,
            item.sequence,
            item.batch.stream,
            item.batch.last if wrote and item.batch.checkpoint else None,
            item.batch.checkpoint if item.news else None,
        )
        self._settled()

    def _give_up(self, why: str) -> None:
        """Wait for a rewind: the source has to show the unfinished part again."""
        self._abandoned = True
        self._rewind(f"sink {self.name!r}: {why}")

    async def _persist(self, act: Callable[[], Awaitable[None]]) -> None:
        """Run ``act`` until the sink is there to do it."""
        while True:
            try:
                await act()
            except SinkUnavailableError as error:
                self._meter.failures += 1
                self._meter.unavailable = error.message
                await self.close()
                if self._lost:
                    self._give_up(error.message)
                    return
                self._written = 0
                wait = pause(error, next(self._waits))
                self._context.logger.warning(
                    "sink %s is unavailable, next try in %.1f s: %s", self.name, wait, error.message
                )
                await self._context.clock.sleep(wait)
            except FencedError as error:
                if not self._shared:
                    raise
                self._meter.failures += 1
                self._give_up(error.message)
                return
            except (PenstockError, asyncio.CancelledError):
                raise
            except Exception as error:
                raise SinkError(
                    f"sink {self.name!r} failed: {type(error).__name__}: {error}"
                ) from error
            else:
                if self._meter.unavailable:
                    self._context.logger.info("sink %s is back", self.name)
                self._meter.unavailable = ""
                self._waits = waits(self._context.random)
                return

    async def _open_once(self) -> None:
        if self._open:
            return
        await self.sink.open(self._context)
        self._open = True
        await self._skip_committed()

    async def _skip_committed(self) -> None:
        """After a commit with an unknown outcome the sink itself knows what it has."""
        if self.passage is None or not self._kept:
            return
        source, own = self.passage.source, {}
        ends = {item.batch.stream: item.batch.checkpoint for item in self._kept}
        if self._shared:
            for (sink, stream), state in self._ledger.states.items():
                if sink == self.name:
                    ends.setdefault(stream, state.safe)
        for stream, end in ends.items():
            checkpoint = await self.sink.resume(stream)
            if checkpoint is None:
                continue
            own[stream] = checkpoint
            if self._shared and end is not None and source.meet(end, checkpoint) != checkpoint:
                raise FencedError(
                    f"sink {self.name!r} has more of {stream} than was written here: another "
                    "worker has it now"
                )
        if not own:
            return
        again = Passage(source, own)
        self._kept = deque(
            _Item(item.sequence, again.admit(item.batch)[0], item.news) for item in self._kept
        )
