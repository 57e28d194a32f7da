"""Start-up: nothing, half of it, all of it, or what somebody else left on the server."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from penstock.errors import (
    ConfigError,
    DivergedError,
    GapError,
    PrivilegeError,
    SchemaError,
    SlotInUseError,
    SlotMissingError,
    SourceError,
    StateMismatchError,
)
from penstock.failpoints import Failpoint, Failpoints
from penstock.model import Checkpoint
from penstock.model.stream import MAIN
from penstock.ports import Context
from penstock.sources.postgres import session as session_module
from penstock.sources.postgres.config import Postgres
from penstock.sources.postgres.replication import Replication, replication
from tests.conftest import OwnServer
from tests.support.follow import Follower, Remembered, run
from tests.support.postgres import execute, fetch
from tests.support.waiting import eventually

pytestmark = pytest.mark.server

ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, status text)"


def insert(dsn: str, *ids: int) -> None:
    execute(dsn, *(f"INSERT INTO orders VALUES ({id}, 'new')" for id in ids))


async def one_run(dsn: str, memory: Remembered, **options: Any) -> list[int]:
    """A whole run up to now; the ids of the changed orders."""
    async with Follower(dsn, memory, tables=["public.orders"], **options) as follower:
        return [change.row["id"] for change in await follower.changes()]


def test_the_first_run_makes_publication_and_slot_and_the_next_goes_on(databases: str) -> None:
    execute(databases, ORDERS)
    insert(databases, 1)
    memory = Remembered()
    assert run(one_run(databases, memory)) == []
    insert(databases, 2, 3)
    assert run(one_run(databases, memory)) == [2, 3]
    assert run(one_run(databases, memory)) == []
    assert fetch(databases, "SELECT slot_name, plugin FROM pg_replication_slots") == [
        ("penstock_shop", "pgoutput")
    ]
    assert fetch(databases, "SELECT pubname, pubviaroot, puballtables FROM pg_publication") == [
        ("penstock_shop", True, False)
    ]


@pytest.mark.parametrize(
    "point",
    [
        Failpoint.INTENT_SAVED,
        Failpoint.PUBLICATION_CREATED,
        Failpoint.SLOT_CREATED,
        Failpoint.SNAPSHOT_BEGUN,
        Failpoint.SNAPSHOT_BLOCK,
        Failpoint.SNAPSHOT_READ,
    ],
)
def test_a_start_that_failed_half_way_begins_again(database: str, point: Failpoint) -> None:
    execute(database, ORDERS)
    insert(database, 1, 2, 3)
    memory, failpoints = Remembered(), Failpoints()

    class Crash(Exception):
        pass

    def crash(_: int) -> None:
        raise Crash

    async def scenario() -> None:
        failpoints.arm(point, crash)
        first = Follower(database, memory, failpoints=failpoints, snapshot="initial")
        with pytest.raises(Crash):
            async with first:
                await first.to_head()
        execute(database, "UPDATE orders SET status = 'paid' WHERE id = 2")
        async with Follower(database, memory, snapshot="initial") as second:
            await second.to_head()
            rows = sorted(second.replica["public.orders"].values())
        assert rows == [(b"1", b"new"), (b"2", b"paid"), (b"3", b"new")]

    run(scenario())
    assert fetch(database, "SELECT slot_name FROM pg_replication_slots") == [("penstock_shop",)]


def test_a_slot_of_which_nothing_is_remembered_is_left_alone(database: str) -> None:
    execute(database, ORDERS)
    run(one_run(database, Remembered()))
    with pytest.raises(StateMismatchError, match="remembers nothing") as refused:
        run(one_run(database, Remembered()))
    assert "teardown" in refused.value.hint
    assert fetch(database, "SELECT count(*) FROM pg_replication_slots") == [(1,)]


def test_sinks_that_remember_more_than_the_store_are_refused(database: str) -> None:
    execute(database, ORDERS)
    memory = Remembered()
    run(one_run(database, memory))
    memory.facts = {}
    with pytest.raises(StateMismatchError):
        run(one_run(database, memory))


@pytest.mark.parametrize(
    ("meanwhile", "error"),
    [
        (["SELECT pg_drop_replication_slot('penstock_shop')"], SlotMissingError),
        (
            [
                "SELECT pg_drop_replication_slot('penstock_shop')",
                "INSERT INTO orders VALUES (7, 'lost')",
                "SELECT pg_create_logical_replication_slot('penstock_shop', 'pgoutput')",
            ],
            GapError,
        ),
        (
            [
                "INSERT INTO orders VALUES (7, 'lost')",
                "SELECT pg_replication_slot_advance('penstock_shop', pg_current_wal_lsn())",
            ],
            GapError,
        ),
        (["DROP PUBLICATION penstock_shop"], GapError),
        (["ALTER PUBLICATION penstock_shop DROP TABLE ONLY orders"], GapError),
    ],
    ids=["dropped", "made anew", "moved", "publication dropped", "table taken out"],
)
def test_what_was_lost_while_we_were_away_is_a_gap(
    databases: str, meanwhile: list[str], error: type[GapError]
) -> None:
    execute(databases, ORDERS)
    memory = Remembered()
    run(one_run(databases, memory))
    execute(databases, *meanwhile)
    with pytest.raises(error) as gap:
        run(one_run(databases, memory))
    assert gap.value.exit_code == 3
    assert "teardown" in gap.value.hint


def test_check_sees_a_slot_without_its_publication(database: str) -> None:
    execute(database, ORDERS)
    run(one_run(database, Remembered()))
    source = Postgres(dsn=database).build()
    assert [f.message for f in run(source.check(Context("shop", "source"))) if f.code] == []
    execute(database, "DROP PUBLICATION penstock_shop")
    (gap,) = [f for f in run(source.check(Context("shop", "source"))) if f.code]
    assert (gap.severity, gap.code) == ("error", "gap")
    assert "publication penstock_shop was dropped" in gap.message
    assert "teardown" in gap.fix


@pytest.mark.parametrize("version", ["16", "18"])
def test_a_slot_that_the_server_gave_up_is_a_gap(own_server: OwnServer, version: str) -> None:
    server = own_server(
        version, max_slot_wal_keep_size="16MB", min_wal_size="32MB", max_wal_size="32MB"
    )
    dsn = server.start().dsn()
    execute(dsn, ORDERS)
    memory = Remembered()
    run(one_run(dsn, memory))
    for _ in range(6):
        execute(dsn, "INSERT INTO orders VALUES ((random() * 1e9)::int)", "SELECT pg_switch_wal()")
    execute(dsn, "CHECKPOINT")
    with pytest.raises(GapError, match="wal_removed"):
        run(one_run(dsn, memory))


def test_another_server_has_diverged(database: str) -> None:
    execute(database, ORDERS)
    memory = Remembered()
    run(one_run(database, memory))
    memory.start[MAIN] = Checkpoint.of(MAIN, **{**memory.start[MAIN].value, "system": "4711"})
    with pytest.raises(DivergedError, match="4711"):
        run(one_run(database, memory))


def test_a_server_that_lost_what_we_delivered_has_diverged(database: str) -> None:
    execute(database, ORDERS)
    memory = Remembered()
    run(one_run(database, memory))
    memory.start[MAIN] = Checkpoint.of(MAIN, **{**memory.start[MAIN].value, "lsn": "FF/0"})
    with pytest.raises(DivergedError, match="FF/0"):
        run(one_run(database, memory))


@pytest.mark.parametrize(("key", "value"), [("lsn", "FF/0"), ("timeline", 9), ("system", "4711")])
def test_what_only_one_sink_has_is_compared_too(database: str, key: str, value: object) -> None:
    """Else what follows on this server would be taken for what that sink has already."""
    execute(database, ORDERS)
    memory = Remembered()
    run(one_run(database, memory))
    memory.ahead = (Checkpoint.of(MAIN, **{**memory.start[MAIN].value, key: value}),)
    with pytest.raises(DivergedError, match=str(value)):
        run(one_run(database, memory))


def test_a_timeline_of_which_the_server_knows_nothing_has_diverged(database: str) -> None:
    execute(database, ORDERS)
    memory = Remembered()
    run(one_run(database, memory))
    memory.start[MAIN] = Checkpoint.of(MAIN, **{**memory.start[MAIN].value, "timeline": 9})
    with pytest.raises(DivergedError, match="timeline 9"):
        run(one_run(database, memory))


def test_a_second_copy_waits_says_so_and_is_then_refused(
    database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, ORDERS)
    monkeypatch.setattr(session_module, "TAKEOVER_PATIENCE", 0.5)
    dsn = f"{database}?options=-c%20wal_sender_timeout%3D3s"
    memory = Remembered()

    async def scenario() -> None:
        async with Follower(dsn, memory):
            started = time.monotonic()
            with pytest.raises(SlotInUseError, match="penstock-shop"):
                async with Follower(dsn, memory):
                    pass
            assert time.monotonic() - started >= 3.5
        told = [one.getMessage() for one in caplog.records if "waiting up to" in one.getMessage()]
        assert len(told) == 1
        assert "the slot penstock_shop is read by pid" in told[0]

    run(scenario())


def test_a_second_copy_takes_over_when_the_first_leaves(database: str) -> None:
    execute(database, ORDERS)
    memory = Remembered()

    async def scenario() -> None:
        first = Follower(database, memory)
        await first.open()
        second = Follower(database, memory)
        opening = asyncio.ensure_future(second.open())
        await asyncio.sleep(1)
        assert not opening.done()
        await first.close()
        await opening
        insert(database, 1)
        assert [change.row["id"] for change in await second.changes()] == [1]
        await second.close()

    run(scenario())


def test_a_publication_of_somebody_else_is_used_but_never_changed(database: str) -> None:
    execute(
        database,
        ORDERS,
        "CREATE TABLE lines (id int PRIMARY KEY)",
        "CREATE PUBLICATION mine FOR TABLE orders",
    )
    memory = Remembered()
    assert run(one_run(database, memory, publication="mine")) == []
    insert(database, 1)
    assert run(one_run(database, memory, publication="mine")) == [1]

    async def more() -> None:
        async with Follower(database, memory, publication="mine"):
            pass

    with pytest.raises(ConfigError, match=r"lacks public\.lines") as refused:
        run(more())
    assert 'ALTER PUBLICATION "mine" ADD TABLE ONLY "public"."lines"' in refused.value.hint


def test_partitions_must_be_published_by_their_root(database: str) -> None:
    execute(
        database,
        "CREATE TABLE events (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100)",
        "CREATE PUBLICATION mine FOR TABLE events",
    )

    async def start(**options: Any) -> None:
        async with Follower(database, **options):
            pass

    with pytest.raises(ConfigError) as refused:
        run(start(publication="mine"))
    assert "SET (publish_via_partition_root = true)" in refused.value.hint
    with pytest.raises(ConfigError, match=r"partition of public\.events"):
        run(start(tables=["public.events_1"]))


def test_a_table_that_comes_later_is_copied_at_the_next_start(databases: str) -> None:
    execute(databases, ORDERS)
    insert(databases, 1)
    memory = Remembered()

    async def scenario() -> None:
        async with Follower(databases, memory, snapshot="initial") as first:
            await first.to_head()
        execute(
            databases,
            "CREATE TABLE lines (id int PRIMARY KEY, note text)",
            "INSERT INTO lines VALUES (1, 'early')",
        )
        insert(databases, 2)
        async with Follower(databases, memory, replica=first.replica, snapshot="initial") as second:
            execute(databases, "INSERT INTO lines VALUES (2, 'late')")
            changes = await second.changes()
        assert [(c.operation, c.table, c.row["id"]) for c in changes] == [
            ("read", "public.lines", 1),
            ("insert", "public.orders", 2),
            ("insert", "public.lines", 2),
        ]

    run(scenario())


def test_a_slot_that_waits_for_an_old_transaction_names_it(database: str) -> None:
    execute(database, ORDERS)
    memory = Remembered()
    with psycopg.connect(database) as old:
        old.execute("INSERT INTO orders VALUES (1, 'open')")
        with pytest.raises(SourceError, match=f"pid {old.info.backend_pid}"):
            run(one_run(database, memory, slot_timeout=0.5))
        assert fetch(database, "SELECT count(*) FROM pg_replication_slots") == [(0,)]
        old.rollback()
    assert run(one_run(database, memory, slot_timeout=5)) == []


CANARY = "c4nary/p@ss"


def test_a_refused_connection_says_why_and_keeps_the_password(
    own_server: OwnServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server = own_server(password="right").start()
    dsn = server.dsn().replace("right", "c4nary%2Fp%40ss")
    assert "c4nary" in dsn
    closed = dsn.replace(f":{server.port}/", ":1/")
    cases = [
        (dsn, "password authentication failed"),
        (closed, "refused"),
        (server.dsn("nowhere"), "does not exist"),
        (f"host=127.0.0.1 password='{CANARY}", "neither a PostgreSQL URL"),
        (f"postgresql://u:{CANARY}@[oops/x", "neither a PostgreSQL URL"),
        ("postgresql://u:12/c4nary@host/x", "neither a PostgreSQL URL"),
    ]
    for case, words in cases:

        async def start(case: str = case) -> None:
            async with Follower(case):
                pass

        with pytest.raises((SourceError, ConfigError), match=words) as refused:
            run(start())
        assert refused.value.hint
        seen = [str(refused.value), repr(refused.value), repr(refused.value.__cause__)]
        context: BaseException | None = refused.value
        while context is not None:
            seen.append(f"{context!r} {context}")
            context = context.__context__
        seen += [*capfd.readouterr(), caplog.text]
        for text in seen:
            assert "c4nary" not in text


@pytest.mark.parametrize("snapshot", ["initial", "never"])
def test_wal_level_replica_is_refused(own_server: OwnServer, snapshot: str) -> None:
    dsn = own_server(wal_level="replica").start().dsn()
    execute(dsn, ORDERS)
    with pytest.raises(SourceError, match="wal_level is replica") as refused:
        run(one_run(dsn, Remembered(), snapshot=snapshot))
    assert "ALTER SYSTEM SET wal_level = logical" in refused.value.hint


def test_sql_ascii_is_refused(database: str) -> None:
    name = "ascii_only"
    execute(database, f"DROP DATABASE IF EXISTS {name}")
    execute(database, f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    dsn = database.rpartition("/")[0] + "/" + name
    try:
        execute(dsn, ORDERS)
        with pytest.raises(SourceError, match="SQL_ASCII"):
            run(one_run(dsn, Remembered()))
    finally:
        execute(database, f"DROP DATABASE {name}")


def test_missing_rights_are_answered_with_the_grant(database: str) -> None:
    role = "penstock_reader"
    execute(database, ORDERS, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN")
    dsn = database.replace("postgres:", f"{role}:", 1).replace("postgres@", f"{role}@")
    dsn = f"{dsn}?user={role}"
    try:
        with pytest.raises(PrivilegeError) as refused:
            run(one_run(dsn, Remembered(), snapshot="initial"))
        assert f'GRANT SELECT ON "public"."orders" TO "{role}"' in refused.value.hint
        execute(database, f"GRANT SELECT ON orders TO {role}")
        with pytest.raises(PrivilegeError) as refused:
            run(one_run(dsn, Remembered(), snapshot="initial"))
        assert f'ALTER ROLE "{role}" REPLICATION' in refused.value.hint
        execute(database, f"ALTER ROLE {role} REPLICATION")
        with pytest.raises(PrivilegeError) as refused:
            run(one_run(dsn, Remembered(), snapshot="initial"))
        assert 'CREATE PUBLICATION "penstock_shop" FOR TABLE ONLY' in refused.value.hint
        execute(database, 'CREATE PUBLICATION "penstock_shop" FOR TABLE ONLY "public"."orders"')
        assert run(one_run(dsn, Remembered(), snapshot="initial")) == []
    finally:
        execute(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_what_a_look_needs_is_granted_not_a_publication_of_a_name_that_passes(
    database: str,
) -> None:
    reader, owner = "penstock_looker", "penstock_owner"
    execute(
        database,
        ORDERS,
        f"DROP ROLE IF EXISTS {reader}, {owner}",
        f"CREATE ROLE {reader} LOGIN REPLICATION",
        f"CREATE ROLE {owner}",
        f"ALTER TABLE orders OWNER TO {owner}",
    )
    dsn = f"{database}?user={reader}"
    try:
        with pytest.raises(PrivilegeError) as refused:
            run(one_run(dsn, Remembered(), temporary=True))
        assert "CREATE PUBLICATION" not in refused.value.hint
        create, member = refused.value.hint.split("; ")
        execute(database, create, member.replace("the role that owns the tables", owner))
        assert run(one_run(dsn, Remembered(), temporary=True)) == []
    finally:
        execute(database, f"DROP OWNED BY {reader}, {owner}", f"DROP ROLE {reader}, {owner}")


def test_a_table_without_identity_is_not_published(database: str) -> None:
    execute(database, "CREATE TABLE log (line text)")

    async def start() -> None:
        async with Follower(database):
            pass

    with pytest.raises(SchemaError, match=r"public\.log") as refused:
        run(start())
    assert 'ALTER TABLE "public"."log" REPLICA IDENTITY FULL' in refused.value.hint
    assert fetch(database, "SELECT count(*) FROM pg_publication") == [(0,)]
    execute(database, "ALTER TABLE log REPLICA IDENTITY FULL")
    run(start())


def test_a_temporary_stream_leaves_nothing(databases: str) -> None:
    execute(databases, ORDERS)
    insert(databases, 1)

    async def scenario() -> None:
        follower = Follower(databases, temporary=True, snapshot="initial")
        async with follower:
            insert(databases, 2)
            assert [change.row["id"] for change in await follower.changes()] == [1, 2]
        with pytest.raises(SlotMissingError, match="temporary"):
            await follower.open()

    run(scenario())
    assert fetch(databases, "SELECT count(*) FROM pg_replication_slots") == [(0,)]
    assert fetch(databases, "SELECT count(*) FROM pg_publication") == [(0,)]


def test_what_a_killed_temporary_stream_left_goes_with_the_next(database: str) -> None:
    execute(database, ORDERS)

    def temporary() -> int:
        return int(fetch(database, "SELECT count(*) FROM pg_publication")[0][0])

    async def scenario() -> None:
        async with Follower(database, temporary=True) as alive:
            comment = fetch(database, "SELECT obj_description(oid) FROM pg_publication")[0][0]
            execute(
                database,
                "CREATE PUBLICATION penstock_tmp_dead FOR TABLE orders",
                f"COMMENT ON PUBLICATION penstock_tmp_dead IS '{comment}'",
                "CREATE PUBLICATION penstock_tmp_of_somebody FOR TABLE orders",
            )
            async with Follower(database, temporary=True):
                assert temporary() == 3
            insert(database, 1)
            assert len(await alive.changes()) == 1
        assert fetch(database, "SELECT pubname FROM pg_publication") == [
            ("penstock_tmp_of_somebody",)
        ]

    run(scenario())


def test_teardown_removes_slot_and_publication(database: str) -> None:
    execute(database, ORDERS)

    async def scenario() -> None:
        async with Follower(database) as follower:
            with pytest.raises(SlotInUseError):
                await follower.source.teardown(follower.context)
        removed = await follower.source.teardown(follower.context)
        assert removed == ["the slot penstock_shop", "the publication penstock_shop"]
        other = replace(follower.context, pipeline="other")
        assert await follower.source.teardown(other) == []

    run(scenario())


def test_a_table_that_was_left_out_for_a_while_is_copied_again(database: str) -> None:
    execute(database, ORDERS, "CREATE TABLE lines (id int PRIMARY KEY)")
    memory = Remembered()

    async def start(*tables: str) -> list[tuple[str, Any]]:
        async with Follower(database, memory, tables=tables, snapshot="initial") as follower:
            return [(change.operation, change.row["id"]) for change in await follower.changes()]

    assert run(start("public.orders", "public.lines")) == []
    assert run(start("public.orders")) == []
    execute(database, "INSERT INTO lines VALUES (1)")
    assert run(start("public.orders")) == []
    assert run(start("public.orders", "public.lines")) == [("read", 1)]
    assert memory.start["snapshot:public.lines"].value["attempt"] == 2


def test_a_table_that_was_made_anew_is_copied_again(database: str) -> None:
    execute(database, ORDERS)
    insert(database, 1)
    memory = Remembered()
    assert run(one_run(database, memory, snapshot="initial")) == [1]
    execute(database, "DROP TABLE orders", ORDERS)
    insert(database, 5)
    assert run(one_run(database, memory, snapshot="initial")) == [5]


@pytest.mark.parametrize("version", ["16", "18"])
def test_a_promoted_copy_is_followed_unless_it_lacks_what_we_delivered(
    own_server: OwnServer, tmp_path: Path, version: str
) -> None:
    """Faults 13 and 14: the copy is recovered from before our last changes."""
    server = own_server(version, restore_command="false").start()
    dsn = server.dsn()
    execute(dsn, ORDERS)
    memory = Remembered()
    insert(dsn, 1)
    run(one_run(dsn, memory))
    insert(dsn, 2)
    server.stop()
    backup = tmp_path / "backup"
    subprocess.run(["cp", "-a", str(server.data), str(backup)], check=True)
    server.start()
    at_backup = Remembered()
    at_backup.facts, at_backup.start = dict(memory.facts), dict(memory.start)
    assert run(one_run(dsn, memory)) == [2]
    insert(dsn, 3)
    assert run(one_run(dsn, memory)) == [3]
    server.stop()

    shutil.rmtree(server.data)
    (backup / "recovery.signal").touch()
    subprocess.run(["cp", "-a", str(backup), str(server.data)], check=True)
    server.start()
    eventually(lambda: fetch(dsn, "SELECT 1 WHERE NOT pg_is_in_recovery()"))
    with pytest.raises(DivergedError, match="timeline 1") as diverged:
        run(one_run(dsn, memory))
    assert diverged.value.exit_code == 4
    insert(dsn, 4)
    assert run(one_run(dsn, at_backup)) == [2, 4]
    assert at_backup.start[MAIN].value["timeline"] == 2


@pytest.mark.parametrize("wait", ["slot", "lock"])
def test_a_start_that_waits_can_be_stopped(database: str, wait: str) -> None:
    execute(database, ORDERS)
    memory = Remembered()

    async def scenario() -> None:
        with psycopg.connect(database) as other:
            if wait == "slot":
                other.execute("INSERT INTO orders VALUES (1, 'open')")
            follower = Follower(database, memory, snapshot="initial", failpoints=failpoints)
            opening = asyncio.ensure_future(follower.open())
            await asyncio.wait_for(reached.wait(), 10)
            await asyncio.sleep(0.5)
            started = time.monotonic()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert time.monotonic() - started < 20
            other.rollback()
            if holder:
                holder.pop().close()

    reached = asyncio.Event()
    failpoints = Failpoints()
    holder: list[psycopg.Connection[Any]] = []

    def hold(_: int) -> None:
        if wait == "lock":
            holder.append(psycopg.connect(database))
            holder[0].execute("ALTER TABLE orders ADD note text")
        reached.set()

    failpoints.arm(Failpoint.PUBLICATION_CREATED, hold)
    run(scenario())
    assert fetch(database, "SELECT count(*) FROM pg_replication_slots") == [(0,)]
    assert run(one_run(database, memory, snapshot="initial")) == []


@pytest.mark.parametrize("moment", ["making", "starting"])
def test_a_stop_while_the_stream_begins_leaves_no_socket_behind(
    database: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Nobody waits any more for what the thread makes."""
    execute(database, ORDERS)
    made: list[Replication] = []
    going_on, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert going_on.wait(10)

    def make(*connections: psycopg.Connection[Any]) -> Replication:
        stream = replication(*connections)
        made.append(stream)
        if moment == "making":
            hold()
        else:
            monkeypatch.setattr(stream, "start", lambda sql: hold())
        return stream

    async def scenario() -> None:
        opening = asyncio.ensure_future(Follower(database, Remembered()).open())
        assert await asyncio.to_thread(begun.wait, 10)
        opening.cancel()
        await asyncio.sleep(0.1)
        assert made[0].fileno() >= 0, "closed under the thread that uses it"
        going_on.set()
        with pytest.raises(asyncio.CancelledError):
            await opening

    monkeypatch.setattr(session_module, "replication", make)
    run(scenario())
    with pytest.raises((psycopg.OperationalError, AssertionError)):
        assert made[0].fileno() >= 0


def test_a_table_that_was_dropped_still_gives_what_the_log_has(database: str) -> None:
    execute(database, ORDERS)
    memory = Remembered()
    run(one_run(database, memory))
    insert(database, 1)
    execute(database, "DROP TABLE orders")
    assert run(one_run(database, memory)) == [1]
    with pytest.raises(ConfigError, match=r"no table public\.orders"):
        run(one_run(database, Remembered(), pipeline="other"))
