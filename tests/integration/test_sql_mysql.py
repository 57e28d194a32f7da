"""The SQL sink into MySQL and MariaDB."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from random import Random
from typing import Any

import pymysql
import pytest

from penstock.errors import FencedError, SchemaError, SinkError, SinkUnavailableError
from penstock.failpoints import Failpoint
from penstock.model import UNCHANGED, Checkpoint, SchemaChange, Table
from penstock.ports import Context, Sink
from penstock.sinks.sql import Sql
from penstock.sinks.sql import mysql as mysql_target
from penstock.testing.contracts import SinkContract
from penstock.testing.contracts.contract import TABLE
from tests.conftest import OwnMySQL
from tests.integration.test_sql_copy import History
from tests.support.feed import Feed, change, column, feeding, table
from tests.support.mysql import Database
from tests.support.waiting import eventually

pytestmark = pytest.mark.server

T = table("t", column("id", "integer"), column("v"), column("big"))
WIDER = table("t", column("id", "bigint"), column("v"), column("big"), column("n", "integer"))
KEYLESS = table("log", column("line"), key=())
MANY = 500


class TestMysqlSink(SinkContract):
    stores_checkpoints = True

    @pytest.fixture
    def connect(self, binlogs: Database) -> Callable[[], Sink]:
        return lambda: Sql(url=binlogs.dsn).build()

    @pytest.fixture
    def rows(self, binlogs: Database) -> Callable[[], dict[int, str | None]]:
        return lambda: dict(binlogs.fetch(f"SELECT id, note FROM {TABLE.name}"))


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_end_as_in_a_dictionary(binlogs: Database, seed: int) -> None:
    tables = [
        Table("public", "a", T.columns, ("id",)),
        Table("public", "b", T.columns, ("id",), "full"),
    ]
    kept: dict[str, dict[int, tuple[str, str]]] = {"a": {}, "b": {}}
    history = History(Random(seed), kept)

    async def work(feed: Feed) -> None:
        at = 0
        for _ in range(12):
            for _ in range(history.random.randint(1, 4)):
                at += 1
                await feed.write(at, *history.transaction(tables))
            await feed.sink.flush()
            if history.random.random() < 0.2:
                await feed.reopen()

    feeding(binlogs.dsn, work)
    for name, expected in kept.items():
        found = {id: (v, big) for id, v, big in binlogs.fetch(f"SELECT * FROM {name}")}
        assert found == expected


def test_statements_are_cut_where_they_grow_long(
    binlogs: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_target, "STATEMENT_BYTES", 60)
    pairs = table("pairs", column("a", "integer"), column("b"), column("v"), key=("a", "b"))
    rows = [(str(i), "k" * (i % 40), "v" * (i % 30)) for i in range(80)]

    async def work(feed: Feed) -> None:
        await feed.commit(1, *(change("insert", pairs, *row) for row in rows))
        await feed.commit(2, *(change("delete", pairs, a, b) for a, b, _ in rows[:79]))
        await feed.commit(3, *(change("update", pairs, a, b, "w") for a, b, _ in rows[70:]))

    feeding(binlogs.dsn, work)
    expected = {(int(a), b, "w") for a, b, _ in rows[70:]}
    assert set(binlogs.fetch("SELECT * FROM pairs")) == expected


def test_rows_follow_the_source(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(
            1, change("insert", T, "1", "a", "A"), change("insert", T, "2", "b", None)
        )
        await feed.commit(2, change("update", T, "1", "c", UNCHANGED), change("delete", T, "2"))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT * FROM t") == [(1, "c", "A")]
    assert binlogs.fetch("SELECT * FROM penstock_checkpoint") == [
        ("orders", "replica", "main", '{"at":2}', "0/2:2")
    ]


def test_keys_swap_in_one_transaction(mysql: Database) -> None:
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

    feeding(mysql.dsn, work)
    assert mysql.fetch("SELECT * FROM t ORDER BY id") == [(1, "b", "BIG2"), (2, "a2", "BIG1")]


def test_many_rows_at_once_end_as_one_by_one(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        rows = range(MANY)
        await feed.commit(1, *(change("insert", T, str(i), "a", "A") for i in rows))
        await feed.write(2, *(change("update", T, str(i), "b", UNCHANGED) for i in rows))
        moves = (change("update", T, str(i + MANY), "c", "C", old=[str(i)]) for i in rows)
        await feed.write(3, *moves)
        await feed.write(4, *(change("delete", T, str(i + MANY)) for i in rows if i % 2))
        await feed.write(5, *(change("insert", T, str(i), None, "%s\\'\t") for i in rows))
        await feed.commit(6)

    feeding(binlogs.dsn, work)
    expected: list[Any] = [(i, None, "%s\\'\t") for i in range(MANY)]
    expected += [(i + MANY, "c", "C") for i in range(0, MANY, 2)]
    assert binlogs.fetch("SELECT * FROM t ORDER BY id") == expected


def test_nothing_of_an_open_transaction_is_seen_whatever_it_creates(binlogs: Database) -> None:
    other = table("other", column("id", "integer"), column("v"))

    async def work(feed: Feed) -> None:
        await feed.write(1, change("insert", T, "1", "a", None), whole=False)
        await feed.write(1, change("insert", other, "1", "a"), whole=False)
        assert binlogs.fetch("SELECT * FROM t") == []
        assert binlogs.fetch("SELECT * FROM other") == []
        await feed.commit(1, change("truncate", T), change("insert", T, "2", "b", None))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT id FROM t") == [(2,)]
    assert binlogs.fetch("SELECT id FROM other") == [(1,)]


def test_a_table_is_altered_between_transactions_only(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        for added in ("id", "n"):  # one at a time; both are there, and no row of the transaction
            with pytest.raises(SinkUnavailableError, match="altered"):
                await feed.write(2, SchemaChange(T, WIDER), whole=False)
            assert binlogs.fetch("SELECT id FROM t") == [(1,)], added
            await feed.reopen()
            assert await feed.sink.resume("main") == Checkpoint.of("main", at=1)
            await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        row = change("insert", WIDER, str(2**40), "c", None, "3")
        await feed.write(2, SchemaChange(T, WIDER), row, whole=False)
        assert binlogs.fetch("SELECT id FROM t") == [(1,)]
        await feed.commit(2)
        # a version older than the target alters nothing
        await feed.commit(3, change("insert", T, "3", "d", None))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT id, n FROM t ORDER BY id") == [
        (1, None),
        (2, None),
        (3, None),
        (2**40, 3),
    ]


def test_a_connection_lost_before_the_commit_is_fed_again(mysql: Database) -> None:
    def kill(count: int) -> None:
        if count == 2:
            _kill_others(mysql)

    async def work(feed: Feed) -> None:
        feed.failpoints.arm(Failpoint.SINK_COMMIT, kill)
        await feed.commit(1, change("insert", KEYLESS, "a"))
        await feed.write(2, change("insert", KEYLESS, "b"))
        with pytest.raises(SinkUnavailableError):
            await feed.sink.flush()
        await feed.reopen()
        assert await feed.sink.resume("main") == Checkpoint.of("main", at=1)
        await feed.commit(2, change("insert", KEYLESS, "b"))

    feeding(mysql.dsn, work)
    assert mysql.fetch("SELECT line FROM log ORDER BY line") == [("a",), ("b",)]


def test_a_commit_of_unknown_outcome_is_settled_by_looking(
    binlogs: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = pymysql.Connection.commit
    armed = False

    def break_after(self: pymysql.Connection[Any]) -> None:
        commit(self)
        if armed:
            raise pymysql.err.OperationalError(2013, "Lost connection to server during query")

    monkeypatch.setattr(pymysql.Connection, "commit", break_after)

    async def work(feed: Feed) -> None:
        nonlocal armed
        await feed.commit(1, change("insert", KEYLESS, "a"))
        await feed.write(2, change("insert", KEYLESS, "b"))
        armed = True
        with pytest.raises(SinkUnavailableError):
            await feed.sink.flush()
        armed = False
        await feed.reopen()
        assert await feed.sink.resume("main") == Checkpoint.of("main", at=2)
        await feed.commit(3, change("insert", KEYLESS, "c"))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT line FROM log ORDER BY line") == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize("first", [True, False])
def test_of_two_copies_one_is_fenced(binlogs: Database, first: bool) -> None:
    async def work(one: Feed) -> None:
        if not first:
            await one.commit(1, change("insert", T, "1", "a", None))
        async with Feed(binlogs.dsn) as two:
            await two.commit(2, change("insert", T, "2", "b", None))
            await one.write(2, change("insert", T, "2", "b", None))
            with pytest.raises(FencedError):
                await one.sink.flush()
            await two.commit(3, change("insert", T, "3", "c", None))

    feeding(binlogs.dsn, work)
    expected = [(2,), (3,)] if first else [(1,), (2,), (3,)]
    assert binlogs.fetch("SELECT id FROM t ORDER BY id") == expected


def test_a_copy_that_stands_still_lets_its_locks_go(
    binlogs: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tuple(
        "wait_timeout = 4" if s.startswith("wait_timeout") else s for s in mysql_target.SETTINGS
    )
    monkeypatch.setattr(mysql_target, "SETTINGS", settings)

    async def work(one: Feed) -> None:
        await one.commit(1, change("insert", T, "1", "a", None))
        await one.write(2, change("insert", T, "2", "b", None))
        await asyncio.to_thread(eventually, lambda: not _writers(binlogs), within=60)
        async with Feed(binlogs.dsn) as two:
            await two.commit(2, change("insert", T, "2", "b", None))
        with pytest.raises(SinkUnavailableError):  # nothing of its transaction is left
            await one.sink.flush()
        with pytest.raises(FencedError):
            await one.reopen()

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_connection_that_was_idle_for_long_is_made_again(
    mysql: Database,
) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        _kill_others(mysql)
        await feed.commit(2, change("insert", T, "2", "b", None))
        _kill_others(mysql)
        new = table("new", column("id", "integer"))
        await feed.commit(3, change("insert", new, "1"))

    feeding(mysql.dsn, work)
    assert mysql.fetch("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_snapshot_discards_what_an_earlier_attempt_left(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.snapshot(T, [("1", "a", None), ("2", "b", None)], end=False)
        await feed.snapshot(T, [("2", "b", "B"), ("3", "c", None)], attempt=2)
        await feed.commit(1, change("update", T, "3", "d", UNCHANGED))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT * FROM t ORDER BY id") == [(2, "b", "B"), (3, "d", None)]


def test_texts_that_others_take_for_one_are_different_keys(binlogs: Database) -> None:
    words = table("words", column("id"), column("n", "integer"))
    texts = ["a", "A", "á", "a ", "a\t", "", " ", "ß", "ss", "\0", "🦭", "🦊"]

    async def work(feed: Feed) -> None:
        await feed.commit(1, *(change("insert", words, t, str(i)) for i, t in enumerate(texts)))
        await feed.commit(2, change("delete", words, "A"), change("update", words, "a", "99"))

    feeding(binlogs.dsn, work)
    expected = {text: i for i, text in enumerate(texts)} | {"a": 99}
    del expected["A"]
    assert dict(binlogs.fetch("SELECT id, n FROM words")) == expected


def test_a_key_that_the_target_blurs_is_refused(binlogs: Database) -> None:
    binlogs.execute(
        "CREATE TABLE words (id varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
        " PRIMARY KEY, n int)"
    )
    words = table("words", column("id"), column("n", "integer"))
    with pytest.raises(SchemaError, match="does not keep unique") as caught:
        feeding(binlogs.dsn, lambda feed: feed.commit(1, change("insert", words, "a", "1")))
    assert "COLLATE" in caught.value.hint


def test_a_table_without_transactions_is_refused(binlogs: Database) -> None:
    binlogs.execute("CREATE TABLE t (id int PRIMARY KEY, v text, big text) ENGINE=MyISAM")
    with pytest.raises(SchemaError, match="no transactions") as caught:
        feeding(binlogs.dsn, lambda feed: feed.commit(1, change("insert", T, "1", "a", "A")))
    assert caught.value.hint == "ALTER TABLE `t` ENGINE=InnoDB"


@pytest.mark.parametrize("rows", [1, MANY])
def test_a_further_unique_index_never_moves_another_row(binlogs: Database, rows: int) -> None:
    flat = table("flat", column("id", "integer"), column("n", "integer"))

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", flat, "1000000", "7"))
        binlogs.execute("ALTER TABLE flat ADD UNIQUE (n)")
        await feed.commit(2, *(change("insert", flat, str(i), str(i + 7)) for i in range(rows)))

    with pytest.raises(SinkError, match=r"public\.flat \(id\)=\(0\)") as caught:
        feeding(binlogs.dsn, work)
    assert "unique index" in caught.value.hint
    assert binlogs.fetch("SELECT * FROM flat") == [(1000000, 7)]


@pytest.mark.parametrize(
    ("type", "modifier", "text", "column_type"),
    [
        ("numeric", (4 << 16 | 1) + 4, "NaN", "decimal(4,1)"),
        ("double precision", -1, "Infinity", "double"),
        ("date", -1, "infinity", "date"),
        ("date", -1, "0044-03-15 BC", "date"),
        ("timestamptz", -1, "infinity", "datetime(6)"),
        ("timestamptz", -1, "10000-01-01 00:00:00+00", "datetime(6)"),
    ],
)
def test_a_value_that_the_target_lacks_is_refused_and_not_shown(
    binlogs: Database, type: str, modifier: int, text: str, column_type: str
) -> None:
    definition = table("v", column("id", "integer"), column("c", type, modifier))

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", definition, "1", None))
        await feed.commit(2, change("insert", definition, "2", text))

    with pytest.raises(SinkError, match=r"public\.v.*c\b") as caught:
        feeding(binlogs.dsn, work)
    assert text not in str(caught.value)
    shown = "SELECT column_type FROM information_schema.columns WHERE column_name = 'c'"
    assert (column_type,) in binlogs.fetch(f"{shown} AND table_schema = DATABASE()")
    # by hand it can be made to take it
    binlogs.execute("ALTER TABLE v MODIFY c longtext")
    feeding(binlogs.dsn, lambda feed: feed.commit(2, change("insert", definition, "2", text)))
    assert binlogs.fetch("SELECT c FROM v WHERE id = 2") == [(text,)]


def test_a_value_that_the_server_would_cut_is_refused(binlogs: Database) -> None:
    """It does so without an error where only spaces go."""
    words = table("words", column("id"))
    long = "a" + " " * 800

    with pytest.raises(SinkError, match="'id'"):
        feeding(binlogs.dsn, lambda feed: feed.commit(1, change("insert", words, long)))
    assert binlogs.fetch("SELECT count(*) FROM words") == [(0,)]


def test_a_row_that_is_larger_than_a_packet_is_named(own_mysql: OwnMySQL) -> None:
    server = own_mysql("mariadb", max_allowed_packet="1M")
    Database(server, "").execute("CREATE DATABASE d")
    rows = [change("insert", T, str(i), "é" * 200_000, None) for i in range(8)]

    async def work(feed: Feed) -> None:
        await feed.commit(1, *rows)  # together they are larger, too
        await feed.commit(2, change("insert", T, "8", "v" * 1_100_000, None), rows[0])

    with pytest.raises(SinkError, match=r"\(id\)=\(8\).*max_allowed_packet") as caught:
        feeding(server.dsn("d"), work)
    assert "SET GLOBAL" in caught.value.hint
    assert Database(server, "d").fetch("SELECT count(*) FROM t") == [(8,)]


def test_a_deadlock_is_tried_again(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(
            1, change("insert", T, "1", "a", None), change("insert", T, "2", "b", None)
        )
        with closing(binlogs.connect(autocommit=False)) as other, other.cursor() as cursor:
            cursor.execute("UPDATE t SET v = 'x' WHERE id = 2")
            # heavier than ours, so that we are the victim
            cursor.execute("INSERT INTO t SELECT seq.n, 'h', NULL FROM (" + _numbers(100) + ") seq")
            await feed.write(2, change("update", T, "1", "c", UNCHANGED))
            waits = asyncio.create_task(feed.write(2, change("update", T, "2", "d", UNCHANGED)))
            await asyncio.to_thread(eventually, lambda: _waits(binlogs), within=60)
            await asyncio.to_thread(cursor.execute, "UPDATE t SET v = 'y' WHERE id = 1")
            with pytest.raises(SinkUnavailableError):
                await waits
            other.rollback()
        await feed.reopen()
        await feed.commit(2, change("update", T, "1", "c", UNCHANGED))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT id, v FROM t ORDER BY id") == [(1, "c"), (2, "b")]


def test_closing_does_not_wait_for_a_lock(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        with closing(binlogs.connect(autocommit=False)) as other, other.cursor() as cursor:
            cursor.execute("UPDATE t SET v = 'x'")
            waits = asyncio.create_task(feed.write(2, change("update", T, "1", "b", UNCHANGED)))
            await asyncio.to_thread(eventually, lambda: _waits(binlogs), within=60)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            await feed.sink.close()
            other.rollback()

    feeding(binlogs.dsn, work)


@pytest.mark.parametrize("rows", [1, MANY])
def test_hostile_names(binlogs: Database, rows: int) -> None:
    names = ['"; DROP TABLE t; --', "a`b", "%s", "%(x)s", "{}", "né", "\\", "'", "x" * 64, "new"]
    for name in names:
        definition = table(name, column("id", "integer"), *(column(n) for n in names))
        values = [*names]

        async def work(
            feed: Feed, definition: Any = definition, values: list[str] = values
        ) -> None:
            await feed.commit(
                1, *(change("insert", definition, str(i), *values) for i in range(rows))
            )
            row = change("update", definition, "0", *values[:-1], UNCHANGED)
            await feed.commit(2, row, change("insert", definition, "-1", *values))
            await feed.commit(3, change("delete", definition, "-1"))

        feeding(binlogs.dsn, work, pipeline=f"p{names.index(name)}")
        quoted = name.replace("`", "``")
        assert set(binlogs.fetch(f"SELECT * FROM `{quoted}`")) == {(i, *names) for i in range(rows)}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x" * 65], "takes no name"),
        (["a "], "takes no name"),
        (["🦭"], "takes no name"),
        (["a", "A"], "for one"),
        (["ä", "Ä"], "for one"),
    ],
)
def test_names_that_mysql_cannot_keep(mysql: Database, names: list[str], message: str) -> None:
    definition = table("t", column("id", "integer"), *(column(name) for name in names))
    with pytest.raises(SchemaError, match=message):
        feeding(mysql.dsn, lambda feed: feed.commit(1, change("truncate", definition)))


def test_two_tables_of_one_name_do_not_meet(binlogs: Database) -> None:
    other = table("t", column("id", "integer"), schema="other")
    upper = table("T", column("id", "integer"))
    feeding(binlogs.dsn, lambda feed: feed.commit(1, change("insert", upper, "1")))
    feeding(binlogs.dsn, lambda feed: feed.commit(2, change("insert", T, "1", "a", None)))
    with pytest.raises(SchemaError, match=r"public\.t and other\.t would both be"):
        feeding(binlogs.dsn, lambda feed: feed.commit(3, change("insert", other, "1")))


def test_names_that_differ_by_case_meet_where_the_server_folds_them(own_mysql: OwnMySQL) -> None:
    server = own_mysql("mariadb", lower_case_table_names=1)
    Database(server, "").execute("CREATE DATABASE d")
    upper = table("T", column("id", "integer"))
    feeding(server.dsn("d"), lambda feed: feed.commit(1, change("insert", upper, "1")))
    with pytest.raises(SchemaError, match=r"public\.T and public\.t would both be"):
        feeding(server.dsn("d"), lambda feed: feed.commit(2, change("insert", T, "1", "a", None)))


def test_a_new_column_has_its_default_in_old_rows(binlogs: Database) -> None:
    text = column("word", "text", default="'it''s \\ %s'::text")
    number = column("n", "integer", default="7")
    wide = table("t", *T.columns, text, number)

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        for _ in range(2):
            with pytest.raises(SinkUnavailableError):
                await feed.write(2, change("insert", wide, "2", "b", None, "w", "8"))
            await feed.reopen()
        await feed.commit(2, change("insert", wide, "2", "b", None, "w", "8"))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT word, n FROM t ORDER BY id") == [("it's \\ %s", 7), ("w", 8)]


def test_a_server_that_refuses_us_is_not_tried_again_and_no_password_is_shown(
    mysql: Database,
) -> None:
    url = f"mysql://root:c4nary@127.0.0.1:{mysql.server.port}/{mysql.name}"
    with pytest.raises(SinkError, match="refused us") as caught:
        asyncio.run(Sql(url=url).build().open(Context("p", "sql")))
    assert "c4nary" not in str(caught.value)
    gone = f"mysql://root@127.0.0.1:{mysql.server.port}/nowhere"
    with pytest.raises(SinkError, match="Unknown database"):
        asyncio.run(Sql(url=gone).build().open(Context("p", "sql")))


def test_an_unreachable_server_is_tried_again(own_mysql: OwnMySQL) -> None:
    server = own_mysql("mariadb")
    Database(server, "").execute("CREATE DATABASE d")
    server.stop()
    with pytest.raises(SinkUnavailableError, match="cannot be reached"):
        asyncio.run(Sql(url=server.dsn("d")).build().open(Context("p", "sql")))


def test_a_missing_privilege_is_found_before_the_run(binlogs: Database) -> None:
    user = f"reader_{binlogs.name}"
    binlogs.execute(
        f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'p4ss'",
        f"GRANT SELECT ON {binlogs.name}.* TO {user}@'127.0.0.1'",
    )
    url = f"mysql://{user}:p4ss@127.0.0.1:{binlogs.server.port}/{binlogs.name}"
    try:
        [finding] = asyncio.run(Sql(url=url).build().check(Context("p", "sql")))
        assert finding.severity == "error"
        assert "GRANT" in (finding.fix or "")
        [doubt] = asyncio.run(Sql(url=binlogs.dsn).build().check(Context("p", "sql")))
        assert doubt.severity == "warning"  # of servers that tests start
        assert doubt.fix == "SET GLOBAL innodb_flush_log_at_trx_commit = 1"
    finally:
        binlogs.execute(f"DROP USER {user}@'127.0.0.1'")


def test_teardown_forgets_the_checkpoints_only(mysql: Database) -> None:
    feeding(mysql.dsn, lambda feed: feed.commit(1, change("insert", T, "1", "a", None)))
    sink = Sql(url=mysql.dsn).build()
    [removed] = asyncio.run(sink.teardown(Context("orders", "replica")))
    assert removed.startswith("1 checkpoints")
    assert mysql.fetch("SELECT count(*) FROM penstock_checkpoint") == [(0,)]
    assert mysql.fetch("SELECT id FROM t") == [(1,)]


def _kill_others(database: Database) -> None:
    for number in _connections(database):
        with suppress(pymysql.err.OperationalError):  # it was just leaving
            database.execute(f"KILL {number}")
    eventually(lambda: not _connections(database), within=60)


def _connections(database: Database) -> list[int]:
    return [
        row[0]
        for row in database.fetch(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
            " AND id <> CONNECTION_ID()"
        )
    ]


def _writers(database: Database) -> list[Any]:
    return database.fetch(
        "SELECT trx_id FROM information_schema.innodb_trx JOIN information_schema.processlist"
        " ON id = trx_mysql_thread_id WHERE db = DATABASE()"
    )


def _waits(database: Database) -> bool:
    return bool(
        database.fetch(
            "SELECT trx_id FROM information_schema.innodb_trx"
            " JOIN information_schema.processlist ON id = trx_mysql_thread_id"
            " WHERE db = DATABASE() AND trx_state = 'LOCK WAIT'"
        )
    )


def _numbers(count: int) -> str:
    return " UNION ALL ".join(f"SELECT {n} AS n" for n in range(1000, 1000 + count))
