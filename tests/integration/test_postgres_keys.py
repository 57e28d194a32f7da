"""A table's key is the same in its snapshot and in the log."""

from __future__ import annotations

import pytest

from penstock import Pipeline
from penstock.embedded.server import Server
from penstock.model import Change, SnapshotBegin
from penstock.sinks.sql import Sql
from penstock.sources.postgres.config import Postgres
from tests.support.follow import Follower, run
from tests.support.postgres import execute, fetch, fresh_database

pytestmark = pytest.mark.server


async def keys(dsn: str) -> list[tuple[str, ...]]:
    """The key that the snapshot tells of public.t, then that of a row in the log."""
    async with Follower(dsn, tables=["public.t"], snapshot="initial") as follower:
        execute(dsn, "INSERT INTO t VALUES (2, 'two')")
        events = await follower.to_head()
    begun = [e.table.key_columns for e in events if isinstance(e, SnapshotBegin)]
    rows = [e.definition.key_columns for e in events if isinstance(e, Change)]
    return [*begun, rows[-1]]


def test_columns_that_an_index_only_includes_are_no_part_of_the_key(databases: str) -> None:
    execute(databases, "CREATE TABLE t (id int, v text, PRIMARY KEY (id) INCLUDE (v))")
    assert run(keys(databases)) == [("id",), ("id",)]


def test_a_key_in_another_order_than_its_columns(databases: str) -> None:
    execute(databases, "CREATE TABLE t (id int, v text, PRIMARY KEY (v, id))")
    assert run(keys(databases)) == [("v", "id"), ("v", "id")]


def test_a_deferrable_primary_key_under_full_identity(databases: str) -> None:
    execute(
        databases,
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, v text)",
        "ALTER TABLE t REPLICA IDENTITY FULL",
    )
    assert run(keys(databases)) == [("id",), ("id",)]


def test_a_deferrable_key_is_held_twice_for_a_moment(server: Server) -> None:
    with fresh_database(server) as source, fresh_database(server) as target:
        execute(
            source,
            "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text)",
            "ALTER TABLE t REPLICA IDENTITY FULL",
            "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
        )
        reading = Postgres(dsn=source, tables=["public.t"], snapshot="initial")
        pipeline = Pipeline("keys", reading, [Sql(url=target)], store="memory")
        pipeline.run(until_caught_up=True)
        execute(
            source,
            "BEGIN; INSERT INTO t VALUES (1, 'new'); UPDATE t SET id = id + 10 WHERE v = 'one';"
            " INSERT INTO t VALUES (2, 'gone'); DELETE FROM t WHERE v = 'gone'; COMMIT",
        )
        pipeline.run(until_caught_up=True)
        wanted = [(1, "new"), (2, "two"), (11, "one")]
        for dsn in (source, target):
            assert fetch(dsn, "SELECT id, v FROM t ORDER BY id") == wanted
