"""App and stream against real servers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from penstock import App, Change, Message, SchemaError, stream
from penstock.embedded.server import Server
from penstock.failpoints import Failpoint
from tests.support.postgres import execute, fetch, fresh_database
from tests.support.waiting import eventually

pytestmark = pytest.mark.server

ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, status text NOT NULL, total numeric(10,2))"


@dataclass
class Order:
    id: int
    status: str


@pytest.fixture(autouse=True)
def state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stores lie in a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def warehouse(server: Server) -> Iterator[str]:
    """The URL of a second database, with 1000 pieces of stock."""
    with fresh_database(server) as dsn:
        execute(dsn, "CREATE TABLE stock (free int)", "INSERT INTO stock VALUES (1000)")
        yield dsn


def insert(dsn: str, first: int, last: int, status: str = "new") -> None:
    execute(
        dsn, f"INSERT INTO orders SELECT g, '{status}', g FROM generate_series({first}, {last}) g"
    )


def ids(changes: Any) -> list[int]:
    return [change.row["id"] for change in changes]


# -- stream


async def until_last(changes: AsyncIterator[Change]) -> AsyncIterator[Change]:
    """The changes up to the one of row 1000."""
    async for change in changes:
        yield change
        if change.row["id"] == 1000:
            return


def test_a_stream_without_a_name_leaves_nothing_on_the_server(databases: str) -> None:
    execute(databases, ORDERS)

    async def main() -> list[int]:
        async with stream(databases, tables=["public.orders"]) as changes:
            arriving = asyncio.ensure_future(anext(changes))
            for number in range(1, 1000):
                await asyncio.to_thread(insert, databases, number, number)
                if (await asyncio.wait([arriving], timeout=0.05))[0]:
                    break
            await asyncio.to_thread(insert, databases, 1000, 1000)
            return [arriving.result().row["id"], *[c.row["id"] async for c in until_last(changes)]]

    got = asyncio.run(main())
    assert got == [*range(got[0], got[-2] + 1), 1000]
    slots = f"SELECT 1 FROM pg_replication_slots WHERE database = '{databases.rpartition('/')[2]}'"
    # The server drops it once it has seen the connection end.
    eventually(lambda: not fetch(databases, slots), what="the temporary slot is gone")
    assert fetch(databases, "SELECT pubname FROM pg_publication") == []


def test_a_stream_shows_what_is_written_once_it_is_entered(databases: str) -> None:
    execute(databases, ORDERS)
    with stream(databases, tables=["public.orders"]) as changes:
        insert(databases, 1, 1)
        assert ids([next(changes)]) == [1]

    async def main() -> None:
        async with stream(databases, tables=["public.orders"]) as changes:
            await asyncio.to_thread(insert, databases, 2, 2)
            assert ids([await anext(changes)]) == [2]

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_named_stream_goes_on_after_the_change_at_which_it_was_left(databases: str) -> None:
    execute(databases, ORDERS)

    def again() -> Any:
        return stream(databases, tables=["public.orders"], name="orders", until_caught_up=True)

    with again() as changes:
        assert ids(changes) == []
    insert(databases, 1, 10)
    insert(databases, 11, 13)
    got = []
    with again() as changes:
        for change in changes:
            got.append(change.row["id"])
            if len(got) == 4:
                break
    with again() as changes:
        got += ids(changes)
    assert got == list(range(1, 14))
    with again() as changes:
        assert ids(changes) == []


def test_a_stream_may_begin_with_a_snapshot(database: str) -> None:
    execute(database, ORDERS)
    insert(database, 1, 3)
    arguments: dict[str, Any] = {"name": "orders", "snapshot": "initial", "until_caught_up": True}
    with stream(database, tables=["public.orders"], **arguments) as changes:
        assert [(c.operation, c.row["id"]) for c in changes] == [("read", i) for i in (1, 2, 3)]
    insert(database, 4, 4)
    with stream(database, tables=["public.orders"], **arguments) as changes:
        assert [(c.operation, c.row["id"]) for c in changes] == [("insert", 4)]


def test_an_interrupted_loop_ends_cleanly(database: str) -> None:
    execute(database, ORDERS)
    code = f"""
import penstock
with penstock.stream({database!r}, tables=["public.orders"]) as changes:
    for change in changes:
        print(change.row["id"], flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        number = 0
        while not process.stdout.readline():
            assert process.poll() is None
            number += 1
            insert(database, number, number)
            fetch(database, "SELECT pg_sleep(0.05)")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
    finally:
        process.kill()
        process.communicate()
    database_name = database.rpartition("/")[2]
    slots = f"SELECT 1 FROM pg_replication_slots WHERE database = '{database_name}'"
    eventually(lambda: not fetch(database, slots), what="the temporary slot is gone")


# -- App


def test_typed_rows_of_a_real_table(databases: str) -> None:
    execute(databases, ORDERS)
    seen: list[tuple[str, Order]] = []
    heard: list[bytes] = []

    def app() -> App:
        app = App("order_mail", source=databases)

        @app.on("public.orders", "insert", "update")
        async def announce(change: Change[Order]) -> None:
            seen.append((change.operation, change.row))

        @app.on_message("audit")
        def audit(message: Message) -> None:
            heard.append(message.content)

        return app

    app().run(until_caught_up=True)
    insert(databases, 1, 1)
    execute(
        databases,
        "UPDATE orders SET status = 'paid'",
        "SELECT pg_logical_emit_message(true, 'audit', 'one')",
        "SELECT pg_logical_emit_message(true, 'other', 'two')",
    )
    report = app().run(until_caught_up=True)
    assert seen == [("insert", Order(1, "new")), ("update", Order(1, "paid"))]
    assert heard == [b"one"]
    assert report.changes == 2
    app().run(until_caught_up=True)
    assert len(seen) == 2


def with_session(change: Change[Order], session: Session) -> None:
    session.execute(text("UPDATE stock SET free = free - :id"), {"id": change.row.id})


async def with_async_session(change: Change[Order], session: AsyncSession) -> None:
    await session.execute(text("UPDATE stock SET free = free - :id"), {"id": change.row.id})


def with_psycopg(change: Change[Order], connection: psycopg.Connection[Any]) -> None:
    connection.execute("UPDATE stock SET free = free - %s", (change.row.id,))


class CrashError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("handler", [with_session, with_async_session, with_psycopg])
def test_writes_and_checkpoint_commit_together(database: str, warehouse: str, handler: Any) -> None:
    execute(database, ORDERS)

    def app() -> App:
        app = App("stock", source=database, store=warehouse, retries=0)
        app.on("public.orders", "insert")(handler)
        return app

    app().run(until_caught_up=True)
    for number, point in enumerate(
        (Failpoint.AFTER_WRITE, Failpoint.SINK_COMMIT, Failpoint.AFTER_FLUSH, Failpoint.AFTER_SAVE),
        start=1,
    ):
        insert(database, number, number)

        def crash(_: int) -> None:
            raise CrashError

        crashing = app()
        crashing.pipeline.context.failpoints.arm(point, crash)
        with pytest.raises(Exception, match=r"CrashError|^$"):
            crashing.run(until_caught_up=True)
    app().run(until_caught_up=True)
    assert fetch(warehouse, "SELECT free FROM stock") == [(1000 - 1 - 2 - 3 - 4,)]


def test_a_type_that_does_not_fit_its_table_is_refused(database: str) -> None:
    execute(database, ORDERS)

    @dataclass
    class Wrong:
        id: int
        total: float

    def app() -> App:
        app = App("wrong", source=database)

        @app.on("public.orders")
        def handler(change: Change[Wrong]) -> None:
            pytest.fail("it must not be called")

        return app

    app().run(until_caught_up=True)
    insert(database, 1, 1)
    with pytest.raises(SchemaError, match=r"numeric\(10,2\): it does not fit"):
        app().run(until_caught_up=True)


@dataclass
class Document:
    id: str
    status: str
    body: str


def test_check_finds_row_types_that_do_not_fit(database: str) -> None:
    execute(
        database,
        "CREATE TABLE documents (id int PRIMARY KEY, status varchar(10) NOT NULL, body text"
        " NOT NULL)",
        "ALTER TABLE documents ALTER status SET STORAGE plain",
        "CREATE TABLE orders (id int PRIMARY KEY, status varchar(10) NOT NULL)",
    )
    app = App("wrong_types", source=database, store="memory")

    @app.on("public.documents", "insert", "update")
    def index(change: Change[Document]) -> None: ...

    @app.on("public.orders", "insert")
    def announce(change: Change[Order]) -> None: ...

    found = [(f.severity, f.message) for f in app.check() if "Document." in f.message]
    assert found == [
        (
            "error",
            "public.documents.id is integer: it does not fit the field Document.id",
        ),
        (
            "info",
            "a large value of public.documents.body is UNCHANGED in updates that leave it alone, "
            "which Document.body cannot hold: such a change fails",
        ),
    ]
    assert not [f for f in app.check() if "Order." in f.message]


def test_check_of_an_app_whose_server_is_away_is_a_finding() -> None:
    app = App("away", source="postgresql://u@127.0.0.1:1/d", store="memory")

    @app.on("public.documents", "insert")
    def index(change: Change[Document]) -> None: ...

    assert [f.severity for f in app.check()] == ["error", "info"]
