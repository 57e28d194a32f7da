"""Keys that MySQL takes for equal, and others do not: a replica has the rows by their last keys."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from penstock import Pipeline
from penstock.sinks.sql import Sql
from penstock.sources.mysql.config import MySQL
from tests.support.mysql import Database

CASELESS = "varchar(9) COLLATE utf8mb4_general_ci"


def replicate(database: Database, folder: Path) -> None:
    """Run until all is there."""
    source = MySQL(dsn=database.dsn, tables=(f"{database.name}.*",), snapshot="initial")
    sinks = [Sql(url=f"sqlite:///{folder}/replica.db")]
    store = f"sqlite:///{folder}/state.db"
    Pipeline("keys", source=source, sinks=sinks, store=store).run(until_caught_up=True)


def rows(folder: Path, table: str = "t") -> list[tuple[str, int]]:
    with closing(sqlite3.connect(folder / "replica.db")) as replica:
        return replica.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()


@pytest.mark.parametrize("kind", [CASELESS, "char(9) CHARACTER SET latin1", "varchar(9)"])
def test_a_key_that_changes_for_others_alone_is_a_changed_key(
    binlogs: Database, tmp_path: Path, kind: str
) -> None:
    binlogs.execute(
        f"CREATE TABLE t (id {kind} PRIMARY KEY, n int)",
        "INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4), ('e', 5)",
    )
    replicate(binlogs, tmp_path)
    binlogs.transact(
        "UPDATE t SET id = 'A' WHERE id = 'a'",
        "UPDATE t SET id = 'B', n = 20 WHERE id = 'B'",
        "REPLACE INTO t VALUES ('C', 30)",
        "INSERT INTO t VALUES ('D', 0) ON DUPLICATE KEY UPDATE id = VALUES(id), n = 40",
        "DELETE FROM t WHERE id = 'E'",
        "INSERT INTO t VALUES ('É', 50)",
    )
    binlogs.transact(  # back and forth
        "UPDATE t SET id = 'x' WHERE id = 'A'",
        "UPDATE t SET id = 'a' WHERE id = 'b'",
        "UPDATE t SET id = 'B' WHERE id = 'x'",
    )
    replicate(binlogs, tmp_path)
    expected = binlogs.fetch("SELECT * FROM t ORDER BY BINARY id")
    assert sorted(rows(tmp_path)) == sorted(expected)
    assert {id for id, _ in expected} == {"a", "B", "C", "D", "É"}


def test_keys_that_end_in_spaces_are_told_apart_by_others(
    binlogs: Database, tmp_path: Path
) -> None:
    binlogs.execute(
        f"CREATE TABLE t (id {CASELESS} PRIMARY KEY, n int)",
        "INSERT INTO t VALUES ('a ', 1), ('b', 2)",
    )
    replicate(binlogs, tmp_path)
    assert rows(tmp_path) == [("a ", 1), ("b", 2)]
    binlogs.execute(
        "UPDATE t SET id = 'A' WHERE id = 'a'", "UPDATE t SET id = 'b  ' WHERE id = 'b'"
    )
    replicate(binlogs, tmp_path)
    assert rows(tmp_path) == [("A", 1), ("b  ", 2)]
