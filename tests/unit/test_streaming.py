"""stream(): changes in a loop, in plain and in async code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from penstock import Change, ConfigError, ConnectionLostError, DivergedError, Postgres, stream
from penstock.model import Barrier, Batch, Checkpoint, EventBatch
from penstock.ports import Context, SourceState, StreamState
from penstock.stores.memory import MemoryStore
from penstock.testing import (
    ScriptedSource,
    VirtualClock,
    batch,
    checkpoint,
    delete,
    insert,
    keepalive,
    read,
    run_virtual,
    snapshot,
    table_of,
)

ORDERS = table_of("public.orders", {"id": 1})


def order(id: int) -> Change:
    return insert(ORDERS, {"id": id})


def script(first: int = 1, last: int = 3, each: int = 2) -> list[Any]:
    return [batch(n, *[order(n * 10 + i) for i in range(each)]) for n in range(first, last + 1)]


def source(*steps: Any, ends: bool = True) -> ScriptedSource:
    return ScriptedSource(steps or script(), ends=ends)


def ids(changes: Iterator[Change]) -> list[int]:
    return [change.row["id"] for change in changes]


def fail_at(id: int, changes: Iterator[Change], error: type[BaseException]) -> None:
    """Loop, and fail at one change."""
    for change in changes:
        if change.row["id"] == id:
            raise error


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something holds."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


ALL = [10, 11, 20, 21, 30, 31]


# -- the loop


def test_plain_code_gets_all_changes_in_order() -> None:
    with stream(source()) as changes:
        assert ids(changes) == ALL


def test_async_code_gets_all_changes_in_order() -> None:
    async def main() -> list[int]:
        async with stream(source()) as changes:
            return [change.row["id"] async for change in changes]

    assert asyncio.run(main()) == ALL


def test_plain_code_works_beside_a_running_event_loop() -> None:
    async def main() -> list[int]:
        with stream(source()) as changes:
            return ids(changes)

    assert asyncio.run(main()) == ALL


def test_batches_hold_only_what_was_asked_for() -> None:
    steps = [
        batch(1, order(1), delete(ORDERS, {"id": 2})),
        batch(2, delete(ORDERS, {"id": 1})),
        batch(3, order(3)),
    ]
    with stream(source(*steps), operations=["insert"]) as changes:
        found = [[e.row["id"] for e in b if isinstance(e, Change)] for b in changes.batches()]
    assert found == [[1], [3]]

    async def main() -> list[Batch]:
        async with stream(source(*steps), operations=["delete"]) as changes:
            return [batch async for batch in changes.batches()]

    assert [len(batch) for batch in asyncio.run(main())] == [1, 1]


def test_a_second_loop_goes_on_where_the_first_was_left() -> None:
    with stream(source()) as changes:
        for change in changes:
            if change.row["id"] == 20:
                break
        assert ids(changes) == [21, 30, 31]


def test_until_caught_up_ends_where_the_log_ended_at_the_start() -> None:
    class Growing(ScriptedSource):
        async def head(self) -> Checkpoint | None:
            return checkpoint(2)

    with stream(Growing(script(1, 3)), until_caught_up=True) as changes:
        assert ids(changes) == [10, 11, 20, 21]


@pytest.mark.parametrize("steps", [[keepalive(1)], [batch(1, order(1)), keepalive(2)]])
def test_until_caught_up_ends_at_a_keepalive_too(steps: list[Any]) -> None:
    with stream(ScriptedSource(steps), until_caught_up=True) as changes:
        assert len(ids(changes)) == len(steps) - 1


def test_an_error_of_the_pipeline_is_raised_in_the_loop() -> None:
    seen: list[int] = []
    with (
        pytest.raises(DivergedError, match="elsewhere"),
        stream(source(*script(1, 1), DivergedError("elsewhere"))) as changes,
    ):
        seen.extend(change.row["id"] for change in changes)
    assert seen == [10, 11]


def test_an_error_that_no_loop_saw_is_raised_at_the_end() -> None:
    class Failing(ScriptedSource):
        failed = threading.Event()

        async def close(self) -> None:
            await super().close()
            self.failed.set()

    failing = Failing([DivergedError("elsewhere")])
    with pytest.raises(DivergedError), stream(failing):
        failing.failed.wait(5)


def test_the_loops_own_error_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), stream(source()) as changes:
        fail_at(20, changes, ZeroDivisionError)


def test_an_interrupt_in_the_loop_closes_the_stream() -> None:
    script = source(ends=False)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), stream(script) as changes:
        fail_at(10, changes, KeyboardInterrupt)
    assert script.closed
    assert set(threading.enumerate()) <= before


def test_a_slow_loop_stops_the_source() -> None:
    class Counting(ScriptedSource):
        given = 0

        async def batches(self) -> AsyncIterator[Batch | Barrier]:
            async for item in super().batches():
                self.given += 1
                yield item

    async def main() -> int:
        counting = Counting(script(1, 100))
        async with stream(counting) as changes:
            await anext(changes)
            for _ in range(1000):
                await asyncio.sleep(0)
            return counting.given

    assert asyncio.run(main()) < 10


def test_a_loop_that_works_for_an_hour_is_not_stuck() -> None:
    async def main() -> list[int]:
        script_ = ScriptedSource(script(1, 4), ends=True)
        made = stream(script_, name="s", store="memory", autocommit=False)
        pipeline = made._session._pipeline
        pipeline.context = replace(pipeline.context, clock=VirtualClock())
        got = []
        async with made as changes:
            async for change in changes:
                got.append(change.row["id"])
                await asyncio.sleep(1)  # the next batch arrives
                await changes.commit()
                await asyncio.sleep(3600)
        return got

    assert len(run_virtual(main())) == 8


# -- what is remembered


def test_a_durable_stream_goes_on_where_the_last_one_was_left() -> None:
    store = MemoryStore()
    for stop, rest in ((10, []), (20, [11]), (31, [21, 30])):
        with stream(source(ends=False), name="s", store=store) as changes:
            got = []
            for change in changes:
                got.append(change.row["id"])
                if got[-1] == stop:
                    break
        assert got == [*rest, stop]
    with stream(source(), name="s", store=store) as changes:
        assert ids(changes) == []


def test_a_change_is_not_done_when_the_loop_is_left_by_an_exception() -> None:
    store = MemoryStore()
    with pytest.raises(ZeroDivisionError), stream(source(), name="s", store=store) as changes:
        fail_at(30, changes, ZeroDivisionError)
    with stream(source(), name="s", store=store) as changes:
        assert ids(changes) == [30, 31]


def test_nothing_is_acknowledged_before_the_loop_is_done_with_it() -> None:
    async def main() -> None:
        script = source(ends=False)
        async with stream(script) as changes:
            for n, expected in enumerate(ALL):
                assert (await anext(changes)).row["id"] == expected
                for _ in range(100):
                    await asyncio.sleep(0)
                assert script.acknowledged == [checkpoint(i) for i in range(1, n // 2 + 1)]
        assert script.acknowledged[-1] == checkpoint(3)

    asyncio.run(main())


def test_a_mark_that_comes_no_more_loses_nothing() -> None:
    """The earlier loop was done inside a transaction that the source does not show again."""
    store = MemoryStore()

    async def remember() -> None:
        await store.open(Context("s"))
        mark = batch(2, order(1), order(2)).last
        await store.save({("loop", "main"): StreamState(mark, checkpoint(1))})

    asyncio.run(remember())
    with stream(source(*script(3, 4)), name="s", store=store) as changes:
        assert ids(changes) == [30, 31, 40, 41]


def test_batches_before_the_remembered_mark_are_left_out() -> None:
    store = MemoryStore()

    async def remember() -> None:
        await store.open(Context("s"))
        await store.save({("loop", "main"): StreamState(batch(2, order(1)).last, None)})

    asyncio.run(remember())
    script_ = source()
    with stream(script_, name="s", store=store) as changes:
        assert ids(changes) == [21, 30, 31]
    assert script_.acknowledged[0] == checkpoint(1)


def test_a_large_transaction_in_several_batches_is_left_and_entered_inside() -> None:
    store = MemoryStore()
    parts = [
        batch(1, order(1), order(2), complete=False),
        batch(1, order(3), order(4), first=2, complete=False),
        batch(1, order(5), order(6), first=4),
    ]
    with stream(source(*parts), name="s", store=store) as changes:
        for change in changes:
            if change.row["id"] == 3:
                break
    with stream(source(*parts), name="s", store=store) as changes:
        assert ids(changes) == [4, 5, 6]


def test_without_a_name_nothing_is_remembered() -> None:
    for _ in range(2):
        with stream(source()) as changes:
            assert ids(changes) == ALL


def test_keepalives_are_acknowledged_while_the_loop_waits() -> None:
    async def main() -> None:
        script = source(batch(1, order(1)), keepalive(2), keepalive(3), ends=False)
        async with stream(script) as changes:
            await anext(changes)
            waiting = asyncio.ensure_future(anext(changes))
            await until(lambda: script.acknowledged[-1:] == [checkpoint(3)])
            waiting.cancel()

    asyncio.run(main())


def test_after_a_reconnection_what_is_done_does_not_come_again() -> None:
    steps = [*script(1, 2), ConnectionLostError("cut"), *script(3, 3)]
    with stream(source(*steps), name="s", store="memory") as changes:
        got = ids(changes)
    assert got[-2:] == [30, 31]
    assert sorted(set(got)) == ALL
    assert got.count(10) == 1


def test_the_reconnected_source_never_goes_back() -> None:
    """The loop finishes a batch of before the cut, and then the same one of after it."""

    class Cut(ScriptedSource):
        opened = 0

        async def open(self, context: Context, state: SourceState) -> None:
            self.opened += 1
            await super().open(context, state)

    async def main() -> None:
        cut = Cut([*script(1, 2), ConnectionLostError("cut"), *script(3, 6)], ends=True)
        async with stream(cut) as changes:
            async for _ in changes:
                await until(lambda: cut.opened == 2)
        at = [c.value["at"] for c in cut.acknowledged]
        assert at == sorted(at)
        assert at[-1] == 6

    asyncio.run(main())


# -- commit by hand


def test_with_autocommit_off_only_commit_is_remembered() -> None:
    store = MemoryStore()
    with stream(source(), name="s", store=store, autocommit=False) as changes:
        assert ids(changes) == ALL
    with stream(source(), name="s", store=store, autocommit=False) as changes:
        for change in changes:
            if change.row["id"] == 30:
                changes.commit()
    with stream(source(), name="s", store=store, autocommit=False) as changes:
        assert ids(changes) == [31]


def test_commit_is_durable_on_return() -> None:
    async def main() -> None:
        script, store = source(ends=False), MemoryStore()
        async with stream(script, name="s", store=store, autocommit=False) as changes:
            async for change in changes:
                if change.row["id"] == 21:
                    await changes.commit()
                    saved = await store.load()
                    assert saved is not None
                    assert saved.streams["loop", "main"].safe == checkpoint(2)
                    break
        assert script.acknowledged == [checkpoint(2)]

    asyncio.run(main())


def test_commit_after_the_stream_was_stopped_says_so() -> None:
    steps = [*script(1, 1), DivergedError("elsewhere")]
    with stream(source(*steps), name="s", store="memory", autocommit=False) as changes:
        assert [next(changes).row["id"], next(changes).row["id"]] == [10, 11]
        with pytest.raises(DivergedError):
            next(changes)
        with pytest.raises(DivergedError):
            changes.commit()


def test_commit_inside_a_batch_after_the_stream_was_stopped_says_so() -> None:
    failing = ScriptedSource([*script(1, 1), DivergedError("elsewhere")])

    async def main() -> None:
        async with stream(failing, name="s", store="memory", autocommit=False) as changes:
            await anext(changes)
            await until(lambda: failing.closed > 0)
            await asyncio.sleep(0)
            with pytest.raises(DivergedError):
                await changes.commit()
            assert (await anext(changes)).row["id"] == 11
            with pytest.raises(DivergedError):
                await anext(changes)

    asyncio.run(main())


# -- snapshots


def rows(at: int = 1) -> list[Any]:
    shot = snapshot(ORDERS, [read(ORDERS, {"id": i}) for i in (1, 2, 3)], at=at, per_batch=2)
    return [*shot, Barrier(("snapshot:public.orders", "main"))]


def test_a_snapshot_comes_first_and_is_done_before_the_log_goes_on() -> None:
    script_ = source(*rows(), *script(1, 2))
    with stream(script_, name="s", store="memory") as changes:
        assert ids(changes) == [1, 2, 3, 10, 11, 20, 21]
    assert script_.acknowledged[0] == Checkpoint.of("snapshot:public.orders", at=1, attempt=1)


def test_with_autocommit_off_the_end_of_a_snapshot_asks_for_a_commit() -> None:
    with stream(
        source(*rows(), *script(1, 1)), name="s", store="memory", autocommit=False
    ) as changes:
        assert [next(changes).row["id"] for _ in range(3)] == [1, 2, 3]
        with pytest.raises(ConfigError, match="the snapshot ends here"):
            next(changes)
        changes.commit()
        assert ids(changes) == [10, 11]


# -- arguments


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"store": "memory"}, "without a name remembers nothing"),
        ({"autocommit": False}, "without a name remembers nothing"),
        ({"operations": ["inserts"]}, "no operation 'inserts'"),
        ({"tables": ["public.orders"]}, "tables: the ScriptedSource has its own"),
        ({"name": "No Name", "store": "memory"}, "no name for a pipeline"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        stream(source(), **arguments)


def test_a_stream_is_entered_once() -> None:
    once = stream(source())
    with once as changes:
        next(changes)
    with pytest.raises(ConfigError, match="entered before"), once:
        pass


@pytest.mark.parametrize(("name", "temporary"), [(None, True), ("orders", False)])
def test_only_a_named_stream_leaves_something_on_the_server(
    name: str | None, temporary: bool
) -> None:
    made = stream(Postgres(dsn="postgresql://nowhere/"), tables=["public.orders"], name=name)
    config = made._session._pipeline.source.config  # type: ignore[attr-defined]
    assert config.temporary is temporary
    assert config.tables == ("public.orders",)


def test_an_empty_batch_between_two_others_is_passed_over() -> None:
    empty = EventBatch("main", (), None, None)
    with stream(source(batch(1, order(1)), empty, batch(2, order(2)))) as changes:
        assert ids(changes) == [1, 2]
