"""DDL between changes: a replica ends equal to its source, or the pipeline stops and says why.

A seed makes the statements. They run while the pipeline follows, and again before it starts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeAlias

import psycopg
import pytest

from penstock import Pipeline
from penstock.embedded.server import Server
from penstock.errors import GapError, PenstockError, SchemaError
from penstock.sinks.sql import Sql
from penstock.sources.postgres import watch
from penstock.sources.postgres.config import Postgres
from penstock.stores.memory import MemoryStore
from tests.support.postgres import execute, fresh_database

pytestmark = pytest.mark.server

State: TypeAlias = dict[str, list[dict[str, Any]]]
"""The rows of each table, by key."""

TABLES: Final = ("a", "b", "p")
SETUP: Final = (
    "CREATE SCHEMA other",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE DOMAIN price AS numeric(10,2)",
    "CREATE TABLE a (id int PRIMARY KEY, code int NOT NULL UNIQUE, c0 text)",
    "CREATE TABLE b (id int PRIMARY KEY, code int NOT NULL UNIQUE, c0 mood, c1 price)",
    "CREATE TABLE p (id int PRIMARY KEY, code int, c0 varchar(9)) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (10000)",
    *(f"INSERT INTO {t} SELECT i, i, 'ok' FROM generate_series(1, 12) i" for t in TABLES),
)


class Author:
    """Writes statements; a server may refuse some."""

    def __init__(self, seed: int, kinds: str) -> None:
        self.random = Random(seed)
        self.kinds = kinds.split()
        self.names = {table: table for table in TABLES}
        self.number = 100
        self.columns: dict[str, list[str]] = {t: ["c0"] for t in TABLES}

    def statements(self, count: int) -> Iterator[str]:
        for _ in range(count):
            table = self.random.choice(TABLES)
            for _ in range(self.random.randint(0, 3)):
                yield self.change(self.random.choice(TABLES))
            yield from self.alter(table, self.random.choice(self.kinds))
        for table in TABLES:
            yield self.insert(table)

    def insert(self, table: str) -> str:
        self.number += 1
        return f"INSERT INTO {self.names[table]} (id, code) VALUES ({self.number}, {self.number})"

    def change(self, table: str) -> str:
        name, row = self.names[table], self.random.randint(1, 14)
        match self.random.choice(("insert", "insert", "update", "update", "key", "delete")):
            case "insert":
                return self.insert(table)
            case "update":
                column = self.random.choice(self.columns[table])
                value = self.random.choice(("'7'", "NULL", "'sad'", "DEFAULT"))
                return f"UPDATE {name} SET {column} = {value} WHERE id >= {row} AND id < {row + 3}"
            case "key":
                self.number += 1
                return f"UPDATE {name} SET id = {self.number} WHERE id = {row}"
            case _:
                return f"DELETE FROM {name} WHERE id = {row}"

    def alter(self, table: str, kind: str) -> Iterator[str]:
        name, random = self.names[table], self.random
        alter = f"ALTER TABLE {name}"
        columns = self.columns[table]
        column = random.choice(columns)
        self.number += 1
        fresh = f"c{self.number}"
        match kind:
            case "add" | "constant" | "volatile" | "generated":
                columns.append(fresh)
                yield (
                    f"{alter} ADD COLUMN {fresh} "
                    + {
                        "add": random.choice(("int", "text", "numeric(6,2)", "timestamptz")),
                        "constant": random.choice(
                            (
                                "int NOT NULL DEFAULT 7",
                                "text DEFAULT 'it''s'",
                                "numeric(6,2) DEFAULT 1",
                            )
                        ),
                        "volatile": "float8 DEFAULT random()",
                        "generated": "int GENERATED ALWAYS AS (code * 2) STORED",
                    }[kind]
                )
            case "default":
                yield f"{alter} ALTER {column} SET DEFAULT '5'"
            case "drop":
                if len(columns) > 1:
                    columns.remove(column)
                    yield f"{alter} DROP COLUMN {column}"
            case "again":
                yield f"{alter} DROP COLUMN {column}"
                yield self.insert(table)  # else nothing in the log tells
                yield f"{alter} ADD COLUMN {column} text"
            case "rename":
                columns[columns.index(column)] = fresh
                yield f"{alter} RENAME {column} TO {fresh}"
            case "widen":
                types = random.choice(("text", "bigint", "numeric", "varchar(20)", "numeric(8,2)"))
                yield f"{alter} ALTER {random.choice((column, 'code'))} TYPE {types}"
            case "narrow":
                yield f"{alter} ALTER {column} TYPE varchar(4)"
            case "key":
                yield f"{alter} DROP CONSTRAINT {table}_pkey"
                if random.random() < 0.3:
                    yield self.insert(table)
                new = random.choice(("id", "code"))
                yield f"{alter} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({new})"
            case "identity":
                to = random.choice(
                    ("FULL", "DEFAULT", "NOTHING", f"USING INDEX {table}_code_key", "DEFAULT")
                )
                yield f"{alter} REPLICA IDENTITY {to}"
            case "table":
                new = random.choice((f"{table}x", table))
                yield f"{alter} RENAME TO {new}"
            case "schema":
                yield f"{alter} SET SCHEMA other"
            case "recreate":
                yield f"DROP TABLE {name}"
                yield f"CREATE TABLE {name} (id int PRIMARY KEY, code int UNIQUE, c0 text)"
                self.columns[table] = ["c0"]
            case "enum":
                yield f"ALTER TYPE mood ADD VALUE IF NOT EXISTS '{fresh}'"
            case "domain":
                yield "ALTER DOMAIN price ADD CHECK (VALUE > -1)"
                yield "ALTER DOMAIN price SET DEFAULT 3"
            case "partition":
                yield f"CREATE TABLE q{self.number} (LIKE p INCLUDING ALL)"
                bounds = f"FROM ({self.number * 1000}) TO ({self.number * 1000 + 9})"
                yield f"ALTER TABLE p ATTACH PARTITION q{self.number} FOR VALUES {bounds}"
                if random.random() < 0.5:
                    yield f"ALTER TABLE p DETACH PARTITION q{self.number}"
            case "truncate":
                yield f"TRUNCATE {name}, {self.names[random.choice(TABLES)]}"
            case _:
                raise AssertionError(kind)


def state(dsn: str) -> State:
    """The rows of the tables there are, without generated columns, which the log may leave out."""
    query = """
        SELECT c.relname, array_agg(a.attname::text) FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (%s)
          AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        GROUP BY 1"""
    found: State = {}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table, names in connection.execute(query, [list(TABLES)]).fetchall():
            rows = connection.execute(f"SELECT {', '.join(names)} FROM {table}".encode())
            listed = [dict(zip(names, map(plain, row), strict=True)) for row in rows]
            found[table] = sorted(listed, key=lambda row: (int(row["id"]), str(row["code"])))
    return found


def plain(value: object) -> object:
    """A value without its type, which a replica widens when the first row of the new type comes."""
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return None if value is None else str(value)


def differences(
    source: State, target: State, forgiven: set[tuple[str, str]], *, past: bool = False
) -> list[str]:
    """Rows of the target that are not the source's, but for columns that the sink warned of.

    A ``past`` state is compared without columns that only one of the two has: the log tells of
    them with the next row.
    """
    found = []
    for table, rows in source.items():
        kept = target.get(table, [])
        names = {n for n in (rows[0] if rows else ()) if (table, n) not in forgiven}
        if past and kept:
            names &= kept[0].keys()
        ours = [{n: row.get(n, "no such column") for n in names} for row in kept]
        theirs = [{n: row[n] for n in names} for row in rows]
        if ours != theirs:
            found.append(f"{table}: {len(theirs)} rows, {len(ours)} in the target")
            found += [
                f"  source {s}\n  target {t}" for s, t in zip(theirs, ours, strict=False) if s != t
            ][:3]
    return found


class Case:
    """One seed on one server."""

    def __init__(self, source: str, target: str, caplog: pytest.LogCaptureFixture) -> None:
        self.source, self.target, self.caplog = source, target, caplog
        self.store = MemoryStore()
        self.done: list[str] = []
        self.history: list[State] = []
        self.volatile: set[tuple[str, str]] = set()
        self.again: set[str] = set()

    def pipeline(self) -> Pipeline:
        tables = tuple(f"public.{table}" for table in TABLES)
        return Pipeline(
            "fuzz",
            Postgres(dsn=self.source, tables=tables, snapshot="initial"),
            [Sql(url=self.target, name="replica")],
            store=self.store,
        )

    def perform(self, statement: str) -> None:
        """Run a statement, and note what the source holds then; the server may refuse it."""
        try:
            execute(self.source, statement)
        except psycopg.Error as error:
            self.done.append(f"-- {statement}  -- {str(error).splitlines()[0]}")
            return
        words = statement.split()
        if statement.startswith("CREATE TABLE"):
            self.again.add(words[2])
        if statement.endswith("random()"):
            self.volatile.add((words[2], words[5]))
        self.done.append(statement)
        self.history.append(state(self.source))

    def judge(self, error: PenstockError | None) -> None:
        # Their old values are in no log; the sink warns where the catalog still tells.
        forgiven = set(self.volatile)
        for record in self.caplog.records:
            if "the new column %r" in record.msg:
                table, column, *_ = record.args  # type: ignore[misc]
                forgiven.add((str(table).removeprefix("public."), str(column)))
        target = state(self.target)
        if error is not None:
            assert isinstance(error, SchemaError | GapError), repr(error)
            # A table that was made again is copied ahead of the log.
            kept = [{t: r for t, r in s.items() if t not in self.again} for s in self.history]
            past = [differences(then, target, forgiven, past=True) for then in kept]
            found = [] if [] in past else min(past, key=len)
        else:
            found = differences(self.history[-1], target, forgiven)
        assert not found, "\n".join(found)


def play(case: Case, statements: list[str], *, running: bool) -> None:
    async def follow() -> None:
        pipeline = case.pipeline()
        serving = asyncio.ensure_future(pipeline.serve())
        for statement in statements:
            await asyncio.to_thread(case.perform, statement)
            await asyncio.sleep(0.002)
            if serving.done():
                break
        if not serving.done():
            pipeline.stop()
        await serving

    error: PenstockError | None = None
    try:
        case.history.append(state(case.source))
        case.pipeline().run(until_caught_up=True)
        if running:
            asyncio.run(asyncio.wait_for(follow(), 240))
        else:
            for statement in statements:
                case.perform(statement)
        case.pipeline().run(until_caught_up=True)
    except PenstockError as stopped:
        error = stopped
    try:
        case.judge(error)
    except AssertionError as failed:
        said = [record.getMessage() for record in case.caplog.records]
        raise AssertionError("\n".join([str(failed), repr(error), *case.done, *said])) from None


GENTLE: Final = (
    "add constant constant volatile generated default drop widen identity enum domain partition"
    " truncate"
)
FIERCE: Final = f"{GENTLE} again rename narrow key table schema recreate"


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize(
    ("seed", "kinds"),
    [
        *(pytest.param(seed, GENTLE, id=f"gentle {seed}") for seed in range(4)),
        *(pytest.param(seed, FIERCE, id=f"fierce {seed}") for seed in (4, 5, 6, 8, 9, 10, 18, 29)),
    ],
)
def test_ddl_between_changes(
    server: Server,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    kinds: str,
    running: bool,
) -> None:
    monkeypatch.setattr(watch, "EVERY", 0.05)
    caplog.set_level(logging.WARNING)
    with fresh_database(server) as source, fresh_database(server) as target:
        execute(source, *SETUP)
        play(
            Case(source, target, caplog), list(Author(seed, kinds).statements(12)), running=running
        )


def test_old_rows_of_a_partitioned_table_show_the_default_of_their_time(
    servers: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database(servers) as source, fresh_database(servers) as target:
        execute(source, *SETUP)
        statements = [
            "ALTER TABLE p ADD COLUMN c1 text DEFAULT 'it''s \"then\"'",
            "ALTER TABLE p ALTER c1 SET DEFAULT 'now'",
            "INSERT INTO p (id, code) VALUES (100, 100)",
        ]
        play(Case(source, target, caplog), statements, running=False)
        assert caplog.records == []


def test_old_rows_do_not_show_a_default_that_came_after_their_column(
    servers: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database(servers) as source, fresh_database(servers) as target:
        execute(source, *SETUP)
        statements = [
            "ALTER TABLE a ADD COLUMN c1 int",
            "ALTER TABLE a ALTER c1 SET DEFAULT 5",
            "INSERT INTO a (id, code) VALUES (100, 100)",
        ]
        case = Case(source, target, caplog)
        play(case, statements, running=False)
        assert [row["c1"] for row in state(target)["a"]] == [None] * 12 + [5]
