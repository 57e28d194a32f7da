"""The MySQL source against both servers: the copy, the log, the places to go on from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from penstock.errors import (
    ConfigError,
    ConnectionLostError,
    DivergedError,
    GapError,
    PenstockError,
    PrivilegeError,
    SlotInUseError,
    SourceError,
    StateMismatchError,
)
from penstock.model import Barrier, Batch, Change, Checkpoint, SchemaChange, SnapshotEnd, Table
from penstock.ports import Context, Source
from penstock.sources.mysql import lease
from penstock.sources.mysql.config import MySQL
from penstock.testing.contracts import SourceContract
from tests.conftest import OwnMySQL
from tests.support.follow import Follower, Remembered, run
from tests.support.mysql import Database
from tests.support.waiting import eventually
from tools.capture_binlog import statements
from tools.mysql import FLAVORS, Flavor


def follow(database: Database, memory: Remembered | None = None, **options: Any) -> Follower:
    tables = (f"{database.name}.*",)
    return Follower(database.dsn, memory, kind=MySQL, **{"tables": tables, **options})


def shop(database: Database) -> None:
    database.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, status varchar(20))",
        "INSERT INTO orders VALUES (1, 'new'), (2, 'new')",
    )


class TestMySQLSource(SourceContract):
    @pytest.fixture
    def connect(self, binlogs: Database) -> Callable[[], Source]:
        shop(binlogs)
        began = run(_begin(binlogs))
        for i in range(3, 8):
            binlogs.execute(f"INSERT INTO orders VALUES ({i}, 'new')")

        class Anew:
            """A source for which what was remembered is where the fixture began."""

            def __init__(self) -> None:
                self.source = MySQL(dsn=binlogs.dsn, tables=(f"{binlogs.name}.*",)).build()

            def __getattr__(self, name: str) -> Any:
                return getattr(self.source, name)

            async def open(self, context: Context, state: Any) -> None:
                memory = Remembered()
                memory.start = dict(state.start)
                memory.facts = dict(began.facts)
                await self.source.open(context, memory)

        return lambda: Anew()


async def _begin(database: Database) -> Remembered:
    memory = Remembered()
    async with follow(database, memory) as follower:
        await follower.to_head()
    return memory


def test_a_copy_and_then_the_log(binlogs: Database) -> None:
    shop(binlogs)

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory, snapshot="initial") as follower:
            binlogs.transact(
                "UPDATE orders SET status = 'paid' WHERE id = 1",
                "DELETE FROM orders WHERE id = 2",
                "INSERT INTO orders VALUES (3, 'new')",
            )
            changes = await follower.changes()
            assert [c.operation for c in changes] == ["read", "read", "update", "delete", "insert"]
            name = f"{binlogs.name}.orders"
            assert follower.replica[name] == {
                (b"1",): (b"1", b"paid"),
                (b"3",): (b"3", b"new"),
            }
        binlogs.execute("INSERT INTO orders VALUES (4, 'new')")
        async with follow(binlogs, memory, snapshot="initial") as follower:
            [change] = await follower.changes()
            assert change.after == {"id": 4, "status": "new"}

    run(scenario())


def test_a_row_is_the_same_in_the_copy_and_in_the_log(binlogs: Database) -> None:
    """Every type of the captured workload, by both ways."""
    made = [s for s in statements(binlogs.server.flavor) if " v_" in s]

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory) as follower:
            with binlogs.connect() as connection, connection.cursor() as cursor:
                cursor.execute("SET SESSION sql_mode = ''")
                for statement in made:
                    cursor.execute(statement)
            streamed = await follower.changes()
        async with follow(binlogs, snapshot="only") as follower:
            copied: list[Change] = []
            async for item in follower.source.batches():
                if isinstance(item, Batch):
                    copied += [event for event in item if isinstance(event, Change)]
        shapes: dict[str, Table] = {change.table: change.definition for change in streamed}
        rows = {(c.table, c.key_values): c.values_after for c in streamed}
        assert len(rows) == len(copied) > 100
        for change in copied:
            assert change.definition == shapes[change.table]
            assert list(change.values_after or ()) == rows[change.table, change.key_values]

    run(scenario())


def test_nobody_is_asked_to_wait_while_the_rows_are_read(binlogs: Database) -> None:
    binlogs.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    binlogs.execute("INSERT INTO t SELECT seq, 0 FROM (" + _numbers(3000) + ") AS n")

    async def scenario() -> None:
        async with follow(binlogs, snapshot="initial") as follower:
            first = await follower.next()
            assert isinstance(first, Batch)
            await asyncio.to_thread(binlogs.execute, "UPDATE t SET v = 1", "DELETE FROM t LIMIT 9")
            events = [*first, *await follower.to_head()]
            [end] = [event for event in events if isinstance(event, SnapshotEnd)]
            assert end.rows == 3000
            assert len(follower.replica[f"{binlogs.name}.t"]) == 2991
            assert {row[1] for row in follower.replica[f"{binlogs.name}.t"].values()} == {b"1"}

    run(scenario())


def _numbers(count: int) -> str:
    """A query of the numbers below ``count``, which is at most 10,000."""
    digits = "SELECT 0 AS n" + "".join(f" UNION ALL SELECT {i}" for i in range(1, 10))
    joined = " CROSS JOIN ".join(f"({digits}) AS d{i}" for i in range(4))
    number = " + ".join(f"d{i}.n * {10**i}" for i in range(4))
    return f"SELECT {number} AS seq FROM {joined} HAVING seq < {count}"


def test_a_copy_that_was_cut_short_begins_again(binlogs: Database) -> None:
    shop(binlogs)
    binlogs.execute("CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO other VALUES (1)")

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory, snapshot="initial") as follower:
            await follower.next()
        binlogs.execute(
            "UPDATE orders SET status = 'paid'",
            "INSERT INTO other VALUES (2)",
            "DELETE FROM orders WHERE id = 1",
        )
        replica = follower.replica
        async with follow(binlogs, memory, snapshot="initial", replica=replica) as follower:
            await follower.to_head()
            assert follower.replica[f"{binlogs.name}.orders"] == {(b"2",): (b"2", b"paid")}
            assert set(follower.replica[f"{binlogs.name}.other"]) == {(b"1",), (b"2",)}

    run(scenario())


def test_a_log_that_was_purged_is_a_gap(own_mysql: OwnMySQL) -> None:
    for flavor in FLAVORS:
        server = own_mysql(flavor)
        Database(server, "").execute("CREATE DATABASE d")
        database = Database(server, "d")
        shop(database)
        memory = run(_begin(database))
        database.execute("INSERT INTO orders VALUES (3, 'lost')", "FLUSH BINARY LOGS")
        database.execute("INSERT INTO orders VALUES (4, 'kept')", "FLUSH BINARY LOGS")
        eventually(partial(_purged, database))

        async def scenario(database: Database = database, memory: Remembered = memory) -> None:
            async with follow(database, memory) as follower:
                await follower.read_for_ever()

        with pytest.raises(GapError, match="removed"):
            run(scenario())


def test_a_server_that_lacks_what_we_have_is_another_history(binlogs: Database) -> None:
    shop(binlogs)
    memory = run(_begin(binlogs))
    gtids = memory.start["main"].value["gtids"]
    ahead = (
        f"{gtids},11111111-1111-1111-1111-111111111111:1-5"
        if binlogs.server.flavor == "mysql"
        else f"{gtids.rpartition('-')[0]}-99999999"
    )
    memory.start["main"] = Checkpoint.of("main", flavor=binlogs.server.flavor, gtids=ahead)
    with pytest.raises(DivergedError, match="does not know"):
        run(_open(binlogs, memory))


def _purged(database: Database) -> bool:
    """Whether only the last file is left: one that a reader just left is in use for a while."""
    [*_, (last, *_)] = database.fetch("SHOW BINARY LOGS")
    database.execute(f"PURGE BINARY LOGS TO '{last}'")
    return len(database.fetch("SHOW BINARY LOGS")) == 1


async def _open(database: Database, memory: Remembered | None = None, **options: Any) -> None:
    async with follow(database, memory, **options):
        pass


def test_only_one_reads_for_a_pipeline(binlogs: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PATIENCE", 1)
    shop(binlogs)

    async def scenario() -> None:
        async with follow(binlogs) as follower:
            assert follower.source.authority() > 0
            await follower.to_head()
            with pytest.raises(SlotInUseError, match="another copy"):
                await _open(binlogs)
        await _open(binlogs)

    run(scenario())


def test_of_two_with_one_number_one_ends(mariadb: Database) -> None:
    """The server ends the stream of who has a newcomer's number: they would take turns for ever."""
    shop(mariadb)

    async def scenario() -> None:
        options: dict[str, Any] = {"server_id": 4711}
        async with (
            follow(mariadb, pipeline="one", **options) as one,
            follow(mariadb, pipeline="two", **options) as two,
        ):
            with pytest.raises(ConnectionLostError, match="took over"):
                await one.read_for_ever()
            await one.reopen()
            with pytest.raises(ConnectionLostError, match="took over"):
                await two.read_for_ever()
            await two.reopen()
            with pytest.raises(SlotInUseError, match="server_id"):
                await one.read_for_ever()
            mariadb.execute("INSERT INTO orders VALUES (3, 'new')")
            assert len(await two.changes()) == 1

    run(scenario())


def test_any_number_may_look(binlogs: Database) -> None:
    """Also under one name, as ``penstock tail`` has it."""
    shop(binlogs)

    async def scenario() -> None:
        async with (
            follow(binlogs, temporary=True) as one,
            follow(binlogs, temporary=True) as two,
        ):
            await one.to_head()
            await two.to_head()
            binlogs.execute("INSERT INTO orders VALUES (3, 'new')")
            assert len(await one.changes()) == len(await two.changes()) == 1

    run(scenario())


def test_a_store_without_memory_is_refused(binlogs: Database) -> None:
    shop(binlogs)
    memory = run(_begin(binlogs))
    memory.facts = {}
    with pytest.raises(StateMismatchError, match="nothing is remembered"):
        run(_open(binlogs, memory))


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("SET SESSION binlog_format = STATEMENT", "statement instead of its rows"),
        ("SET SESSION binlog_row_image = MINIMAL", "without all of its columns"),
    ],
)
def test_rows_that_a_session_hides_are_a_gap(binlogs: Database, statement: str, what: str) -> None:
    binlogs.execute("CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 5, b int)")

    async def scenario() -> None:
        async with follow(binlogs) as follower:
            await follower.to_head()
            with binlogs.connect() as connection, connection.cursor() as cursor:
                cursor.execute(statement)
                cursor.execute("INSERT INTO t (id) VALUES (1)")
            with pytest.raises(GapError, match=what):
                await follower.changes()

    run(scenario())


def test_a_prepared_transaction_waits_for_its_end(binlogs: Database) -> None:
    binlogs.execute("CREATE TABLE t (id int PRIMARY KEY)")

    def prepared(name: str, id: int) -> None:
        with binlogs.connect() as connection, connection.cursor() as cursor:
            for sql in (
                f"XA START '{name}'",
                f"INSERT INTO t VALUES ({id})",
                f"XA END '{name}'",
                f"XA PREPARE '{name}'",
            ):
                cursor.execute(sql)

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory) as follower:
            await follower.to_head()
            prepared("kept", 1)
            prepared("undone", 2)
            binlogs.execute("INSERT INTO t VALUES (3)")
            seen: list[Change] = []
            while not seen:
                item = await follower.next()
                assert not isinstance(item, Barrier)
                seen += [event for event in item if isinstance(event, Change)]
            assert [change.after["id"] for change in seen if change.after] == [3]
        async with follow(binlogs, memory) as follower:
            binlogs.execute("XA COMMIT 'kept'", "XA ROLLBACK 'undone'")
            ids = {change.after["id"] for change in await follower.changes() if change.after}
            assert ids - {3} == {1}
        async with follow(binlogs, memory) as follower:
            assert await follower.changes() == []

    run(scenario())


def test_a_snapshot_does_not_begin_while_transactions_are_prepared(binlogs: Database) -> None:
    binlogs.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with binlogs.connect() as connection, connection.cursor() as cursor:
        for sql in ("XA START 'x'", "INSERT INTO t VALUES (1)", "XA END 'x'", "XA PREPARE 'x'"):
            cursor.execute(sql)
    try:
        with pytest.raises(SourceError, match="prepared"):
            run(_open(binlogs, snapshot="initial", lock_timeout=1))
    finally:
        binlogs.execute("XA ROLLBACK 'x'")


def test_a_shape_is_that_of_its_row(binlogs: Database) -> None:
    binlogs.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory) as follower:
            await follower.to_head()
        binlogs.execute(
            "INSERT INTO t VALUES (1, 1)",
            "ALTER TABLE t ADD COLUMN b varchar(5) FIRST, DROP COLUMN a",
            "INSERT INTO t VALUES ('x', 2)",
            "RENAME TABLE t TO u",
            "INSERT INTO u VALUES ('y', 3)",
            "DROP TABLE u",
        )
        async with follow(binlogs, memory) as follower:
            rows = [dict(change.after or {}) for change in await follower.changes()]
        assert rows == [{"id": 1, "a": 1}, {"b": "x", "id": 2}, {"b": "y", "id": 3}]

    run(scenario())


def test_rows_that_come_again_have_the_shape_that_the_table_had(binlogs: Database) -> None:
    """A start from before an ALTER does not tell that it was undone."""
    binlogs.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory) as follower:
            binlogs.execute("INSERT INTO t VALUES (1, 1)")
            await follower.to_head()
        start = dict(memory.start)
        async with follow(binlogs, memory) as follower:
            binlogs.execute("INSERT INTO t VALUES (2, 2)", "ALTER TABLE t MODIFY n bigint")
            binlogs.execute("INSERT INTO t VALUES (3, 3)")
            assert len(await follower.changes()) == 2
        memory.start = start  # a crash before what came then was durable
        async with follow(binlogs, memory) as follower:
            events = await follower.to_head()
        ids = [event.row["id"] for event in events if isinstance(event, Change)]
        assert ids == [2, 3]
        types = [
            [table and table.columns[1].type.sql for table in (event.before, event.after)]
            for event in events
            if isinstance(event, SchemaChange)
        ]
        assert types == [["int", "int"], ["int", "bigint"]]

    run(scenario())


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_server_that_dies_is_waited_for(own_mysql: OwnMySQL, flavor: Flavor) -> None:
    server = own_mysql(flavor)
    Database(server, "").execute("CREATE DATABASE d")
    database = Database(server, "d")
    shop(database)

    async def scenario() -> None:
        memory = Remembered()
        async with follow(database, memory) as follower:
            await follower.to_head()
            await asyncio.to_thread(server.kill)
            with pytest.raises(ConnectionLostError):
                await follower.read_for_ever()
            with pytest.raises(ConnectionLostError):
                await follower.reopen()
            await asyncio.to_thread(server.start)
            database.execute("INSERT INTO orders VALUES (3, 'new')")
            await follower.reopen()
            assert [c.after["id"] for c in await follower.changes() if c.after] == [3]

    run(scenario())


def test_a_user_with_the_rights_of_the_page_may_read(binlogs: Database) -> None:
    monitor = "BINLOG MONITOR" if binlogs.server.flavor == "mariadb" else "REPLICATION CLIENT"
    user = f"reader_{binlogs.name}"
    binlogs.execute(
        f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'secret'",
        f"GRANT REPLICATION SLAVE, {monitor}, RELOAD ON *.* TO {user}@'127.0.0.1'",
        f"GRANT SELECT ON {binlogs.name}.* TO {user}@'127.0.0.1'",
    )
    shop(binlogs)
    dsn = binlogs.server.dsn(binlogs.name, user=user, password="secret")
    options: dict[str, Any] = {"kind": MySQL, "tables": (f"{binlogs.name}.*",)}

    async def scenario() -> None:
        async with Follower(dsn, snapshot="initial", **options) as follower:
            assert len(await follower.changes()) == 2

    run(scenario())
    binlogs.execute(f"REVOKE REPLICATION SLAVE ON *.* FROM {user}@'127.0.0.1'")
    with pytest.raises(PrivilegeError, match="REPLICATION SLAVE"):
        run(scenario())
    wrong = dsn.replace("secret", "canary")
    with pytest.raises(PrivilegeError) as caught:
        run(Follower(wrong, **options).open())
    assert "canary" not in str(caught.value)


def test_tls_is_spoken_when_it_is_asked_for(mysql: Database) -> None:
    shop(mysql)

    async def scenario() -> None:
        options: dict[str, Any] = {"kind": MySQL, "tables": (f"{mysql.name}.*",)}
        async with Follower(mysql.dsn + "?sslmode=require", **options) as follower:
            mysql.execute("INSERT INTO orders VALUES (3, 'new')")
            assert len(await follower.changes()) == 1
        with pytest.raises(SourceError, match="certificate"):
            await Follower(mysql.dsn + "?sslmode=verify-full", **options).open()

    run(scenario())


@pytest.mark.parametrize(
    ("dsn", "what"),
    [
        ("mysql://u@h:port/d", "no MySQL URL"),
        ("postgresql://u@h/d", "no MySQL URL"),
        ("mysql://u:p@ss/w@h/d", "no MySQL URL"),
        ("mysql://u@h/d?ssl=1", "unknown parameters: ssl"),
        ("mysql://u@h/d?sslmode=maybe", "'maybe' is not known"),
    ],
)
def test_a_dsn_that_cannot_be_read_is_refused(dsn: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        MySQL(dsn=dsn).build()


def test_settings_that_hide_rows_are_found(own_mysql: OwnMySQL) -> None:
    for flavor in FLAVORS:
        server = own_mysql(flavor, binlog_row_metadata=_least(flavor), binlog_row_image="MINIMAL")
        database = Database(server, "")
        source = MySQL(dsn=database.dsn).build()
        findings = run(source.check(Context("shop", "source")))
        errors = {f.message.partition(" ")[0] for f in findings if f.severity == "error"}
        assert errors == {"binlog_row_image"}
        assert all(finding.fix for finding in findings if finding.severity == "error")
        assert any("binlog_row_metadata" in f.fix for f in findings if f.severity == "warning")
        with pytest.raises(PenstockError, match="binlog_row_image is MINIMAL"):
            run(source.open(Context("shop", "source"), Remembered()))
        server.close()


def _least(flavor: Flavor) -> str:
    return "MINIMAL" if flavor == "mysql" else "NO_LOG"


def test_what_is_not_captured_is_listed(binlogs: Database) -> None:
    binlogs.execute(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, p int,"
        " FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
        "CREATE TABLE keyless (a int)",
        "CREATE TABLE engine (id int PRIMARY KEY) ENGINE = MyISAM",
    )
    source = MySQL(dsn=binlogs.dsn, tables=(f"{binlogs.name}.*",)).build()
    findings = run(source.check(Context("shop", "source")))
    warnings = [f.message for f in findings if f.severity == "warning"]
    assert any("keyless has no primary key" in text for text in warnings)
    assert any("engine is of the engine MyISAM" in text for text in warnings)
    logged = binlogs.server.flavor == "mysql"  # since 9.6
    assert any("foreign key" in text for text in warnings) != logged
    assert not [f for f in findings if f.severity == "error"]
    tables = run(source.describe(Context("shop", "source")))
    assert {table.name for table in tables} == {"parent", "child", "keyless", "engine"}
    status = run(source.status(Context("shop", "source")))
    assert status["flavor"] == binlogs.server.flavor
    assert status["log_bytes"] > 0


def test_types_that_the_log_does_not_tell_come_from_the_catalog(mariadb: Database) -> None:
    rows = [
        ("123e4567-e89b-12d3-a456-426655440000", "1.2.3.4", "2001:db8::ff00:42:8329", "00ff"),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "0.0.0.0", "::", "11"),
        ("00000000-0000-0000-0000-000000000000", "255.255.255.255", "::ffff:1.2.3.4", ""),
        ("ffffffff-ffff-4fff-bfff-ffffffffffff", "10.0.0.0", "::1", "aa"),
        ("ffffffff-ffff-1fff-bfff-ffffffffff00", "10.0.0.1", "::1.2.3.4", "bb"),
    ]

    async def scenario() -> None:
        memory = Remembered()
        async with follow(mariadb, memory) as follower:
            await follower.to_head()
            mariadb.execute(
                "CREATE TABLE t (u uuid PRIMARY KEY, a inet4, b inet6, c binary(16))",
                "CREATE TABLE gone (id int PRIMARY KEY, c binary(4))",
                "INSERT INTO gone VALUES (1, 'abcd')",
                "DROP TABLE gone",
            )
            for u, a, b, c in rows:
                mariadb.execute(f"INSERT INTO t VALUES ('{u}', '{a}', '{b}', x'{c}')")
            changes: list[Change] = []
            while not changes:
                try:
                    changes = await follower.changes()
                except ConnectionLostError:
                    await follower.reopen()
        streamed = [dict(c.after) for c in changes if c.after and c.definition.name == "t"]
        names = ("u", "a", "b", "c")
        shown = [
            dict(zip(names, row, strict=True)) for row in mariadb.fetch("SELECT u, a, b, c FROM t")
        ]
        assert sorted(streamed, key=str) == sorted(shown, key=str)
        async with follow(mariadb, snapshot="only") as follower:
            item = await follower.next()
            assert isinstance(item, Batch)
            copied = [event for event in item if isinstance(event, Change)]
        assert sorted([dict(c.after or {}) for c in copied], key=str) == sorted(shown, key=str)
        assert copied[0].definition == changes[-1].definition

    run(scenario())
