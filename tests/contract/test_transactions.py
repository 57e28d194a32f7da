"""Transactions that handlers share: one contract over kinds and databases."""

# ruff: noqa: PT012  (what raises is the end of a transaction, which is a block)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from penstock.errors import ConfigError, FencedError, SinkUnavailableError, StoreError
from penstock.model import Checkpoint, Mark
from penstock.ports import Context, Parked, TransactionalStore
from penstock.stores.sql import SqlStore
from tools.mysql import FLAVORS

SQLALCHEMY: list[type] = [Connection, Session, AsyncConnection, AsyncSession]
PSYCOPG: list[type] = [psycopg.Connection, psycopg.AsyncConnection]
DRIVERS = {
    "mariadb": "mysql+pymysql",
    "mysql": "mysql+pymysql",
    "postgresql": "postgresql+psycopg",
}
INSERT = "INSERT INTO stock VALUES ({})"


def at(n: int) -> Checkpoint:
    return Checkpoint.of("main", at=n)


def synchronous(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{DRIVERS.get(scheme, scheme)}://{rest}"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlStore]:
    store = SqlStore(url)
    await store.open(Context("shop", "store"))
    try:
        yield store
    finally:
        await store.close()


async def execute(connection: Any, statement: str) -> None:
    """As a handler would: awaited where it must be, else in a worker thread."""
    given: Any = statement if isinstance(connection, tuple(PSYCOPG)) else text(statement)
    if isinstance(connection, AsyncConnection | AsyncSession | psycopg.AsyncConnection):
        await connection.execute(given)
    else:
        await asyncio.to_thread(connection.execute, given)


async def call(method: Callable[[], Any]) -> None:
    result = method()
    if isinstance(result, Awaitable):
        await result


CASES = [
    *(pytest.param(("sqlite", kind), id=f"sqlite-{kind.__name__}") for kind in SQLALCHEMY),
    *(
        pytest.param(
            ("postgresql", kind),
            id=f"postgresql-{kind.__module__.partition('.')[0]}-{kind.__name__}",
            marks=pytest.mark.server,
        )
        for kind in SQLALCHEMY + PSYCOPG
    ),
    *(
        pytest.param((flavor, kind), id=f"{flavor}-{kind.__name__}", marks=pytest.mark.server)
        for flavor in FLAVORS
        for kind in (Connection, Session)
    ),
]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, type]:
    found: tuple[str, type] = request.param
    return found


@pytest.fixture
def kind(case: tuple[str, type]) -> type:
    return case[1]


@pytest.fixture
def url(request: pytest.FixtureRequest, case: tuple[str, type], tmp_path: Path) -> str:
    if case[0] == "sqlite":
        found = f"sqlite:///{tmp_path / 'shop.db'}"
    elif case[0] == "postgresql":
        found = request.getfixturevalue("database")
    else:
        found = request.getfixturevalue(case[0]).dsn
    engine = create_engine(synchronous(found))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE stock (n integer)"))
    engine.dispose()
    return found


def stock(url: str) -> list[int]:
    engine = create_engine(synchronous(url))
    with engine.connect() as connection:
        found = [row[0] for row in connection.execute(text("SELECT n FROM stock ORDER BY n"))]
    engine.dispose()
    return found


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


def test_rows_and_checkpoint_commit_together(kind: type, url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            assert isinstance(store, TransactionalStore)
            assert await store.checkpoint("app", "main") is None
            async with store.transaction(kind) as transaction:
                assert isinstance(transaction.connection, kind)
                await execute(transaction.connection, INSERT.format(1))
                await transaction.move("app", "main", None, Mark("1", 0), at(1))
            async with store.transaction(kind) as transaction:
                await execute(transaction.connection, INSERT.format(2))
                await transaction.move("app", "main", at(1), Mark("2", 0), at(2))
            assert await store.checkpoint("app", "main") == at(2)
            assert await store.checkpoint("app", "other") is None
            assert stock(url) == [1, 2]

    run(main())


def test_an_exception_rolls_both_back_and_comes_out_as_it_is(kind: type, url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            with pytest.raises(LookupError, match="handler"):
                async with store.transaction(kind) as transaction:
                    await execute(transaction.connection, INSERT.format(1))
                    await transaction.move("app", "main", None, Mark("1", 0), at(1))
                    raise LookupError("from the handler")
            assert await store.checkpoint("app", "main") is None
            assert stock(url) == []

    run(main())


@pytest.mark.parametrize("seen", [None, 1], ids=["first", "later"])
def test_of_two_copies_the_slower_is_fenced_and_leaves_nothing(
    kind: type, url: str, seen: int | None
) -> None:
    async def main() -> None:
        async with opened(url) as fast, opened(url) as slow:
            base = None
            if seen is not None:
                async with fast.transaction(kind) as transaction:
                    await transaction.move("app", "main", None, Mark("1", 0), at(seen))
                base = at(seen)
            async with fast.transaction(kind) as transaction:
                await execute(transaction.connection, INSERT.format(2))
                await transaction.move("app", "main", base, Mark("2", 0), at(2))
            with pytest.raises(FencedError, match="another copy"):
                async with slow.transaction(kind) as transaction:
                    await execute(transaction.connection, INSERT.format(3))
                    await transaction.move("app", "main", base, Mark("2", 0), at(2))
            assert stock(url) == [2]
            assert await slow.checkpoint("app", "main") == at(2)

    run(main())


def test_a_handler_cannot_commit_without_the_checkpoint_unnoticed(kind: type, url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            errors: tuple[type[Exception], ...] = (StoreError, psycopg.ProgrammingError)
            async with store.transaction(kind) as transaction:
                await execute(transaction.connection, INSERT.format(1))
            if issubclass(kind, Session | AsyncSession):
                with pytest.raises(LookupError):
                    async with store.transaction(kind) as transaction:
                        await execute(transaction.connection, INSERT.format(2))
                        await call(transaction.connection.commit)
                        raise LookupError
                assert stock(url) == [1]
                return
            with pytest.raises(errors):
                async with store.transaction(kind) as transaction:
                    await execute(transaction.connection, INSERT.format(2))
                    await call(transaction.connection.commit)
                    await transaction.move("app", "main", None, Mark("2", 0), at(2))
            assert await store.checkpoint("app", "main") is None

    run(main())


def test_a_savepoint_undoes_one_change_only(kind: type, url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            async with store.transaction(kind) as transaction:
                connection = transaction.connection
                await execute(connection, INSERT.format(1))
                nested = getattr(connection, "begin_nested", None) or connection.transaction
                with pytest.raises(LookupError):
                    if isinstance(connection, Connection | Session | psycopg.Connection):
                        with nested():
                            await execute(connection, INSERT.format(2))
                            raise LookupError
                    else:
                        async with nested():
                            await execute(connection, INSERT.format(2))
                            raise LookupError
                await transaction.move("app", "main", None, Mark("1", 0), at(1))
            assert stock(url) == [1]

    run(main())


def test_parking_inside_a_transaction_and_saving_beside_it(kind: type, url: str) -> None:
    parked = Parked("app", "1:0", "public.t", ("[1]",), "why", datetime.now(UTC), {})

    async def main() -> None:
        async with opened(url) as store:
            async with store.transaction(kind) as transaction:
                await execute(transaction.connection, INSERT.format(1))
                saving = asyncio.create_task(store.save(facts={"beside": 1}))
                await store.park([parked])
                await asyncio.sleep(0)
                await transaction.move("app", "main", None, Mark("1", 0), at(1))
            await saving
            assert await store.parked() == [parked]
            saved = await store.load()
            assert saved is not None
            assert saved.facts == {"beside": 1}

    run(main())


def test_a_cancelled_handler_leaves_nothing_and_nothing_locked(kind: type, url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            begun = asyncio.Event()

            async def handle() -> None:
                async with store.transaction(kind) as transaction:
                    await execute(transaction.connection, INSERT.format(1))
                    begun.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(handle())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(20):  # also while it is only beginning
                task = asyncio.create_task(handle())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await store.save(facts={"free": True})
            assert stock(url) == []

    run(main())


@pytest.mark.parametrize("other", [dict, psycopg.Connection, psycopg.AsyncConnection])
def test_what_a_store_cannot_give_is_refused(other: type, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(f"sqlite:///{tmp_path / 'shop.db'}") as store:
            with pytest.raises(ConfigError, match=r"no connection that|no PostgreSQL"):
                async with store.transaction(other):
                    pass

    run(main())


@pytest.mark.server
@pytest.mark.parametrize("asked", [Session, AsyncSession, psycopg.Connection])
def test_a_lost_connection_is_worth_another_try(asked: type, database: str) -> None:
    async def main() -> None:
        async with opened(database) as store:
            with pytest.raises(SinkUnavailableError):
                async with store.transaction(asked) as transaction:
                    with psycopg.connect(database, autocommit=True) as other:
                        other.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        )
                    await transaction.move("app", "main", None, Mark("1", 0), at(1))
            async with store.transaction(asked) as transaction:
                await transaction.move("app", "main", None, Mark("1", 0), at(1))
            assert await store.checkpoint("app", "main") == at(1)

    run(main())


@pytest.mark.server
@pytest.mark.parametrize("asked", SQLALCHEMY + PSYCOPG)
def test_a_failure_that_cost_the_connection_comes_out_as_it_is(asked: type, database: str) -> None:
    async def main() -> None:
        async with opened(database) as store:
            with pytest.raises(RuntimeError, match="lost"):
                async with store.transaction(asked) as transaction:
                    with pytest.raises(Exception, match="terminating connection"):
                        await execute(
                            transaction.connection, "SELECT pg_terminate_backend(pg_backend_pid())"
                        )
                    raise RuntimeError("lost")

    run(main())


@pytest.mark.server
@pytest.mark.parametrize("kind", [Connection, AsyncConnection])
@pytest.mark.parametrize(("set_to", "used"), [("off", "on"), ("local", "local")])
def test_what_is_saved_is_durable_whatever_the_database_says(
    database: str, kind: type, set_to: str, used: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = {set_to}"
        )

    async def setting() -> Any:
        async with opened(database) as store, store.transaction(kind) as transaction:
            found = transaction.connection.execute(text("SHOW synchronous_commit"))
            return (await found if isinstance(found, Awaitable) else found).scalar()

    assert asyncio.run(setting()) == used
