"""What goes wrong between a MySQL or MariaDB server and its source, and in what the server logs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.errors import ConnectionLostError, GapError, PrivilegeError, ProtocolError
from penstock.model import Barrier, Change
from penstock.ports import Context
from penstock.sources.mysql import link
from penstock.sources.mysql.config import MySQL
from tests.conftest import OwnMySQL
from tests.support.follow import Follower, Remembered, run
from tests.support.mysql import Database
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v longtext)"


def follow(
    database: Database, memory: Remembered | None = None, dsn: str = "", **options: Any
) -> Follower:
    tables = (f"{database.name}.*",)
    return Follower(dsn or database.dsn, memory, kind=MySQL, tables=tables, **options)


def ids_of(changes: list[Change]) -> list[int]:
    return [change.after["id"] for change in changes if change.after is not None]


def test_a_large_transaction_is_read_again_from_its_beginning(binlogs: Database) -> None:
    """It came in part when we died: every change comes again under the id that it had."""
    binlogs.execute(TABLE)

    async def scenario() -> None:
        memory = Remembered()
        seen: list[str] = []
        async with follow(binlogs, memory) as follower:
            await follower.to_head()
            many = ", ".join(f"({i}, REPEAT('x', 3000))" for i in range(1500))
            binlogs.transact(f"INSERT INTO t VALUES {many}", "UPDATE t SET v = '' WHERE id < 9")
            while not seen:
                item = await follower.next()
                assert not isinstance(item, Barrier)
                seen += [event.id for event in item if isinstance(event, Change)]
                assert item.checkpoint is None or not seen, "the transaction has not ended"
        async with follow(binlogs, memory) as follower:
            again = [change.id for change in await follower.changes()]
        assert len(again) == len(set(again)) == 1509
        assert seen == again[: len(seen)]
        assert 0 < len(seen) < 1500

    run(scenario())


def test_a_connection_that_is_half_open_is_given_up(binlogs: Database) -> None:
    binlogs.execute(TABLE)

    async def scenario() -> None:
        memory = Remembered()
        with Proxy.before(binlogs.dsn) as proxy:
            dsn = proxy.dsn(binlogs.dsn)
            async with follow(binlogs, memory, dsn, heartbeat=0.5) as follower:
                await follower.to_head()
                proxy.black_hole()
                with pytest.raises(ConnectionLostError, match="silent"):
                    await follower.read_for_ever()
                proxy.cut()
                proxy.heal()
                binlogs.execute("INSERT INTO t VALUES (1, '')")
                await follower.reopen()
                assert ids_of(await follower.changes()) == [1]

    run(scenario())


def test_a_reader_whom_the_server_ends_goes_on(binlogs: Database) -> None:
    binlogs.execute(TABLE)

    def dumps() -> list[int]:
        listed = binlogs.fetch("SHOW PROCESSLIST")
        return [row[0] for row in listed if str(row[4]).startswith("Binlog Dump")]

    async def scenario() -> None:
        before = set(dumps())
        async with follow(binlogs) as follower:
            await follower.to_head()
            (ours,) = await asyncio.to_thread(lambda: eventually(lambda: set(dumps()) - before))
            binlogs.execute(f"KILL {ours}", "INSERT INTO t VALUES (1, '')")
            seen: list[int] = []
            with pytest.raises(ConnectionLostError):
                await collect(follower, seen)
            await follower.reopen()
            seen += ids_of(await follower.changes())
            assert seen == [1]

    run(scenario())


async def collect(follower: Follower, seen: list[int]) -> None:
    """The ids of what comes until something is raised."""
    while True:
        item = await follower.next()
        assert not isinstance(item, Barrier)
        seen += ids_of([event for event in item if isinstance(event, Change)])


def test_a_byte_that_was_damaged_on_its_way_is_noticed(binlogs: Database) -> None:
    binlogs.execute(TABLE)

    async def scenario() -> None:
        memory = Remembered()
        with Proxy.before(binlogs.dsn) as proxy:
            dsn = proxy.dsn(binlogs.dsn)
            async with follow(binlogs, memory, dsn) as follower:
                await follower.to_head()
                proxy.corrupt(2000, "down")
                binlogs.execute(f"INSERT INTO t VALUES (1, '{'x' * 5000}')")
                with pytest.raises(ProtocolError, match="checksum"):
                    await follower.read_for_ever()
            async with follow(binlogs, memory, dsn) as follower:
                [change] = await follower.changes()
                assert change.after == {"id": 1, "v": "x" * 5000}

    run(scenario())


def test_tables_without_transactions_keep_what_was_rolled_back(binlogs: Database) -> None:
    binlogs.execute("CREATE TABLE m (id int PRIMARY KEY) ENGINE = MyISAM", TABLE)

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory) as follower:
            await follower.to_head()
            binlogs.execute(
                "BEGIN", "INSERT INTO m VALUES (1), (2)", "ROLLBACK", "INSERT INTO m VALUES (3)"
            )
            mixed = ("INSERT INTO t VALUES (4, '')", "INSERT INTO m VALUES (5)")
            if binlogs.server.flavor == "mariadb":  # MySQL refuses to mix them
                binlogs.transact(*mixed)
            else:
                binlogs.execute(*mixed)
            changes = await follower.changes()
            assert sorted(ids_of(changes)) == [1, 2, 3, 4, 5]
            kept = sorted(row[0] for row in binlogs.fetch("SELECT id FROM m"))
            assert sorted(ids_of([c for c in changes if c.definition.name == "m"])) == kept

    run(scenario())


def test_what_a_session_keeps_out_of_the_log_is_not_seen_but_said(binlogs: Database) -> None:
    binlogs.execute(TABLE)

    async def scenario() -> None:
        async with follow(binlogs) as follower:
            await follower.to_head()
            binlogs.execute("SET SESSION sql_log_bin = 0", "INSERT INTO t VALUES (1, '')")
            binlogs.execute("INSERT INTO t VALUES (2, '')")
            assert ids_of(await follower.changes()) == [2]
        findings = await follower.source.check(Context("shop", "source"))
        assert any("sql_log_bin = 0" in finding.message for finding in findings)

    run(scenario())


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (2, '')",
        "/* why */ UPDATE `t` SET v = 'b'",
        "DELETE FROM t",
        "REPLACE INTO t VALUES (1, 'c')",
        "INSERT INTO t SELECT id + 5, v FROM t",
        "UPDATE t, other SET t.v = 'd' WHERE t.id = other.id",
        "DELETE t FROM t JOIN other USING (id)",
    ],
)
def test_no_statement_passes_in_place_of_its_rows(binlogs: Database, statement: str) -> None:
    binlogs.execute(TABLE, "CREATE TABLE other (id int PRIMARY KEY)")
    binlogs.execute("INSERT INTO t VALUES (1, '')", "INSERT INTO other VALUES (1)")

    async def scenario() -> None:
        options: dict[str, Any] = {"kind": MySQL, "tables": (f"{binlogs.name}.t",)}
        async with Follower(binlogs.dsn, **options) as follower:
            await follower.to_head()
            binlogs.execute("SET SESSION binlog_format = STATEMENT", statement)
            with pytest.raises(GapError, match="statement instead of its rows"):
                await follower.to_head()

    run(scenario())


def test_who_may_not_log_in_is_told_why_without_the_password(binlogs: Database) -> None:
    dsn = binlogs.server.dsn(binlogs.name, user="nobody", password="canary")
    with pytest.raises(PrivilegeError) as caught:
        run(follow(binlogs, dsn=dsn).open())
    assert "nobody" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_slow_reader_does_not_keep_the_server_from_stopping(
    own_mysql: OwnMySQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is told to wait for us as long as it takes, but not when it ends. (MySQL, which
    does the same, first takes ten seconds to find out.)"""
    monkeypatch.setattr(link, "BUDGET", 1 << 18)
    server = own_mysql("mariadb")
    Database(server, "").execute("CREATE DATABASE d")
    database = Database(server, "d")
    database.execute(TABLE)
    rows = 16

    async def scenario() -> None:
        memory = Remembered()
        async with follow(database, memory) as follower:
            await follower.to_head()
            for i in range(rows):  # more than all buffers on the way have room for
                database.execute(f"INSERT INTO t VALUES ({i}, REPEAT('x', 1000000))")
            await asyncio.to_thread(server.stop)
            seen: list[int] = []
            with pytest.raises(ConnectionLostError):
                await collect(follower, seen)
            await asyncio.to_thread(server.start)
            await follower.reopen()
            seen += ids_of(await follower.changes())
            assert seen == [*range(rows)]

    run(scenario())


def test_rows_that_foreign_keys_change_are_seen_or_listed(binlogs: Database) -> None:
    binlogs.execute(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, p int,"
        " FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO child VALUES (2, 1)",
    )

    async def scenario() -> None:
        async with follow(binlogs) as follower:
            await follower.to_head()
            binlogs.execute("DELETE FROM parent")
            seen = {change.definition.name for change in await follower.changes()}
            findings = await follower.source.check(Context("shop", "source"))
            listed = any("foreign key" in finding.message for finding in findings)
            assert binlogs.fetch("SELECT * FROM child") == []
            assert ("child" in seen) != listed
            assert "parent" in seen

    run(scenario())
