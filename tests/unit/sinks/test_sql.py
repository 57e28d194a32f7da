"""The SQL sink into SQLite."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import (
    ConfigError,
    FencedError,
    SchemaError,
    SinkError,
    SinkUnavailableError,
)
from penstock.failpoints import Failpoint
from penstock.model import UNCHANGED, Checkpoint, Column, Kind, SchemaChange, Table, Type
from penstock.ports import Context
from penstock.sinks.sql import Sql, sqlite
from tests.support.feed import Feed, change, column, feeding, table

T = table("t", column("id", "integer"), column("v"), column("big"))
KEYLESS = table("log", column("line"), key=())


class Database:
    """A SQLite file and what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def fetch(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "replica.db")


def test_rows_follow_the_source(database: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(
            1, change("insert", T, "1", "a", "A"), change("insert", T, "2", "b", None)
        )
        await feed.commit(2, change("update", T, "1", "c", UNCHANGED), change("delete", T, "2"))

    feeding(database.url, work)
    assert database.fetch("SELECT * FROM t") == [(1, "c", "A")]
    assert database.fetch("SELECT * FROM penstock_checkpoint") == [
        ("orders", "replica", "main", '{"at":2}', "0/2:2")
    ]


def test_keys_swap_in_one_transaction(database: Database) -> None:
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

    feeding(database.url, work)
    assert database.fetch("SELECT * FROM t ORDER BY id") == [(1, "b", "BIG2"), (2, "a2", "BIG1")]


@pytest.mark.parametrize(
    "late",
    [change("update", T, "7", "x", UNCHANGED), change("update", T, "8", "x", UNCHANGED, old=["7"])],
    ids=["update", "key change"],
)
def test_an_update_of_a_row_that_is_not_there_is_drift(database: Database, late: Any) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", "A"))
        await feed.write(2, change("update", T, "1", "b", UNCHANGED), late)

    with pytest.raises(SinkError, match=r"public\.t: the row \(id\)=\(7\)"):
        feeding(database.url, work)
    assert database.fetch("SELECT v FROM t") == [("a",)]


def test_truncate_takes_its_place_in_the_order(database: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        await feed.commit(
            2,
            change("insert", T, "2", "b", None),
            change("truncate", T),
            change("insert", T, "3", "c", None),
        )

    feeding(database.url, work)
    assert database.fetch("SELECT id FROM t") == [(3,)]


def test_nothing_is_seen_before_the_transaction_is_whole(database: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        assert await feed.sink.flush() is None
        assert database.fetch("SELECT id FROM t") == [(1,)]
        await feed.reopen()
        assert await feed.sink.resume("main") == Checkpoint.of("main", at=1)
        assert database.fetch("SELECT id FROM t") == [(1,)]
        await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        await feed.commit(2, change("insert", T, "3", "c", None))
        assert database.fetch("SELECT id FROM t") == [(1,), (2,), (3,)]

    feeding(database.url, work)


def test_a_whole_transaction_waits_for_the_one_that_was_begun_after_it(database: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.write(1, change("insert", T, "1", "a", None))
        await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        assert await feed.sink.flush() is None
        assert database.fetch("SELECT * FROM penstock_checkpoint") == []
        await feed.commit(2, change("insert", T, "3", "c", None))

    feeding(database.url, work)
    assert database.fetch("SELECT id FROM t") == [(1,), (2,), (3,)]


def test_a_crash_before_the_commit_leaves_nothing(database: Database) -> None:
    def crash(_: int) -> None:
        raise RuntimeError("crash")

    async def work(feed: Feed) -> None:
        feed.failpoints.arm(Failpoint.SINK_COMMIT, crash)
        await feed.commit(1, change("insert", T, "1", "a", None))

    with pytest.raises(RuntimeError, match="crash"):
        feeding(database.url, work)
    assert database.fetch("SELECT name FROM sqlite_master WHERE name = 't'") == []
    assert database.fetch("SELECT * FROM penstock_checkpoint") == []


def test_after_a_failure_nothing_more_is_written(database: Database) -> None:
    async def work(feed: Feed) -> None:
        with pytest.raises(SinkError):
            await feed.write(1, change("update", T, "1", "a", UNCHANGED))
        with pytest.raises(SinkUnavailableError):
            await feed.write(2, change("insert", T, "2", "b", None))

    feeding(database.url, work)
    assert database.fetch("SELECT * FROM penstock_checkpoint") == []


@pytest.mark.parametrize("first", [True, False], ids=["first checkpoint", "later checkpoint"])
def test_of_two_copies_one_is_fenced(database: Database, first: bool) -> None:
    async def work(feed: Feed) -> None:
        if not first:
            await feed.commit(1, change("insert", T, "1", "a", None))
        async with Feed(database.url) as other:
            await other.commit(2, change("insert", T, "2", "b", None))
        await feed.write(2, change("insert", T, "2", "zombie", None))
        await feed.sink.flush()

    with pytest.raises(FencedError, match="another copy of this pipeline"):
        feeding(database.url, work)
    assert database.fetch("SELECT v FROM t WHERE id = 2") == [("b",)]


def test_a_copy_that_reopens_is_fenced_too(database: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        async with Feed(database.url) as other:
            await other.commit(2, change("insert", T, "2", "b", None))
        with pytest.raises(FencedError):
            await feed.reopen()
        await feed.reopen()  # started again by hand: from what is stored
        assert await feed.sink.resume("main") == Checkpoint.of("main", at=2)

    feeding(database.url, work)


def test_a_fenced_copy_says_so_even_if_a_row_failed_first(database: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        async with Feed(database.url) as other:
            await other.commit(2, change("delete", T, "1"))
        await feed.write(2, change("update", T, "1", "b", UNCHANGED))

    with pytest.raises(FencedError):
        feeding(database.url, work)


def test_a_commit_of_unknown_outcome_is_settled_by_looking(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", KEYLESS, "a"))
        checkpoints = feed.sink._checkpoints
        assert checkpoints is not None

        def lose() -> None:
            raise SinkUnavailableError("the connection was lost in the commit")

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "committed", lose)
            await feed.write(2, change("insert", KEYLESS, "b"))
            with pytest.raises(SinkUnavailableError):
                await feed.sink.flush()
        await feed.reopen()
        assert await feed.sink.resume("main") == Checkpoint.of("main", at=2)
        await feed.commit(3, change("insert", KEYLESS, "c"))

    feeding(database.url, work)
    assert database.fetch("SELECT line FROM log") == [("a",), ("b",), ("c",)]


def test_pipelines_and_sinks_do_not_share_checkpoints(database: Database) -> None:
    async def work(feed: Feed) -> Checkpoint | None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        return await feed.sink.resume("main")

    async def look(feed: Feed) -> Checkpoint | None:
        return await feed.sink.resume("main")

    assert feeding(database.url, work) == Checkpoint.of("main", at=1)
    assert feeding(database.url, look, pipeline="other") is None
    assert feeding(database.url, look, name="other") is None


def test_a_snapshot_discards_what_an_earlier_attempt_left(database: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", KEYLESS, "stale"))
        await feed.snapshot(KEYLESS, [("a",), ("b",)], end=False)
        assert database.fetch("SELECT line FROM log") == [("stale",)]
        await feed.snapshot(KEYLESS, [("b",), ("b",), ("c",)], attempt=2)

    feeding(database.url, work)
    assert database.fetch("SELECT line FROM log") == [("b",), ("b",), ("c",)]
    assert database.fetch("SELECT checkpoint FROM penstock_checkpoint ORDER BY stream") == [
        ('{"at":1}',),
        ('{"attempt":2}',),
    ]


def test_a_table_without_key_cannot_be_updated(database: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.write(1, change("insert", KEYLESS, "a"), change("update", KEYLESS, "b"))

    with pytest.raises(SchemaError, match=r"public\.log has no key") as caught:
        feeding(database.url, work)
    assert "ALTER TABLE public.log ADD PRIMARY KEY" in caught.value.hint


VALUES = {
    ("integer", "-2147483648"): (-2147483648, "integer"),
    ("bigint", "9223372036854775807"): (9223372036854775807, "integer"),
    ("boolean", "t"): (1, "integer"),
    ("boolean", "f"): (0, "integer"),
    ("double precision", "0.1"): (0.1, "real"),
    ("double precision", "5e-324"): (5e-324, "real"),
    ("double precision", "NaN"): ("NaN", "text"),
    ("double precision", "-Infinity"): ("-Infinity", "text"),
    ("numeric", "1.50"): ("1.50", "text"),
    ("numeric", "0" * 3 + "7"): ("0007", "text"),
    ("numeric", "9" * 200 + ".10"): ("9" * 200 + ".10", "text"),
    ("numeric", "NaN"): ("NaN", "text"),
    ("bytea", "\\x00ff"): (b"\x00\xff", "blob"),
    ("text", "0012"): ("0012", "text"),
    ("text", ""): ("", "text"),
    ("text", "🦭 'quoted' \\ \n"): ("🦭 'quoted' \\ \n", "text"),
    ("json", '{"a":  "\\u0000", "a": 1e400}'): ('{"a":  "\\u0000", "a": 1e400}', "text"),
    ("date", "4713-01-01 BC"): ("4713-01-01 BC", "text"),
    ("timestamptz", "infinity"): ("infinity", "text"),
}


@pytest.mark.parametrize(("type", "text"), VALUES, ids=lambda value: str(value)[:20])
def test_values_keep_their_exact_text(database: Database, type: str, text: str) -> None:
    definition = table("t", column("id", "integer"), column("v", type))
    feeding(database.url, lambda feed: feed.commit(1, change("insert", definition, "1", text)))
    assert database.fetch("SELECT v, typeof(v) FROM t") == [VALUES[type, text]]


def test_an_integer_beyond_64_bits_is_refused(database: Database) -> None:
    wide = table("t", column("id", "integer"), Column("n", Type("u8", Kind.INTEGER, "u8")))
    large = "1" + "0" * 19
    with pytest.raises(SinkError, match=r"public\.t\.n: .* 64 bits"):
        feeding(database.url, lambda feed: feed.commit(1, change("insert", wide, "1", large)))
    # by hand it can be made to take it
    database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT)")
    feeding(database.url, lambda feed: feed.commit(1, change("insert", wide, "1", large)))
    assert database.fetch("SELECT n, typeof(n) FROM t") == [(large, "text")]


HOSTILE = [
    "a b",
    "100%",
    "%s",
    "%(x)s",
    ":x",
    "?",
    "'",
    '"',
    "`",
    "🦭",
    "select",
    "x;--",
    "[y]",
    "\\",
]


def test_hostile_names(database: Database) -> None:
    for position, name in enumerate(HOSTILE):
        odd = table(name, column("id", "integer"), *(column(n) for n in HOSTILE), key=("id", name))
        values = [str(i) for i in range(len(HOSTILE))]

        async def work(feed: Feed, odd: Table = odd, values: list[str] = values) -> None:
            await feed.commit(1, change("insert", odd, "1", *values))
            await feed.commit(
                2, change("update", odd, "1", *(["new"] * len(values)), old=("1", "x"))
            )
            partial = [
                v if n == odd.name else UNCHANGED for n, v in zip(HOSTILE, values, strict=True)
            ]
            await feed.commit(3, change("update", odd, "1", *partial))
            wider = Table(
                "public", odd.name, (*odd.columns, column("%d", default="'%s'")), odd.key_columns
            )
            await feed.commit(4, SchemaChange(odd, wider))
            await feed.commit(5, change("delete", odd, "1", "new"))

        feeding(database.url, work, name=f"s{position}")
        quoted = name.replace('"', '""')
        assert database.fetch(f'SELECT * FROM "{quoted}"') == [(1, *values, "%s")]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([table("t", column("id")), table("t", column("id"), schema="b")], r"public\.t and b\.t"),
        ([table("t", column("id")), table("T", column("id"))], r"public\.t and public\.T"),
        ([table("t", column("id"), column("a"), column("A"))], "'a' and 'A' for one"),
        ([table("sqlite_x", column("id"))], "reserves"),
        ([table("penstock_checkpoint", column("id"))], "own table"),
        ([Table("public", "t", ())], "no columns"),
    ],
)
def test_names_that_sqlite_cannot_keep_apart(
    database: Database, tables: list[Table], message: str
) -> None:
    async def work(feed: Feed) -> None:
        for number, definition in enumerate(tables):
            await feed.commit(
                number, change("insert", definition, *"123"[: len(definition.columns)])
            )

    with pytest.raises(SchemaError, match=message):
        feeding(database.url, work)


def test_two_tables_of_one_name_meet_not_even_after_a_restart(database: Database) -> None:
    here, there = table("t", column("id")), table("t", column("id"), schema="b")
    feeding(database.url, lambda feed: feed.commit(1, change("insert", here, "1")))
    with pytest.raises(SchemaError, match=r"public\.t and b\.t"):
        feeding(database.url, lambda feed: feed.commit(2, change("insert", there, "2")))


def test_the_target_grows_with_the_source(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    old = table("t", column("id", "integer"), column("gone"))
    new = table(
        "t",
        column("id", "bigint"),
        column("n", "numeric", default="7"),
        column("flag", "boolean", default="true"),
        column("at", "timestamptz", default="now()"),
    )

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", old, "1", "kept"))
        with caplog.at_level(logging.WARNING):
            await feed.commit(2, SchemaChange(old, new), change("insert", new, "2", "8", "f", "x"))

    feeding(database.url, work)
    assert database.fetch("SELECT id, gone, n, flag, at FROM t ORDER BY id") == [
        (1, "kept", "7", 1, None),
        (2, None, "8", 0, "x"),
    ]
    assert [record.getMessage()[:34] for record in caplog.records] == [
        "public.t: the new column 'at' is n"
    ]


@pytest.mark.parametrize("copied", [False, True], ids=["seen in the log", "only copied"])
def test_a_column_that_may_be_renamed_is_told_and_gets_no_default(
    database: Database, caplog: pytest.LogCaptureFixture, copied: bool
) -> None:
    before = table("t", column("id", "integer"), column("status", default="'new'::text"))
    after = table("t", column("id", "integer"), column("state", default="'new'::text"))

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", before, "1", "paid"))
        known = None if copied else before
        await feed.commit(2, SchemaChange(known, after), change("insert", after, "2", "sent"))

    feeding(database.url, work)
    assert database.fetch("SELECT id, status, state FROM t ORDER BY id") == [
        (1, "paid", None),
        (2, None, "sent"),
    ]
    assert "if it is 'status' under a new name" in caplog.text


def test_a_column_that_returns_with_its_old_values_is_told(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    without = table("t", column("id", "integer"), column("big"))

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "old", None))
        await feed.commit(2, SchemaChange(T, without), change("insert", without, "2", None))
        assert "old rows" not in caplog.text
        await feed.commit(3, SchemaChange(without, T), change("insert", T, "3", "new", None))

    feeding(database.url, work)
    assert "public.t: the new column 'v' has the name of one that the target" in caplog.text


def test_a_stale_version_of_a_table_alters_nothing(database: Database) -> None:
    old = table("t", column("id", "integer"))
    new = table("t", column("id", "bigint"), column("v", default="'x'::text"))
    feeding(database.url, lambda feed: feed.commit(1, change("insert", new, "1", "a")))
    before = database.fetch("SELECT sql FROM sqlite_master")

    async def again(feed: Feed) -> None:
        await feed.commit(2, SchemaChange(None, old), change("insert", old, "2"))
        await feed.commit(3, SchemaChange(old, new), change("insert", new, "3", "c"))

    feeding(database.url, again)
    assert database.fetch("SELECT sql FROM sqlite_master") == before
    assert database.fetch("SELECT * FROM t") == [(1, "a"), (2, None), (3, "c")]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (column("v", "bigint"), column("v", "integer"), "became integer"),
        (column("v", "text"), column("v", "jsonb"), "became jsonb"),
        (column("v", "integer"), column("v", "numeric"), "the target's INTEGER does not hold it"),
    ],
)
def test_a_type_that_does_not_hold_the_old_values_stops(
    database: Database, before: Column, after: Column, message: str
) -> None:
    old, new = table("t", column("id"), before), table("t", column("id"), after)

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", old, "1", "5"))
        await feed.commit(2, change("insert", old, "2", "5"), SchemaChange(old, new))

    with pytest.raises(SchemaError, match=message):
        feeding(database.url, work)
    assert database.fetch("SELECT id FROM t") == [("1",)]


def test_a_renamed_table_stops(database: Database) -> None:
    new = table("t2", *T.columns)

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        await feed.commit(2, SchemaChange(T, new))

    with pytest.raises(SchemaError, match=r"public\.t was renamed to public\.t2") as caught:
        feeding(database.url, work)
    assert 'ALTER TABLE "t" RENAME TO "t2"' in caught.value.hint
    database.execute('ALTER TABLE "t" RENAME TO "t2"')
    feeding(database.url, lambda feed: feed.commit(2, SchemaChange(T, new)))


def test_a_table_that_was_made_again_is_told(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    again = Table("public", "t", T.columns, ("id",), oid=7)
    feeding(database.url, lambda feed: feed.commit(1, SchemaChange(T, again)))
    assert "public.t was made again" in caplog.text


def test_a_target_that_does_not_keep_the_key_unique_is_refused(database: Database) -> None:
    database.execute("CREATE TABLE t (id INTEGER, v TEXT, big TEXT)")
    with pytest.raises(SchemaError, match="does not keep unique") as caught:
        feeding(database.url, lambda feed: feed.commit(1, change("insert", T, "1", "a", None)))
    database.execute(caught.value.hint.replace("INDEX ON", "INDEX t_id ON"))
    feeding(database.url, lambda feed: feed.commit(1, change("insert", T, "1", "a", None)))
    assert database.fetch("SELECT id FROM t") == [(1,)]


def test_a_constraint_of_the_target_is_named_and_the_value_is_not(database: Database) -> None:
    database.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, "
        "v TEXT CONSTRAINT short CHECK (length(v) < 5), big TEXT)"
    )
    with pytest.raises(SinkError) as caught:
        feeding(
            database.url, lambda feed: feed.commit(1, change("insert", T, "7", "a secret", None))
        )
    text = str(caught.value)
    assert "upsert into public.t (id)=(7)" in text
    assert "short" in text
    assert "a secret" not in text


def test_a_locked_file_is_tried_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.sinks.sql.sqlite.BUSY_SECONDS", 0)

    async def work(feed: Feed) -> None:
        with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await feed.write(1, change("insert", T, "1", "a", None))

    with pytest.raises(SinkUnavailableError, match="locked"):
        feeding(database.url, work)


def test_a_disk_that_fills_in_a_transaction_leaves_nothing_of_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up = sqlite._set_up

    def on_a_small_disk(connection: sqlite3.Connection, record: object) -> None:
        set_up(connection, record)
        connection.execute("PRAGMA max_page_count = 40")

    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        monkeypatch.setattr(sqlite, "_set_up", on_a_small_disk)
        await feed.reopen()
        rows = [change("insert", T, str(i), "x" * 9000, None) for i in range(2, 40)]
        with pytest.raises(SinkUnavailableError, match="full"):
            await feed.write(2, change("insert", T, "99", "b", None), *rows)

    feeding(database.url, work)
    assert database.fetch("SELECT id FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("oracle://u:hunter2@h/d", "cannot write to 'oracle'"),
        ("mysql+mysqldb://u:hunter2@h/d", "cannot write to"),
        ("mysql://u:hunter2@h", "names no database"),
        ("mysql://u:hunter2@h/d?sslmode=prefer", "'prefer' is not known"),
        ("postgresql+asyncpg://u:hunter2@h/d", "cannot write to"),
        ("not a url hunter2", "not a SQLAlchemy URL"),
    ],
)
def test_a_url_of_no_target(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Sql.model_validate({"url": url}).build()
    assert "hunter2" not in str(caught.value)


def test_what_is_wrong_with_a_file_is_said_before_the_run(tmp_path: Path) -> None:
    def findings(path: Path) -> list[str]:
        sink = Sql.model_validate({"url": f"sqlite:///{path}"}).build()
        return [finding.severity for finding in asyncio.run(sink.check(Context("p", "s")))]

    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database" * 100)
    assert findings(garbage) == ["error"]
    assert findings(tmp_path / "new.db") == []
    assert not (tmp_path / "new.db").exists()
    missing = Feed(f"sqlite:///{tmp_path}/no/such/directory/x.db")
    with pytest.raises(SinkError, match="unable to open"):
        asyncio.run(missing.__aenter__())


def test_teardown_forgets_the_checkpoints_only(database: Database) -> None:
    feeding(database.url, lambda feed: feed.commit(1, change("insert", T, "1", "a", None)))
    sink = Sql.model_validate({"url": database.url}).build()
    assert len(asyncio.run(sink.teardown(Context("orders", "replica")))) == 1
    assert database.fetch("SELECT * FROM penstock_checkpoint") == []
    assert database.fetch("SELECT id FROM t") == [(1,)]
    assert asyncio.run(sink.teardown(Context("orders", "replica"))) == []


def test_the_sink_says_where_a_table_is() -> None:
    odd = Table("my schema", 'ta"ble%', ())
    assert Sql.model_validate({"url": "sqlite://"}).target_name(odd) == '"ta""ble%"'
    url = {"url": "postgresql://h/d"}
    assert Sql.model_validate(url).target_name(odd) == '"my schema"."ta""ble%"'
