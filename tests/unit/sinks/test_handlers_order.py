"""Side by side, and still in commit order for each key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Change, SinkError
from penstock.model import EventBatch
from penstock.parking import keys
from penstock.ports import Context
from penstock.sinks.handlers import HandlersSink, Policy
from penstock.sinks.handlers.handler import bind
from penstock.sinks.handlers.order import chains, steps
from penstock.stores.memory import MemoryStore
from penstock.testing import (
    VirtualClock,
    insert,
    message,
    run_virtual,
    table_of,
    truncate,
    update,
)

ORDERS = table_of("public.orders", {"id": 1, "n": 1})
LOG = table_of("public.log", {"n": 1}, key=())


def _insert(id: int) -> Change:
    return insert(ORDERS, {"id": id, "n": 0})


def _move(old: int, new: int) -> Change:
    return update(ORDERS, {"id": new, "n": 0}, before={"id": old, "n": 0})


IDS = st.integers(0, 5)
CHANGES = st.lists(
    st.one_of(
        st.builds(_insert, IDS),
        st.builds(_move, IDS, IDS),
        st.builds(lambda n: insert(LOG, {"n": n}), IDS),
        st.builds(lambda: truncate(ORDERS)),
    ),
    max_size=25,
)


@given(CHANGES)
def test_a_chain_holds_all_changes_of_its_keys_in_order(changes: list[Change]) -> None:
    found = [step for step in steps(changes) if isinstance(step, list)]
    for step in found:
        owner: dict[str, int] = {}
        for number, chain in enumerate(step):
            places = [changes.index(change) for change in chain]
            assert places == sorted(places)
            for change in chain:
                for key in keys(change):
                    assert owner.setdefault(key, number) == number
    alone = [id(step) for step in steps(changes) if not isinstance(step, list)]
    chained = [id(change) for step in found for chain in step for change in chain]
    assert sorted(alone + chained) == sorted(map(id, changes))


def test_what_has_no_row_stands_alone() -> None:
    first, wipe, second, note = _insert(1), truncate(ORDERS), _insert(2), message("a", "b")
    assert list(steps([first, wipe, second, note])) == [[[first]], wipe, [[second]], note]
    assert list(steps([])) == []


def test_a_chain_of_key_changes_is_one_chain() -> None:
    moves = [_insert(1), _insert(4), _insert(3), _move(1, 2), _move(2, 3)]
    assert chains(moves) == [[moves[0], moves[2], moves[3], moves[4]], [moves[1]]]


def test_null_and_the_empty_text_are_different_keys() -> None:
    table = table_of("public.t", {"id": "x"})
    assert keys(insert(table, {"id": ""})) != keys(insert(table, {"id": None}))


@given(CHANGES, st.integers(1, 4), st.integers(0, 2**16))
def test_handlers_run_side_by_side_but_in_order_for_each_key(
    changes: list[Change], concurrency: int, seed: int
) -> None:
    spans: list[tuple[float, float, Change]] = []

    async def handler(change: Change) -> None:
        begin = asyncio.get_running_loop().time()
        await asyncio.sleep(1 + (changes.index(change) * 5 + seed) % 7)
        spans.append((begin, asyncio.get_running_loop().time(), change))

    deliver(handler, changes, concurrency, seed)
    assert sorted(id(change) for *_, change in spans) == sorted(map(id, changes))
    touched = [
        (key, begin, end, changes.index(change))
        for begin, end, change in spans
        for key in keys(change)
    ]
    for _, group in groupby(sorted(touched), key=lambda entry: entry[0]):
        for (_, _, end, place), (_, begin, _, later) in pairwise(group):
            assert end <= begin
            assert place < later
    for begin, end, change in spans:
        if change.operation == "truncate":
            assert all(e <= begin or b >= end for b, e, c in spans if c is not change)
    for moment in {begin for begin, _, _ in spans}:
        assert sum(begin <= moment < end for begin, end, _ in spans) <= concurrency


def test_different_keys_really_run_side_by_side() -> None:
    async def handler(change: Change) -> None:
        await asyncio.sleep(1)

    assert deliver(handler, [_insert(i) for i in range(8)], 4) == 2.0


def test_the_first_failure_that_stops_is_raised_as_itself() -> None:
    async def handler(change: Change) -> None:
        if change.row["id"] == 3:
            raise ValueError("three")
        await asyncio.sleep(100)

    with pytest.raises(SinkError, match="three"):
        deliver(handler, [_insert(i) for i in range(4)], 4, on_failure="stop", retries=0)


def test_batch_handlers_keep_the_order_of_each_key() -> None:
    seen: list[int] = []

    async def handler(changes: list[Change]) -> None:
        await asyncio.sleep(len(seen) % 3)
        seen.extend(change.row["n"] for change in changes)

    bound = bind(handler, "*", (), max_rows=2)
    rows = [insert(ORDERS, {"id": i % 3, "n": i}) for i in range(20)]
    sink = HandlersSink([bound], [], Policy(concurrency=3))
    run_virtual(_deliver(sink, rows))
    for key in range(3):
        assert [n for n in seen if n % 3 == key] == list(range(key, 20, 3))


def deliver(
    handler: Any,
    changes: Sequence[Change],
    concurrency: int,
    seed: int | None = None,
    **policy: Any,
) -> float:
    """Hand over the changes as one batch; the virtual seconds that it took."""
    sink = HandlersSink([bind(handler, "*", ())], [], Policy(concurrency=concurrency, **policy))
    return run_virtual(_deliver(sink, changes), seed)


async def _deliver(sink: HandlersSink, changes: Sequence[Change]) -> float:
    store = MemoryStore()
    context = Context("test", "handlers", store=store, clock=VirtualClock())
    await store.open(context)
    await sink.open(context)
    try:
        await sink.write(EventBatch("main", changes, changes[-1].mark if changes else None))
        await sink.flush()
    finally:
        await sink.close()
    return asyncio.get_running_loop().time()
