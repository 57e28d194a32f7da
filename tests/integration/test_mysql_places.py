"""A MySQL without GTIDs: read on by file and position, on that server alone."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from penstock.errors import DivergedError, GapError, SourceError
from penstock.model import Batch, Change
from penstock.ports import Context
from penstock.sources.mysql import link, source
from penstock.sources.mysql.config import MySQL
from tests.conftest import OwnMySQL
from tests.support.follow import Follower, Remembered, run
from tests.support.mysql import Database
from tests.support.waiting import eventually


@pytest.fixture
def nameless(own_mysql: OwnMySQL) -> Database:
    server = own_mysql("mysql", gtid_mode="OFF", enforce_gtid_consistency="OFF")
    Database(server, "").execute("CREATE DATABASE d")
    database = Database(server, "d")
    database.execute("CREATE TABLE orders (id int PRIMARY KEY, v varchar(2000))")
    return database


def follow(database: Database, memory: Remembered, **options: Any) -> Follower:
    return Follower(database.dsn, memory, kind=MySQL, tables=("d.*",), **options)


def insert(*ids: int) -> list[str]:
    return [f"INSERT INTO orders VALUES ({i}, '')" for i in ids]


def ids_of(changes: list[Change]) -> list[int]:
    return [change.after["id"] for change in changes if change.after is not None]


def test_each_transaction_once_wherever_reading_is_taken_up(
    nameless: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of its batches in turn, over the ends of files, and after a restart."""

    monkeypatch.setattr(link, "READ", 64)  # so that a batch ends wherever one may

    async def scenario() -> None:
        memory = Remembered()
        nameless.execute(*insert(1, 2))
        async with follow(nameless, memory, snapshot="initial") as follower:
            assert ids_of(await follower.changes()) == [1, 2]
        began = memory.start["main"]
        assert "binlog.00000" in began.text
        nameless.transact(*insert(3, 4))
        nameless.execute("FLUSH BINARY LOGS", *insert(5), "DELETE FROM orders WHERE id = 1")
        await asyncio.to_thread(nameless.server.restart)
        nameless.execute(*insert(6), "SET GLOBAL gtid_mode = OFF_PERMISSIVE", *insert(7))
        points, whole = [began], list[str]()
        async with follow(nameless, memory) as follower:
            head = await follower.source.head()
            while points[-1] != head:
                item = await follower.next()
                assert isinstance(item, Batch)
                whole += [event.id for event in item if isinstance(event, Change)]
                if item.checkpoint is not None and item.checkpoint != points[-1]:
                    points.append(item.checkpoint)
        assert len(whole) == len(set(whole)) == 6
        seen = set[int]()
        for at in points:
            memory.start["main"] = at
            async with follow(nameless, memory) as follower:
                rest = [change.id for change in await follower.changes()]
            assert rest == whole[len(whole) - len(rest) :]
            seen.add(len(rest))
        assert seen == {0, 1, 2, 3, 4, 6}  # two came in one transaction

    run(scenario())


def test_what_else_happens_is_told(nameless: Database, own_mysql: OwnMySQL) -> None:
    memory = Remembered()

    async def begin() -> None:
        async with follow(nameless, memory) as follower:
            nameless.execute(*insert(1))
            assert ids_of(await follower.changes()) == [1]

    async def go_on(database: Database) -> None:
        async with follow(database, memory) as follower:
            await follower.read_for_ever()

    run(begin())
    findings = run(MySQL(dsn=nameless.dsn).build().check(Context("shop", "source")))
    assert not [finding for finding in findings if finding.severity == "error"]
    assert any("no GTIDs" in finding.message for finding in findings)

    other = own_mysql("mysql", gtid_mode="OFF", enforce_gtid_consistency="OFF")
    Database(other, "").execute("CREATE DATABASE d", "CREATE TABLE d.orders (id int)")
    with pytest.raises(DivergedError, match="does not lead there"):
        run(go_on(Database(other, "d")))

    nameless.execute(*insert(2), "FLUSH BINARY LOGS", *insert(3))
    eventually(partial(purged, nameless))
    with pytest.raises(GapError, match="has removed binlog"):
        run(go_on(nameless))

    nameless.execute("RESET BINARY LOGS AND GTIDS")
    with pytest.raises(DivergedError, match="does not lead there"):
        run(go_on(nameless))


def purged(database: Database) -> bool:
    """Whether only the last file is left: one that a reader just left is in use for a while."""
    [*_, (last, *_)] = database.fetch("SHOW BINARY LOGS")
    database.execute(f"PURGE BINARY LOGS TO '{last}'")
    return len(database.fetch("SHOW BINARY LOGS")) == 1


def test_a_pipeline_that_began_by_gtids_needs_them(own_mysql: OwnMySQL) -> None:
    server = own_mysql("mysql")
    Database(server, "").execute("CREATE DATABASE d")
    database, memory = Database(server, "d"), Remembered()
    database.execute("CREATE TABLE orders (id int PRIMARY KEY, v varchar(20))")

    async def scenario() -> None:
        async with follow(database, memory) as follower:
            await follower.to_head()

    run(scenario())
    database.execute("SET GLOBAL gtid_mode = ON_PERMISSIVE")
    with pytest.raises(SourceError, match="no GTIDs any more"):
        run(scenario())


def test_a_file_that_ends_is_left(nameless: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an idle server that removes its old files would take ours too."""
    monkeypatch.setattr(source, "KEEPALIVE_EVERY", 0.0)
    memory = Remembered()

    async def scenario() -> None:
        async with follow(nameless, memory) as follower:
            await follower.to_head()
            nameless.execute("FLUSH BINARY LOGS")
            [*_, (last, *_)] = nameless.fetch("SHOW BINARY LOGS")
            while last not in memory.start["main"].text:
                await follower.next()
        eventually(partial(purged, nameless))
        async with follow(nameless, memory) as follower:
            nameless.execute(*insert(9))
            assert ids_of(await follower.changes()) == [9]

    run(scenario())
