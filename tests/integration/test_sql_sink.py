"""The SQL sink into PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from penstock.embedded.server import Server
from penstock.errors import FencedError, SchemaError, SinkError, SinkUnavailableError
from penstock.failpoints import Failpoint
from penstock.model import (
    UNCHANGED,
    Change,
    Checkpoint,
    Column,
    EventBatch,
    Kind,
    Origin,
    SchemaChange,
    Table,
    Type,
)
from penstock.ports import Context
from penstock.sinks.sql import Sql, postgres
from tests.conftest import OwnServer
from tests.support.feed import Feed, change, column, feeding, table
from tests.support.postgres import execute, fetch, fresh_database

pytestmark = pytest.mark.server

T = table("t", column("id", "integer"), column("v"), column("big"))
KEYLESS = table("log", column("line"), key=())
MANY = 500


@pytest.fixture
def pair(servers: Server) -> Iterator[tuple[str, str]]:
    """Two empty databases, of every version in turn: a source and a target."""
    with fresh_database(servers) as source, fresh_database(servers) as target:
        yield source, target


def test_rows_follow_the_source(databases: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(
            1, change("insert", T, "1", "a", "A"), change("insert", T, "2", "b", None)
        )
        await feed.commit(2, change("update", T, "1", "c", UNCHANGED), change("delete", T, "2"))

    feeding(databases, work)
    assert fetch(databases, "SELECT * FROM public.t") == [(1, "c", "A")]
    assert fetch(databases, "SELECT * FROM penstock_checkpoint") == [
        ("orders", "replica", "main", '{"at":2}', "0/2:2")
    ]


def test_keys_swap_in_one_transaction(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(
            1, change("insert", T, "1", "a", "BIG1"), change("insert", T, "2", "b", "BIG2")
        )
        await feed.commit(
            2,
            change("update", T, "0", "a", UNCHANGED, old=["1"]),
            change("update", T, "1", "b", UNCHANGED, old=["2"]),
            change("update", T, "2", "a2", UNCHANGED, old=["0"]),
        )

    feeding(database, work)
    assert fetch(database, "SELECT * FROM t ORDER BY id") == [(1, "b", "BIG2"), (2, "a2", "BIG1")]


def test_many_rows_at_once_end_as_one_by_one(database: str) -> None:
    async def work(feed: Feed) -> None:
        rows = range(MANY)
        await feed.commit(1, *(change("insert", T, str(i), "a", "A") for i in rows))
        await feed.write(2, *(change("update", T, str(i), "b", UNCHANGED) for i in rows))
        moves = (change("update", T, str(i + MANY), "c", "C", old=[str(i)]) for i in rows)
        await feed.write(3, *moves)
        await feed.write(4, *(change("delete", T, str(i + MANY)) for i in rows if i % 2))
        await feed.write(5, *(change("insert", T, str(i), None, "\\N\t") for i in rows))
        await feed.commit(6)

    feeding(database, work)
    expected: list[Any] = [(i, None, "\\N\t") for i in range(MANY)]
    expected += [(i + MANY, "c", "C") for i in range(0, MANY, 2)]
    assert fetch(database, "SELECT * FROM t ORDER BY id") == expected


def test_many_updates_of_rows_that_are_not_all_there_are_drift(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, *(change("insert", T, str(i), "a", "A") for i in range(MANY - 1)))
        await feed.commit(2, *(change("update", T, str(i), "b", UNCHANGED) for i in range(MANY)))

    with pytest.raises(SinkError, match=rf"public\.t: the row \(id\)=\({MANY - 1}\)"):
        feeding(database, work)
    assert fetch(database, "SELECT DISTINCT v FROM t") == [("a",)]


def test_truncate_takes_its_place_in_the_order(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        events = change("insert", T, "2", "b", None), change("truncate", T)
        await feed.commit(2, *events, change("insert", T, "3", "c", None))

    feeding(database, work)
    assert fetch(database, "SELECT id FROM t") == [(3,)]


def test_a_killed_writer_leaves_whole_transactions(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        assert await feed.sink.flush() is None
        _kill_others(database)
        with pytest.raises(SinkUnavailableError):
            await feed.write(2, change("insert", T, "3", "c", None))
        assert fetch(database, "SELECT id FROM t") == [(1,)]
        await feed.reopen()
        assert await feed.sink.resume("main") == Checkpoint.of("main", at=1)
        await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        await feed.commit(2, change("insert", T, "3", "c", None))

    feeding(database, work)
    assert fetch(database, "SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]


def test_a_connection_lost_before_the_commit_is_fed_again(database: str) -> None:
    def kill(count: int) -> None:
        if count == 2:
            _kill_others(database)

    async def work(feed: Feed) -> None:
        feed.failpoints.arm(Failpoint.SINK_COMMIT, kill)
        await feed.commit(1, change("insert", KEYLESS, "a"))
        await feed.write(2, change("insert", KEYLESS, "b"))
        with pytest.raises(SinkUnavailableError):
            await feed.sink.flush()
        await feed.reopen()
        assert await feed.sink.resume("main") == Checkpoint.of("main", at=1)
        await feed.commit(2, change("insert", KEYLESS, "b"))

    feeding(database, work)
    assert fetch(database, "SELECT line FROM log ORDER BY line") == [("a",), ("b",)]


def test_a_commit_of_unknown_outcome_is_settled_by_looking(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", KEYLESS, "a"))
        session = feed.sink._session
        assert session is not None
        commit = session._connection.commit

        def commit_and_lose_the_answer() -> None:
            commit()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(session._connection, "commit", commit_and_lose_the_answer)
        await feed.write(2, change("insert", KEYLESS, "b"))
        with pytest.raises(SinkUnavailableError):
            await feed.sink.flush()
        await feed.reopen()
        assert await feed.sink.resume("main") == Checkpoint.of("main", at=2)
        await feed.commit(3, change("insert", KEYLESS, "c"))

    feeding(database, work)
    assert fetch(database, "SELECT line FROM log ORDER BY line") == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize("first", [True, False], ids=["first checkpoint", "later checkpoint"])
def test_of_two_copies_one_is_fenced(database: str, first: bool) -> None:
    async def work(feed: Feed) -> None:
        if not first:
            await feed.commit(1, change("insert", T, "1", "a", None))
        async with Feed(database) as other:
            await other.commit(2, change("insert", T, "2", "b", None))
        await feed.write(2, change("insert", T, "2", "zombie", None))
        await feed.sink.flush()

    with pytest.raises(FencedError):
        feeding(database, work)
    assert fetch(database, "SELECT v FROM t WHERE id = 2") == [("b",)]


def test_a_copy_that_stands_still_lets_its_locks_go(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._SETTINGS, "idle_in_transaction_session_timeout", "300ms")

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        await feed.write(2, change("update", T, "1", "frozen", None))
        async with Feed(database) as other:
            await other.commit(2, change("update", T, "1", "b", None))
        with pytest.raises(SinkUnavailableError):
            await feed.sink.flush()

    feeding(database, work)
    assert fetch(database, "SELECT v FROM t") == [("b",)]


def test_of_two_copies_that_commit_at_once_one_is_fenced(database: str) -> None:
    a, b = table("a", column("id")), table("b", column("id"))

    async def work(feed: Feed) -> None:
        async with Feed(database) as other:
            await feed.write(1, change("insert", a, "1"))
            await other.write(1, change("insert", b, "1"))
            outcomes = await asyncio.gather(
                feed.sink.flush(), other.sink.flush(), return_exceptions=True
            )
            assert sum(isinstance(outcome, FencedError) for outcome in outcomes) == 1

    feeding(database, work)
    there = "SELECT count(*) FROM pg_class WHERE relname IN ('a', 'b') AND relkind = 'r'"
    assert fetch(database, there) == [(1,)]


def test_a_snapshot_discards_what_an_earlier_attempt_left(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", KEYLESS, "stale"))
        await feed.snapshot(KEYLESS, [(str(i),) for i in range(MANY)], end=False)
        assert fetch(database, "SELECT line FROM log") == [("stale",)]
        await feed.snapshot(KEYLESS, [("b",), ("b",), ("c",)], attempt=2)

    feeding(database, work)
    assert fetch(database, "SELECT line FROM log ORDER BY line") == [("b",), ("b",), ("c",)]


TYPES = {
    "smallint": ["-32768"],
    "bigint": ["9223372036854775807"],
    "numeric": ["NaN", "Infinity", "-Infinity", "1." + "0" * 300, "9" * 1000],
    "numeric(10,2)": ["1.50", "NaN"],
    "real": ["0.1", "-0", "1e-45", "NaN", "Infinity"],
    "double precision": ["5e-324", "-0", "0.30000000000000004", "-Infinity"],
    "boolean": ["t", "f"],
    "text": ["", "\\N", "\\", "\t\r\n\v", "🦭 %s :x ' \" {}"],
    "character varying(3)": ["a  "],
    "character(5)": ["ab   "],
    '"char"': ["x"],
    "bytea": ["\\x", "\\x00ff5c"],
    "json": ['{"a":  "\\u0000",\t"a": 1e400}', '"\\ud800"', " null "],
    "jsonb": ['{"a": "\\\\N"}', "1.0", "1" + "0" * 400],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "date": ["4713-01-01 BC", "infinity", "5874897-12-31"],
    "time without time zone": ["24:00:00"],
    "time with time zone": ["24:00:00+00", "01:02:03.456-15:59"],
    "timestamp without time zone": ["-infinity", "0044-03-15 12:00:00 BC"],
    "timestamp(3) with time zone": ["2024-01-01 00:00:00.123+00", "infinity"],
    "interval": ["1 mon", "-1 days +02:03:04.5", "-178000000 years"],
    "interval day to second(3)": ["1 day 00:00:01.235"],
    "money": ["$1,234.50"],
    "bit(3)": ["101"],
    "bit varying": ["", "10101"],
    "inet": ["192.168.0.1/24", "::1"],
    "point": ["(1.5,-2)"],
    "int4range": ["empty", "[1,)"],
    "tstzrange": ['["2024-01-01 00:00:00+00",infinity)'],
    "int4multirange": ["{[1,3),[5,6)}"],
    "tsvector": ["'a':1A 'b''c':2"],
    "integer[]": ["[0:1]={5,6}", "{{1,2},{NULL,4}}", "{}"],
    "text[]": ['{NULL,"NULL","","a,b","\\"\\\\",🦭}'],
    "numeric(10,2)[]": ["{1.50,NaN}"],
    "box[]": ["{(1,1),(0,0);(2,2),(1,1)}"],
}


@pytest.mark.parametrize("way", ["snapshot", "copy", "statement", "merge"])
def test_every_value_arrives_as_its_exact_text(pair: tuple[str, str], way: str) -> None:
    source, target = pair
    height = max(map(len, TYPES.values()))
    texts = [
        [values[i] if i < len(values) else None for values in TYPES.values()] for i in range(height)
    ]
    columns = ", ".join(f"c{i} {spelling}" for i, spelling in enumerate(TYPES))
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, {columns})")
        holes = ", ".join(["%s"] * len(TYPES))
        for number, row in enumerate(texts):
            connection.execute(f"INSERT INTO t VALUES ({number}, {holes})", row)
    shown = _texts(source)
    assert [row[1:] for row in shown] == texts
    spelled = [Column(f"c{i}", Type("x", Kind.OTHER, sql)) for i, sql in enumerate(TYPES)]
    definition = table("t", column("id", "integer"), *spelled)
    filler = [[str(i), *[None] * len(TYPES)] for i in range(100, 200)]

    async def work(feed: Feed) -> None:
        if way == "snapshot":
            await feed.snapshot(definition, [*shown, *filler])
            return
        if way == "merge":  # with a row that is in the way of a copy
            await feed.commit(0, change("insert", definition, *filler[0]))
        rows = shown if way == "statement" else [*shown, *filler]
        await feed.commit(1, *(change("insert", definition, *row) for row in rows))

    feeding(target, work)
    assert _texts(target)[: len(shown)] == shown
    declared = (
        "SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY attnum) "
        "FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 1"
    )
    assert fetch(target, declared) == fetch(source, declared)


def _texts(dsn: str) -> list[list[str | None]]:
    """The table's rows as the server's exact texts."""
    settings = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c lc_monetary=C"
    with psycopg.connect(dsn, options=settings) as connection:
        result = connection.pgconn.exec_(b"SELECT * FROM t ORDER BY id")
        return [
            [
                None if value is None else value.decode()
                for value in (result.get_value(r, c) for c in range(result.nfields))
            ]
            for r in range(result.ntuples)
        ]


def test_types_that_the_target_lacks_become_text(database: str) -> None:
    execute(
        database,
        "CREATE TYPE here AS ENUM ('a')",
        "CREATE DOMAIN positive AS int NOT NULL CHECK (VALUE > 0)",
    )
    columns = [
        Column(name, Type(name, kind, spelling))
        for name, kind, spelling in [
            ("a", Kind.ENUM, "public.mood"),
            ("b", Kind.ARRAY, 'public."my mood"[]'),
            ("c", Kind.OTHER, "hstore"),
            ("d", Kind.OTHER, "regclass"),
            ("e", Kind.ENUM, "here"),
            ("f", Kind.INTEGER, "positive"),
        ]
    ]
    odd = table("odd", column("id", "integer"), *columns)
    values = "happy", '{"a b",c}', '"k"=>"v"', "no_such_table", "a", "7"
    feeding(database, lambda feed: feed.commit(1, change("insert", odd, "1", *values)))
    feeding(database, lambda feed: feed.commit(2, change("insert", odd, "2", *values)))
    assert fetch(database, "SELECT a, b, c, d, e::text, f FROM odd") == [(*values[:5], 7)] * 2
    types = (
        "SELECT format_type(atttypid, -1) FROM pg_attribute "
        "WHERE attrelid = 'odd'::regclass AND attnum > 1 ORDER BY attnum"
    )
    assert [row[0] for row in fetch(database, types)] == ["text"] * 4 + ["here", "integer"]


HOSTILE = [
    *("a b", "100%", "%s", "%(x)s", ":x", "?", "'", '"', "`", "🦭", "select", "x;--", "$1", "\\"),
    *("A", "a"),
]


@pytest.mark.parametrize("rows", [1, 60])
def test_hostile_names(database: str, rows: int) -> None:
    for position, name in enumerate(HOSTILE):
        columns = column("id", "integer"), *map(column, HOSTILE)
        odd = table(name, *columns, key=("id", name), schema=name)

        async def work(feed: Feed, odd: Table = odd, name: str = name) -> None:
            ids = [str(i) for i in range(rows)]
            new = ["new"] * len(HOSTILE)
            partial = ["new" if n == name else UNCHANGED for n in HOSTILE]
            await feed.snapshot(odd, [(i, *HOSTILE) for i in ids])
            await feed.commit(1, *(change("update", odd, i, *new, old=(i, name)) for i in ids))
            await feed.commit(2, *(change("update", odd, i, *partial) for i in ids))
            more = column("%d", default="'%s'")
            wider = Table(name, name, (*odd.columns, more), odd.key_columns)
            await feed.commit(3, SchemaChange(odd, wider))
            await feed.commit(4, *(change("delete", odd, i, "new") for i in ids[1:]))

        feeding(database, work, name=f"s{position}")
        quoted = '"' + name.replace('"', '""') + '"'
        expected = [(0, *["new"] * len(HOSTILE), "%s")]
        assert fetch(database, f"SELECT * FROM {quoted}.{quoted}") == expected


def test_a_name_that_the_server_would_cut_is_refused(database: str) -> None:
    long = table("é" * 32, column("id"))
    with pytest.raises(SchemaError, match="has 64 bytes, the target allows 63"):
        feeding(database, lambda feed: feed.commit(1, change("insert", long, "1")))


def test_the_target_grows_with_the_source(database: str, caplog: pytest.LogCaptureFixture) -> None:
    small = column("n", "numeric", (4 << 16 | 2) + 4)
    old = table("t", column("id", "integer"), column("gone"), small)
    new = table(
        "t",
        column("id", "bigint"),
        column("n", "numeric", (12 << 16 | 2) + 4),
        column("flag", "boolean", default="true"),
        column("at", "timestamptz", default="now()"),
    )

    async def work(feed: Feed) -> None:
        for i in range(10):  # long enough for the driver to prepare the statement
            await feed.commit(i, change("insert", old, str(i), "kept", "1.50"))
        with caplog.at_level(logging.WARNING):
            await feed.commit(10, SchemaChange(old, new), change("delete", new, "9"))
        for i in range(10):
            row = str(2**40 + i), "1234567890.12", None, None
            await feed.commit(11 + i, change("insert", new, *row))

    feeding(database, work)
    rows = fetch(database, "SELECT id, gone, n::text, flag, at FROM t ORDER BY id")
    assert rows[0] == (0, "kept", "1.50", True, None)
    assert rows[-1] == (2**40 + 9, None, "1234567890.12", None, None)
    assert [record.getMessage()[:34] for record in caplog.records] == [
        "public.t: the new column 'at' is n"
    ]


def test_ddl_is_rolled_back_with_its_transaction(database: str) -> None:
    new = table("t", *T.columns, column("more"))

    def crash(count: int) -> None:
        if count == 2:
            raise RuntimeError("crash")

    async def widen(feed: Feed) -> None:
        await feed.commit(2, SchemaChange(T, new), change("insert", new, "2", "b", None, "c"))

    async def work(feed: Feed) -> None:
        feed.failpoints.arm(Failpoint.SINK_COMMIT, crash)
        await feed.commit(1, change("insert", T, "1", "a", None))
        await widen(feed)

    with pytest.raises(RuntimeError, match="crash"):
        feeding(database, work)
    assert fetch(database, "SELECT * FROM t") == [(1, "a", None)]
    feeding(database, widen)
    rows = fetch(database, "SELECT * FROM t ORDER BY id")
    assert rows == [(1, "a", None, None), (2, "b", None, "c")]


def test_a_stale_version_of_a_table_alters_nothing(database: str) -> None:
    old = table("t", column("id", "integer"))
    new = table("t", column("id", "bigint"), column("v", default="'x'::text"))
    feeding(database, lambda feed: feed.commit(1, change("insert", new, "1", "a")))

    async def again(feed: Feed) -> None:
        await feed.commit(2, SchemaChange(None, old), change("insert", old, "2"))
        await feed.commit(3, SchemaChange(old, new), change("insert", new, str(2**40), "c"))

    feeding(database, again)
    assert fetch(database, "SELECT * FROM t ORDER BY id") == [(1, "a"), (2, None), (2**40, "c")]


@pytest.mark.parametrize(
    ("before", "after"),
    [("bigint", "integer"), ("text", "jsonb"), ("numeric", "bigint"), ("integer", "text")],
)
def test_a_type_that_does_not_hold_the_old_values_stops(
    database: str, before: str, after: str
) -> None:
    old = table("t", column("id"), column("v", before))
    new = table("t", column("id"), column("v", after))

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", old, "1", "5"))
        await feed.commit(2, change("insert", old, "2", "5"), SchemaChange(old, new))

    with pytest.raises(SchemaError, match=rf"public\.t\.v became {after}"):
        feeding(database, work)
    assert fetch(database, "SELECT id FROM t") == [("1",)]


def test_a_target_made_by_hand_must_hold_the_columns(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY, v varchar(3), big text)")
    other = table("t", column("id", "integer"), column("v", "boolean"))
    with pytest.raises(SchemaError, match=r"character varying\(3\) does not hold it"):
        feeding(database, lambda feed: feed.commit(1, change("insert", other, "1", "t")))
    feeding(database, lambda feed: feed.commit(1, change("insert", T, "1", "widened", None)))
    assert fetch(database, "SELECT v FROM t") == [("widened",)]


@pytest.mark.parametrize("rows", [0, 10, MANY])
def test_a_constraint_of_the_target_is_named_and_the_value_is_not(database: str, rows: int) -> None:
    execute(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE, big text)",
        "INSERT INTO t VALUES (8, 'a secret')",
    )
    others = [change("insert", T, str(100 + i), str(i), None) for i in range(rows)]
    bad = change("insert", T, "7", "a secret", None)
    with pytest.raises(SinkError) as caught:
        feeding(database, lambda feed: feed.commit(1, *others, bad))
    text = str(caught.value)
    assert "upsert into public.t (id)=(7)" in text
    assert "t_v_key" in text
    assert "a secret" not in text
    assert fetch(database, "SELECT id FROM t") == [(8,)]


def test_a_value_that_the_target_cannot_hold_is_not_shown(database: str) -> None:
    execute(database, "CREATE TYPE mood AS ENUM ('happy')")
    moody = table("t", column("id", "integer"), Column("m", Type("mood", Kind.ENUM, "mood")))
    with pytest.raises(SinkError) as caught:
        feeding(database, lambda feed: feed.commit(1, change("insert", moody, "7", "a secret")))
    assert "(id)=(7)" in str(caught.value)
    assert "a secret" not in str(caught.value)


def test_a_deadlock_is_tried_again(database: str) -> None:
    async def work(feed: Feed) -> None:
        rows = change("insert", T, "1", "a", None), change("insert", T, "2", "b", None)
        await feed.commit(1, *rows)
        with psycopg.connect(database) as other:
            other.execute("SET deadlock_timeout = '60s'")  # the sink is to be the victim
            other.execute("UPDATE t SET v = 'x' WHERE id = 1")
            await feed.write(2, change("update", T, "2", "c", None), whole=False)
            waiting = asyncio.create_task(feed.write(2, change("update", T, "1", "c", None)))
            await _until_waiting(database)
            await asyncio.to_thread(other.execute, "UPDATE t SET v = 'y' WHERE id = 2")
            with pytest.raises(SinkUnavailableError, match="deadlock"):
                await waiting

    feeding(database, work)


def test_closing_does_not_wait_for_a_lock(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        with psycopg.connect(database) as other:
            other.execute("LOCK TABLE t")
            waiting = asyncio.create_task(feed.write(2, change("update", T, "1", "c", None)))
            await _until_waiting(database)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            async with asyncio.timeout(10):
                await feed.sink.close()

    feeding(database, work)


async def _until_waiting(dsn: str) -> None:
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20):
        while fetch(dsn, query) == [(0,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_an_unreachable_server_is_tried_again(own_server: OwnServer) -> None:
    server = own_server().start()
    dsn = server.dsn()
    server.stop()
    with pytest.raises(SinkUnavailableError, match="cannot be reached"):
        feeding(dsn, lambda feed: feed.commit(1))


def test_a_server_that_refuses_us_is_not_and_no_password_is_shown(own_server: OwnServer) -> None:
    good = own_server(password="hunter1").start().dsn()
    assert "hunter1" in good
    feeding(good, lambda feed: feed.commit(1, change("insert", T, "1", "a", None)))
    for bad, message in [
        (good.replace("hunter1", "hunter2"), "password authentication failed"),
        (good.removesuffix("postgres") + "nowhere", "does not exist"),
    ]:
        with pytest.raises(SinkError, match=message) as caught:
            feeding(bad, lambda feed: feed.commit(1))
        assert not isinstance(caught.value, SinkUnavailableError)
        assert "hunter" not in str(caught.value)
        sink = Sql.model_validate({"url": bad}).build()
        (finding,) = asyncio.run(sink.check(Context("p", "s")))
        assert finding.severity == "error"


def test_a_missing_privilege_is_found_before_the_run(database: str) -> None:
    execute(
        database,
        "DO $$BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN END$$",
        "REVOKE CREATE ON SCHEMA public FROM public",
    )

    def findings(dsn: str) -> list[str]:
        sink = Sql.model_validate({"url": dsn}).build()
        return [finding.fix for finding in asyncio.run(sink.check(Context("p", "s")))]

    (fix,) = findings(database.replace("postgres@", "reader@"))
    assert "GRANT" in fix
    assert findings(database) == []
    assert fetch(database, "SELECT to_regclass('penstock_checkpoint')") == [(None,)]


def test_teardown_forgets_the_checkpoints_only(database: str) -> None:
    feeding(database, lambda feed: feed.commit(1, change("insert", T, "1", "a", None)))
    sink = Sql.model_validate({"url": database}).build()
    assert len(asyncio.run(sink.teardown(Context("orders", "replica")))) == 1
    assert fetch(database, "SELECT * FROM penstock_checkpoint") == []
    assert fetch(database, "SELECT id FROM t") == [(1,)]


def test_a_deferrable_key_shifts_within_one_statement(database: str) -> None:
    full = Table("public", "t", T.columns, ("id",), "full", key_deferrable=True)

    def shift(i: int) -> Change:
        before, after = ((str(n).encode(), f"v{i}".encode(), None) for n in (i, i + 1))
        return Change("update", full, Origin(""), 0, before, after, None, before[:1])

    async def work(feed: Feed) -> None:
        rows = range(1, 4)
        await feed.commit(1, *(change("insert", full, str(i), f"v{i}", None) for i in rows))
        await feed.write(2, *map(shift, rows[:2]), whole=False)
        await feed.commit(2, *map(shift, rows[2:]))

    feeding(database, work)
    assert fetch(database, "SELECT id, v FROM t ORDER BY id") == [(2, "v1"), (3, "v2"), (4, "v3")]


def test_an_empty_batch_moves_the_checkpoint(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        await feed.sink.write(EventBatch("main", [], None, Checkpoint.of("main", at=9)))
        assert await feed.sink.flush() is None

    feeding(database, work)
    stored = fetch(database, "SELECT checkpoint, mark FROM penstock_checkpoint")
    assert stored == [('{"at":9}', "0/1:1")]


def _kill_others(dsn: str) -> None:
    fetch(
        dsn,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
