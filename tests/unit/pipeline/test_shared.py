"""Workers that share out the streams of one source, under virtual time, from one seed.

Three pipelines are members of a group, as consumers of Kafka are: streams are taken away and given
out anew whenever one joins, leaves or is not heard of. Workers die at random failpoints, are cut
off from the group without knowing it, and their sinks fail. Afterwards nothing is missing, the
order of each key held, and the transactional sink shows no repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from random import Random
from typing import Any, Literal

import pytest

from penstock.errors import ConnectionLostError, FencedError, SinkUnavailableError
from penstock.failpoints import Failpoint, Failpoints
from penstock.model import Barrier, Batch, Change, Checkpoint, EventBatch, Mark, Origin
from penstock.pipeline.lanes import Lane
from penstock.pipeline.pipeline import Pipeline
from penstock.pipeline.runner import Runner
from penstock.ports import Context, SharedSource, StreamState
from penstock.sinks.memory import MemorySink, Target
from penstock.stores.memory import MemoryStore
from penstock.testing import Fault, FlakySink, VirtualClock, insert, run_virtual

SEEDS = 150
SESSION = 10.0
PATIENCE = 30.0
PLACES = [point for point in Failpoint if point.value.startswith(("before", "after", "sink"))]
PLACES = [p for p in PLACES if p not in (Failpoint.BEFORE_PARK, Failpoint.AFTER_PARK)]


class Killed(BaseException):
    """The process dies."""


def read_at(checkpoint: Checkpoint) -> int:
    return int(checkpoint.value["offset"])


class Group:
    """The server's side: logs, who has which, and how far each is."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.logs = {f"t/{i}": random.randint(0, 25) for i in range(random.randint(1, 5))}
        self.offsets = dict.fromkeys(self.logs, 0)
        self.states: dict[str, dict[tuple[str, str], StreamState]] = {s: {} for s in self.logs}
        self.members: list[Member] = []
        self._lock = asyncio.Lock()

    async def rebalance(self) -> None:
        """Take all away, of those who do not answer too; then share out."""
        async with self._lock:
            asked = list(self.members)
            await asyncio.gather(*(member.revoke() for member in asked))
            self.members = [member for member in self.members if not member.lost]
            for i, member in enumerate(self.members):
                member.give([s for n, s in enumerate(self.logs) if n % len(self.members) == i])

    async def forget(self, member: Member) -> None:
        """What the server does about a member that was not heard of for a while."""
        await asyncio.sleep(SESSION)
        member.lost = True
        if member in self.members:
            self.members.remove(member)
        member.news.set()
        await self.rebalance()

    @property
    def finished(self) -> bool:
        return self.offsets == self.logs


class Member:
    """A source: one worker's place in the group."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.dead = False
        self.lost = True
        self._left: asyncio.Task[None] | None = None

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        return mark.transaction == checkpoint.stream and mark.ordinal < read_at(checkpoint)

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        return min(a, b, key=read_at)

    async def open(self, context: Context, state: Any) -> None:
        self.lost = False
        self._state = state
        self._noted: dict[str, dict[tuple[str, str], StreamState]] = defaultdict(dict)
        self._mine: list[str] = []
        self._given: list[str] | None = None
        self._revoking = False
        self._answered = asyncio.Event()
        self.news = asyncio.Event()
        self.group.members.append(self)
        self._joining = asyncio.ensure_future(self.group.rebalance())

    async def revoke(self) -> None:
        """The group's word; whoever does not answer in time is out."""
        if self.dead or self.lost:
            self.lost = True
            return
        self._answered.clear()
        self._revoking, self._given = True, None
        self.news.set()
        try:
            await asyncio.wait_for(self._answered.wait(), PATIENCE)
        except TimeoutError:
            self.lost = True
            self.news.set()

    def give(self, streams: list[str]) -> None:
        self._given = streams
        self.news.set()

    async def batches(self) -> AsyncIterator[Batch | Barrier]:
        random, at = self.group.random, dict.fromkeys(self.group.logs, 0)
        while True:
            if self.lost:
                raise ConnectionLostError("not a member any more")
            if self._revoking:
                yield Barrier(tuple(self._mine))
                self._mine, self._revoking = [], False
                self._answered.set()
            elif self._given is not None:
                given, self._given = self._given, None
                self._noted.clear()
                states = {k: v for s in given for k, v in self.group.states[s].items()}
                starts = await self._state.begin({s: self._at(s, 0) for s in given}, states)
                self._mine = given
                at.update({stream: read_at(starts[stream]) for stream in given})
                for stream in given:  # a sink had it, and the group was not told
                    await self.acknowledge(starts[stream])
            else:
                more = [s for s in self._mine if at[s] < self.group.logs[s]]
                if not more or random.random() < 0.2:
                    await self._wait(random.random() if more else math.inf)
                    continue
                stream = random.choice(more)
                end = min(at[stream] + random.randint(1, 4), self.group.logs[stream])
                yield self._batch(stream, at[stream], end)
                at[stream] = end

    async def _wait(self, seconds: float) -> None:
        self.news.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.news.wait(), None if math.isinf(seconds) else seconds)

    def _batch(self, stream: str, first: int, end: int) -> EventBatch:
        changes = []
        for offset in range(first, end):
            row = insert(stream.replace("/", "."), {"id": offset % 3, "n": offset})
            made: Change = Change(
                "insert", row.definition, Origin(stream), offset, None, row.values_after
            )
            changes.append(made)
        return EventBatch(
            stream, changes, Mark(stream, end - 1), self._at(stream, end), 100 * (end - first)
        )

    def _at(self, stream: str, offset: int) -> Checkpoint:
        return Checkpoint.of(stream, offset=offset)

    async def keep(self, states: Mapping[tuple[str, str], StreamState]) -> None:
        for key, state in states.items():
            self._noted[key[1]][key] = state

    async def acknowledge(self, checkpoint: Checkpoint) -> None:
        if self.dead or self.lost or checkpoint.stream not in self._mine:
            return
        offset = read_at(checkpoint)
        assert offset >= self.group.offsets[checkpoint.stream], "offsets went back"
        self.group.offsets[checkpoint.stream] = offset
        self.group.states[checkpoint.stream].update(self._noted[checkpoint.stream])

    def store(self) -> MemoryStore:
        return MemoryStore()

    async def head(self) -> Checkpoint | None:
        return None

    def authority(self) -> float:
        return 0.0 if self.lost else 1.0

    async def close(self) -> None:
        if self.dead or self._left is not None or self not in self.group.members:
            return
        self.group.members.remove(self)
        self.lost = True
        self._left = asyncio.ensure_future(self.group.rebalance())
        self._left.add_done_callback(lambda _: setattr(self, "_left", None))


class Buffered(MemorySink):
    """An appending sink: what no flush covered is lost with the process."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._buffer: list[Any] = []

    async def open(self, context: Context) -> None:
        self._buffer = []

    async def write(self, batch: Any) -> None:
        self._last = batch.last or self._last
        self._buffer.extend(batch)

    async def flush(self) -> Any:
        self.target.events.extend(self._buffer)
        self._buffer = []
        last, self._last = self._last, None
        return last


async def worker(
    group: Group, random: Random, exact: Target, appended: Target, hits: Counter[Any]
) -> None:
    """Start again whoever dies, up to some times; then let it live."""
    for life in range(1, 100):
        failpoints, member = Failpoints(), Member(group)
        place, number = random.choice(PLACES), random.randint(1, 8)

        def kill(
            passed: int, number: int = number, member: Member = member, place: Failpoint = place
        ) -> None:
            if passed == number:
                member.dead = True
                hits[place] += 1
                raise Killed

        if life < 4:
            failpoints.arm(place, kill)
        a = FlakySink(MemorySink(exact, stores_checkpoints=True), _faults(random, "flush"))
        a.stores_checkpoints, a.name = True, "exact"  # type: ignore[attr-defined]
        b = FlakySink(Buffered(appended), _faults(random, "write"))
        b.name = "appended"  # type: ignore[attr-defined]
        context = Context("p", clock=VirtualClock(), random=random, failpoints=failpoints)
        pipeline = Pipeline("p", member, [a, b], store=MemoryStore(), context=context)
        cut = asyncio.ensure_future(_cut(group, member, random))
        try:
            await pipeline.serve()
        except Killed:
            await group.forget(member)
        finally:
            cut.cancel()


async def _cut(group: Group, member: Member, random: Random) -> None:
    """Once in a while the server takes a member for gone that is alive."""
    if random.random() < 0.3:
        await asyncio.sleep(random.random() * 5)
        await group.forget(member)


def _faults(random: Random, frozen: Literal["write", "flush"]) -> list[Fault]:
    faults = [
        Fault(
            random.choice(["write", "flush", "open"]),
            random.randint(1, 5),
            **{random.choice(["error", "after"]): SinkUnavailableError("down")},  # type: ignore[arg-type]
        )
        for _ in range(random.randint(0, 2))
    ]
    if random.random() < 0.3:  # in the middle of a call, until others have taken over
        faults.append(Fault(frozen, random.randint(1, 4), delay=SESSION + PATIENCE + 20))
    return faults


async def _simulate(seed: int, hits: Counter[Any]) -> None:
    random = Random(seed)
    group, exact, appended = Group(random), Target(), Target()
    workers = [
        asyncio.ensure_future(worker(group, random, exact, appended, hits)) for _ in range(3)
    ]
    try:
        while not group.finished:
            await asyncio.sleep(1)
            for task in workers:
                if task.done():
                    task.result()
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    for target in (exact, appended):
        found: dict[str, list[int]] = defaultdict(list)
        for change in target.changes:
            found[change.origin.mark].append(change.ordinal)
        for stream, count in group.logs.items():
            seen = found[stream]
            firsts = list(dict.fromkeys(seen))
            assert firsts == list(range(count)), f"{stream}: {seen}"
            if target is exact:
                assert seen == firsts, f"{stream} repeats: {seen}"
            for key in range(3):  # the last word about a row is the source's last
                own = [offset for offset in seen if offset % 3 == key]
                assert not own or own[-1] == max(own), f"{stream}: row {key} ends {own}"


def simulate(seed: int, hits: Counter[Any]) -> None:
    run_virtual(asyncio.wait_for(_simulate(seed, hits), 36000), seed)


def test_nothing_is_lost_whoever_has_the_stream() -> None:
    assert isinstance(Member(Group.__new__(Group)), SharedSource)
    hits: Counter[Any] = Counter()
    for seed in range(SEEDS):
        simulate(seed, hits)
    assert set(hits) == set(PLACES), "some failpoint was never the one that killed"


def _fails(seeds: int = 60) -> bool:
    for seed in range(seeds):
        try:
            simulate(seed, Counter())
        except Exception:  # noqa: BLE001  (whatever tells that something is wrong)
            return True
    return False


def hand_over_before_the_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Runner) -> None: ...

    monkeypatch.setattr(Runner, "_wait_saved", nothing)


def flush_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Member, "authority", lambda self: 1.0)


def trust_old_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Lane) -> None: ...

    monkeypatch.setattr(Lane, "restart", nothing)


def ask_no_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Runner._begin

    async def blind(
        self: Runner,
        streams: Mapping[str, Checkpoint],
        states: Mapping[tuple[str, str], StreamState],
    ) -> Any:
        resume = Lane.resume

        async def none(self: Lane, stream: str) -> None:
            await resume(self, stream)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Lane, "resume", none)
            return await begin(self, streams, states)

    monkeypatch.setattr(Runner, "_begin", blind)


def stop_when_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lane, "_give_up", lambda self, why: (_ for _ in ()).throw(FencedError(why)))


@pytest.mark.parametrize(
    "mutant",
    [
        hand_over_before_the_flush,
        flush_what_was_lost,
        trust_old_checkpoints,
        ask_no_sink,
        stop_when_fenced,
    ],
)
def test_the_simulation_catches_planted_bugs(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert _fails(), f"{mutant.__name__} was not caught"
