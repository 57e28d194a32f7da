"""Preflight: what is found, and that the printed SQL mends it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.ports import Context, Finding
from penstock.sources.postgres.config import Postgres
from tests.conftest import OwnServer
from tests.support.follow import Follower, run
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.server


def findings(dsn: str, **options: Any) -> list[Finding]:
    source = Postgres(dsn=dsn, **options).build()
    found: list[Finding] = run(source.check(Context("shop", "source")))
    return found


def errors(dsn: str, **options: Any) -> list[Finding]:
    return [finding for finding in findings(dsn, **options) if finding.severity == "error"]


def test_a_server_that_is_ready_has_no_errors_and_is_not_changed(databases: str) -> None:
    execute(databases, "CREATE TABLE t (id int PRIMARY KEY)")
    assert errors(databases, snapshot="initial") == []
    assert fetch(databases, "SELECT count(*) FROM pg_publication") == [(0,)]
    assert fetch(databases, "SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_what_is_not_captured_is_told(database: str) -> None:
    execute(
        database,
        "CREATE TABLE orders (id serial PRIMARY KEY)",
        "CREATE TABLE lines (id int PRIMARY KEY REFERENCES orders)",
        "CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY)",
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders",
        "SELECT lo_create(0)",
    )
    messages = [
        finding.message for finding in findings(database, tables=["public.orders", "*.scr*"])
    ]
    for words in (
        "sequences are not captured: public.orders_id_seq",
        "materialized views are not captured: public.totals",
        "large objects are not captured: 1 of them",
        "unlogged tables are not captured: public.scratch",
        "TRUNCATE orders CASCADE empties lines, which is not captured, without a trace",
    ):
        assert words in messages


def test_the_sql_of_a_finding_mends_it(database: str) -> None:
    role = "penstock_checker"
    execute(
        database,
        "CREATE TABLE t (id int)",
        f"DROP ROLE IF EXISTS {role}",
        f"CREATE ROLE {role} LOGIN",
    )
    try:
        dsn = f"{database}?user={role}"
        found = errors(dsn, snapshot="initial")
        assert {finding.code for finding in found} == {"privilege", "schema"}
        assert len(found) == 4
        for finding in found:
            fix = finding.fix.removeprefix("add a primary key; or ").partition(" or leave")[0]
            execute(database, *filter(None, fix.partition("; see")[0].split(";")))
        assert errors(dsn, snapshot="initial") == []
    finally:
        execute(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_server_without_room_is_told(own_server: OwnServer) -> None:
    dsn = own_server(max_replication_slots=1, wal_level="replica").start().dsn()
    execute(
        dsn,
        "CREATE TABLE t (id int PRIMARY KEY)",
        "SELECT pg_create_physical_replication_slot('x')",
    )
    messages = "\n".join(f"{finding.message} {finding.fix}" for finding in errors(dsn))
    assert "wal_level is replica" in messages
    assert "ALTER SYSTEM SET max_replication_slots" in messages


def test_an_unreachable_server_is_one_finding() -> None:
    finding, _kernel = findings("postgresql://u:c4nary@127.0.0.1:1/d")
    assert finding.severity == "error"
    assert finding.message == "cannot connect to 127.0.0.1:1/d: Connection refused"
    assert "c4nary" not in str(finding)


def test_status_tells_of_slot_and_log(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)")

    async def scenario() -> None:
        follower = Follower(database)
        status = await follower.source.status(follower.context)
        assert (status["exists"], status["published"]) == (False, False)
        async with follower:
            await follower.to_head()
            status = await follower.source.status(follower.context)
            assert (status["active"], status["published"]) == (True, True)
            assert status["retained_bytes"] >= 0
        status = await follower.source.status(follower.context)
        assert status["active"] is False

    run(scenario())


def test_rows_that_move_with_a_partition_are_not_captured(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    (told,) = [f.message for f in findings(database) if "partition" in f.message]
    assert told.endswith(": public.t")
