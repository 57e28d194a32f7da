"""What others do to our publication and our tables: never a silent loss."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from penstock import Pipeline, Postgres, Sql
from penstock.errors import ConnectionLostError, GapError
from penstock.model import Change
from penstock.sources.postgres import catalog, watch
from tests.support.follow import Follower, Remembered, run, until
from tests.support.postgres import execute

pytestmark = pytest.mark.server

TABLES = ("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
EDITS = {
    "taken out and back": [
        "ALTER PUBLICATION penstock_shop DROP TABLE t",
        "INSERT INTO t VALUES (2)",
        "ALTER PUBLICATION penstock_shop ADD TABLE t",
    ],
    "fewer operations": [
        "ALTER PUBLICATION penstock_shop SET (publish = 'update')",
        "INSERT INTO t VALUES (2)",
    ],
    "row filter": [
        "ALTER PUBLICATION penstock_shop SET TABLE t WHERE (id > 5), u",
        "INSERT INTO t VALUES (2)",
    ],
}


@pytest.fixture
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.0)


def follower(dsn: str, memory: Remembered, snapshot: str = "never") -> Follower:
    return Follower(dsn, memory, tables=["public.t", "public.u"], snapshot=snapshot)


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_publication_that_was_edited_while_we_were_away_is_a_gap(
    database: str, edit: list[str]
) -> None:
    execute(database, *TABLES)
    memory = Remembered()

    async def read() -> list[Change]:
        async with follower(database, memory) as source:
            return await source.changes()

    run(read())
    assert run(read()) == []
    execute(database, *edit)
    with pytest.raises(GapError, match="lost to us"):
        run(read())


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_publication_that_is_edited_while_we_read_is_a_gap(
    database: str, edit: list[str]
) -> None:
    execute(database, *TABLES)

    async def read() -> None:
        async with follower(database, Remembered()) as source:
            await source.changes()
            execute(database, *edit)
            await source.changes()

    with pytest.raises(GapError, match="lost to us"):
        run(read())


def test_a_publication_of_all_tables_may_grow(database: str) -> None:
    execute(database, *TABLES, "CREATE PUBLICATION penstock_shop FOR ALL TABLES")
    memory = Remembered()

    async def read() -> list[int]:
        async with follower(database, memory) as source:
            execute(database, "INSERT INTO t SELECT count(*) + 1 FROM t")
            return [change.row["id"] for change in await source.changes()]

    assert run(read()) == [1]
    execute(database, "CREATE TABLE v (id int PRIMARY KEY)")
    assert run(read()) == [2]


REPLACED = {
    "made anew": ["DROP TABLE t", TABLES[0], "INSERT INTO t VALUES (2)"],
    "swapped": [
        "CREATE TABLE new (LIKE t INCLUDING ALL)",
        "ALTER TABLE t RENAME TO old",
        "ALTER TABLE new RENAME TO t",
        "INSERT INTO t VALUES (2)",
    ],
}


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("replaced", REPLACED.values(), ids=REPLACED)
def test_a_table_that_is_replaced_while_we_read_is_published_and_copied(
    database: str, replaced: list[str]
) -> None:
    execute(database, *TABLES, "INSERT INTO t VALUES (1)")

    async def read() -> None:
        async with follower(database, Remembered(), "initial") as source:
            await source.changes()
            execute(database, *replaced)
            with pytest.raises(ConnectionLostError, match=r"public\.t is another table now"):
                await source.changes()
            await source.reopen()
            execute(database, "INSERT INTO t VALUES (3)")
            await source.changes()
            assert set(source.replica["public.t"]) == {(b"2",), (b"3",)}

    run(read())


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("replaced", REPLACED.values(), ids=REPLACED)
def test_a_replaced_table_that_is_never_copied_is_a_gap(database: str, replaced: list[str]) -> None:
    execute(database, *TABLES)
    memory = Remembered()

    async def replace() -> None:
        async with follower(database, memory) as source:
            await source.changes()
            execute(database, *replaced)
            with pytest.raises(ConnectionLostError):
                await source.changes()
            for _ in range(2):
                with pytest.raises(GapError, match=r"public\.t is another table now") as gap:
                    await source.reopen()
                assert "snapshot = 'initial'" in gap.value.hint

    async def mend() -> set[tuple[bytes, ...]]:
        async with follower(database, memory, "initial") as source:
            await source.changes()
            assert "public.u" not in source.replica
            return set(source.replica["public.t"])

    run(replace())
    assert run(mend()) == {(b"2",)}


@pytest.mark.usefixtures("look_often")
def test_a_table_that_comes_back_after_it_was_missed_is_copied(database: str) -> None:
    execute(database, *TABLES)

    async def read() -> None:
        async with follower(database, Remembered(), "initial") as source:
            await source.changes()
            execute(database, "DROP TABLE t")
            await source.changes()
            execute(database, TABLES[0], "INSERT INTO t VALUES (2)")
            with pytest.raises(ConnectionLostError, match=r"public\.t is another table now"):
                await source.changes()
            await source.reopen()
            await source.changes()
            assert set(source.replica["public.t"]) == {(b"2",)}

    run(read())


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("columns", ["id int PRIMARY KEY", "name text, id int PRIMARY KEY"])
def test_a_replica_keeps_no_rows_of_a_table_that_was_made_anew(
    database: str, columns: str, tmp_path: Path
) -> None:
    execute(database, *TABLES, "INSERT INTO t VALUES (1)")
    url = f"sqlite:///{tmp_path / 'replica.db'}"
    pipeline = Pipeline(
        "shop",
        Postgres(dsn=database, tables=("public.t", "public.u"), snapshot="initial"),
        [Sql(url=url)],
        store="memory",
    )

    def ids() -> list[int]:
        with closing(sqlite3.connect(tmp_path / "replica.db")) as connection:
            try:
                return sorted(id for (id,) in connection.execute("SELECT id FROM t"))
            except sqlite3.OperationalError:  # not yet there, or locked
                return []

    async def serve() -> None:
        serving = asyncio.create_task(pipeline.serve())
        await until(lambda: ids() == [1])
        execute(database, "DROP TABLE t", f"CREATE TABLE t ({columns})")
        execute(database, "INSERT INTO t (id) VALUES (2)", "INSERT INTO u VALUES (1)")
        await until(lambda: ids() == [2] or serving.done())
        execute(database, "INSERT INTO t (id) VALUES (3)")
        await until(lambda: ids() == [2, 3] or serving.done())
        pipeline.stop()
        await serving
        assert ids() == [2, 3]

    run(serve())


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize(
    "moved", ["ALTER TABLE t RENAME TO old", "ALTER TABLE t SET SCHEMA other", "DROP TABLE t"]
)
def test_a_table_that_goes_away_while_we_read_is_told(
    database: str, moved: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, *TABLES, "CREATE SCHEMA other")

    async def read() -> None:
        async with follower(database, Remembered()) as source:
            await source.changes()
            execute(database, moved)
            await source.changes()
            await source.changes()

    with caplog.at_level(logging.WARNING):
        run(read())
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("public.t was ")


@pytest.mark.usefixtures("look_often")
def test_a_table_that_is_dropped_while_we_look_is_no_gap(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(database, *TABLES)
    listed = catalog.user_tables

    def dropped(connection: psycopg.Connection) -> list[catalog.Relkind]:
        tables = listed(connection)
        execute(database, "DROP TABLE IF EXISTS t")
        return tables

    async def read() -> None:
        async with follower(database, Remembered()) as source:
            monkeypatch.setattr(catalog, "user_tables", dropped)
            execute(database, "INSERT INTO u VALUES (1)")
            assert len(await source.changes()) == 1

    run(read())


@pytest.mark.usefixtures("look_often")
def test_a_query_that_is_cancelled_is_tried_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(database, *TABLES)
    connected: list[int] = []

    def cancelled(connection: psycopg.Connection) -> None:
        connected.append(connection.info.backend_pid)
        connection.execute("SET statement_timeout = '10ms'; SELECT pg_sleep(10)")

    async def read() -> None:
        async with follower(database, Remembered()) as source:
            with monkeypatch.context() as patch:
                patch.setattr(catalog, "user_tables", cancelled)
                with pytest.raises(ConnectionLostError):
                    await source.changes()
            assert connected
            await source.reopen()
            execute(database, "INSERT INTO t VALUES (1)")
            assert len(await source.changes()) == 1

    run(read())


PARTITIONED = (
    "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
    "CREATE TABLE t_0 PARTITION OF t FOR VALUES FROM (0) TO (10)",
    "INSERT INTO t VALUES (1)",
    "CREATE TABLE u (id int PRIMARY KEY)",
)
MOVES = {
    "attached": (
        [
            "CREATE TABLE t_1 (LIKE t INCLUDING ALL)",
            "INSERT INTO t_1 VALUES (11)",
            "ALTER TABLE t ATTACH PARTITION t_1 FOR VALUES FROM (10) TO (20)",
        ],
        "t_1 was attached to public.t with rows that are not in the log",
    ),
    "attached in its first transaction": (
        [
            "BEGIN; CREATE TABLE t_1 (LIKE t INCLUDING ALL); INSERT INTO t_1 VALUES (11);"
            " ALTER TABLE t ATTACH PARTITION t_1 FOR VALUES FROM (10) TO (20); COMMIT"
        ],
        "t_1 was attached to public.t with rows that are not in the log",
    ),
    "detached": (["ALTER TABLE t DETACH PARTITION t_0"], "t_0 is no partition of public.t"),
    "dropped": (["DROP TABLE t_0"], "a dropped table is no partition of public.t"),
    "made": (
        [
            "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (10) TO (20)",
            "INSERT INTO t VALUES (11)",
        ],
        None,
    ),
    "attached empty": (
        [
            "CREATE TABLE t_1 (LIKE t INCLUDING ALL)",
            "ALTER TABLE t ATTACH PARTITION t_1 FOR VALUES FROM (10) TO (20)",
        ],
        None,
    ),
}


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("running", [True, False], ids=["while running", "between runs"])
@pytest.mark.parametrize(("moved", "told"), MOVES.values(), ids=MOVES)
def test_rows_that_come_or_go_with_a_partition_are_told(
    database: str,
    moved: list[str],
    told: str | None,
    running: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    execute(database, *PARTITIONED)

    async def read() -> None:
        async with follower(database, Remembered(), "initial") as source:
            await source.changes()
            if not running:
                await source.close()
            execute(database, *moved)
            if not running:
                await source.open()
            await source.changes()
            await source.changes()

    with caplog.at_level(logging.WARNING):
        run(read())
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (told is not None), messages
    assert told is None or messages[0].startswith(told)


def test_a_new_copy_needs_no_warning_of_partitions(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, *PARTITIONED)
    memory = Remembered()

    async def read() -> set[tuple[bytes, ...]]:
        async with follower(database, memory, "always") as source:
            await source.changes()
            return set(source.replica["public.t"])

    assert run(read()) == {(b"1",)}
    execute(database, *MOVES["attached"][0])
    with caplog.at_level(logging.WARNING):
        assert run(read()) == {(b"1",), (b"11",)}
    assert not caplog.records
