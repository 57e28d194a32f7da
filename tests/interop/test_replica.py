"""Debezium writes into Kafka, penstock reads it: the replica equals the source."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import pytest

from penstock.embedded.server import Server
from penstock.pipeline import Pipeline
from penstock.sinks.sql import Sql
from penstock.sources.kafka import Kafka
from tests.interop import workload
from tests.interop.test_changes import BIG
from tests.support.kafka import fresh_name
from tests.support.postgres import execute, fetch, fresh_database
from tests.support.waiting import eventually
from tools import peer
from tools.brokers import Kafka as Broker
from tools.servers import versions

LEFT_OUT: Final = frozenset(
    ("tsquery", "pair", "box", "circle", "line", "lseg", "path", "polygon", "pg_lsn", "xid")
).union(
    ("int4multirange", "txid_snapshot", "jsonpath", '"char"', "regclass", "tid", "money[]"),
    ("bit(3)[]", "varbit(3)[]", "interval[]", "point[]", "int_domain[]", "text_domain[]"),
    ("varbit(1)", "int2vector", "name", "timetz[]", "integer[]"),
)
"""What Debezium leaves out, or loses."""

AS_TOLD: Final = {
    "bit": ("({c} = B'1')::boolean", "{c}"),
    "varbit(12)": ("ltrim({c}::text, '0')", "ltrim({c}::text, '0')"),
    "varbit": ("ltrim({c}::text, '0')", "ltrim({c}::text, '0')"),
    "numeric(5,-2)": ("{c}", "trim_scale({c})"),
    "numeric": ("trim_scale({c})", "{c}"),
    "numeric[]": (
        "CASE WHEN {c} IS NOT NULL THEN ARRAY(SELECT trim_scale(e) FROM unnest({c}) e) END",
        "{c}",
    ),
    "money": ("{c}::numeric", "{c}"),
    "char(5)": ("rpad({c}, 5)", "{c}"),
    "char(3)[]": (
        "CASE WHEN {c} IS NOT NULL THEN ARRAY(SELECT rpad(e, 3) FROM unnest({c}) e) END",
        "{c}",
    ),
    "inet": ("{c}", "{c}::inet"),
    "timetz": ("{c} AT TIME ZONE 'UTC'", "{c}"),
    "timetz(3)": ("{c} AT TIME ZONE 'UTC'", "{c}"),
}
"""What is equal, by the source's expression and the replica's, where a record does not keep a
type's own text."""

TABLES: Final = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text, price numeric(10,2) DEFAULT 1.5)",
    "CREATE TABLE pair_key (b text, a int, c int, PRIMARY KEY (a, b))",
    "CREATE TABLE big (id int PRIMARY KEY, n int, t text, b bytea, x text[], j jsonb)",
    *(f"ALTER TABLE big ALTER {c} SET STORAGE EXTERNAL" for c in ("t", "b", "x", "j")),
    "CREATE TABLE growing (id int PRIMARY KEY, a int)",
    "CREATE TABLE sentinel (id int PRIMARY KEY)",
    "INSERT INTO orders SELECT i, 'before ' || i, i FROM generate_series(1, 50) i",
)
CHANGES: Final = (
    "INSERT INTO orders SELECT i, 'after ' || i, i FROM generate_series(51, 100) i",
    "UPDATE orders SET price = price + 1 WHERE id % 3 = 0",
    "UPDATE orders SET note = 'moved', id = id + 1000 WHERE id % 10 = 0",
    "DELETE FROM orders WHERE id % 7 = 0",
    "INSERT INTO orders SELECT id, 'back', 2 FROM generate_series(7, 70, 7) id",
    "INSERT INTO pair_key VALUES ('x', 1, 2), ('y', 1, 2), ('z', 2, 2)",
    "UPDATE pair_key SET b = 'w', c = 3 WHERE b = 'x'",
    "DELETE FROM pair_key WHERE b = 'y'",
    f"INSERT INTO big VALUES (1, 1, {BIG}, {BIG}::bytea, ARRAY[{BIG}], to_jsonb({BIG}))",
    "UPDATE big SET n = 2",
    "UPDATE big SET t = 'small', b = NULL",
    "UPDATE big SET n = 3",
    "INSERT INTO growing VALUES (1, 1)",
    "ALTER TABLE growing ADD b text",
    "UPDATE growing SET a = 2, b = 'new'",
    "INSERT INTO growing VALUES (2, 2, 'x')",
    "INSERT INTO sentinel VALUES (1)",
)


def rows(dsn: str, table: str, shown: str) -> list[tuple[Any, ...]]:
    return fetch(dsn, f"SELECT id, ({shown})::text FROM {table} ORDER BY id")


@pytest.mark.server
@pytest.mark.slow
def test_the_replica_of_what_debezium_writes(
    kafka: Broker, shared_server: Callable[[str], Server]
) -> None:
    version = "16" if "16" in versions() else versions()[0]
    server, prefix = shared_server(version), fresh_name()
    types = {type: texts for type, texts in workload.TYPES.items() if type not in LEFT_OUT}
    with ExitStack() as stack:
        source = stack.enter_context(fresh_database(server))
        target = stack.enter_context(fresh_database(server))
        inserts = workload.rows_of_types("types", types)
        execute(
            source,
            *workload.SCHEMA,
            *TABLES,
            workload.table_of_types("types", types),
        )
        stack.enter_context(
            peer.running(
                source,
                {
                    "topic__prefix": prefix,
                    "publication__autocreate__mode": "all_tables",
                    "interval__handling__mode": "string",
                    "producer__bootstrap__servers": kafka.url,
                },
            )
        )
        config = Kafka(
            brokers=kafka.url,
            topics=(rf"^{prefix}\.public\.",),
            session_timeout=6,
            settings={"topic.metadata.refresh.interval.ms": 500},
        )
        pipeline = Pipeline(prefix, config, [Sql(url=target)], store="memory")
        failures = stack.enter_context(_running(pipeline))

        def arrived(table: str, count: int) -> None:
            eventually(lambda: failures or _count(target, table) == count, within=120, what=table)
            assert not failures

        arrived("orders", 50)
        execute(source, *inserts, *CHANGES)
        arrived("sentinel", 1)
        for table in ("orders", "pair_key", "big", "growing"):
            columns = [name for (name,) in fetch(source, _COLUMNS, table)]
            eventually(partial(same, source, target, table, columns), what=table)
        arrived("types", len(inserts))
        there = {name for (name,) in fetch(target, _COLUMNS, "types")}
        missing = [type for type, c in workload.names(types).items() if c not in there]
        assert missing == []
        differences = []
        for type, column in workload.names(types).items():
            expressions = (one.format(c=column) for one in AS_TOLD.get(type, ("{c}", "{c}")))
            both = zip((source, target), expressions, strict=True)
            theirs, ours = (rows(dsn, "types", shown) for dsn, shown in both)
            pairs = zip(theirs, ours, strict=True)
            differences += [f"{type}: {t} became {o}" for t, o in pairs if t != o]
        assert "\n".join(differences) == ""


_COLUMNS: Final = (
    "SELECT column_name::text FROM information_schema.columns "
    "WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position"
)


def same(source: str, target: str, table: str, columns: list[str]) -> bool:
    query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2"
    return fetch(source, query) == fetch(target, query)


def _count(dsn: str, table: str) -> int:
    if fetch(dsn, "SELECT to_regclass(%s)::text", table) == [(None,)]:
        return 0
    ((count,),) = fetch(dsn, f"SELECT count(*) FROM {table}")
    return int(count)


@contextmanager
def _running(pipeline: Pipeline) -> Iterator[list[BaseException]]:
    """Run in a thread; gives what goes wrong."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(pipeline.serve())
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failures
    finally:
        pipeline.stop()
        thread.join(60)
        assert not thread.is_alive()
    if failures:
        raise failures[0]
