"""The engine of one run: source → transforms → lanes → ledger → store → acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from penstock.errors import (
    ConnectionLostError,
    DivergedError,
    GapError,
    PenstockError,
    StuckError,
)
from penstock.failpoints import Failpoint
from penstock.model import Barrier, Checkpoint
from penstock.model.stream import MAIN, snapshot_table
from penstock.pipeline.chain import Chain
from penstock.pipeline.lanes import Lane
from penstock.pipeline.ledger import Key, Ledger
from penstock.pipeline.observe import Meter, SinkMeter, State
from penstock.pipeline.passage import Passage
from penstock.pipeline.retry import Policy, policy, waits
from penstock.pipeline.state import Memory, Start, reconcile
from penstock.ports import Context, Saved, SharedSource, Sink, Source, Store, StreamState

STUCK_AFTER: Final = 300.0
"""Seconds without progress, while the server has data for us, until the pipeline gives up."""

WATCH_EVERY: Final = 5.0


class Rewind(Exception):
    """A sink lost what only the source can show again."""


class Runner:
    """Runs a pipeline once, from open to close.

    Parameters
    ----------
    sinks: the sinks by their unique names, with the context each is opened with.
    starts: each sink's ``start`` option.
    drain_timeout: seconds that a stop waits for the sinks.
    """

    def __init__(
        self,
        source: Source,
        sinks: Mapping[str, tuple[Sink, Context]],
        starts: Mapping[str, Start | None],
        transforms: Chain,
        store: Store,
        context: Context,
        *,
        until_caught_up: bool,
        drain_timeout: float,
    ) -> None:
        self.state: State = "starting"
        self.meter = Meter({name: SinkMeter() for name in sinks})
        self.ledger = Ledger(sinks, {})
        self.drained = False
        self.caught_up = False
        self._ended = False
        self._lanes = [
            Lane(
                name,
                sink,
                sink_context,
                self.ledger,
                self.meter.sinks[name],
                rewind=self._request_rewind,
                authority=getattr(source, "authority", lambda: 1.0),
                settled=lambda: self._settled.set(),
                shared=isinstance(source, SharedSource),
            )
            for name, (sink, sink_context) in sinks.items()
        ]
        self._source = source
        self._shared = source if isinstance(source, SharedSource) else None
        self._starts = starts
        self._transforms = transforms
        transforms.attach(source)
        self._store = store
        self._context = context
        self._until_caught_up = until_caught_up
        self._drain_timeout = drain_timeout
        self._memory: Memory | None = None
        self._target: Checkpoint | None = None
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._saved = asyncio.Condition()
        self._saved_sequence = 0
        self._interrupt: asyncio.Future[None] | None = None

    def stop(self) -> None:
        """Read no more, deliver what is complete, save, leave."""
        self.state = "stopping"
        self._stopping.set()
        self._end_reading()

    async def run(self) -> None:
        """Run until stopped, caught up (where asked for), or failed."""
        work = asyncio.ensure_future(self._work())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._drain(work)
            if not work.cancelled():
                work.result()
            self.state = "stopped"
        except BaseException as error:
            self.state = _state_after(error)
            raise
        finally:
            for task in (work, stopping):
                task.cancel()
            await asyncio.gather(work, stopping, return_exceptions=True)
            await self._close()

    async def _drain(self, work: asyncio.Future[None]) -> None:
        if self._memory is None:  # still waiting for a sink: nothing was read
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self.drained = True
            return
        timer = asyncio.ensure_future(self._context.clock.sleep(self._drain_timeout))
        await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self._context.logger.warning(
                "left after %g s of draining; what was not saved will be delivered again",
                self._drain_timeout,
            )

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                await self._store.open(replace(self._context, component="store"))
                await self._remember()
                tasks = [group.create_task(lane.run()) for lane in self._lanes]
                tasks.append(group.create_task(self._save_forever()))
                watch = group.create_task(self._watch(tasks))
                await self._read_until_done()
                drained = await self._settle()
                for task in (*tasks, watch):
                    task.cancel()
            self.drained = drained
            if self._until_caught_up and self._ended:
                self.caught_up = True
        except BaseExceptionGroup as failures:
            raise _first(failures) from failures

    async def _close(self) -> None:
        """Close everything, whatever fails on the way."""
        parts: list[Any] = [self._source, *self._lanes, self._store]
        for part in parts:
            try:
                await part.close()
            except Exception:
                self._context.logger.exception("%s did not close", type(part).__name__)

    # -- start-up

    async def _remember(self) -> None:
        saved = await self._store.load()
        own: dict[Key, Checkpoint] = {}
        for lane in self._lanes:
            await lane.open()
            if self._shared is not None:
                continue
            known = {stream for sink, stream in saved.streams if sink == lane.name} if saved else ()
            for stream in {MAIN, *known}:
                checkpoint = await lane.resume(stream)
                if checkpoint is not None:
                    own[lane.name, stream] = checkpoint
        if self._shared is not None:
            facts = saved.facts if saved is not None else {}
            self._memory = Memory(
                self._source, self._store, list(self._starts), facts, {}, self._begin
            )
            self._transforms.remember(self._memory.known)
            return
        self._memory, states = reconcile(
            self._source, self._store, saved, self._starts, own, self._keepers
        )
        self._transforms.remember(self._memory.known)
        self.ledger.states.update(states)
        await self._store.save(
            {(lane.name, MAIN): self.ledger.state(lane.name, MAIN) for lane in self._lanes}
        )

    @property
    def _keepers(self) -> set[str]:
        """The sinks that store checkpoints with their data."""
        return {lane.name for lane in self._lanes if lane.keeps_checkpoints}

    async def _begin(
        self, streams: Mapping[str, Checkpoint], states: Mapping[Key, StreamState]
    ) -> Mapping[str, Checkpoint]:
        """A shared source was given streams: each sink says anew where it stands in them.

        Nothing is on its way: a Barrier came before, or the lanes were settled.
        """
        own: dict[Key, Checkpoint] = {}
        kept = {stream for _, stream in states}
        states = dict(states)
        for lane in self._lanes:
            for stream in streams.keys() - kept:
                states[lane.name, stream] = StreamState(None, streams[stream])
            await lane.restart()
            for stream in streams:
                checkpoint = await lane.resume(stream)
                if checkpoint is not None:
                    own[lane.name, stream] = checkpoint
        memory, found = reconcile(
            self._source, self._store, Saved(states), self._starts, own, self._keepers
        )
        self.ledger.begin(found)
        for lane in self._lanes:
            lane.passage = Passage(self._source, memory.of(lane.name), memory.finished(lane.name))
        assert self._shared is not None
        await self._shared.keep(found)
        return memory.start

    async def _open_source(self) -> Memory:
        memory = self._memory
        assert memory is not None
        if self._shared is None:
            await self._ask_again()
            memory.advance(self.ledger.states)
            for lane in self._lanes:
                finished = memory.finished(lane.name)
                lane.passage = Passage(self._source, memory.of(lane.name), finished)
        await self._fit_rules(memory)
        context = replace(self._context, component="source", store=self._store)
        await self._source.open(context, memory)
        if self._until_caught_up and self._target is None:
            self._target = await self._source.head()
        if not self._stopping.is_set():
            self.state = "running"
        return memory

    async def _fit_rules(self, memory: Memory) -> None:
        """Hold the rules against the source's tables before the first row is read."""
        for misfit in await self._transforms.misfits(self._source, self._context):
            raise misfit
        await self._save_known(memory)

    async def _save_known(self, memory: Memory) -> None:
        """What rules leave out depends on the columns known before: they are not to be forgotten
        once a row has passed."""
        if self._transforms.news:
            await memory.save_known(self._transforms.known)
            self._transforms.saved()

    async def _ask_again(self) -> None:
        """A sink that was given up in its commit may have more than the ledger knows."""
        for lane in self._lanes:
            if not lane.keeps_checkpoints:
                continue
            for stream in self.ledger.streams:
                own = await lane.resume(stream)
                if own is not None:
                    self.ledger.advance(lane.name, own, self._source.meet)

    # -- reading

    async def _read_until_done(self) -> None:
        pauses = waits(self._context.random)
        while not self._stopping.is_set():
            admitted = self.ledger.sequence
            try:
                await self._read_until_interrupted()
                return
            except Exception as error:
                if not isinstance(error, Rewind) and policy(error) is not Policy.REOPEN_SOURCE:
                    raise
                self._context.logger.warning("the source is opened again: %s", error)
            self.meter.reconnects += 1
            if not self._stopping.is_set():
                self.state = "starting"
            if self.ledger.sequence > admitted:
                pauses = waits(self._context.random)
            if self._shared is not None:  # what is durable is told while the streams are ours
                await self._settle()
            await self._source.close()
            await self._settle()
            self.ledger.rewind()
            await self._sleep_unless_stopping(next(pauses))

    async def _read_until_interrupted(self) -> None:
        interrupt = self._interrupt = asyncio.get_running_loop().create_future()
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait({reading, interrupt}, return_when=asyncio.FIRST_COMPLETED)
            (interrupt if interrupt.done() else reading).result()
        finally:
            self._interrupt = None
            interrupt.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        memory = await self._open_source()
        if self._reached():
            return
        async for item in self._source.batches():
            if isinstance(item, Barrier):
                await self._wait_saved()
                continue
            item = self._transforms.apply(item)
            await self._save_known(memory)
            if self.state in ("running", "snapshot"):
                self.state = "snapshot" if snapshot_table(item.stream) else "running"
            sequence = self.ledger.admit(item)
            for lane in self._lanes:
                await lane.put(sequence, item)
        self._ended = True

    def _end_reading(self) -> None:
        if self._interrupt is not None and not self._interrupt.done():
            self._interrupt.set_result(None)

    def _request_rewind(self, why: str) -> None:
        if self._interrupt is not None and not self._interrupt.done():
            self._interrupt.set_exception(Rewind(why))

    async def _settle(self) -> bool:
        """Everything complete is durable, saved and acknowledged; the rest is thrown away.

        False when a lane had to give up before.
        """
        delivered = await asyncio.gather(*(lane.settle() for lane in self._lanes))
        await self._save()
        return all(delivered)

    async def _sleep_unless_stopping(self, seconds: float) -> None:
        await _first_of(self._context.clock.sleep(seconds), self._stopping.wait())

    # -- saving

    async def _save_forever(self) -> None:
        while True:
            await self._settled.wait()
            self._settled.clear()
            await self._save()

    async def _save(self) -> None:
        """Save what is durable, then acknowledge it: never the other way round."""
        async with self._saved:
            progress = self.ledger.progress()
            if progress is None:
                return
            failpoints = self._context.failpoints
            if progress.streams:
                failpoints.hit(Failpoint.BEFORE_SAVE)
                if self._shared is not None:
                    await self._shared.keep(progress.streams)
                else:
                    await self._store.save(progress.streams)
                failpoints.hit(Failpoint.AFTER_SAVE)
                self.meter.saves += 1
            for checkpoint in progress.acknowledge.values():
                failpoints.hit(Failpoint.BEFORE_ACKNOWLEDGE)
                try:
                    await self._source.acknowledge(checkpoint)
                except ConnectionLostError as error:
                    self._context.logger.debug("not acknowledged, it will be later: %s", error)
                failpoints.hit(Failpoint.AFTER_ACKNOWLEDGE)
            self._saved_sequence = progress.sequence
            self._saved.notify_all()
        if self._until_caught_up and self._reached():
            self._end_reading()

    async def _wait_saved(self) -> None:
        sequence = self.ledger.sequence
        if not self.ledger.behind:
            await self._save()
        async with self._saved:
            await self._saved.wait_for(lambda: self._saved_sequence >= sequence)

    def _reached(self) -> bool:
        """Whether every sink has, durably, all that was committed before the start."""
        target = self._target
        if target is None:
            return False
        safes = [self.ledger.state(lane.name, target.stream).safe for lane in self._lanes]
        self.caught_up = all(
            safe is not None and self._source.meet(target, safe) == target for safe in safes
        )
        return self.caught_up

    # -- watching

    async def _watch(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Turn a silent standstill into an error."""
        clock = self._context.clock
        seen, since = (-1, -1), clock.monotonic()
        while True:
            await clock.sleep(WATCH_EVERY)
            for task in tasks:
                if task.done() and (task.cancelled() or task.exception() is None):
                    raise StuckError(f"{task.get_coro()} ended while the pipeline runs")
            now = (self.ledger.sequence, self.ledger.durable)
            if now != seen or self.ledger.behind or not self._waiting():
                seen, since = now, clock.monotonic()
            elif clock.monotonic() - since >= STUCK_AFTER:
                raise StuckError(
                    f"the server has data for us, but none came for {STUCK_AFTER:g} s",
                    hint="look at the server's log for the error of our walsender",
                )

    def _waiting(self) -> bool:
        waiting = getattr(self._source, "waiting", None)
        return waiting is not None and bool(waiting())


async def _first_of(*coroutines: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure to tell: ours before others, and the first of several."""
    leaves: list[BaseException] = []
    groups: list[BaseException] = [failures]
    while groups:
        error = groups.pop(0)
        if isinstance(error, BaseExceptionGroup):
            groups.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, PenstockError)), leaves[0])


def _state_after(error: BaseException) -> State:
    if isinstance(error, GapError):
        return "gap"
    if isinstance(error, DivergedError):
        return "diverged"
    if isinstance(error, StuckError):
        return "stuck"
    if isinstance(error, asyncio.CancelledError):
        return "stopped"
    return "failed"
