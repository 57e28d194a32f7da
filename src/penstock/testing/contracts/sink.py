"""The contract of sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, TypeAlias

import pytest

from penstock.errors import FencedError
from penstock.model import Batch, Mark
from penstock.ports import Context, Format, Sink
from penstock.testing.builders import delete, read, truncate, update
from penstock.testing.contracts.contract import TABLE, Contract, one
from penstock.testing.scripted import batch, checkpoint, keepalive, snapshot

Rows: TypeAlias = Mapping[int, str | None]


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
