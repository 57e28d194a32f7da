"""Snapshots of MySQL and MariaDB by several readers, part by part."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pymysql
import pytest
from pydantic import SecretStr

from penstock.cli.progress import line
from penstock.errors import SourceError
from penstock.model import Batch, Change, SnapshotBegin, SnapshotEnd
from penstock.sources.mysql import moment, parts
from penstock.sources.mysql.config import MySQL
from penstock.sources.mysql.connection import Server, one
from penstock.sources.mysql.reader import SnapshotReader
from tests.support.follow import Follower, Remembered, run
from tests.support.mysql import Database
from tests.support.waiting import eventually


def follow(database: Database, memory: Remembered | None = None, **options: Any) -> Follower:
    given = {"tables": (f"{database.name}.*",), "snapshot": "initial", **options}
    return Follower(database.dsn, memory, kind=MySQL, **given)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tables are cut into parts of seven rows; what each part reads."""
    monkeypatch.setattr(parts, "PART", 1)
    monkeypatch.setattr(parts, "LEAST", 7)
    conditions: list[str] = []
    blocks = SnapshotReader.blocks

    def noted(self: SnapshotReader, part: parts.Part) -> Any:
        conditions.append(part.condition)
        return blocks(self, part)

    monkeypatch.setattr(SnapshotReader, "blocks", noted)
    return conditions


async def copied(database: Database, **options: Any) -> list[Change]:
    rows: list[Change] = []
    async with follow(database, snapshot="only", **options) as follower:
        async for item in follower.source.batches():
            if isinstance(item, Batch):
                rows += [event for event in item if isinstance(event, Change)]
                for event in item:
                    if isinstance(event, SnapshotEnd):
                        table = event.table.text
                        assert event.rows == sum(change.table == table for change in rows)
                        assert isinstance([*item][-2], Change), "the last row comes with the end"
    return rows


KEYS = {
    "int": [str(n * n * n) for n in range(-30, 30)],
    "bigint unsigned": [str((1 << 64) - 1 - n * n) for n in range(50)],
    "decimal(10,3)": [f"{n}.{n:03}" for n in range(-20, 40)],
    "date": [f"'20{n:02}-01-31'" for n in range(60)],
    "datetime(6)": [f"'2020-01-01 00:00:{n:02}.{n:06}'" for n in range(60)],
    "timestamp": [f"'2020-01-01 00:00:{n:02}'" for n in range(60)],
    "varchar(20) COLLATE utf8mb4_general_ci": [
        f"'{a}{b}'" for a in ("a", "B", "c", "''", "Ö", "ß", "\\\\", "狗", "🐕") for b in "xYzÉ"
    ],
    "varchar(20) CHARACTER SET latin1 COLLATE latin1_german1_ci": [
        f"'{a}{b}'" for a in "aBzöß" for b in range(9)
    ],
    "char(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": [
        f"'{a}{b}'" for a in "aAbBäÄ" for b in range(9)
    ],
    "varbinary(9)": [f"x'{n:02x}00ff'" for n in range(0, 250, 5)],
    "enum('z', 'a', 'm')": ["'z'", "'a'", "'m'"],
    "year": [str(n) for n in range(1990, 2030)],
}


@pytest.mark.no_kernel
@pytest.mark.parametrize("kind", KEYS)
def test_each_row_is_in_one_part_whatever_the_key(
    binlogs: Database, small_parts: list[str], kind: str
) -> None:
    """Also rows that share the column by which the table is cut."""
    keys = list(dict.fromkeys(KEYS[kind]))
    binlogs.execute(
        f"CREATE TABLE t (id {kind}, n int, PRIMARY KEY (id, n))",
        "INSERT INTO t VALUES "
        + ", ".join(f"({key}, {n})" for i, key in enumerate(keys) for n in range(1 + i % 3)),
        "ANALYZE TABLE t",
    )
    rows = run(copied(binlogs, snapshot_connections=3))
    found = Counter(row.key_values for row in rows)
    assert set(found.values()) == {1}
    assert len(found) == sum(1 + i % 3 for i in range(len(keys)))
    uncut = kind.startswith(("enum", "year"))
    assert (len(small_parts) > 5) != uncut


@pytest.mark.no_kernel
def test_keys_that_are_equal_to_the_server_are_in_one_part(
    binlogs: Database, small_parts: list[str]
) -> None:
    """Under a collation that ignores case, a cut between 'a' and 'A' is none."""
    letters = "abcdefgh"
    rows = [(c, n) for i, c in enumerate(letters) for n, c in enumerate((c, c.upper()) * 5)]
    binlogs.execute(
        "CREATE TABLE t (id varchar(9) COLLATE utf8mb4_general_ci, n int, PRIMARY KEY (id, n))",
        "INSERT INTO t VALUES " + ", ".join(f"('{c}', {n})" for c, n in rows),
        "ANALYZE TABLE t",
    )
    found = Counter(
        (row.after["id"], row.after["n"])
        for row in run(copied(binlogs, snapshot_connections=2))
        if row.after
    )
    assert found == Counter(rows)
    assert len(small_parts) == len(letters) + 1


@pytest.mark.no_kernel
def test_tables_without_a_key_to_cut_by_are_read_whole(
    binlogs: Database, small_parts: list[str]
) -> None:
    values = ", ".join(f"({n % 5}, 'x{n % 9}')" for n in range(90))
    binlogs.execute(
        "CREATE TABLE keyless (n int, s varchar(9))",
        "CREATE TABLE mine (n int, s varchar(9), k int PRIMARY KEY AUTO_INCREMENT) ENGINE = MyISAM",
        "CREATE TABLE begun (n int, s varchar(9), t int AUTO_INCREMENT, PRIMARY KEY (s(1), t),"
        " KEY (t))",
        "CREATE TABLE none (id int PRIMARY KEY)",
        *(f"INSERT INTO {table} (n, s) VALUES {values}" for table in ("keyless", "mine", "begun")),
        "ANALYZE TABLE keyless, mine, begun, none",
    )
    rows = Counter(row.definition.name for row in run(_without_ends(binlogs)))
    assert rows == {"keyless": 90, "mine": 90, "begun": 90}
    assert small_parts.count("") >= 3


async def _without_ends(database: Database) -> list[Change]:
    async with follow(database, snapshot="only") as follower:
        return [
            event
            async for item in follower.source.batches()
            if isinstance(item, Batch)
            for event in item
            if isinstance(event, Change)
        ]


class Bank(threading.Thread):
    """Moves money between accounts, so that their sum is always the same."""

    def __init__(self, database: Database, seed: int) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._seed = seed
        self._enough = threading.Event()
        self.moved = 0

    def run(self) -> None:
        with self._database.connect(autocommit=False) as connection, connection.cursor() as cursor:
            while not self._enough.is_set():
                first = (self.moved * 7 + self._seed) % 89
                try:
                    cursor.execute("UPDATE t SET v = v - 1 WHERE id = %s", (first,))
                    cursor.execute("UPDATE t SET v = v + 1 WHERE id = %s", (first + 1,))
                    connection.commit()
                except pymysql.err.OperationalError:  # a deadlock
                    connection.rollback()
                self.moved += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()


def _bank(database: Database) -> None:
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        "INSERT INTO t VALUES " + ", ".join(f"({n}, 100)" for n in range(90)),
        "ANALYZE TABLE t",
    )


def test_all_readers_see_one_moment_and_the_log_goes_on_there(
    binlogs: Database, small_parts: list[str]
) -> None:
    _bank(binlogs)
    writers = [Bank(binlogs, seed) for seed in (1, 40)]
    for writer in writers:
        writer.start()

    async def scenario() -> None:
        for _ in range(3):
            async with follow(binlogs, snapshot_connections=4) as follower:
                total = 0
                events = await follower.to_head()
                for event in events:
                    if isinstance(event, Change) and event.operation == "read":
                        assert event.after is not None
                        total += event.after["v"]
                assert total == 9000
                rows = follower.replica[f"{binlogs.name}.t"]
                assert sum(int(v) for _, v in rows.values()) == 9000

    try:
        run(scenario())
    finally:
        for writer in writers:
            writer.stop()
    assert sum(writer.moved for writer in writers) > 10
    assert len(small_parts) > 20


@pytest.fixture
def commits_in_between(binlogs: Database, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Money is moved after each reader's beginning, or tried to be; whether that was done."""
    _bank(binlogs)
    begin = SnapshotReader.begin
    moved: list[bool] = []

    def begin_and_move(self: SnapshotReader) -> None:
        begin(self)
        if len(moved) < 6:
            with binlogs.connect(autocommit=False) as connection, connection.cursor() as cursor:
                cursor.execute("SET SESSION lock_wait_timeout = 1")
                try:
                    cursor.execute("UPDATE t SET v = v - 1 WHERE id = 1")
                    cursor.execute("UPDATE t SET v = v + 1 WHERE id = 80")
                    connection.commit()
                    moved.append(True)
                except pymysql.err.OperationalError:
                    moved.append(False)

    monkeypatch.setattr(SnapshotReader, "begin", begin_and_move)
    return moved


def _sum(changes: list[Change]) -> int:
    return sum(change.after["v"] for change in changes if change.after)


def test_what_is_committed_while_the_readers_begin_is_seen_by_all_or_none(
    binlogs: Database, small_parts: list[str], commits_in_between: list[bool]
) -> None:
    async def scenario() -> None:
        async with follow(binlogs, snapshot_connections=2) as follower:
            changes = [e for e in await follower.to_head() if isinstance(e, Change)]
            assert _sum([c for c in changes if c.operation == "read"]) == 9000
            rows = follower.replica[f"{binlogs.name}.t"]
            assert {k: int(v) for (k,), (_, v) in rows.items()} == {
                str(id).encode(): v for id, v in binlogs.fetch("SELECT * FROM t")
            }

    run(scenario())
    held_up = binlogs.server.flavor == "mysql"
    assert commits_in_between[:2] == [not held_up] * 2


@pytest.mark.no_kernel
@pytest.mark.parametrize("permitted", [True, False])
def test_readers_that_never_begin_together_take_the_lock_or_are_fewer(
    mariadb: Database,
    small_parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    permitted: bool,
) -> None:
    monkeypatch.setattr(moment, "TRIES", 3)
    _bank(mariadb)
    begin, locking = SnapshotReader.begin, moment._locked
    locked: list[Any] = []

    def begin_and_commit(self: SnapshotReader) -> None:
        begin(self)
        if not locked:
            mariadb.transact(
                "UPDATE t SET v = v - 1 WHERE id = 1", "UPDATE t SET v = v + 1 WHERE id = 80"
            )

    def lock(server: Any) -> Any:
        locked.append(server)
        if not permitted:
            raise PermissionError
        return locking(server)

    monkeypatch.setattr(SnapshotReader, "begin", begin_and_commit)
    monkeypatch.setattr(moment, "_locked", lock)
    changes = run(copied(mariadb, snapshot_connections=3))
    assert _sum(changes) == 9000
    assert len(changes) == 90
    assert len(locked) == 1


def test_a_table_that_is_finished_is_not_read_again(
    binlogs: Database, small_parts: list[str]
) -> None:
    binlogs.execute(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY)",
        "INSERT INTO a VALUES " + ", ".join(f"({n})" for n in range(50)),
        "INSERT INTO b VALUES " + ", ".join(f"({n})" for n in range(50)),
        "ANALYZE TABLE a, b",
    )

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory) as follower:
            while not any(stream.startswith("snapshot") for stream in memory.start):
                await follower.next()
        [finished] = memory.start
        replica = follower.replica
        binlogs.execute("DELETE FROM a WHERE id < 10", "DELETE FROM b WHERE id < 10")
        async with follow(binlogs, memory, replica=replica) as follower:
            events = await follower.to_head()
        begun = [(e.table.text, e.attempt) for e in events if isinstance(e, SnapshotBegin)]
        [(table, attempt)] = begun
        assert not finished.endswith(table)
        assert attempt == 2
        assert sum(isinstance(e, Change) and e.operation == "read" for e in events) == 40
        assert {len(rows) for rows in replica.values()} == {40}

    run(scenario())


@pytest.mark.parametrize("change", ["ADD COLUMN b int", "DROP COLUMN a", "RENAME COLUMN a TO b"])
def test_a_table_that_is_altered_before_it_is_read_is_refused(
    binlogs: Database, change: str
) -> None:
    binlogs.execute("CREATE TABLE t (id int PRIMARY KEY, a int)", "INSERT INTO t VALUES (1, 2)")

    async def scenario() -> None:
        memory = Remembered()
        async with follow(binlogs, memory) as follower:
            await asyncio.to_thread(binlogs.execute, f"ALTER TABLE t {change}")
            with pytest.raises(SourceError, match="was altered") as caught:
                await follower.to_head()
            assert caught.value.table == f"{binlogs.name}.t"
        async with follow(binlogs, memory) as follower:
            await follower.to_head()
            assert len(follower.replica[f"{binlogs.name}.t"]) == 1

    run(scenario())


def test_a_table_that_was_read_may_be_altered_while_others_are_read(
    binlogs: Database, small_parts: list[str]
) -> None:
    binlogs.execute(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY, x varchar(200))",
        "INSERT INTO a VALUES (1)",
        "INSERT INTO b VALUES " + ", ".join(f"({n}, REPEAT('x', 200))" for n in range(300)),
        "ANALYZE TABLE a, b",
    )

    async def scenario() -> None:
        async with follow(binlogs, snapshot_connections=1) as follower:
            first = f"{binlogs.name}.b"
            while f"snapshot:{first}" not in follower.memory.start:
                await follower.next()
            await asyncio.to_thread(
                binlogs.execute, "SET SESSION lock_wait_timeout = 20", "ALTER TABLE b ADD y int"
            )
            await follower.to_head()
            assert len(follower.replica[first]) == 300

    run(scenario())


@pytest.mark.no_kernel
def test_what_a_table_has_grown_to_today_is_known(mysql: Database) -> None:
    """MySQL remembers for a day what it once said of a table's size."""
    size = "SELECT data_length FROM information_schema.tables WHERE table_schema = %s"
    mysql.execute("CREATE TABLE t (id int PRIMARY KEY, s varchar(9000))")
    assert mysql.fetch(size, mysql.name) == [(16384,)]
    rows = ", ".join(f"({n}, REPEAT('x', 9000))" for n in range(99))
    mysql.execute(f"INSERT INTO t VALUES {rows}")
    with Server(SecretStr(mysql.dsn)).connect() as connection:  # the server counts now and then
        eventually(lambda: one(connection, size, mysql.name) > 16384)
    assert mysql.fetch(size, mysql.name) == [(16384,)]


def test_progress_is_told_as_it_is_shown(binlogs: Database, small_parts: list[str]) -> None:
    _bank(binlogs)

    async def scenario() -> None:
        async with follow(binlogs) as follower:
            await follower.next()
            await follower.next()
            told = (await follower.source.status(follower.context))["snapshot"]
            assert told["table"] == f"{binlogs.name}.t"
            assert told["rows"] > 0
            assert told["rows_total"] == 90
            assert line(told).startswith("snapshot")

    run(scenario())
