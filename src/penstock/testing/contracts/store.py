"""The contract of stores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.errors import StoreError
from penstock.model import Checkpoint, Mark
from penstock.model.archive import dump_change, load_change
from penstock.ports import Context, Parked, Store, StreamState
from penstock.testing.builders import insert
from penstock.testing.contracts.contract import TABLE, Contract
from penstock.testing.scripted import checkpoint


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
