"""The log: what each kind of statement becomes, and what happens when the link suffers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg
import pytest

from penstock.errors import ConnectionLostError, GapError
from penstock.model import UNCHANGED, Batch, Change, Message, SchemaChange
from penstock.model.stream import MAIN
from penstock.sources.postgres import slot, watch
from penstock.sources.postgres import source as source_module
from penstock.sources.postgres.watch import Watch
from penstock.sources.postgres.wire.lsn import parse_lsn
from tests.conftest import OwnServer
from tests.support.follow import Follower, Remembered, run, until
from tests.support.postgres import execute, fetch, transact
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

pytestmark = pytest.mark.server


def brief(changes: list[Change]) -> list[tuple[str, Any]]:
    return [(change.operation, dict(change.key) if change.key else None) for change in changes]


async def changes_of(dsn: str, *statements: str, together: bool = False) -> list[Change]:
    """What a new stream shows of some statements."""
    async with Follower(dsn, temporary=True) as follower:
        (transact if together else execute)(dsn, *statements)
        return await follower.changes()


def test_a_large_value_that_was_not_touched_is_unchanged(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE t (id int PRIMARY KEY, n int, big text)",
        "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
        "INSERT INTO t VALUES (1, 0, repeat('x', 10000))",
    )
    (change,) = run(changes_of(databases, "UPDATE t SET n = 1"))
    assert change.after is not None
    assert change.after["big"] is UNCHANGED
    assert change.before is None
    execute(databases, "ALTER TABLE t REPLICA IDENTITY FULL")
    (change,) = run(changes_of(databases, "UPDATE t SET n = 2"))
    assert change.after is not None
    assert change.after["big"] == "x" * 10000
    assert change.changed == frozenset({"n"})


def test_identities_and_keys(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE by_key (b int, a int, n int, PRIMARY KEY (a, b))",
        "CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL UNIQUE)",
        "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code_key",
        "CREATE TABLE by_row (n int, id int PRIMARY KEY)",
        "ALTER TABLE by_row REPLICA IDENTITY FULL",
    )
    changes = run(
        changes_of(
            databases,
            "INSERT INTO by_key VALUES (1, 2, 3)",
            "DELETE FROM by_key",
            "INSERT INTO by_index VALUES (1, 'one')",
            "DELETE FROM by_index",
            "INSERT INTO by_row VALUES (5, 1)",
            "DELETE FROM by_row",
        )
    )
    assert brief(changes) == [
        ("insert", {"a": 2, "b": 1}),
        ("delete", {"a": 2, "b": 1}),
        ("insert", {"code": "one"}),
        ("delete", {"code": "one"}),
        ("insert", {"id": 1}),
        ("delete", {"id": 1}),
    ]
    assert list(changes[0].key or ()) == ["a", "b"]
    assert changes[-1].before == {"n": 5, "id": 1}


def test_key_changes_and_swaps_keep_the_old_key(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    changes = run(
        changes_of(
            database,
            "UPDATE t SET id = 3 WHERE id = 1",
            "UPDATE t SET id = 1 WHERE id = 2",
            "UPDATE t SET id = 2 WHERE id = 3",
            together=True,
        )
    )
    moves = [(dict(c.old_key or {})["id"], dict(c.key or {})["id"]) for c in changes]
    assert moves == [(1, 3), (2, 1), (3, 2)]
    assert len({change.id for change in changes}) == 3


def test_truncate_is_one_change_a_table(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY REFERENCES a)",
    )
    changes = run(changes_of(databases, "TRUNCATE a CASCADE"))
    assert sorted((c.operation, c.table) for c in changes) == [
        ("truncate", "public.a"),
        ("truncate", "public.b"),
    ]


def test_nothing_that_was_rolled_back_is_seen(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)")
    (change,) = run(
        changes_of(
            database,
            "SAVEPOINT s",
            "INSERT INTO t VALUES (1)",
            "ROLLBACK TO s",
            "INSERT INTO t VALUES (2)",
            together=True,
        )
    )
    assert change.row["id"] == 2


def test_each_change_has_the_columns_of_its_time(databases: str) -> None:
    execute(databases, "CREATE TABLE t (id int PRIMARY KEY, a text)")
    memory = Remembered()

    async def start() -> None:
        async with Follower(databases, memory) as follower:
            await follower.to_head()

    async def rest() -> list[Any]:
        async with Follower(databases, memory) as follower:
            return await follower.to_head()

    run(start())
    transact(
        databases,
        "INSERT INTO t VALUES (1, 'a')",
        "ALTER TABLE t RENAME a TO b",
        "INSERT INTO t VALUES (2, 'b')",
        "ALTER TABLE t ADD c int DEFAULT 7",
        "INSERT INTO t VALUES (3, 'c')",
        "ALTER TABLE t DROP b",
        "INSERT INTO t VALUES (4)",
    )
    events = run(rest())
    rows = [dict(event.row) for event in events if isinstance(event, Change)]
    assert rows == [
        {"id": 1, "a": "a"},
        {"id": 2, "b": "b"},
        {"id": 3, "b": "c", "c": 7},
        {"id": 4, "c": 7},
    ]
    shapes = [event.after.names for event in events if isinstance(event, SchemaChange)]
    assert shapes == [("id", "a"), ("id", "b"), ("id", "b", "c"), ("id", "c")]
    shape, _ = memory.facts["shapes"][-1]
    assert shape["columns"][1]["name"] == "c"


def test_logical_messages_for_who_asks(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)")

    async def scenario() -> None:
        async with Follower(database, temporary=True, messages=["mail"]) as follower:
            execute(
                database,
                "SELECT pg_logical_emit_message(true, 'mail', 'one')",
                "SELECT pg_logical_emit_message(true, 'other', 'two')",
            )
            events = await follower.to_head()
        messages = [event for event in events if isinstance(event, Message)]
        assert [(m.prefix, m.content) for m in messages] == [("mail", b"one")]

    run(scenario())


def confirmed(dsn: str, slot: str = "penstock_shop") -> int:
    sql = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s"
    return int(fetch(dsn, sql, slot)[0][0])


def test_an_idle_database_frees_the_log_of_its_busy_neighbour(
    databases: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "KEEPALIVE_EVERY", 0.2)
    dsn = f"{databases}?options=-c%20wal_sender_timeout%3D2s"
    execute(databases, "CREATE TABLE t (id int PRIMARY KEY)")
    neighbour = databases.rpartition("/")[0] + "/postgres"
    memory = Remembered()

    async def scenario() -> None:
        async with Follower(dsn, memory) as follower:
            reading = asyncio.ensure_future(follower.read_for_ever())
            before = confirmed(databases)
            execute(
                neighbour,
                "CREATE TABLE IF NOT EXISTS noise (line text)",
                "INSERT INTO noise SELECT repeat('x', 900) FROM generate_series(1, 5000)",
                "DROP TABLE noise",
            )
            await until(lambda: confirmed(databases) >= before + 4_000_000)
            assert not reading.done()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        async with Follower(dsn, memory) as again:  # what was acknowledged had been saved
            await again.to_head()

    run(scenario(), 30)  # a keepalive that is passed over at first must not be forgotten


def test_keepalives_are_coalesced(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "KEEPALIVE_EVERY", 3600)
    dsn = f"{database}?options=-c%20wal_sender_timeout%3D2s"
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")

    async def scenario() -> None:
        async with Follower(dsn, tables=["public.t"]) as follower:
            await follower.to_head()
            reading = asyncio.ensure_future(follower.next())
            for id in range(5):
                execute(database, f"INSERT INTO u VALUES ({id})")
                await asyncio.sleep(0.7)  # as long as the server takes for a keepalive
            assert not reading.done()
            execute(database, "INSERT INTO t VALUES (1)")
            batch = await reading
            assert isinstance(batch, Batch)
            assert [e.row["id"] for e in batch if isinstance(e, Change)] == [1]

    run(scenario())


def test_a_slow_sink_keeps_its_connection(database: str) -> None:
    """Fault 6: the loop is blocked, and later reading is paused, for longer than the timeout."""
    dsn = f"{database}?options=-c%20wal_sender_timeout%3D4s"
    execute(database, "CREATE TABLE t (id int PRIMARY KEY, note text)")

    async def scenario() -> None:
        async with Follower(dsn, tables=["public.t"]) as follower:
            for number in range(60):
                execute(
                    database,
                    f"INSERT INTO t SELECT {number * 1000} + i, repeat('x', 500)"
                    " FROM generate_series(1, 1000) i",
                )
            time.sleep(9)  # noqa: ASYNC251 - a handler that blocks
            assert follower.source.authority() > 0
            assert follower.source.waiting()
            assert len(await follower.changes()) == 60000

    run(scenario())


def test_a_walsender_with_a_long_transaction_does_not_stand_still(
    databases: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.5)
    execute(databases, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (note text)")
    seen: list[bool] = []
    look = Watch.look_at_progress

    async def looked(self: Watch, received: int) -> None:
        await look(self, received)
        seen.append(self.standing)

    monkeypatch.setattr(Watch, "look_at_progress", looked)

    async def scenario() -> None:
        async with Follower(databases, tables=["public.t"]) as follower:
            await follower.to_head()
            with psycopg.connect(databases) as connection:
                for _ in range(4):
                    connection.execute(
                        "INSERT INTO u SELECT repeat('x', 500) FROM generate_series(1, 40000)"
                    )
                    await follower.to_head()
                connection.execute("INSERT INTO t VALUES (1)")
            assert len(await follower.changes("public.t")) == 1
            (name,) = fetch(databases, "SELECT slot_name FROM pg_replication_slots")[0]
            with psycopg.connect(databases) as connection:
                end = parse_lsn(
                    connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchall()[0][0]
                )
                await asyncio.sleep(1)
                assert slot.ahead(connection, name) >= end, "an idle walsender waits"

    run(scenario())
    assert seen
    assert not any(seen)


def test_a_walsender_that_waits_for_a_standby_stands_still(
    own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, and reads no log that the standby has not confirmed: for ever, without one."""
    monkeypatch.setattr(watch, "EVERY", 0.5)
    dsn = f"{own_server('18').start().dsn()}?options=-c%20wal_sender_timeout%3D6s"
    execute(dsn, "CREATE TABLE t (id int PRIMARY KEY, note text)")
    memory = Remembered()

    async def scenario() -> None:
        async with Follower(dsn, memory) as follower:
            await follower.to_head()
        with psycopg.connect(f"{dsn}&replication=database", autocommit=True) as walsender:
            walsender.pgconn.exec_(b"ALTER_REPLICATION_SLOT penstock_shop (FAILOVER true)")
        execute(
            dsn,
            "ALTER SYSTEM SET synchronized_standby_slots = 'absent'",
            "SELECT pg_reload_conf()",
        )
        async with Follower(dsn, memory) as follower:
            execute(
                dsn, "INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 40000) i"
            )
            reading = asyncio.ensure_future(follower.read_for_ever())
            await until(lambda: follower.source.waiting() or reading.done())
            execute(dsn, "ALTER SYSTEM RESET synchronized_standby_slots", "SELECT pg_reload_conf()")
            rows = follower.replica.setdefault("public.t", {})
            await until(lambda: len(rows) == 40000 or reading.done())
            await until(lambda: not follower.source.waiting() or reading.done())
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    run(scenario())


@pytest.mark.parametrize("version", ["16", "18"])
@pytest.mark.parametrize("reading", [True, False], ids=["sink behind", "sink frozen"])
def test_a_server_that_shuts_down_does_not_wait_for_us(
    own_server: OwnServer, version: str, reading: bool
) -> None:
    server = own_server(version).start()
    dsn = server.dsn()
    execute(dsn, "CREATE TABLE t (id int PRIMARY KEY, note text)")
    memory = Remembered()

    async def scenario() -> None:
        follower = Follower(dsn, memory)
        await follower.open()
        before = confirmed(dsn)
        rows = 100 if reading else 60000
        execute(dsn, f"INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, {rows}) i")
        seen = 0
        if reading:
            while seen < rows:  # written to a sink that never flushes
                batch = await follower.next(acknowledge=False)
                assert isinstance(batch, Batch)
                seen += sum(isinstance(event, Change) for event in batch)
        else:
            await asyncio.sleep(2)
        started = time.monotonic()
        await asyncio.to_thread(server.stop, "fast", 40)
        assert time.monotonic() - started < 40  # wal_sender_timeout is a minute
        with pytest.raises(ConnectionLostError):
            await follower.read_for_ever(acknowledge=False)
        await follower.close()
        server.start()
        assert confirmed(dsn) == before
        await follower.open()
        assert len(await follower.changes()) == rows
        await follower.close()

    run(scenario())


def test_a_killed_walsender_is_only_a_reconnect(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)")

    async def scenario() -> None:
        async with Follower(database) as follower:
            await follower.to_head()
            execute(
                database,
                "INSERT INTO t VALUES (1)",
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                " WHERE slot_name = 'penstock_shop'",
                "INSERT INTO t VALUES (2)",
            )
            with pytest.raises(ConnectionLostError):
                await follower.read_for_ever(acknowledge=False)
            await follower.reopen()
            assert [change.row["id"] for change in await follower.changes()] == [1, 2]

    run(scenario())


def test_a_dead_tunnel_is_noticed_and_authority_ends_before(database: str) -> None:
    """Fault 19 and 10: no byte in either direction, no error either."""
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)")

    async def scenario(proxy: Proxy) -> None:
        dsn = f"{proxy.dsn(database)}?options=-c%20wal_sender_timeout%3D6s"
        async with Follower(dsn) as follower:
            await follower.to_head()
            assert follower.source.authority() > 0
            proxy.black_hole()
            started = time.monotonic()
            losing = asyncio.ensure_future(follower.next())
            await until(lambda: follower.source.authority() <= 0)
            without = time.monotonic() - started
            with pytest.raises(ConnectionLostError, match="silent"):
                await losing
            assert without < 6
            assert time.monotonic() - started < 15
            proxy.heal()
            execute(database, "INSERT INTO t VALUES (1)")
            await follower.reopen()
            assert [change.row["id"] for change in await follower.changes()] == [1]

    with Proxy.before(database) as proxy:
        run(scenario(proxy))


def test_a_publication_that_goes_while_we_read_is_a_gap(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)")

    async def scenario() -> None:
        async with Follower(database) as follower:
            await follower.to_head()
            execute(database, "DROP PUBLICATION penstock_shop", "INSERT INTO t VALUES (1)")
            with pytest.raises(GapError, match="publication"):
                await follower.to_head()

    run(scenario())


def test_acknowledged_is_forgotten_by_the_server(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)")

    async def scenario() -> None:
        async with Follower(database) as follower:
            execute(database, "INSERT INTO t VALUES (1)")
            await follower.to_head()
            lsn = follower.memory.start[MAIN].value["lsn"]
            eventually(
                lambda: fetch(
                    database,
                    "SELECT 1 FROM pg_replication_slots WHERE confirmed_flush_lsn = %s::pg_lsn",
                    lsn,
                ),
                within=5,
            )

    run(scenario())


def test_open_transactions_of_others_do_not_hold_the_rest_back(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)")

    async def scenario() -> None:
        async with Follower(database) as follower:
            with psycopg.connect(database) as slow:
                slow.execute("INSERT INTO t VALUES (1)")
                execute(database, "INSERT INTO t VALUES (2)")
                assert [c.row["id"] for c in await follower.changes()] == [2]
                slow.commit()
            assert [c.row["id"] for c in await follower.changes()] == [1]

    run(scenario())


def test_a_publication_that_was_gone_for_a_while_is_a_gap(
    databases: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 16: PostgreSQL 18 skips what a missing publication does not cover, without a word."""
    monkeypatch.setattr(watch, "EVERY", 0.0)
    execute(databases, "CREATE TABLE t (id int PRIMARY KEY)")

    async def scenario() -> None:
        async with Follower(databases) as follower:
            await follower.to_head()
            execute(
                databases,
                "DROP PUBLICATION penstock_shop",
                "INSERT INTO t VALUES (1)",
                "CREATE PUBLICATION penstock_shop FOR TABLE t",
                "INSERT INTO t VALUES (2)",
            )
            with pytest.raises(GapError, match="publication"):
                await follower.to_head()

    run(scenario())


def test_a_table_that_is_dropped_while_we_read_is_no_gap(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.0)
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    memory = Remembered()

    async def scenario() -> None:
        async with Follower(database, memory) as follower:
            execute(database, "INSERT INTO u VALUES (1)", "DROP TABLE u")
            assert [change.row["id"] for change in await follower.changes()] == [1]
        async with Follower(database, memory) as follower:
            execute(database, "INSERT INTO t VALUES (2)")
            assert [change.row["id"] for change in await follower.changes()] == [2]

    run(scenario())
