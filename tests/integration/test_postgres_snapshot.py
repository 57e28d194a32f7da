"""The copy of the tables, and its hand-over to the log."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from penstock.errors import ConfigError, PenstockError, PrivilegeError
from penstock.failpoints import Failpoint, Failpoints
from penstock.model import Barrier, Batch, Change, SnapshotBegin, SnapshotEnd
from penstock.sources.postgres import parts, reader
from tests.support.follow import Follower, Remembered, run, texts
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables of these tests are small; each is read in parts all the same."""
    monkeypatch.setattr(parts, "PART", 1 << 14)


@contextmanager
def writers(dsn: str, count: int = 3) -> Iterator[None]:
    """Sessions that insert, update and delete accounts all the time, in transactions."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        dice = random.Random(seed)
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                while not stop.is_set():
                    with connection.transaction(force_rollback=dice.random() < 0.1):
                        for _ in range(dice.randint(1, 4)):
                            id = dice.randint(1, 200) * count + seed
                            match dice.randint(0, 2):
                                case 0:
                                    connection.execute(
                                        "INSERT INTO accounts VALUES (%s, 0) ON CONFLICT (id)"
                                        " DO UPDATE SET balance = accounts.balance + 1",
                                        (id,),
                                    )
                                case 1:
                                    connection.execute(
                                        "UPDATE accounts SET balance = balance + 1 WHERE id = %s",
                                        (id,),
                                    )
                                case _:
                                    connection.execute("DELETE FROM accounts WHERE id = %s", (id,))
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures


def accounts(dsn: str) -> dict[Any, Any]:
    rows = fetch(dsn, "SELECT id::text, balance::text FROM accounts")
    return {(id.encode(),): (id.encode(), balance.encode()) for id, balance in rows}


def test_nothing_is_lost_or_revived_while_others_write(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE accounts (id int PRIMARY KEY, balance int)",
        "INSERT INTO accounts SELECT i, 0 FROM generate_series(3, 400) i",
    )

    async def scenario() -> None:
        follower = Follower(databases, snapshot="initial")
        with writers(databases):
            await follower.open()
            await follower.to_head()
        await follower.to_head()
        assert follower.replica["public.accounts"] == accounts(databases)
        await follower.close()

    run(scenario())


@pytest.mark.parametrize("point", [Failpoint.SNAPSHOT_BEGUN, Failpoint.SNAPSHOT_BLOCK])
def test_a_copy_that_broke_off_is_taken_again_while_others_write(
    database: str, point: Failpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BLOCK", 500)
    execute(
        database,
        "CREATE TABLE accounts (id int PRIMARY KEY, balance int)",
        "INSERT INTO accounts SELECT i, 0 FROM generate_series(3, 400) i",
        "CREATE TABLE a_finished_one (id int PRIMARY KEY)",
        # The larger one on disk, hence the first.
        "INSERT INTO a_finished_one SELECT generate_series(1, 20000)",
        "DELETE FROM a_finished_one WHERE id > 1",
    )
    memory, failpoints = Remembered(), Failpoints()

    class Crash(Exception):
        pass

    def crash(number: int) -> None:
        if number == 2 or (number == 4 and point is Failpoint.SNAPSHOT_BLOCK):
            raise Crash

    async def scenario() -> None:
        failpoints.arm(point, crash)
        first = Follower(database, memory, failpoints=failpoints, snapshot="initial")
        with writers(database):
            with pytest.raises(Crash):
                async with first:
                    await first.to_head()
            second = Follower(database, memory, replica=first.replica, snapshot="initial")
            await second.open()
            events = await second.to_head()
        await second.to_head()
        await second.close()
        begun = [(e.table.text, e.attempt) for e in events if isinstance(e, SnapshotBegin)]
        assert begun == [("public.accounts", 2)]
        assert second.replica["public.accounts"] == accounts(database)
        assert len(second.replica["public.a_finished_one"]) == 1

    run(scenario())


def test_a_copy_begins_and_ends_with_its_table(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE full_one (id int PRIMARY KEY, note text)",
        "INSERT INTO full_one SELECT i, repeat('n', 50) FROM generate_series(1, 60000) i",
        "CREATE TABLE empty_one (id int PRIMARY KEY)",
    )

    async def scenario() -> None:
        items: list[Batch | Barrier] = []
        async with Follower(databases, snapshot="initial") as follower:
            while not items or not isinstance(items[-1], Barrier):
                items.append(await follower.next())
                if len(items) == 2:
                    status = await follower.source.status(follower.context)
                    assert status["snapshot"]["table"] == "public.full_one"
                    assert status["snapshot"]["rows"] > 0
        *batches, barrier = items
        assert barrier == Barrier(("snapshot:public.empty_one", "snapshot:public.full_one"))
        *rest, empty = [batch for batch in batches if isinstance(batch, Batch)]
        assert [type(event) for event in empty] == [SnapshotBegin, SnapshotEnd]
        assert empty.checkpoint is not None
        assert len(rest) > 2
        assert [batch.checkpoint is None for batch in rest] == [True] * (len(rest) - 1) + [False]
        last = list(rest[-1])
        assert isinstance(last[-2], Change)
        assert isinstance(last[-1], SnapshotEnd)
        assert last[-1].rows == 60000
        assert rest[-1].last == last[-2].mark
        changes = [event for batch in rest for event in batch if isinstance(event, Change)]
        assert [change.ordinal for change in changes] == list(range(60000))
        assert {change.operation for change in changes} == {"read"}
        assert max(batch.size for batch in rest) < 1.1 * 2**20

    run(scenario())


VALUES = {
    "int4": "1",
    "numeric": "'NaN'::numeric",
    "numeric(10,2)": "12.5",
    "float8": "'-Infinity'",
    "float4": "0.1",
    "bool": "true",
    "text": r"E'tab\tnewline\nbackslash\\ \u00e4 \\N'",
    "varchar(20)": "''",
    "char(5)": "'ab'",
    "bytea": r"'\x00ff5c'",
    "date": "'4713-01-01 BC'",
    "timestamp": "'infinity'",
    "timestamptz": "'2024-02-03 04:05:06.789+03'",
    "timetz": "'24:00:00+00'",
    "interval": "'1 mon -2 days 03:04:05.6'",
    "json": """'{"a": "\\u0000"}'""",
    "jsonb": "'[1e400]'",
    "uuid": "'6a2f41a3-c54c-fce8-32d2-0324e1c32e22'",
    "inet": "'10.0.0.1/8'",
    "bit(3)": "'101'",
    "money": "'12.34'",
    "int4[]": "'[0:1]={5,6}'",
    "text[]": """'{NULL,"NULL",""}'""",
    "int4range": "'[1,5)'",
    "point": "'(1.5,2)'",
    "mood": "'ok'",
    "positive": "7",
    "pair": "'(1,\"a b\")'",
    "mood[]": "'{ok,sad}'",
}


def test_a_copied_row_equals_the_streamed_row(databases: str) -> None:
    columns = ", ".join(f'"{name}" {name}' for name in VALUES)
    values = ", ".join(VALUES.values())
    execute(
        databases,
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        "CREATE TYPE pair AS (a int, b text)",
        f"CREATE TABLE everything (id int PRIMARY KEY, {columns})",
        f"INSERT INTO everything VALUES (1, {values})",
        # What others set for themselves must not reach us.
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''',"
        " current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''',"
        " current_database()); END $$",
    )

    async def scenario() -> None:
        async with Follower(databases, snapshot="initial") as follower:
            execute(databases, "INSERT INTO everything SELECT * FROM everything WHERE false")
            execute(
                databases,
                "DELETE FROM everything",
                f"SET datestyle = ISO; INSERT INTO everything VALUES (1, {values})",
            )
            copied, _, streamed = await follower.changes()
        assert copied.operation == "read"
        assert streamed.operation == "insert"
        assert copied.definition == streamed.definition
        assert copied.after == streamed.after
        assert copied.key == streamed.key == {"id": 1}
        assert copied.row.text("timestamptz") == "2024-02-03 01:05:06.789+00"

    run(scenario())


def test_names_of_any_kind(databases: str) -> None:
    names = ['o"quote', "do.t", "emoji 🦆", "Case", "case", "back\\slash", "per%cent", "x" * 63]
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        execute(
            databases,
            f"CREATE SCHEMA {quoted}",
            f'CREATE TABLE {quoted}.{quoted} ({quoted} int PRIMARY KEY, "it\'s" text)',
            f"INSERT INTO {quoted}.{quoted} VALUES (1, 'a')",
        )

    async def scenario() -> None:
        follower = Follower(databases, snapshot="initial", publication='it\'s a "pub"')
        async with follower:
            for name in names:
                quoted = '"' + name.replace('"', '""') + '"'
                execute(databases, f"INSERT INTO {quoted}.{quoted} VALUES (2, 'b')")
            changes = await follower.changes()
        await follower.source.teardown(follower.context)
        seen = sorted((c.definition.schema, c.definition.name, c.operation) for c in changes)
        assert seen == sorted((n, n, op) for n in names for op in ("insert", "read"))

    run(scenario())
    assert fetch(databases, "SELECT count(*) FROM pg_publication") == [(0,)]


def test_partitions_come_as_their_root_and_heirs_by_themselves(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE events (id int PRIMARY KEY, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (100) TO (200)",
        "INSERT INTO events VALUES (1, 'a'), (101, 'b')",
        "CREATE TABLE animal (id int PRIMARY KEY)",
        "CREATE TABLE duck (PRIMARY KEY (id)) INHERITS (animal)",
        "INSERT INTO animal VALUES (1)",
        "INSERT INTO duck VALUES (2)",
    )

    async def scenario() -> None:
        async with Follower(databases, snapshot="initial") as follower:
            execute(
                databases, "UPDATE events SET id = 150 WHERE id = 1", "INSERT INTO duck VALUES (3)"
            )
            changes = await follower.changes()
            replica = follower.replica
        assert {change.table for change in changes} == {
            "public.events",
            "public.animal",
            "public.duck",
        }
        assert sorted(replica["public.events"]) == [(b"101",), (b"150",)]
        assert sorted(replica["public.animal"]) == [(b"1",)]
        assert sorted(replica["public.duck"]) == [(b"2",), (b"3",)]

    run(scenario())


def test_generated_columns_are_as_the_publication_sends_them(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, x int)",
        "INSERT INTO t VALUES (1)",
    )

    async def both(**options: Any) -> None:
        async with Follower(databases, snapshot="initial", **options) as follower:
            execute(databases, "INSERT INTO t (id) SELECT max(id) + 1 FROM t")
            changes = await follower.changes()
        assert changes[0].definition == changes[-1].definition
        published = "twice" in changes[0].definition.names
        assert published == (options.get("publication") == "with_generated")

    run(both())
    if fetch(databases, "SELECT current_setting('server_version_num')::int >= 180000")[0][0]:
        execute(
            databases,
            "CREATE PUBLICATION with_generated FOR TABLE t"
            " WITH (publish_generated_columns = stored)",
        )
        run(both(publication="with_generated", pipeline="other"))


def test_a_publications_columns_and_rows_are_respected(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE t (id int PRIMARY KEY, secret text, note text)",
        "INSERT INTO t VALUES (1, 's', 'a'), (200, 's', 'b')",
        "CREATE PUBLICATION part FOR TABLE t (id, note) WHERE (id < 100)",
    )

    async def scenario() -> None:
        async with Follower(databases, snapshot="initial", publication="part") as follower:
            execute(databases, "INSERT INTO t VALUES (2, 's', 'c'), (300, 's', 'd')")
            changes = await follower.changes()
        assert [dict(change.row) for change in changes] == [
            {"id": 1, "note": "a"},
            {"id": 2, "note": "c"},
        ]

    run(scenario())


def test_no_alter_comes_between_lock_and_copy(database: str) -> None:
    execute(
        database,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t SELECT generate_series(1, 1000)",
    )
    failpoints = Failpoints()
    rewrite: list[threading.Thread] = []

    def alter(_: int) -> None:
        thread = threading.Thread(
            target=execute, args=(database, "ALTER TABLE t ALTER id TYPE bigint")
        )
        thread.start()
        thread.join(0.5)
        assert thread.is_alive(), "the tables are not locked"
        rewrite.append(thread)

    failpoints.arm(Failpoint.PUBLICATION_CREATED, lambda _: None)
    failpoints.arm(Failpoint.SLOT_CREATED, alter)

    async def scenario() -> None:
        async with Follower(database, failpoints=failpoints, snapshot="initial") as follower:
            changes = await follower.changes()
            assert len(changes) == 1000
        rewrite[0].join()

    run(scenario())


def test_always_copies_at_each_start_and_only_ends_after_the_copy(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")

    async def always(memory: Remembered) -> list[tuple[str, int]]:
        async with Follower(database, memory, snapshot="always") as follower:
            events = await follower.to_head()
        return [(e.table.text, e.attempt) for e in events if isinstance(e, SnapshotBegin)]

    memory = Remembered()
    assert run(always(memory)) == [("public.t", 1)]
    assert run(always(memory)) == [("public.t", 2)]

    async def only(memory: Remembered) -> list[Batch | Barrier]:
        async with Follower(database, memory, pipeline="copy", snapshot="only") as follower:
            assert await follower.source.head() is None
            items = []
            try:
                while True:
                    items.append(await follower.next())
            except StopAsyncIteration:
                return items

    copy = Remembered()
    assert len(run(only(copy))) == 2
    assert run(only(copy)) == []
    assert fetch(database, "SELECT slot_name FROM pg_replication_slots") == [("penstock_shop",)]
    with pytest.raises(ConfigError, match="makes no use"):
        run(only(memory))


def test_row_level_security_is_an_error_not_a_smaller_copy(database: str) -> None:
    role = "penstock_veiled"
    execute(
        database,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        f"DROP ROLE IF EXISTS {role}",
        f"CREATE ROLE {role} LOGIN REPLICATION",
        f"GRANT SELECT ON t TO {role}",
        "CREATE PUBLICATION penstock_shop FOR TABLE ONLY t",
    )

    async def start() -> None:
        async with Follower(f"{database}?user={role}", snapshot="initial"):
            pass

    try:
        with pytest.raises(PrivilegeError) as refused:
            run(start())
        assert "BYPASSRLS" in refused.value.hint
    finally:
        execute(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_broken_reader_is_worth_another_try(database: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(reader, "BLOCK", 500)
    execute(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, note text)",
        "INSERT INTO t SELECT i, repeat('x', 2000) FROM generate_series(1, 8000) i",
    )

    async def scenario() -> None:
        async with Follower(database, snapshot="initial") as follower:
            await follower.next()
            execute(
                database,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid()",
            )
            with pytest.raises(PenstockError) as broken:
                await follower.to_head()
            assert broken.value.code == "connection-lost"
            await follower.reopen()
            await follower.to_head()
            rows = follower.replica["public.t"]
            assert len(rows) == 8000
            assert texts(rows[(b"7",)]) == ["7", "x" * 2000]

    run(scenario())
