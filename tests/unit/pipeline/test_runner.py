"""One run on virtual time: order of saving, failures of sinks and source, stopping."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from penstock.component import Component
from penstock.errors import (
    ConfigError,
    ConnectionLostError,
    FencedError,
    GapError,
    SinkError,
    SinkUnavailableError,
    StateMismatchError,
    StuckError,
)
from penstock.failpoints import Failpoint
from penstock.model import Barrier, Batch, Change, EventBatch, Mark
from penstock.pipeline.lanes import GROUP, PATIENCE
from penstock.pipeline.pipeline import Pipeline
from penstock.ports import Context, StreamState
from penstock.sinks.memory import Memory, MemorySink, Target
from penstock.stores.memory import MemoryStore
from penstock.testing import (
    Fault,
    FlakySink,
    Pause,
    ScriptedSource,
    VirtualClock,
    batch,
    checkpoint,
    insert,
    keepalive,
    read,
    run_virtual,
    snapshot,
    table_of,
)
from penstock.testing.builders import START_US


def change(id: int) -> Change:
    return insert("public.t", {"id": id})


def one(at: int) -> EventBatch:
    return batch(at, change(at))


def context() -> Context:
    return Context("p", clock=VirtualClock(), random=Random(1))


def pipeline(source: Any, *sinks: Any, store: Any = None, **options: Any) -> Pipeline:
    return Pipeline("p", source, sinks, store=store or MemoryStore(), context=context(), **options)


def ids(sink: MemorySink) -> list[str]:
    return [change.id for change in sink.changes]


def test_changes_arrive_in_order_and_are_acknowledged() -> None:
    source, sink = ScriptedSource([one(1), one(2), one(3)]), MemorySink()
    report = run_virtual(pipeline(source, sink).serve(until_caught_up=True))
    assert ids(sink) == ["1:0", "2:0", "3:0"]
    assert source.acknowledged[-1] == checkpoint(3)
    assert (report.changes, report.caught_up, report.state) == (3, True, "stopped")


def test_a_source_that_ends_is_caught_up_with() -> None:
    """``snapshot = "only"`` has no head: its end is the end."""
    first = read("t", {"id": 1})
    source, sink = (
        ScriptedSource(snapshot(first.definition, [first], at=3), ends=True),
        MemorySink(),
    )
    report = run_virtual(pipeline(source, sink).serve(until_caught_up=True))
    assert (report.changes, report.drained, report.caught_up) == (1, True, True)


def test_a_sink_that_is_away_stalls_the_pipeline() -> None:
    states: list[str] = []

    class Watched(MemorySink):
        async def open(self, context: Context) -> None:
            states.append(made.state)
            await super().open(context)

    flaky = FlakySink(Watched(), [Fault("write", 1, error=SinkUnavailableError("down"))])
    made = pipeline(ScriptedSource([one(1)]), flaky)
    run_virtual(made.serve(until_caught_up=True))
    assert states == ["starting", "stalled"]


class Beating(Component):
    """A format that may have records of batches without events."""

    name: str = "beating"
    idle: bool

    def build(self, pipeline: str = "") -> Beating:
        return self


@pytest.mark.parametrize("idle", [True, False])
def test_batches_without_events_are_written_where_the_format_may_have_records_of_them(
    idle: bool,
) -> None:
    written: list[int] = []

    class Sink(MemorySink):
        async def write(self, batch: Batch) -> None:
            written.append(len(batch))
            await super().write(batch)

    class Config(Memory):
        def build(self) -> MemorySink:
            return Sink()

    source = ScriptedSource([one(1), keepalive(2), Pause(1), keepalive(3)])
    sink = Config(format=Beating(idle=idle))
    run_virtual(pipeline(source, sink).serve(until_caught_up=True))
    assert (0 in written) is idle
    assert source.acknowledged[-1] == checkpoint(3)


def test_saved_before_acknowledged() -> None:
    order: list[str] = []

    class Store(MemoryStore):
        async def save(self, streams: Any = None, facts: Any = None) -> None:
            await super().save(streams, facts)
            order.extend(f"save {s.safe.value['at']}" for s in (streams or {}).values() if s.safe)

    class Source(ScriptedSource):
        async def acknowledge(self, checkpoint: Any) -> None:
            order.append(f"ack {checkpoint.value['at']}")

    source = Source([one(1), Pause(1), one(2)])
    run_virtual(pipeline(source, MemorySink(), store=Store()).serve(until_caught_up=True))
    assert order == ["save 1", "ack 1", "save 2", "ack 2"]


def test_a_sink_that_fails_is_opened_and_fed_again() -> None:
    target = Target()
    inner = MemorySink(target, stores_checkpoints=True)
    down = SinkUnavailableError("down")
    flaky = FlakySink(inner, [Fault("write", 2, error=down), Fault("flush", 1, error=down)])
    flaky.stores_checkpoints = True  # type: ignore[attr-defined]
    source = ScriptedSource([one(1), one(2), one(3)])
    run_virtual(pipeline(source, flaky).serve(until_caught_up=True))
    assert [change.id for change in target.changes] == ["1:0", "2:0", "3:0"]
    assert flaky.calls["open"] == 3


def test_transactions_that_are_there_are_flushed_together() -> None:
    sink = FlakySink(MemorySink())
    run_virtual(
        pipeline(ScriptedSource([one(n) for n in range(1, 9)]), sink).serve(until_caught_up=True)
    )
    assert sink.calls["flush"] < sink.calls["write"] == 8
    sink = FlakySink(MemorySink())
    apart = ScriptedSource([one(1), Pause(1), one(2), Pause(1), one(3)])
    run_virtual(pipeline(apart, sink).serve(until_caught_up=True))
    assert sink.calls["flush"] == sink.calls["write"] == 3


@pytest.mark.parametrize(("size", "seconds"), [(GROUP, 0.0), (0, 2 * PATIENCE)])
def test_what_is_large_or_took_long_is_flushed_alone(size: int, seconds: float) -> None:
    sink = FlakySink(MemorySink(), [Fault("write", n, delay=seconds) for n in range(1, 9)])
    source = ScriptedSource([batch(n, change(n), size=size) for n in range(1, 9)])
    run_virtual(pipeline(source, sink).serve(until_caught_up=True))
    assert sink.calls["flush"] == 8


def test_a_commit_whose_answer_was_lost_is_not_applied_twice() -> None:
    target = Target()
    inner = MemorySink(target, stores_checkpoints=True)
    flaky = FlakySink(inner, [Fault("flush", 1, after=SinkUnavailableError("answer lost"))])
    flaky.stores_checkpoints = True  # type: ignore[attr-defined]
    source = ScriptedSource([one(1), one(2), one(3)])
    run_virtual(pipeline(source, flaky).serve(until_caught_up=True))
    assert [change.id for change in target.changes] == ["1:0", "2:0", "3:0"]


def test_the_source_is_opened_where_the_ledger_says() -> None:
    lost = ConnectionLostError("cut")
    half = batch(2, change(1), complete=False)
    rest = batch(2, change(2), first=1)
    source = ScriptedSource([one(1), half, lost, rest, one(3)])
    sink = MemorySink(stores_checkpoints=True)
    run_virtual(pipeline(source, sink).serve(until_caught_up=True))
    assert source.starts[1] == {"main": checkpoint(1)}
    assert ids(sink) == ["1:0", "2:0", "2:1", "3:0"]


def test_a_source_that_is_opened_again_is_not_called_running() -> None:
    away = [ConnectionLostError("away") for _ in range(6)]
    source = ScriptedSource([one(1), *away, one(2)])
    made = pipeline(source, MemorySink())

    async def main() -> None:
        run = asyncio.ensure_future(made.serve())
        states = set()
        while len(source.starts) < 6:
            await asyncio.sleep(0.01)
            if len(source.starts) > 1:
                states.add(made.state)
        assert "starting" in states
        await asyncio.sleep(60)
        assert made.state == "running"
        made.stop()
        await run

    run_virtual(main())


def test_a_transaction_beyond_the_budget_comes_again_from_the_source() -> None:
    parts = [batch(2, change(i), first=i, complete=i == 9, size=2 << 20) for i in range(10)]
    sink = MemorySink(stores_checkpoints=True)
    flaky = FlakySink(sink, [Fault("write", 9, error=SinkUnavailableError("down"))])
    source = ScriptedSource([one(1), *parts, one(3)])
    run_virtual(pipeline(source, flaky).serve(until_caught_up=True))
    assert len(source.starts) == 2
    assert source.starts[1] == {"main": checkpoint(1)}
    assert ids(sink) == ["1:0", *(f"2:{i}" for i in range(10)), "3:0"]


def test_a_slow_sink_stops_the_source_and_the_other_sink() -> None:
    slow = MemorySink()
    held = FlakySink(slow, [Fault("write", 1, delay=float("inf"))])
    source = ScriptedSource([one(i) for i in range(1, 50)])
    made = pipeline(source, Memory(name="a"), held, drain_timeout=5)
    fast = made.sinks["a"][0]
    assert isinstance(fast, MemorySink)

    async def main() -> None:
        run = asyncio.ensure_future(made.serve())
        await asyncio.sleep(60)
        assert len(ids(fast)) < 10
        assert not source.acknowledged
        held.release()
        await asyncio.sleep(60)
        assert len(ids(fast)) == len(ids(slow)) == 49
        made.stop()
        await run

    run_virtual(main())


def test_a_second_copy_is_fenced() -> None:
    target = Target()
    sink = MemorySink(target, stores_checkpoints=True)
    source = ScriptedSource([one(1), Pause(1), one(2)])
    made = pipeline(source, sink)

    async def main() -> None:
        run = asyncio.ensure_future(made.serve())
        await asyncio.sleep(0.5)
        target.checkpoints["main"] = checkpoint(7)
        with pytest.raises(FencedError):
            await run

    run_virtual(main())
    assert ids(sink) == ["1:0"]


def test_nothing_is_written_once_the_hold_on_the_source_is_uncertain() -> None:
    source = ScriptedSource([one(1), Pause(1), one(2)])
    sink = MemorySink()
    made = pipeline(source, sink)

    async def main() -> None:
        run = asyncio.ensure_future(made.serve())
        await asyncio.sleep(0.5)
        source.hold = 0.0
        await asyncio.sleep(3)
        assert ids(sink) == ["1:0"]
        source.hold = 10.0
        await asyncio.sleep(60)
        assert ids(sink) == ["1:0", "2:0"]
        made.stop()
        await run

    run_virtual(main())
    assert len(source.starts) > 1


def test_a_flush_that_promises_too_little_stops_the_pipeline() -> None:
    class Half(MemorySink):
        async def flush(self) -> Mark | None:
            return None

    with pytest.raises(SinkError, match="flushed up to None"):
        run_virtual(pipeline(ScriptedSource([one(1)]), Half()).serve())


def test_any_exception_of_a_sink_stops_and_names_it() -> None:
    sink = FlakySink(MemorySink(), [Fault("write", 1, error=ValueError("odd"))])
    with pytest.raises(SinkError, match=r"flakysink.*ValueError: odd"):
        run_virtual(pipeline(ScriptedSource([one(1)]), sink).serve())


def test_a_stop_drains_what_is_complete() -> None:
    slow = FlakySink(MemorySink(), [Fault("flush", n, delay=1) for n in range(1, 9)])
    source = ScriptedSource([one(1), one(2)])
    made = pipeline(source, slow)

    async def main() -> Any:
        run = asyncio.ensure_future(made.serve())
        await asyncio.sleep(0.1)
        made.stop()
        return await run

    report = run_virtual(main())
    assert report.drained
    assert source.acknowledged[-1] == checkpoint(2)


def test_a_stop_that_cannot_drain_says_so() -> None:
    held = FlakySink(MemorySink(), [Fault("flush", 1, delay=float("inf"))])
    made = pipeline(ScriptedSource([one(1)]), held, drain_timeout=5)

    async def main() -> Any:
        run = asyncio.ensure_future(made.serve())
        await asyncio.sleep(0.1)
        made.stop()
        return await run

    report = run_virtual(main())
    assert not report.drained
    assert not held.inner.flushed  # type: ignore[attr-defined]


def test_a_stop_that_comes_too_early_or_too_late() -> None:
    made = pipeline(ScriptedSource([one(1)]), MemorySink())
    made.stop()
    assert run_virtual(made.serve()).changes == 0
    assert run_virtual(made.serve(until_caught_up=True)).changes == 1
    made.stop()
    again = pipeline(ScriptedSource([one(1)]), MemorySink())
    run_virtual(again.serve(until_caught_up=True))
    again.stop()
    again.source.script.append(one(2))  # type: ignore[attr-defined]
    assert run_virtual(again.serve(until_caught_up=True)).changes == 1


def test_a_stop_before_anything_was_read_leaves_at_once() -> None:
    away = SinkUnavailableError("away")
    sink = FlakySink(MemorySink(), [Fault("open", n, error=away) for n in range(1, 100)])
    made = pipeline(ScriptedSource([one(1)]), sink, drain_timeout=1000)

    async def main() -> float:
        run = asyncio.ensure_future(made.serve())
        await asyncio.sleep(1)
        made.stop()
        await run
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 2


def test_a_stop_that_gives_up_for_want_of_a_hold_has_not_drained() -> None:
    source = ScriptedSource([one(1), one(2)])
    sink = FlakySink(MemorySink(), [Fault("write", delay=5.0)])
    made = pipeline(source, sink)

    async def scenario() -> Any:
        running = asyncio.ensure_future(made.serve())
        await asyncio.sleep(1)
        source.hold = 0.0
        made.stop()
        return await running

    report = run_virtual(scenario())
    assert report.changes == 1
    assert not report.drained


def test_a_barrier_waits_until_all_is_saved() -> None:
    store = MemoryStore()
    seen: list[Any] = []

    class Source(ScriptedSource):
        async def batches(self) -> Any:
            yield one(1)
            yield Barrier(("main",))
            saved = await store.load()
            assert saved is not None
            seen.append(saved.streams["flakysink", "main"].safe)
            seen.extend(self.acknowledged)

    slow = FlakySink(MemorySink(), [Fault("flush", 1, delay=3)])
    run_virtual(pipeline(Source([]), slow, store=store).serve())
    assert seen == [checkpoint(1), checkpoint(1)]


def test_keepalives_move_the_checkpoint_and_reach_no_sink() -> None:
    store, sink = MemoryStore(), FlakySink(MemorySink())
    source = ScriptedSource([one(1), keepalive(8)])
    run_virtual(pipeline(source, sink, store=store).serve(until_caught_up=True))
    assert sink.calls["write"] == 1
    assert source.acknowledged[-1] == checkpoint(8)


def test_a_task_that_ends_silently_is_stuck() -> None:
    made = pipeline(ScriptedSource([one(1)]), MemorySink())

    async def main() -> None:
        run = asyncio.ensure_future(made.serve())
        await asyncio.sleep(0.1)
        assert made._runner is not None
        lane = next(t for t in asyncio.all_tasks() if "Lane.run" in str(t.get_coro()))
        lane.cancel()
        with pytest.raises(StuckError):
            await run

    run_virtual(main())


def test_data_that_waits_without_progress_is_stuck() -> None:
    class Silent(ScriptedSource):
        def waiting(self) -> bool:
            return True

    with pytest.raises(StuckError):
        run_virtual(pipeline(Silent([one(1)]), MemorySink()).serve())


def test_a_snapshot_hides_what_its_rows_already_show() -> None:
    table = table_of("public.t", {"id": 1})
    rows = [read("public.t", {"id": 1}), read("public.t", {"id": 2})]
    source = ScriptedSource(
        [*snapshot(table, rows, at=3), Barrier(("snapshot:public.t",)), one(1), one(2), one(3)]
    )
    sink = MemorySink()
    run_virtual(pipeline(source, sink).serve(until_caught_up=True))
    assert ids(sink) == ["snapshot:public.t@1:0", "snapshot:public.t@1:1", "3:0"]


class TestStartUp:
    def test_a_sink_ahead_gets_only_what_it_lacks(self) -> None:
        target = Target(checkpoints={"main": checkpoint(2)})
        store = MemoryStore()
        run_virtual(
            _save(
                store,
                {
                    ("b", "main"): StreamState(None, checkpoint(1)),
                    ("a", "main"): StreamState(None, checkpoint(1)),
                },
            )
        )
        ahead = MemorySink(target, stores_checkpoints=True)
        ahead.name = "a"  # type: ignore[attr-defined]
        behind = Memory(name="b")
        source = ScriptedSource([one(1), one(2), one(3)])
        made = pipeline(source, ahead, behind, store=store)
        run_virtual(made.serve(until_caught_up=True))
        assert ids(ahead) == ["3:0"]
        assert ids(made.sinks["b"][0]) == ["2:0", "3:0"]  # type: ignore[arg-type]

    def test_a_sink_behind_its_own_past_is_a_gap(self) -> None:
        store = MemoryStore()
        state = StreamState(Mark("5", 0), checkpoint(5))
        run_virtual(_save(store, {("memorysink", "main"): state}))
        restored = MemorySink(Target(checkpoints={"main": checkpoint(3)}), stores_checkpoints=True)
        with pytest.raises(GapError, match="5:0"):
            run_virtual(pipeline(ScriptedSource([one(6)]), restored, store=store).serve())

    def test_an_emptied_sink_is_a_gap(self) -> None:
        store = MemoryStore()
        state = StreamState(Mark("5", 0), checkpoint(5))
        run_virtual(_save(store, {("memorysink", "main"): state}))
        emptied = MemorySink(stores_checkpoints=True)
        with pytest.raises(GapError, match="holds no checkpoint"):
            run_virtual(pipeline(ScriptedSource([one(6)]), emptied, store=store).serve())

    def test_a_sink_that_remembers_what_the_store_forgot_is_refused(self) -> None:
        sink = MemorySink(Target(checkpoints={"main": checkpoint(3)}), stores_checkpoints=True)
        with pytest.raises(StateMismatchError):
            run_virtual(pipeline(ScriptedSource([one(4)]), sink).serve())

    def test_a_new_sink_says_where_it_begins(self) -> None:
        store = MemoryStore()
        run_virtual(_save(store, {("old", "main"): StreamState(None, checkpoint(4))}))
        script = [one(4), one(5)]
        with pytest.raises(ConfigError, match="'new' is new"):
            run_virtual(
                pipeline(
                    ScriptedSource(script), Memory(name="old"), Memory(name="new"), store=store
                ).serve()
            )
        made = pipeline(
            ScriptedSource(script), Memory(name="old"), Memory(name="new", start="now"), store=store
        )
        run_virtual(made.serve(until_caught_up=True))
        assert ids(made.sinks["new"][0]) == ["5:0"]  # type: ignore[arg-type]

    def test_a_sink_that_replaces_another_says_where_it_begins(self) -> None:
        store = MemoryStore()
        run_virtual(_save(store, {("old", "main"): StreamState(None, checkpoint(4))}))
        with pytest.raises(ConfigError, match="'new' is new"):
            run_virtual(pipeline(ScriptedSource([one(5)]), Memory(name="new"), store=store).serve())
        source = ScriptedSource([one(4), one(5)])
        made = pipeline(source, Memory(name="new", start="now"), store=store)
        run_virtual(made.serve(until_caught_up=True))
        assert source.starts == [{"main": checkpoint(4)}]

    def test_a_sink_is_not_new_to_a_pipeline_that_never_got_anywhere(self) -> None:
        store = MemoryStore()
        failing = ScriptedSource([GapError("at the first start")])
        with pytest.raises(GapError):
            run_virtual(pipeline(failing, Memory(name="old"), store=store).serve())
        made = pipeline(ScriptedSource([one(1)]), Memory(name="new"), store=store)
        run_virtual(made.serve(until_caught_up=True))
        assert ids(made.sinks["new"][0]) == ["1:0"]  # type: ignore[arg-type]

    def test_a_new_sink_cannot_begin_with_a_snapshot_that_is_never_taken(self) -> None:
        store = MemoryStore()
        run_virtual(_save(store, {("old", "main"): StreamState(None, checkpoint(4))}))
        sinks = Memory(name="old"), Memory(name="new", start="snapshot")
        with pytest.raises(ConfigError, match="begun without"):
            run_virtual(pipeline(ScriptedSource([one(5)]), *sinks, store=store).serve())

    def test_a_new_sink_with_a_snapshot_gets_it_alone(self) -> None:
        store = MemoryStore()
        table = table_of("public.t", {"id": 1})
        rows = [read("public.t", {"id": 1})]
        first = ScriptedSource([*snapshot(table, rows, at=1), one(1), one(2)])
        made = pipeline(first, Memory(name="old"), store=store)
        run_virtual(made.serve(until_caught_up=True))
        second = ScriptedSource([*snapshot(table, rows, at=3, attempt=2), one(1), one(2), one(3)])
        made = pipeline(
            second, Memory(name="old"), Memory(name="new", start="snapshot"), store=store
        )
        run_virtual(made.serve(until_caught_up=True))
        assert ids(made.sinks["old"][0]) == ["3:0"]  # type: ignore[arg-type]
        assert ids(made.sinks["new"][0]) == ["snapshot:public.t@2:0", "3:0"]  # type: ignore[arg-type]


async def _save(store: MemoryStore, streams: Any) -> None:
    await store.open(context())
    await store.save(streams)
    await store.close()


@pytest.mark.parametrize("point", [p for p in Failpoint if p.value.startswith(("before", "after"))])
def test_every_failpoint_of_the_way_is_passed(point: Failpoint) -> None:
    if point in (Failpoint.BEFORE_PARK, Failpoint.AFTER_PARK):
        return
    made = pipeline(ScriptedSource([one(1)]), MemorySink())
    run_virtual(made.serve(until_caught_up=True))
    assert made.context.failpoints.passed[point] > 0


def test_the_lag_is_the_age_of_what_is_durable_while_more_waits() -> None:
    held = FlakySink(MemorySink(), [Fault("flush", 2, delay=float("inf"))])
    source = ScriptedSource([one(1), Pause(1), one(2)])
    made = pipeline(source, held)

    async def main() -> None:
        run = asyncio.ensure_future(made.serve())
        await asyncio.sleep(0.5)
        assert (await made.astatus()).sinks["flakysink"].lag_seconds == 0
        await asyncio.sleep(60)
        lag = (await made.astatus()).sinks["flakysink"].lag_seconds
        committed = START_US / 1e6 + 1
        assert lag == pytest.approx(made.context.clock.now().timestamp() - committed)
        held.release()
        await asyncio.sleep(1)
        assert (await made.astatus()).sinks["flakysink"].lag_seconds == 0
        made.stop()
        await run

    run_virtual(main())
