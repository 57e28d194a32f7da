"""What one database has arrives in another: every type, from MySQL and MariaDB and into them."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text as statement
from sqlalchemy.orm import Session

from penstock import App, Change
from penstock.errors import SinkError
from penstock.failpoints import Failpoint
from penstock.pipeline import Pipeline
from penstock.sinks.memory import MemorySink, Target
from penstock.sinks.sql import Sql
from penstock.sources.mysql.config import MySQL
from tests.crash.test_mysql import TABLES, Writer
from tests.integration.test_sql_sink import TYPES
from tests.support.feed import Feed, change, column, feeding, table
from tests.support.mysql import Database
from tests.support.mysql import fresh_database as fresh_mysql
from tests.support.postgres import execute, fetch
from tests.support.waiting import eventually
from tools.capture_binlog import statements

pytestmark = pytest.mark.server

CAUGHT_UP = {"until_caught_up": True}


def made(database: Database) -> dict[str, str]:
    """A table of each type, with its greatest and strangest values; what the column is declared."""
    work = [s for s in statements(database.server.flavor) if re.search(r"\bv_", s)]
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        for statement in work:
            cursor.execute(statement)
        cursor.execute("INSERT INTO v_f VALUES (9, 3.4028234663852886e38), (10, -0.0)")
    found = (re.match(r"CREATE TABLE (v_\w+) \(id int PRIMARY KEY, v (.*)\)", s) for s in work)
    return {match[1]: match[2] for match in found if match}


def follow(database: Database, folder: Path, sinks: Sequence[Any], tables: Sequence[str]) -> None:
    source = MySQL(
        dsn=database.dsn,
        tables=tuple(f"{database.name}.{name}" for name in tables),
        snapshot="initial",
        heartbeat=0.2,
    )
    Pipeline("between", source, sinks, store=f"{folder}/state.db").run(**CAUGHT_UP)


def test_every_type_of_mysql_in_mysql(binlogs: Database, tmp_path: Path) -> None:
    tables = made(binlogs)
    binlogs.execute("DELETE FROM v_e WHERE v = ''")  # what no enum takes twice
    with fresh_mysql(binlogs.server) as replica:
        follow(binlogs, tmp_path, [Sql(url=replica.dsn)], list(tables))
        queries = []
        for name, declared in tables.items():
            exact = {"float": "v * 1e0", "double": "v * 1e0"}.get(declared.split("(")[0], "v")
            exact = "HEX(v)" if declared.startswith("vector") else exact
            queries.append(f"SELECT id, {exact} FROM {name} ORDER BY id")
        found = fetch_all(binlogs, queries)
        assert sum(map(len, found)) > 100
        # by their looks: -0.0 equals 0.0
        for query, kept, rows in zip(queries, fetch_all(replica, queries), found, strict=True):
            assert repr(kept) == repr(rows), query
        # it knows again what it has made
        binlogs.execute(*(f"INSERT INTO {name} (id) VALUES (99)" for name in tables))
        follow(binlogs, tmp_path, [Sql(url=replica.dsn)], list(tables))
        queries = [f"SELECT id FROM {name} WHERE v IS NULL AND id = 99" for name in tables]
        assert fetch_all(replica, queries) == [[(99,)]] * len(tables)


def fetch_all(database: Database, queries: Iterable[str]) -> list[list[tuple[Any, ...]]]:
    """The rows of each query, on one connection."""
    found = []
    with database.connect() as connection, connection.cursor() as cursor:
        for query in queries:
            cursor.execute(query)
            found.append(list(cursor.fetchall()))
    return found


def test_every_type_of_mysql_in_others(binlogs: Database, database: str, tmp_path: Path) -> None:
    tables = made(binlogs)
    for name in ("v_dt", "v_dtm", "v_ts", "v_ts6"):  # zeros in dates are no dates elsewhere
        binlogs.execute(f"DELETE FROM {name} WHERE CAST(v AS CHAR) LIKE '%-00%'")
    seen = Target()
    sinks = [
        MemorySink(seen),
        Sql(url=database, name="postgres"),
        Sql(url=f"sqlite:///{tmp_path}/replica.db", name="sqlite"),
    ]
    binlogs.execute("DELETE FROM v_t8u")  # SQLite has integers of 64 bits, and PostgreSQL more
    follow(binlogs, tmp_path, sinks, list(tables))
    binlogs.execute("INSERT INTO v_t8u VALUES (0, 18446744073709551615)")
    follow_one = [MemorySink(seen), Sql(url=database, name="postgres")]
    (tmp_path / "one").mkdir()
    execute(database, "DELETE FROM penstock_checkpoint")
    follow(binlogs, tmp_path / "one", follow_one, ["v_t8u"])
    assert len(seen.changes) > 100
    with (
        psycopg.connect(database) as postgres,
        closing(sqlite3.connect(tmp_path / "replica.db")) as file,
    ):
        for one in seen.changes:
            row = one.row
            name, value = one.definition.name, row["v"]
            form = "v::text" if one.definition.columns[1].type.sql == "json" else "v"
            query = f'SELECT {form} FROM {binlogs.name}."{name}" WHERE id = {row["id"]}'
            [(found,)] = postgres.execute(query).fetchall()
            assert found == value, (name, row.text("v"))
            if name == "v_t8u":
                continue
            query = f"SELECT v FROM {name} WHERE id = {row['id']}"
            [(found,)] = file.execute(query).fetchall()
            exact = value if isinstance(value, int | float | bytes) else row.text("v")
            assert found == exact, (name, row.text("v"))


def test_a_zero_date_is_refused_by_postgres(mysql: Database, database: str, tmp_path: Path) -> None:
    mysql.execute("CREATE TABLE t (id int PRIMARY KEY, d date)")
    with mysql.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute("INSERT INTO t VALUES (1, '0000-00-00')")
    with pytest.raises(SinkError, match=rf"{mysql.name}\.t"):
        follow(mysql, tmp_path, [Sql(url=database)], ["t"])
    # by hand it can be made to take it
    execute(
        database,
        f"CREATE SCHEMA IF NOT EXISTS {mysql.name}",
        f"CREATE TABLE {mysql.name}.t (id int PRIMARY KEY, d text)",
    )
    follow(mysql, tmp_path, [Sql(url=database)], ["t"])
    assert fetch(database, f"SELECT d FROM {mysql.name}.t") == [("0000-00-00",)]


def test_what_a_table_becomes_in_postgres(mysql: Database, database: str, tmp_path: Path) -> None:
    columns = {
        "tinyint": "smallint",
        "smallint unsigned": "integer",
        "mediumint unsigned": "integer",
        "int": "integer",
        "int unsigned": "bigint",
        "bigint unsigned": "numeric(20,0)",
        "decimal(12,4) unsigned": "numeric(12,4)",
        "float": "real",
        "double": "double precision",
        "year": "smallint",
        "datetime(3)": "timestamp(3) without time zone",
        "timestamp": "timestamp(0) with time zone",
        "time(6)": "interval(6)",
        "char(3)": "character varying(3)",
        "varchar(9)": "character varying(9)",
        "mediumtext": "text",
        "enum('a')": "text",
        "bit(9)": "bytea",
        "point": "bytea",
        "tinyblob": "bytea",
        "json": "json",
    }
    declared = ", ".join(f"c{i} {kind} NULL" for i, kind in enumerate(columns))
    mysql.execute(f"CREATE TABLE t (id int PRIMARY KEY, {declared})")
    mysql.execute("INSERT INTO t (id) VALUES (1)")
    follow(mysql, tmp_path, [Sql(url=database)], ["t"])
    query = (
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
        f"WHERE attrelid = '{mysql.name}.t'::regclass AND attnum > 1 ORDER BY attnum"
    )
    assert [kind for (kind,) in fetch(database, query)] == list(columns.values())


AS_TEXT = ("numeric", "tstzrange", "numeric(10,2)[]")
REFUSED = re.compile(r"NaN|[Ii]nfinity|BC|5874897")


@pytest.mark.no_kernel
def test_every_type_of_postgres_in_mysql(binlogs: Database, database: str) -> None:
    """The exact text, but for what the target's type shows otherwise."""
    columns = ", ".join(f"c{i} {spelling}" for i, spelling in enumerate(TYPES))
    execute(database, f"CREATE TABLE t ({columns})")
    with psycopg.connect(database) as connection:
        described = connection.execute("SELECT * FROM t").pgresult
    assert described is not None
    types = [column(f"c{i}", described.ftype(i), described.fmod(i)) for i in range(len(TYPES))]
    definition = table("t", column("id", "integer"), *types)
    given = [
        # what MySQL refuses, unless it is a text there
        [t for t in texts if spelling in AS_TEXT or not REFUSED.search(t)]
        for spelling, texts in TYPES.items()
    ]
    rows = list(zip_longest(*given))

    async def work(feed: Feed) -> None:
        changes = (change("insert", definition, str(i), *row) for i, row in enumerate(rows))
        await feed.commit(1, *changes)

    feeding(binlogs.dsn, work)
    shown = ", ".join(f"CAST(c{i} AS CHAR)" for i in range(len(TYPES)))
    values = binlogs.fetch("SELECT * FROM t ORDER BY id")
    texts = binlogs.fetch(f"SELECT {shown} FROM t ORDER BY id")
    for i, spelling in enumerate(TYPES):
        for number, text in enumerate(given[i]):
            value = values[number][i + 1]
            if isinstance(value, bytes):
                assert value == bytes.fromhex(text[2:]), spelling
            elif isinstance(value, float):
                zero = text == "-0" and binlogs.server.flavor == "mariadb"  # it has no other
                assert repr(value) == repr(float("0" if zero else text)), spelling
            elif isinstance(value, str):
                assert value == text, spelling
            else:
                whole, _, fraction = texts[number][i].partition(".")
                expected = {"t": "1", "f": "0"}.get(text, text).removesuffix("+00")
                assert (whole, fraction.rstrip("0")) == (
                    expected.partition(".")[0],
                    expected.partition(".")[2].rstrip("0"),
                ), spelling


def enough(writer: Writer) -> bool:
    return writer.committed > 60


def test_a_random_workload_ends_equal_in_every_target(
    binlogs: Database, database: str, tmp_path: Path
) -> None:
    binlogs.execute(*TABLES)
    with fresh_mysql(binlogs.server) as replica:
        sinks = [Sql(url=database, name="postgres"), Sql(url=replica.dsn, name="mysql")]
        names = ("accounts", "items", "journal")
        for round, grown in enumerate(
            ("", "ALTER TABLE accounts MODIFY balance bigint, ADD n int")
        ):
            writer = Writer(binlogs, round)
            writer.start()
            follow(binlogs, tmp_path, sinks, names)  # while rows are written
            eventually(partial(enough, writer), within=60)
            if grown:  # a column is shown by a row
                binlogs.execute(grown, "UPDATE accounts SET ver = ver + 1 WHERE id = 1")
            writer.stop()
        follow(binlogs, tmp_path, sinks, names)
        for name in names:
            expected = Counter(binlogs.fetch(f"SELECT * FROM {name}"))
            assert Counter(replica.fetch(f"SELECT * FROM {name}")) == expected
            assert Counter(fetch(database, f"SELECT * FROM {binlogs.name}.{name}")) == expected


class CrashError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "point", [Failpoint.AFTER_WRITE, Failpoint.SINK_COMMIT, Failpoint.AFTER_FLUSH]
)
def test_what_a_handler_writes_in_mysql_commits_with_the_checkpoint(
    binlogs: Database, database: str, point: Failpoint
) -> None:
    execute(database, "CREATE TABLE orders (id int PRIMARY KEY)")
    binlogs.execute("CREATE TABLE stock (free int)", "INSERT INTO stock VALUES (100)")

    def app() -> App:
        app = App("stock", source=database, store=binlogs.dsn, retries=0)

        @app.on("public.orders", "insert")
        def take(change: Change, session: Session) -> None:
            session.execute(statement("UPDATE stock SET free = free - :n"), {"n": change.row["id"]})

        return app

    def crash(_: int) -> None:
        raise CrashError

    app().run(**CAUGHT_UP)
    execute(database, "INSERT INTO orders VALUES (1)")
    crashing = app()
    crashing.pipeline.context.failpoints.arm(point, crash)
    with pytest.raises(Exception, match=r"CrashError|^$"):
        crashing.run(**CAUGHT_UP)
    execute(database, "INSERT INTO orders VALUES (2)")
    app().run(**CAUGHT_UP)
    assert binlogs.fetch("SELECT free FROM stock") == [(100 - 1 - 2,)]
