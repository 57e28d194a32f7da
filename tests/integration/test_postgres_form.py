"""The log in binary shows what it shows in text, and gives way to text where it must."""

from __future__ import annotations

import logging
from typing import Any

import psycopg
import pytest

from penstock import Mask, Pipeline
from penstock.embedded.server import Server
from penstock.errors import ConnectionLostError
from penstock.model import Change
from penstock.pipeline.projector import Projector
from penstock.ports import Rule
from penstock.sinks.memory import MemorySink
from penstock.sources.postgres import form
from penstock.sources.postgres.config import Postgres
from penstock.sources.postgres.wire.binary import is_exact
from penstock.sources.postgres.wire.types import builtin
from penstock.stores.memory import MemoryStore
from tests.integration.test_postgres_values import arrays, catalog_columns, fill, quote
from tests.support.follow import Follower, run
from tests.support.postgres import execute, fresh_database

pytestmark = pytest.mark.server

MASK = Mask(columns=("*.*",), method="hmac", key="of all the exact texts")


@pytest.fixture(autouse=True)
def binary_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever kernel runs: the Python one would not ask for binary by itself."""
    monkeypatch.setattr(form, "kernel", lambda: "native")


def seen(change: Change[Any]) -> tuple[Any, ...]:
    values = (change.values_before, change.values_after, change.key_values, change.key_old)
    return (change.operation, change.id, *(None if v is None else list(v) for v in values))


@pytest.mark.parametrize("rules", [[], [MASK]], ids=["clear", "masked"])
def test_all_changes_are_the_same_in_binary(servers: Server, rules: list[Rule]) -> None:
    with fresh_database(servers) as database:
        with psycopg.connect(database, autocommit=True, client_encoding="utf8") as connection:
            server = connection.info.server_version
            columns = [
                column
                for column in catalog_columns(connection)
                if (oid := connection.execute("SELECT %s::regtype::oid", (column.sql,)).fetchone())
                and (type := builtin(oid[0])) is not None
                and is_exact(type, server)
            ]
            columns += arrays(columns)
            fill(connection, "everything", columns)
            listed = ", ".join(quote(column.name) for column in columns)
            connection.execute("CREATE TYPE mood AS ENUM ('sad', '')")
            connection.execute(
                "CREATE TABLE keyed (m mood, d numeric, t text, big text, PRIMARY KEY (d, m))"
            )

        async def test() -> None:
            binary = Follower(database, pipeline="binary", tables=["public.*"])
            text = Follower(database, pipeline="text", tables=["public.*"], binary=False)
            for follower in (binary, text):
                follower.source.project(Projector(rules).of)
            async with binary, text:
                with psycopg.connect(
                    database, autocommit=True, client_encoding="utf8"
                ) as connection:
                    assert binary.source._form.binary == server
                    assert text.source._form.binary == 0
                    for identity in ("DEFAULT", "FULL"):
                        connection.execute(f"ALTER TABLE keyed REPLICA IDENTITY {identity}")
                        connection.execute(
                            "INSERT INTO keyed VALUES ('sad', 1.50, NULL, repeat(md5('x'), 9000)),"
                            " ('', 'NaN', '', NULL)"
                        )
                        connection.execute("UPDATE keyed SET t = 'new'")
                        connection.execute("UPDATE keyed SET d = d + 1, m = 'sad'")
                        connection.execute("DELETE FROM keyed")
                    connection.execute(
                        f"INSERT INTO everything SELECT id + 1000, {listed} FROM everything"
                    )
                    connection.execute("ALTER TABLE everything REPLICA IDENTITY FULL")
                    connection.execute("UPDATE everything SET bool = NULL")
                ours, theirs = await binary.changes(), await text.changes()
                assert list(map(seen, ours)) == list(map(seen, theirs))
                assert len(ours) > 50

        run(test(), within=120)


def test_a_column_that_must_come_as_text(databases: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost, and the decision is kept."""

    async def test() -> None:
        execute(databases, "CREATE TABLE t (id int PRIMARY KEY, at timestamptz)")
        async with Follower(databases) as follower:
            assert follower.source._form.binary
            execute(
                databases,
                "INSERT INTO t VALUES (1, '2024-01-01')",
                "ALTER TABLE t ADD words tsvector",
                "INSERT INTO t VALUES (2, 'infinity', 'a b')",
            )
            with pytest.raises(ConnectionLostError, match=r"values of public\.t\.words \(tsvector"):
                await follower.read_for_ever()
            for _ in range(2):
                await follower.reopen()
                assert not follower.source._form.binary
            await follower.to_head()
            assert [list(row) for row in follower.replica["public.t"].values()] == [
                [b"1", b"2024-01-01 00:00:00+00"],
                [b"2", b"infinity", b"'a' 'b'"],
            ]

    run(test())


def test_a_column_that_the_catalog_does_not_have_any_more(
    databases: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Start-up cannot see it: the log shows it, and a whole pipeline goes on in text by itself."""
    execute(databases, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    sink, store = MemorySink(), MemoryStore()

    def go() -> None:
        source = Postgres(dsn=databases, tables=("public.t",), snapshot="initial")
        Pipeline("shop", source, [sink], store=store).run(until_caught_up=True)

    go()
    execute(
        databases,
        "INSERT INTO t VALUES (2)",
        "ALTER TABLE t ADD words tsvector",
        "INSERT INTO t VALUES (3, 'a')",
        "ALTER TABLE t DROP words",
        "INSERT INTO t VALUES (4)",
    )
    with caplog.at_level(logging.WARNING):
        go()
    (told,) = [r.getMessage() for r in caplog.records if "sent as text" in r.getMessage()]
    assert "public.t.words (tsvector)" in told
    assert [change.row["id"] for change in sink.changes] == [1, 2, 3, 4]


def test_binary_is_not_for_everyone(databases: str) -> None:
    async def test() -> None:
        execute(
            databases,
            "CREATE DOMAIN price AS numeric(10,2)",
            "CREATE TABLE good (id int PRIMARY KEY, p price[])",
            "CREATE TABLE bad (id int PRIMARY KEY, c cidr, words tsvector)",
        )
        forms = {}
        cases: dict[str, dict[str, Any]] = {
            "good": {"tables": ["public.good"]},
            "bad": {},
            "refused": {"tables": ["public.good"], "binary": False},
            "temporary": {"tables": ["public.good"], "temporary": True},
        }
        for name, options in cases.items():
            async with Follower(databases, pipeline=name, **options) as follower:
                forms[name] = follower.source._form
        assert forms["good"].binary
        assert forms["good"].objection == ""
        assert not any(forms[name].binary for name in ("bad", "refused", "temporary"))
        assert forms["bad"].objection == "public.bad.words (tsvector)"
        assert not any(forms[name].insist() for name in forms)

    run(test())
