"""Handlers that write in the transaction of the checkpoint, into SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from penstock import App, Change, ConfigError, FencedError, Park, Pipeline, SinkError
from penstock.failpoints import Failpoint, Failpoints
from penstock.pipeline.lanes import GROUP
from penstock.ports import Context
from penstock.stores.sql import SqlStore
from penstock.testing import ScriptedSource, batch, insert, play

START = 100


@dataclass
class Line:
    id: int
    quantity: int


def line(id: int, quantity: int = 1) -> Change:
    return insert("public.lines", {"id": id, "quantity": quantity})


TAKE = text("UPDATE stock SET free = free - :quantity")


class Warehouse:
    """A database that handlers write to."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._engine = create_engine(self.url)
        self.execute(f"CREATE TABLE stock (free int); INSERT INTO stock VALUES ({START})")

    def execute(self, statements: str) -> None:
        with self._engine.begin() as connection:
            for statement in statements.split(";"):
                connection.execute(text(statement))

    @property
    def free(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(text("SELECT free FROM stock")).scalar_one())

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    warehouse = Warehouse(tmp_path / "warehouse.db")
    yield warehouse
    warehouse.close()


def with_session(change: Change[Line], session: Session) -> None:
    session.execute(TAKE, {"quantity": change.row.quantity})


def with_connection(change: Change[Line], connection: Connection) -> None:
    connection.execute(TAKE, {"quantity": change.row.quantity})


async def with_async_session(change: Change[Line], session: AsyncSession) -> None:
    await session.execute(TAKE, {"quantity": change.row.quantity})


async def with_async_connection(change: Change[Line], connection: AsyncConnection) -> None:
    await connection.execute(TAKE, {"quantity": change.row.quantity})


def with_list(changes: list[Change[Line]], session: Session) -> None:
    session.execute(TAKE, {"quantity": sum(change.row.quantity for change in changes)})


@pytest.mark.parametrize(
    "handler",
    [with_session, with_connection, with_async_session, with_async_connection, with_list],
)
def test_a_repeat_has_no_effect(handler: Any, warehouse: Warehouse) -> None:
    app = App("stock", "postgresql://nowhere/")
    app.on("public.lines")(handler)
    changes = [line(1, 5), line(2, 7)]
    assert play(app, changes, store=warehouse.url).handled == 2
    assert warehouse.free == START - 12
    assert play(app, changes, store=warehouse.url).handled == 0
    assert warehouse.free == START - 12
    play(app, [*changes, line(3)], store=warehouse.url)
    assert warehouse.free == START - 13


def test_it_needs_a_database(tmp_path: Path) -> None:
    app = App("stock", "postgresql://nowhere/")
    app.on("public.lines")(with_session)
    with pytest.raises(ConfigError, match="handlers with a Session") as caught:
        play(app, [line(1)])
    assert "store=" in caught.value.hint


def test_a_failing_handler_stops_and_nothing_of_the_transaction_remains(
    warehouse: Warehouse,
) -> None:
    app = App("stock", "postgresql://nowhere/", retries=2)

    @app.on("public.lines")
    def reserve(change: Change[Line], session: Session) -> None:
        with_session(change, session)
        if change.row.id == 2:
            raise ValueError("sold out")

    one = batch(1, line(1, 5), line(2, 5))
    with pytest.raises(SinkError, match="sold out"):
        play(app, one, store=warehouse.url)  # type: ignore[arg-type]
    assert warehouse.free == START


def test_a_retried_call_begins_at_its_savepoint(warehouse: Warehouse) -> None:
    app = App("stock", "postgresql://nowhere/")
    calls: list[int] = []

    @app.on("public.lines")
    def reserve(change: Change[Line], session: Session) -> None:
        with_session(change, session)
        calls.append(change.row.id)
        if calls.count(2) in (1, 2) and change.row.id == 2:
            raise ValueError("once more")

    result = play(app, [line(1, 1), line(2, 10)], store=warehouse.url)
    assert (result.handled, result.retried) == (2, 2)
    assert warehouse.free == START - 11


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_change_can_be_parked_and_the_rest_commits(warehouse: Warehouse, by_hand: bool) -> None:
    app = App("stock", "postgresql://nowhere/", retries=0, on_failure=None if by_hand else "park")

    @app.on("public.lines")
    def reserve(change: Change[Line], session: Session) -> None:
        with_session(change, session)
        if change.row.id == 2:
            raise Park("sold out") if by_hand else ValueError("sold out")

    changes = [line(1, 1), line(2, 10), line(3, 100), line(2, 1)]
    result = play(app, changes, store=warehouse.url)
    assert [parked.id for parked in result.parked] == [changes[1].id, changes[3].id]
    assert warehouse.free == START - 101


def test_a_handlers_own_commit_commits_nothing(warehouse: Warehouse) -> None:
    app = App("stock", "postgresql://nowhere/", retries=0)

    @app.on("public.lines")
    def reserve(change: Change[Line], session: Session) -> None:
        with_session(change, session)
        session.commit()
        if change.row.id == 2:
            raise ValueError("sold out")

    with pytest.raises(SinkError, match="sold out"):
        play(app, batch(1, line(1), line(2)), store=warehouse.url)  # type: ignore[arg-type]
    assert warehouse.free == START


# -- in a pipeline


@pytest.mark.parametrize("method", ["rollback", "close"])
@pytest.mark.parametrize("kind", [Session, AsyncSession])
def test_a_handlers_own_rollback_leaves_what_others_wrote(
    kind: type, method: str, warehouse: Warehouse
) -> None:
    app = App("stock", "postgresql://nowhere/")

    def reserve(change: Change[Line], session: Session) -> None:
        with_session(change, session)
        if change.row.id == 2:
            getattr(session, method)()

    async def reserve_async(change: Change[Line], session: AsyncSession) -> None:
        await with_async_session(change, session)
        if change.row.id == 2:
            await getattr(session, method)()

    app.on("public.lines")(reserve if kind is Session else reserve_async)
    whole = batch(1, line(1, 5), line(2, 10), line(3, 20))
    assert play(app, whole, store=warehouse.url).handled == 3  # type: ignore[arg-type]
    assert warehouse.free == START - 25


@pytest.mark.parametrize("kind", [Session, AsyncSession])
def test_what_a_handler_committed_before_it_failed_is_undone_too(
    kind: type, warehouse: Warehouse
) -> None:
    app = App("stock", "postgresql://nowhere/")
    failures = iter([ValueError("once more")])

    def reserve(change: Change[Line], session: Session) -> None:
        with_session(change, session)
        session.commit()
        for failure in failures:
            raise failure

    async def reserve_async(change: Change[Line], session: AsyncSession) -> None:
        await with_async_session(change, session)
        await session.commit()
        for failure in failures:
            raise failure

    app.on("public.lines")(reserve if kind is Session else reserve_async)
    assert play(app, [line(1, 5)], store=warehouse.url).retried == 1
    assert warehouse.free == START - 5


class CrashError(Exception):
    """Stands for the end of the process."""


def crash(_: int) -> None:
    raise CrashError


def script() -> list[Any]:
    """Transactions that are too large to be flushed together."""
    return [batch(i, line(10 * i, i), line(10 * i + 1, i), size=GROUP) for i in range(1, 6)]


def pipeline(warehouse: Warehouse, failpoints: Failpoints | None = None) -> Pipeline:
    app = App("stock", "postgresql://nowhere/", retries=0)
    app.on("public.lines")(with_session)
    return Pipeline(
        "stock",
        ScriptedSource(script(), ends=True),
        [app.sink()],
        store=SqlStore(warehouse.url),
        context=Context("stock", failpoints=failpoints or Failpoints()),
    )


@pytest.mark.parametrize(
    "point",
    [
        Failpoint.BEFORE_WRITE,
        Failpoint.AFTER_WRITE,
        Failpoint.BEFORE_FLUSH,
        Failpoint.SINK_COMMIT,
        Failpoint.AFTER_FLUSH,
        Failpoint.BEFORE_SAVE,
        Failpoint.AFTER_SAVE,
    ],
)
@pytest.mark.parametrize("pass_", [2, 3])
def test_a_crash_anywhere_leaves_writes_and_checkpoint_together(
    warehouse: Warehouse, point: Failpoint, pass_: int
) -> None:
    failpoints = Failpoints()
    failpoints.arm(point, lambda n: crash(n) if n == pass_ else None)
    with pytest.raises(Exception, match=r"CrashError|^$"):
        asyncio.run(pipeline(warehouse, failpoints).serve())
    asyncio.run(pipeline(warehouse).serve())
    assert warehouse.free == START - 2 * (1 + 2 + 3 + 4 + 5)


def test_the_copy_that_comes_second_is_fenced_off(warehouse: Warehouse) -> None:
    one = batch(1, line(1, 5))

    async def main() -> None:
        copies = []
        for _ in range(2):
            app = App("stock", "postgresql://nowhere/")
            app.on("public.lines")(with_session)
            store, sink = SqlStore(warehouse.url), app.sink()
            context = Context("stock", sink.name, store=store)
            await store.open(context)
            await sink.open(context)
            assert await sink.resume("main") is None
            copies.append((store, sink))
        try:
            await copies[0][1].write(one)
            assert await copies[0][1].flush() == one.last
            await copies[1][1].write(one)
            with pytest.raises(FencedError):
                await copies[1][1].flush()
        finally:
            for store, sink in copies:
                await sink.close()
                await store.close()

    asyncio.run(main())
    assert warehouse.free == START - 5
