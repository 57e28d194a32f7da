"""Whole pipelines under virtual time, killed anywhere, from one seed.

The source is a list of transactions, two sinks (one commits its checkpoint with the data, one only
appends) fail at random, and the whole process dies at random failpoints and is started again with
what was durable. Afterwards nothing is missing, order holds, and the transactional sink shows no
repeat.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from penstock.errors import ConnectionLostError, SinkUnavailableError
from penstock.failpoints import Failpoint, Failpoints
from penstock.model import EventBatch
from penstock.pipeline.lanes import BUDGET, Lane
from penstock.pipeline.ledger import Ledger
from penstock.pipeline.pipeline import Pipeline
from penstock.ports import Context
from penstock.sinks.memory import MemorySink, Target
from penstock.stores.memory import MemoryStore
from penstock.testing import (
    Fault,
    FlakySink,
    Pause,
    ScriptedSource,
    VirtualClock,
    batch,
    insert,
    keepalive,
    run_virtual,
)

SEEDS = 200
PLACES = [point for point in Failpoint if point.value.startswith(("before", "after", "sink"))]
PLACES = [p for p in PLACES if p not in (Failpoint.BEFORE_PARK, Failpoint.AFTER_PARK)]


class Killed(BaseException):
    """The process dies."""


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


class Server:
    """What the server knows: the log, and the confirmed position below which it forgets."""

    def __init__(self, random: Random) -> None:
        self.script: list[EventBatch] = []
        for at in range(1, random.randint(4, 14)):
            rows = random.randint(0, 6)
            if not rows:
                self.script.append(keepalive(at))
                continue
            cut = random.randint(1, rows)
            changes = [insert("public.t", {"id": i}) for i in range(rows)]
            if cut < rows:
                size = random.choice([100, 2 * BUDGET])
                self.script.append(batch(at, *changes[:cut], complete=False, size=size))
            self.script.append(
                batch(at, *changes[cut if cut < rows else 0 :], first=cut if cut < rows else 0)
            )
        self.confirmed = 0

    @property
    def ids(self) -> list[str]:
        return [event.id for step in self.script for event in step if hasattr(event, "id")]


class Source(ScriptedSource):
    """Refuses to start below what was confirmed, as a real slot must be treated."""

    def __init__(self, server: Server, random: Random) -> None:
        script: list[Any] = []
        for step in server.script:
            script.append(step)
            if random.random() < 0.5:  # what comes at once may be flushed at once
                script.append(Pause(random.random() / 4))
        if random.random() < 0.5:
            script.insert(random.randrange(len(script) + 1), ConnectionLostError("cut"))
        super().__init__(script)
        self.server = server

    async def open(self, context: Context, state: Any) -> None:
        await super().open(context, state)
        start = state.start.get("main")
        at = start.value["at"] if start else 0
        assert at >= self.server.confirmed, f"a gap: {at} < {self.server.confirmed}"
        self.server.confirmed = at

    async def acknowledge(self, checkpoint: Any) -> None:
        self.server.confirmed = max(self.server.confirmed, checkpoint.value["at"])


def simulate(seed: int, hits: Counter[Failpoint]) -> None:
    random = Random(seed)
    server, store = Server(random), MemoryStore()
    exact, appended = Target(), Target()
    crashes = 0
    while True:
        crashes += 1
        failpoints = Failpoints()
        if crashes < 6:
            place, number = random.choice(PLACES), random.randint(1, 6)

            def kill(passed: int, number: int = number) -> None:
                if passed == number:
                    raise Killed

            failpoints.arm(place, kill)
        faults = [
            Fault(
                random.choice(["write", "flush", "open"]),
                random.randint(1, 5),
                **{random.choice(["error", "after"]): SinkUnavailableError("down")},  # type: ignore[arg-type]
            )
            for _ in range(random.randint(0, 2))
        ]
        a = FlakySink(MemorySink(exact, stores_checkpoints=True), faults)
        a.stores_checkpoints, a.name = True, "exact"  # type: ignore[attr-defined]
        b = FlakySink(Buffered(appended), faults[:1])
        b.name = "appended"  # type: ignore[attr-defined]
        context = Context("p", clock=VirtualClock(), random=random, failpoints=failpoints)
        pipeline = Pipeline("p", Source(server, random), [a, b], store=store, context=context)
        try:
            run_virtual(asyncio.wait_for(pipeline.serve(until_caught_up=True), 3600), seed)
        except Killed:
            hits[place] += 1
            continue
        break
    assert [change.id for change in exact.changes] == server.ids
    seen = [change.id for change in appended.changes]
    assert set(seen) == set(server.ids)
    firsts = list(dict.fromkeys(seen))
    assert firsts == server.ids
    assert server.confirmed == server.script[-1].checkpoint.value["at"]  # type: ignore[union-attr]


def test_nothing_is_lost_whatever_dies() -> None:
    hits: Counter[Failpoint] = Counter()
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


def acknowledge_before_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    admit = Ledger.admit

    def eager(self: Ledger, batch: Any) -> int:
        sequence = admit(self, batch)
        for sink in self._settled:
            self.settle(sink, sequence, batch.stream, batch.last, batch.checkpoint)
        return sequence

    monkeypatch.setattr(Ledger, "admit", eager)
    monkeypatch.setattr(Lane, "_record", lambda self, item, wrote: self._settled())


def acknowledge_the_fastest_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "durable", property(lambda self: max(self._settled.values())))


def swallow_a_sink_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def swallow(self: Lane, act: Any) -> None:
        try:
            await act()
        except SinkUnavailableError:
            self._kept.clear()
            self._written = 0

    monkeypatch.setattr(Lane, "_persist", swallow)


def forget_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    discard = Lane.close

    async def close(self: Lane) -> None:
        self._kept = type(self._kept)(list(self._kept)[-1:])
        await discard(self)

    monkeypatch.setattr(Lane, "close", close)


def feed_again_what_was_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Lane) -> None: ...

    monkeypatch.setattr(Lane, "_skip_committed", nothing)


def keep_a_torn_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Lane) -> None:
        self._abandoned = self._lost = False

    monkeypatch.setattr(Lane, "_discard", nothing)


@pytest.mark.parametrize(
    "mutant",
    [
        acknowledge_before_flush,
        acknowledge_the_fastest_sink,
        swallow_a_sink_failure,
        forget_what_was_written,
        feed_again_what_was_committed,
        keep_a_torn_transaction,
    ],
)
def test_the_simulation_catches_planted_bugs(mutant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert _fails(), f"{mutant.__name__} was not caught"
