"""Calls, retries and parking, on virtual time."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from penstock import (
    UNCHANGED,
    Change,
    Message,
    Park,
    Retry,
    SchemaError,
    SinkError,
    SinkUnavailableError,
    StuckError,
)
from penstock.failpoints import Failpoint
from penstock.model import Event, EventBatch, Mark, SchemaChange
from penstock.ports import Context, Parked
from penstock.sinks.handlers import HandlersSink, Policy
from penstock.sinks.handlers.handler import Handler, bind, bind_message
from penstock.stores.memory import MemoryStore
from penstock.testing import (
    VirtualClock,
    delete,
    insert,
    message,
    read,
    run_virtual,
    table_of,
    truncate,
    update,
)


def order(id: int, status: str = "new") -> Change:
    return insert("public.orders", {"id": id, "status": status})


def changed(id: int, status: str) -> Change:
    return update("public.orders", {"id": id, "status": status})


def ids(changes: Iterable[Change | Parked]) -> list[str]:
    return [change.id for change in changes]


class Bench:
    """A sink with its store, on virtual time."""

    def __init__(self, *handlers: Handler, store: MemoryStore | None = None, **policy: Any) -> None:
        changes = [h for h in handlers if h.operations]
        messages = [h for h in handlers if not h.operations]
        self.sink = HandlersSink(changes, messages, Policy(**policy))
        self.store = store or MemoryStore()
        self.context = Context("test", "handlers", store=self.store, clock=VirtualClock())

    def play(self, *events: Event) -> list[Parked]:
        """Write the events as one batch and flush; what is parked then."""
        return run_virtual(self.deliver(*events))

    async def deliver(self, *events: Event) -> list[Parked]:
        await self.store.open(self.context)
        await self.sink.open(self.context)
        try:
            last = [e.mark for e in events if isinstance(e, Change | Message)]
            await self.sink.write(EventBatch("main", events, last[-1] if last else None))
            assert await self.sink.flush() == (last[-1] if last else None)
            return await self.store.parked("handlers")
        finally:
            await self.sink.close()


class Recorder:
    """An async handler that notes what it gets, and fails for the ids that it is told."""

    def __init__(self, *failing: int, error: Callable[[], Exception] = ValueError) -> None:
        self.seen: list[tuple[float, str]] = []
        self.failing = set(failing)
        self.error = error

    async def __call__(self, change: Change) -> None:
        self.seen.append((asyncio.get_running_loop().time(), change.id))
        row = change.row if change.operation != "truncate" else {}
        if row.get("id") in self.failing:
            raise self.error()

    @property
    def handled(self) -> list[str]:
        return [id for _, id in self.seen]


def test_handlers_get_what_they_asked_for_in_commit_order() -> None:
    inserts, deletes, everything = Recorder(), Recorder(), Recorder()
    bench = Bench(
        bind(inserts, "public.orders", ("insert",)),
        bind(deletes, "public.*", ("delete",)),
        bind(everything, "public.orders", ()),
    )
    first, second = order(1), changed(1, "paid")
    third = delete("public.orders", {"id": 1})
    other = delete("public.lines", {"id": 1})
    row = read("public.orders", {"id": 9})
    assert bench.play(first, second, third, other, row) == []
    assert inserts.handled == [first.id]
    assert deletes.handled == [third.id, other.id]
    assert everything.handled == [first.id, second.id, third.id]
    assert bench.sink.counters == {"Recorder": {"handled": 6, "retried": 0, "parked": 0}}


def test_plain_functions_run_in_a_worker_thread_with_the_context_variables() -> None:
    user = contextvars.ContextVar("user", default="nobody")
    seen: list[tuple[str, bool]] = []

    def handler(change: Change) -> None:
        seen.append((user.get(), threading.current_thread() is threading.main_thread()))

    async def main() -> None:
        user.set("somebody")
        await Bench(bind(handler, "*", ())).deliver(order(1))

    asyncio.run(main())
    assert seen == [("somebody", False)]


def test_a_decorated_handler_is_called_as_its_decorator_asks() -> None:
    seen: list[str] = []

    async def awaited(change: Change) -> None:
        await asyncio.sleep(0)
        seen.append("awaited")

    def plain(change: Change) -> None:
        seen.append("plain")

    @functools.wraps(plain)
    async def in_a_thread(change: Change) -> None:
        await asyncio.to_thread(plain, change)

    @functools.wraps(awaited)
    def in_a_loop(change: Change) -> None:
        asyncio.run(awaited(change))

    for handler in (in_a_thread, in_a_loop, lambda change: awaited(change)):
        assert asyncio.run(Bench(bind(handler, "*", ())).deliver(order(1))) == []
    assert seen == ["plain", "awaited", "awaited"]


def test_a_stop_waits_for_the_function_that_runs_in_a_thread() -> None:
    running, go_on = threading.Event(), threading.Event()
    ended: list[str] = []

    def handler(change: Change) -> None:
        running.set()
        go_on.wait(5)
        ended.append(change.id)

    async def main() -> None:
        task = asyncio.create_task(Bench(bind(handler, "*", ())).deliver(order(1)))
        await asyncio.to_thread(running.wait, 5)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(ended) == 1


def test_an_exception_that_futures_cannot_carry_is_a_failure_too() -> None:
    def handler(change: Change) -> None:
        next(iter(()))

    [parked] = Bench(bind(handler, "*", ()), retries=0).play(order(1))
    assert "StopIteration" in parked.reason


def test_a_cancellation_from_inside_a_handler_is_a_failure_too() -> None:
    async def handler(change: Change) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    [parked] = Bench(bind(handler, "*", ()), retries=1).play(order(1))
    assert "was cancelled" in parked.reason


def test_a_sinks_error_raised_by_a_handler_is_its_failure() -> None:
    """It must not make the pipeline feed the handled changes again."""
    handler = Recorder(2, error=lambda: SinkUnavailableError("my own queue is away"))
    changes = [order(1), order(2)]
    [parked] = Bench(bind(handler, "*", ()), retries=1).play(*changes)
    assert parked.id == changes[1].id
    assert handler.handled == [changes[0].id, changes[1].id, changes[1].id]


def test_a_failing_handler_is_called_again_five_times_in_about_thirty_seconds() -> None:
    handler = Recorder(1)
    bench = Bench(bind(handler, "public.orders", ()))
    [parked] = bench.play(order(1))
    times = [time for time, _ in handler.seen]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) == 5
    assert 24 <= sum(waits) <= 36
    assert all(1.3 < later / earlier < 3.1 for earlier, later in pairwise(waits))
    assert parked.reason.endswith("ValueError: ")
    assert bench.sink.counters[next(iter(bench.sink.counters))] == {
        "handled": 0,
        "retried": 5,
        "parked": 1,
    }


def test_a_handler_that_recovers_parks_nothing_and_later_changes_wait() -> None:
    failures = [ValueError("once"), ValueError("twice")]
    seen: list[str] = []

    async def handler(change: Change) -> None:
        if failures:
            raise failures.pop()
        seen.append(change.id)

    changes = [order(1), order(2)]
    assert Bench(bind(handler, "*", ())).play(*changes) == []
    assert seen == ids(changes)


def test_later_changes_of_a_parked_key_are_parked_and_others_go_on() -> None:
    handler = Recorder(1)
    changes = [order(1), order(2), changed(1, "paid"), changed(2, "paid")]
    parked = Bench(bind(handler, "public.orders", ()), retries=0).play(*changes)
    assert ids(parked) == [changes[0].id, changes[2].id]
    assert parked[1].reason == f"waits behind {changes[0].id}"
    assert handler.handled == [changes[0].id, changes[1].id, changes[3].id]
    assert parked[0].keys == ('public.orders["1"]',)


def test_the_same_key_in_another_table_is_free() -> None:
    handler = Recorder(1)
    bench = Bench(
        bind(handler, "public.orders", ()), bind(Recorder(), "public.lines", ()), retries=0
    )
    assert len(bench.play(order(1), insert("public.lines", {"id": 1}))) == 1


def test_parked_keys_are_known_after_a_restart() -> None:
    store = MemoryStore()
    first = order(1)
    Bench(bind(Recorder(1), "*", ()), store=store, retries=0).play(first)
    well = Recorder()
    later = changed(1, "paid")
    parked = Bench(bind(well, "*", ()), store=store).play(later)
    assert ids(parked) == [first.id, later.id]
    assert well.handled == []


def test_a_key_change_parks_both_keys() -> None:
    moved = update("public.orders", {"id": 5, "status": "new"}, before={"id": 1, "status": "new"})
    old, new, other = changed(1, "x"), changed(5, "y"), changed(6, "z")
    handler = Recorder(5)
    parked = Bench(bind(handler, "*", ()), retries=0).play(moved, old, new, other)
    assert ids(parked) == [moved.id, old.id, new.id]
    assert set(parked[0].keys) == {'public.orders["1"]', 'public.orders["5"]'}
    assert handler.handled == [moved.id, other.id]


def test_a_key_change_of_a_parked_key_blocks_the_new_key() -> None:
    first = order(1)
    moved = update("public.orders", {"id": 5, "status": "new"}, before={"id": 1, "status": "new"})
    new = changed(5, "y")
    handler = Recorder(1)
    parked = Bench(bind(handler, "*", ()), retries=0).play(first, moved, new)
    assert ids(parked) == [first.id, moved.id, new.id]


def test_a_truncate_supersedes_its_tables_parked_changes() -> None:
    handler = Recorder(1)
    first, line = order(1), insert("public.lines", {"id": 1})
    wipe = truncate(first.definition)
    later = changed(1, "again")
    handler_after = Bench(bind(handler, "*", ()), retries=0)
    parked = handler_after.play(first, line, wipe, later)
    assert ids(parked) == [line.id, later.id]
    assert handler.handled == [first.id, line.id, wipe.id, later.id]


def test_a_truncate_supersedes_what_an_earlier_run_parked() -> None:
    store = MemoryStore()
    first = order(1)
    Bench(bind(Recorder(1), "*", ()), store=store, retries=0).play(first)
    wipe = truncate(first.definition)
    assert Bench(bind(Recorder(), "*", ("insert",)), store=store).play(wipe) == []


def test_a_parked_truncate_blocks_its_whole_table() -> None:
    async def handler(change: Change) -> None:
        if change.operation == "truncate":
            raise Park("not today")

    wipe = truncate(order(1).definition)
    later, line = order(1), insert("public.lines", {"id": 1})
    assert ids(Bench(bind(handler, "*", ())).play(wipe, later, line)) == [wipe.id, later.id]


def test_a_table_without_key_waits_as_a_whole() -> None:
    table = table_of("public.log", {"id": 1}, key=())
    handler = Recorder(1)
    changes = [insert(table, {"id": 1}), insert(table, {"id": 2})]
    assert ids(Bench(bind(handler, "*", ()), retries=0).play(*changes)) == ids(changes)


def test_more_than_max_parked_is_stuck() -> None:
    bench = Bench(bind(Recorder(1, 2, 3), "*", ()), retries=0, max_parked=2)
    with pytest.raises(StuckError, match="2 changes are parked"):
        bench.play(order(1), order(2), order(3))
    assert ids(Bench(bind(Recorder(1), "*", ()), retries=0, max_parked=1).play(order(1)))


def test_a_repeat_of_a_parked_change_is_not_one_more() -> None:
    store = MemoryStore()
    first = order(1)
    for _ in range(3):
        bench = Bench(bind(Recorder(1), "*", ()), store=store, retries=0, max_parked=1)
        assert ids(bench.play(first)) == [first.id]


def test_on_failure_stop_raises_and_parks_nothing() -> None:
    bench = Bench(bind(Recorder(1), "*", ()), on_failure="stop", retries=1)
    with pytest.raises(SinkError, match="ValueError") as caught:
        bench.play(order(1))
    assert caught.value.table == "public.orders"
    assert isinstance(caught.value.__cause__, ValueError)
    assert run_virtual(parked(bench)) == []


async def parked(bench: Bench) -> list[Parked]:
    await bench.store.open(bench.context)
    return await bench.store.parked()


@pytest.mark.parametrize("on_failure", ["park", "stop"])
def test_park_decides_at_once(on_failure: str) -> None:
    handler = Recorder(1, error=lambda: Park("unknown customer"))
    [parked] = Bench(bind(handler, "*", ()), on_failure=on_failure).play(order(1))
    assert parked.reason.endswith("unknown customer")
    assert len(handler.seen) == 1


def test_retry_waits_as_long_as_it_says_and_counts_as_no_failure() -> None:
    times: list[float] = []

    async def handler(change: Change) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) <= 10:
            raise Retry(after=100)

    assert Bench(bind(handler, "*", ())).play(order(1)) == []
    assert times == [100.0 * i for i in range(11)]


def test_unchanged_that_does_not_fit_is_parked_without_a_retry() -> None:
    @dataclass
    class Order:
        id: int
        status: str

    seen: list[Order] = []

    def handler(change: Change[Order]) -> None:
        seen.append(change.row)

    unchanged = update("public.orders", {"id": 1, "status": UNCHANGED})
    [parked] = Bench(bind(handler, "*", (), names=locals())).play(unchanged, order(2))
    assert "UNCHANGED" in parked.reason
    assert seen == [Order(2, "new")]


def test_a_type_that_does_not_fit_stops_before_the_versions_first_row() -> None:
    @dataclass
    class Order:
        id: int
        status: str

    seen: list[int] = []

    def handler(change: Change[Order]) -> None:
        seen.append(change.row.id)

    bound = bind(handler, "public.orders", ("delete",), names=locals())
    table = order(1).definition
    renamed = replace(table, columns=(table.columns[0],))
    with pytest.raises(SchemaError, match=r"Order\.status"):
        Bench(bound).play(SchemaChange(table, renamed))
    with pytest.raises(SchemaError):
        Bench(bound).play(delete(renamed, {"id": 1}))
    assert seen == []


def test_a_handler_of_messages_gets_its_prefix() -> None:
    seen: list[bytes] = []

    def audit(message: Message) -> None:
        seen.append(message.content)

    def everything(message: Message) -> None:
        seen.append(b"*" + message.content)

    bench = Bench(bind_message(audit, "audit", names=globals()), bind_message(everything, "*"))
    bench.play(message("audit", "one"), message("other", "two"))
    assert seen == [b"one", b"*one", b"*two"]


def test_a_handler_of_messages_that_keeps_failing_stops() -> None:
    def audit(message: Message) -> None:
        raise ValueError("no")

    with pytest.raises(SinkError, match="on the message 'audit'"):
        Bench(bind_message(audit, "audit")).play(message("audit", "one"))


# -- lists


class Lists:
    def __init__(self, *failing: int) -> None:
        self.lists: list[list[int]] = []
        self.failing = set(failing)

    def __call__(self, changes: list[Change]) -> None:
        got = [change.row["id"] for change in changes]
        self.lists.append(got)
        if self.failing & set(got):
            raise ValueError(f"one of {got}")


def test_lists_end_at_max_rows_and_at_the_flush() -> None:
    handler = Lists()
    Bench(bind(handler, "*", (), max_rows=2)).play(*[order(i) for i in range(5)])
    assert handler.lists == [[0, 1], [2, 3], [4]]


def test_a_list_ends_after_max_wait() -> None:
    handler = Lists()

    async def slow(change: Change) -> None:
        await asyncio.sleep(1)

    bench = Bench(bind(handler, "*", (), max_wait=2.5), bind(slow, "*", ()))
    bench.play(*[order(i) for i in range(6)])
    assert handler.lists == [[0, 1, 2, 3], [4, 5]]


def test_only_the_faulty_changes_of_a_list_are_parked() -> None:
    handler = Lists(2)
    changes = [order(1), order(2), order(3), changed(2, "paid")]
    parked = Bench(bind(handler, "*", ()), retries=1).play(*changes)
    assert ids(parked) == [changes[1].id, changes[3].id]
    assert handler.lists == [[1, 2, 3, 2], [1, 2, 3, 2], [1], [2], [3]]


def test_a_failing_list_stops_where_failures_stop() -> None:
    with pytest.raises(SinkError, match="one of"):
        Bench(bind(Lists(2), "*", ()), retries=0, on_failure="stop").play(order(1), order(2))


# -- parking and the store


def test_parking_is_durable_before_the_flush_returns() -> None:
    bench = Bench(bind(Recorder(1), "*", ()), retries=0)
    states: list[int] = []
    rows = bench.store

    def look(_: int) -> None:
        states.append(len(rows._state.parked))

    bench.context.failpoints.arm(Failpoint.BEFORE_PARK, look)
    bench.context.failpoints.arm(Failpoint.AFTER_PARK, look)
    bench.play(order(1))
    assert states == [0, 1]


def test_a_replay_in_another_process_frees_the_key() -> None:
    store = MemoryStore()
    handler = Recorder(1)
    bench = Bench(bind(handler, "*", ()), store=store, retries=0)

    async def main() -> list[Parked]:
        first, second, third = order(1), changed(1, "b"), changed(1, "c")
        await store.open(bench.context)
        await bench.sink.open(bench.context)
        await bench.sink.write(EventBatch("main", [first], first.mark))
        await bench.sink.flush()
        handler.failing.clear()
        await store.unpark("handlers", [first.id])
        await bench.sink.write(EventBatch("main", [second], second.mark))
        await asyncio.sleep(6)
        await store.unpark("handlers", [second.id])
        await bench.sink.flush()
        await store.unpark("handlers", [second.id])
        await asyncio.sleep(6)
        await bench.sink.write(EventBatch("main", [third], third.mark))
        await bench.sink.flush()
        assert handler.handled == [first.id, third.id]
        return await store.parked()

    assert run_virtual(main()) == []


def test_a_replay_that_is_killed_does_not_repeat_what_has_passed() -> None:
    handler = Recorder(1, 2, error=lambda: Park("later"))
    bench = Bench(bind(handler, "*", ()))
    bench.play(order(1), order(2))

    async def killed() -> list[Parked]:
        handler.failing, handler.error = {2}, SystemExit  # type: ignore[assignment]
        await bench.store.open(bench.context)
        await bench.sink.open(bench.context)
        with pytest.raises(SystemExit):
            await bench.sink.replay(await bench.store.parked())
        await bench.sink.close()
        return await bench.store.parked()

    assert [one.keys for one in run_virtual(killed())] == [('public.orders["2"]',)]


def test_a_replay_keeps_the_order_of_each_key() -> None:
    store = MemoryStore()
    changes: list[Change] = [order(1), order(2), changed(1, "paid"), changed(2, "paid")]
    parked = Bench(bind(Recorder(1, 2), "*", ()), store=store, retries=0).play(*changes)
    assert len(parked) == 4
    handler = Recorder(2)
    bench = Bench(bind(handler, "*", ()), store=store)

    async def main() -> list[str]:
        await store.open(bench.context)
        await bench.sink.open(bench.context)
        return await bench.sink.replay(parked)

    assert run_virtual(main()) == [changes[0].id, changes[2].id]
    assert handler.handled == [changes[0].id, changes[1].id, changes[2].id]


def test_the_parked_change_can_be_restored() -> None:
    from penstock.model.archive import load_change

    first = order(1, "späť")
    [parked] = Bench(bind(Recorder(1), "*", ()), retries=0).play(first)
    restored = load_change(dict(parked.change))
    assert restored.row == first.row
    assert restored.mark == first.mark == Mark.parse(parked.id)


def test_handlers_that_cannot_park_are_refused() -> None:
    sink = HandlersSink([bind(Recorder(), "*", ())], [], Policy())
    with pytest.raises(Exception, match="needs a store"):
        run_virtual(_opened(sink.open, Context("test", "handlers")))


async def _opened(open: Callable[[Context], Awaitable[None]], context: Context) -> None:
    await open(context)
