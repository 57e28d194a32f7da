"""What every sink, source and store must keep: pytest classes to inherit from.

Write one subclass, give it the fixtures that its docstring names, and all the tests are yours::

    class TestMySink(SinkContract):
        @pytest.fixture
        def connect(self, tmp_path): return lambda: MySink(tmp_path / "out")

        @pytest.fixture
        def rows(self, tmp_path): return lambda: {1: "what the target holds"}
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias, TypeVar

import pytest

from penstock.errors import FencedError, StoreError
from penstock.model import Barrier, Batch, Change, Checkpoint, Mark
from penstock.model.archive import dump_change, load_change
from penstock.ports import Context, Format, Parked, Sink, Source, Store, StreamState
from penstock.testing.builders import delete, insert, read, table_of, truncate, update
from penstock.testing.scripted import batch, checkpoint, keepalive, snapshot

T = TypeVar("T")

TABLE = table_of("public.contract", {"id": 1, "note": "text"})
"""The table that sinks are tested with: ``id`` is an int8 and the key, ``note`` is a text."""

Rows: TypeAlias = Mapping[int, str | None]


@dataclass
class Remembered:
    """A :class:`~penstock.ports.SourceState` that keeps what it is told."""

    start: Mapping[str, Checkpoint] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fresh(self) -> bool:
        """Whether nothing is remembered."""
        return not self.start and not self.facts

    async def save(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts."""
        self.facts = dict(facts)


class Contract:
    """What the contracts share. Override :meth:`run` for another event loop."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a test's coroutine."""
        return asyncio.run(coroutine)


def one(id: int, note: str | None = "x") -> Change:
    """An insert into :data:`TABLE`."""
    return insert(TABLE, {"id": id, "note": note})


class SinkContract(Contract):
    """The contract of sinks.

    Fixtures
    --------
    connect: makes a new client of the same, at first empty target.
    rows: reads what the target now holds of :data:`TABLE`, as ``{id: note}``; a target that
        keeps every change (a file, a queue) answers what they come to.
    """

    format: ClassVar[Format | None] = None
    discards_attempts: ClassVar[bool] = True
    """Whether a new snapshot attempt removes what an earlier one left; a log cannot."""

    def context(self) -> Context:
        """What sinks are opened with."""
        return Context("contract", "sink", self.format)

    async def feed(self, sink: Sink, *batches: Batch) -> Mark | None:
        """Open, write all, flush and close; what the flush said."""
        await sink.open(self.context())
        for stream in {part.stream for part in batches}:
            await sink.resume(stream)
        for part in batches:
            await sink.write(part)
        mark = await sink.flush()
        await sink.close()
        return mark

    def test_a_new_sink_has_no_checkpoint(self, connect: Callable[[], Sink]) -> None:
        async def main() -> None:
            sink = connect()
            await sink.open(self.context())
            assert await sink.resume("main") is None
            await sink.close()

        self.run(main())

    def test_closing_twice_or_before_opening_is_harmless(self, connect: Callable[[], Sink]) -> None:
        async def main() -> None:
            sink = connect()
            await sink.close()
            await sink.open(self.context())
            await sink.close()
            await sink.close()

        self.run(main())

    def test_a_flush_makes_durable_and_names_the_last_mark(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        first, second = batch(1, one(1), one(2, None)), batch(2, one(3))
        assert self.run(self.feed(connect(), first, second)) == Mark("2", 0)
        assert rows() == {1: "x", 2: None, 3: "x"}

    def test_a_flush_with_nothing_to_do_says_none(self, connect: Callable[[], Sink]) -> None:
        async def main() -> None:
            sink = connect()
            await sink.open(self.context())
            assert await sink.flush() is None
            await sink.resume("main")
            await sink.write(batch(1, one(1)))
            assert await sink.flush() == Mark("1", 0)
            assert await sink.flush() is None
            await sink.write(keepalive(2))
            assert await sink.flush() is None
            await sink.close()

        self.run(main())

    def test_a_keepalive_after_changes_keeps_their_mark(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        assert self.run(self.feed(connect(), batch(1, one(1)), keepalive(2))) == Mark("1", 0)
        assert rows() == {1: "x"}

    def test_changes_take_effect_in_order(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        batches = [
            batch(1, one(1, "a"), one(2, "b"), one(3, "c")),
            batch(2, update(TABLE, {"id": 1, "note": "a2"}), delete(TABLE, {"id": 2})),
            batch(3, update(TABLE, {"id": 9, "note": "c"}, old_key={"id": 3})),
        ]
        self.run(self.feed(connect(), *batches))
        assert rows() == {1: "a2", 9: "c"}

    def test_keys_can_be_swapped_in_one_transaction(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        swap = [
            update(TABLE, {"id": -1, "note": "a"}, old_key={"id": 1}),
            update(TABLE, {"id": 1, "note": "b"}, old_key={"id": 2}),
            update(TABLE, {"id": 2, "note": "a"}, old_key={"id": -1}),
        ]
        self.run(self.feed(connect(), batch(1, one(1, "a"), one(2, "b")), batch(2, *swap)))
        assert rows() == {1: "b", 2: "a"}

    def test_a_truncate_empties_the_table(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        self.run(
            self.feed(connect(), batch(1, one(1)), batch(2, truncate(TABLE)), batch(3, one(2)))
        )
        assert rows() == {2: "x"}

    def test_a_transaction_may_come_in_parts(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        part, rest = batch(1, one(1), complete=False), batch(1, one(2), first=1)
        assert self.run(self.feed(connect(), part, rest)) == Mark("1", 1)
        assert rows() == {1: "x", 2: "x"}

    def test_what_was_not_flushed_is_fed_again(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        async def main() -> None:
            await self.feed(connect(), batch(1, one(1)))
            sink = connect()
            for _ in range(2):  # the first time its life ends before the flush
                await sink.open(self.context())
                await sink.resume("main")
                await sink.write(batch(2, one(2), update(TABLE, {"id": 1, "note": "y"})))
                if _ == 0:
                    await sink.close()
            assert await sink.flush() == Mark("2", 1)
            await sink.close()

        self.run(main())
        assert rows() == {1: "y", 2: "x"}

    def test_a_repeat_changes_nothing_and_a_stored_checkpoint_is_the_last(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        async def main() -> None:
            await self.feed(connect(), batch(1, one(1)), batch(2, one(2)))
            sink = connect()
            await sink.open(self.context())
            own = await sink.resume("main")
            await sink.close()
            if own is None:
                await self.feed(connect(), batch(1, one(1)), batch(2, one(2)))
            else:
                assert getattr(sink, "stores_checkpoints", False)
                assert own == checkpoint(2)

        self.run(main())
        assert rows() == {1: "x", 2: "x"}

    def test_a_snapshot_and_its_repeat(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        first = [read(TABLE, {"id": i, "note": "old"}) for i in (1, 2, 3)]
        second = [read(TABLE, {"id": i, "note": "new"}) for i in (1, 2)]
        begun = snapshot(TABLE, first, at=5, per_batch=2)[:-1]
        again = snapshot(TABLE, second, at=7, attempt=2)

        async def main() -> None:
            sink = connect()
            await sink.open(self.context())
            await sink.resume(begun[0].stream)
            for part in begun:
                await sink.write(part)
            await sink.flush()
            await sink.close()
            await self.feed(connect(), *again)

        self.run(main())
        left = {} if self.discards_attempts else {3: "old"}
        assert rows() == {1: "new", 2: "new", **left}

    def test_of_two_writers_one_is_fenced(
        self, connect: Callable[[], Sink], rows: Callable[[], Rows]
    ) -> None:
        """Only sinks that store checkpoints can promise it."""
        if not getattr(connect(), "stores_checkpoints", False):
            return

        async def main() -> None:
            await self.feed(connect(), batch(1, one(1)))
            old, new = connect(), connect()
            for sink in (old, new):
                await sink.open(self.context())
                assert await sink.resume("main") == checkpoint(1)
            await new.write(batch(2, one(2, "new")))
            await new.flush()
            await new.close()
            with pytest.raises(FencedError):
                await self._late(old)
            await old.close()

        self.run(main())
        assert rows() == {1: "x", 2: "new"}

    async def _late(self, sink: Sink) -> None:
        await sink.write(batch(2, one(3, "old")))
        await sink.flush()


class SourceContract(Contract):
    """The contract of sources.

    Fixtures
    --------
    connect: makes a new client of the same origin. It has, in its stream ``main``, at least
        three transactions of changes to give, and gives them to every client that starts anew.
    """

    def context(self) -> Context:
        """What sources are opened with."""
        return Context("contract", "source")

    async def taken(
        self, source: Source, start: Mapping[str, Checkpoint], *, to_head: bool = True
    ) -> list[Batch]:
        """Open at ``start`` and read until the head is reached."""
        await source.open(self.context(), Remembered(start, {"contract": True} if start else {}))
        head = await source.head()
        taken: list[Batch] = []
        batches = source.batches()
        if head is not None and start and source.meet(start[head.stream], head) == head:
            await source.close()
            return taken
        async for item in batches:
            if isinstance(item, Barrier):
                continue
            taken.append(item)
            reached = item.checkpoint
            if head is None or reached is None or reached.stream != head.stream:
                continue
            if source.meet(reached, head) == head:
                break
        await source.close()
        return taken

    def test_marks_are_unique_and_batches_say_their_last(
        self, connect: Callable[[], Source]
    ) -> None:
        taken = self.run(self.taken(connect(), {}))
        ids = [event.id for part in taken for event in part if isinstance(event, Change)]
        assert len(ids) >= 3
        assert len(set(ids)) == len(ids)
        for part in taken:
            marks = [event.mark for event in part if isinstance(event, Change)]
            assert not marks or part.last == marks[-1]

    def test_a_checkpoint_covers_what_came_before_and_nothing_after(
        self, connect: Callable[[], Source]
    ) -> None:
        source = connect()
        before: list[Mark] = []
        points: list[Checkpoint] = []
        taken = self.run(self.taken(source, {}))
        for part in (part for part in taken if part.stream == "main"):
            for event in part:
                if isinstance(event, Change):
                    assert not any(source.covers(point, event.mark) for point in points)
                    before.append(event.mark)
            if part.checkpoint is not None:
                points.append(part.checkpoint)
                assert all(source.covers(part.checkpoint, mark) for mark in before)

    def test_meet_is_the_earlier_one(self, connect: Callable[[], Source]) -> None:
        source = connect()
        found = [part.checkpoint for part in self.run(self.taken(source, {}))]
        points = [point for point in found if point is not None and point.stream == "main"]
        assert len(points) >= 2
        for earlier, later in pairwise(points):
            assert source.meet(earlier, later) == source.meet(later, earlier) == earlier
            assert source.meet(later, later) == later

    def test_reading_goes_on_where_a_checkpoint_says(self, connect: Callable[[], Source]) -> None:
        whole = self.run(self.taken(connect(), {}))
        start: dict[str, Checkpoint] = {}
        for i, part in enumerate(whole):
            if part.checkpoint is None:
                continue
            start[part.stream] = part.checkpoint
            if part.stream != "main":
                continue
            rest = self.run(self.taken(connect(), start))
            expected = [e.id for p in whole[i + 1 :] for e in p if isinstance(e, Change)]
            assert [e.id for p in rest for e in p if isinstance(e, Change)] == expected

    def test_acknowledging_what_was_read_is_accepted(self, connect: Callable[[], Source]) -> None:
        async def main() -> None:
            source = connect()
            await source.open(self.context(), Remembered())
            async for item in source.batches():
                if not isinstance(item, Barrier) and item.checkpoint is not None:
                    await source.acknowledge(item.checkpoint)
                    break
            await source.close()

        self.run(main())

    def test_closing_twice_or_before_opening_is_harmless(
        self, connect: Callable[[], Source]
    ) -> None:
        async def main() -> None:
            source = connect()
            await source.close()
            await source.open(self.context(), Remembered())
            await source.close()
            await source.close()

        self.run(main())


class StoreContract(Contract):
    """The contract of stores.

    Fixtures
    --------
    connect: makes a new client of the same, at first empty place.
    """

    def context(self) -> Context:
        """What stores are opened with."""
        return Context("contract", "store")

    async def opened(self, store: Store) -> Store:
        """Open the store."""
        await store.open(self.context())
        return store

    def test_a_new_store_knows_nothing(self, connect: Callable[[], Store]) -> None:
        async def main() -> None:
            assert await connect().peek(self.context()) is None
            assert await connect().peek_parked(self.context()) == []
            store = await self.opened(connect())
            assert await store.load() is None
            assert await store.parked() == []
            await store.close()
            store = await self.opened(connect())
            assert await store.load() is None
            await store.close()

        self.run(main())

    def test_what_is_saved_is_there_after_a_new_start(self, connect: Callable[[], Store]) -> None:
        streams = {
            ("one", "main"): StreamState(Mark("0/1", 2, 3), checkpoint(4)),
            ("one", 'snapshot:"sch.ema".tä"ble'): StreamState(None, None),
            ("twö", "main"): StreamState(None, Checkpoint.of("main", lsn="0/5", nested={"b": [1]})),
        }
        facts = {"slot": "s", "tables": {"ä.b": [1, None, True, 2.5, "\u0000\U0001f600"]}}

        async def main() -> None:
            store = await self.opened(connect())
            await store.save(streams, facts)
            await store.close()
            for store in (connect(), await self.opened(connect())):
                found = await store.peek(self.context())
                assert found is not None
                assert dict(found.streams) == streams
                assert dict(found.facts) == facts
            assert await store.load() == found
            await store.close()

        self.run(main())

    def test_a_save_merges_streams_and_replaces_facts(self, connect: Callable[[], Store]) -> None:
        async def main() -> None:
            store = await self.opened(connect())
            a, b = StreamState(Mark("1", 0), checkpoint(1)), StreamState(None, checkpoint(2))
            await store.save(facts={"a": 1, "b": 2})
            await store.save({("s", "main"): a, ("t", "main"): a})
            await store.save({("t", "main"): b})
            await store.save(facts={"b": 3})
            saved = await store.load()
            assert saved is not None
            assert dict(saved.facts) == {"b": 3}
            assert dict(saved.streams) == {("s", "main"): a, ("t", "main"): b}
            await store.close()

        self.run(main())

    def test_a_save_that_fails_changes_nothing(self, connect: Callable[[], Store]) -> None:
        async def main() -> None:
            store = await self.opened(connect())
            await store.save({("s", "main"): StreamState(None, checkpoint(1))}, {"a": 1})
            before = await store.load()
            with pytest.raises(StoreError):
                await store.save(
                    {("s", "main"): StreamState(None, checkpoint(2))}, {"not json": object()}
                )
            assert await store.load() == before
            await store.close()

        self.run(main())

    def test_pipelines_do_not_see_each_other(self, connect: Callable[[], Store]) -> None:
        async def main() -> None:
            store = await self.opened(connect())
            await store.save(facts={"a": 1})
            await store.close()
            try:
                other = await connect().peek(Context("another"))
            except StoreError:  # a place that holds one pipeline says whose it is
                return
            assert other is None

        self.run(main())

    def parked(self, n: int, sink: str = "s") -> Parked:
        """A change set aside."""
        change = insert(TABLE, {"id": n, "note": "ü"})
        at = datetime(2026, 1, 2, 3, 4, 5, n, tzinfo=UTC)
        return Parked(sink, f"id:{n}", change.table, (f"[{n}]",), "why", at, dump_change(change))

    def test_parked_changes_keep_their_order_until_they_are_unparked(
        self, connect: Callable[[], Store]
    ) -> None:
        a, b, c = self.parked(2), self.parked(1), self.parked(1, "other")

        async def main() -> None:
            store = await self.opened(connect())
            await store.park([a, b])
            await store.park([c])
            await store.close()
            store = await self.opened(connect())
            assert await store.parked() == [a, b, c]
            assert await store.parked("other") == [c]
            assert await connect().peek_parked(self.context()) == [a, b, c]
            change = load_change(dict((await store.parked())[0].change))
            assert dict(change.row) == {"id": 2, "note": "ü"}
            await store.unpark("s", [b.id, "unknown"])
            assert await store.parked() == [a, c]
            await store.close()

        self.run(main())

    def test_parking_again_changes_nothing(self, connect: Callable[[], Store]) -> None:
        async def main() -> None:
            store = await self.opened(connect())
            await store.park([self.parked(1), self.parked(2)])
            again = self.parked(1)
            await store.park([Parked(**{**_fields(again), "reason": "another"})])
            assert [(p.id, p.reason) for p in await store.parked()] == [
                ("id:1", "why"),
                ("id:2", "why"),
            ]
            await store.close()

        self.run(main())

    def test_clear_forgets_all(self, connect: Callable[[], Store]) -> None:
        async def main() -> None:
            store = await self.opened(connect())
            await store.save({("s", "main"): StreamState(None, checkpoint(1))}, {"a": 1})
            await store.park([self.parked(1)])
            await store.clear()
            assert await store.load() is None
            assert await store.parked() == []
            await store.save(facts={"b": 1})
            saved = await store.load()
            assert saved is not None
            assert not saved.streams
            await store.close()

        self.run(main())

    def test_a_closed_store_refuses_and_closing_twice_is_harmless(
        self, connect: Callable[[], Store]
    ) -> None:
        async def main() -> None:
            store = connect()
            await store.close()
            await self.opened(store)
            await store.close()
            await store.close()
            with pytest.raises(StoreError, match="not open"):
                await store.load()
            with pytest.raises(StoreError, match="not open"):
                await store.save(facts={})

        self.run(main())


def _fields(parked: Parked) -> dict[str, Any]:
    return {name: getattr(parked, name) for name in Parked.__dataclass_fields__}
