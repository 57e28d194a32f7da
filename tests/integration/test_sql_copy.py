"""New rows go straight into PostgreSQL's tables, and give way where they cannot."""

from __future__ import annotations

from random import Random

import pytest

from penstock.errors import SinkError, SinkUnavailableError
from penstock.model import UNCHANGED, Change, Raw, Table
from penstock.sinks.sql.postgres import PostgresDialect
from tests.support.feed import Feed, change, column, feeding, table
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.server

T = table("t", column("id", "integer"), column("v"))
MANY = 100
CREATE = "CREATE TABLE t (id int PRIMARY KEY, v text)"
WATCH = (
    "CREATE TABLE seen (id int, way text)",
    "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen "
    "VALUES (NEW.id, split_part(current_query(), ' ', 1)); RETURN NEW; END $$",
    "CREATE TRIGGER watch BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION see()",
)


def rows(first: int, value: str = "a", count: int = MANY) -> list[Change]:
    return [change("insert", T, str(first + i), value) for i in range(count)]


def test_new_rows_are_copied_and_those_in_the_way_replaced(database: str) -> None:
    execute(database, CREATE, *WATCH, f"INSERT INTO t VALUES ({MANY}, 'old')", "DELETE FROM seen")

    async def work(feed: Feed) -> None:
        for part in range(5):
            await feed.commit(part + 1, *rows(part * MANY))

    feeding(database, work)
    assert fetch(database, "SELECT count(*), min(v), max(v) FROM t") == [(5 * MANY, "a", "a")]
    # The second part meets a row; the next two are not tried; triggers of what failed are undone.
    by_way = f"SELECT DISTINCT id / {MANY}, way FROM seen ORDER BY 1"
    assert fetch(database, by_way) == [
        (0, "COPY"),
        (1, "INSERT"),
        (2, "INSERT"),
        (3, "INSERT"),
        (4, "COPY"),
    ]
    assert fetch(database, "SELECT count(*) FROM seen") == [(5 * MANY,)]


def test_earlier_changes_of_the_transaction_come_first(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE)")

    async def work(feed: Feed) -> None:
        named = [change("insert", T, str(i), f"name {i}") for i in range(MANY)]
        again = [change("insert", T, str(i + MANY), f"name {i}") for i in range(MANY)]
        await feed.write(1, *named)
        await feed.commit(2, *(change("delete", T, str(i)) for i in range(MANY)), *again)

    feeding(database, work)
    assert fetch(database, "SELECT min(id), count(*) FROM t") == [(MANY, MANY)]


def test_a_row_that_the_target_does_not_take_is_named(database: str) -> None:
    execute(database, "CREATE TABLE t (id int PRIMARY KEY, v text CHECK (v <> 'bad'))")

    async def work(feed: Feed) -> None:
        await feed.commit(1, *rows(0), change("insert", T, "777", "bad"), *rows(1000))

    with pytest.raises(SinkError, match=r"upsert into public\.t \(id\)=\(777\)"):
        feeding(database, work)
    assert fetch(database, "SELECT count(*) FROM t") == [(0,)]


def test_columns_of_the_target_s_own_are_filled_in(database: str) -> None:
    execute(
        database,
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, "
        "upper text GENERATED ALWAYS AS (upper(v)) STORED, note text DEFAULT 'none')",
    )
    feeding(database, lambda feed: feed.commit(1, *rows(5)))
    assert fetch(database, "SELECT DISTINCT v, upper, note FROM t") == [("a", "A", "none")]
    assert fetch(database, "SELECT min(id), max(id) FROM t") == [(5, 4 + MANY)]


def test_rows_under_row_level_security_are_merged(database: str) -> None:
    execute(
        database,
        CREATE,
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t FORCE ROW LEVEL SECURITY",
        "CREATE POLICY all_rows ON t USING (true)",
        "CREATE ROLE writer LOGIN",
        "GRANT ALL ON SCHEMA public TO writer",
        "GRANT ALL ON t TO writer",
    )
    try:
        url = _as_user(database, "writer")
        feeding(url, lambda feed: feed.commit(1, *rows(0)))
        assert fetch(database, "SELECT count(*) FROM t") == [(MANY,)]
    finally:
        execute(database, "DROP OWNED BY writer", "DROP ROLE writer")


def test_a_transaction_that_is_fed_again_is_there_once(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.write(1, *rows(0), whole=False)
        execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        with pytest.raises(SinkUnavailableError):
            await feed.commit(1, *rows(MANY))
        await feed.reopen()
        await feed.write(1, *rows(0), whole=False)
        await feed.commit(1, *rows(MANY))

    feeding(database, work)
    assert fetch(database, "SELECT count(*), max(id) FROM t") == [(2 * MANY, 2 * MANY - 1)]


def test_changes_behind_a_snapshot_find_its_rows(database: str) -> None:
    async def work(feed: Feed) -> None:
        await feed.snapshot(T, [(str(i), "read") for i in range(MANY)])
        await feed.commit(1, change("update", T, "1", "new"), *rows(MANY), change("delete", T, "2"))

    feeding(database, work)
    assert fetch(database, "SELECT count(*), count(*) FILTER (WHERE v = 'new') FROM t") == [
        (2 * MANY - 1, 1)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_random_histories_end_as_in_a_dictionary(
    database: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(PostgresDialect, "bulk", 2)
    tables = [
        table(name, column("id", "integer"), column("v"), column("big")) for name in ("a", "b")
    ]
    full = [
        Table(t.schema, t.name, t.columns, t.key_columns, "full" if n else "default")
        for n, t in enumerate(tables)
    ]
    kept: dict[str, dict[int, tuple[str, str]]] = {"a": {}, "b": {}}
    history = History(Random(seed), kept)

    async def work(feed: Feed) -> None:
        at = 0
        for _ in range(12):
            for _ in range(history.random.randint(1, 4)):
                at += 1
                await feed.write(at, *history.transaction(full))
            await feed.sink.flush()
            if history.random.random() < 0.2:
                await feed.reopen()

    feeding(database, work)
    for name, expected in kept.items():
        found = {id: (v, big) for id, v, big in fetch(database, f"SELECT * FROM {name}")}
        assert found == expected


class History:
    """Makes transactions that a source could have, and does the same to dictionaries."""

    def __init__(self, random: Random, kept: dict[str, dict[int, tuple[str, str]]]) -> None:
        self.random = random
        self._kept = kept
        self._values = 0

    def transaction(self, tables: list[Table]) -> list[Change]:
        return [
            made
            for _ in range(self.random.randint(1, 12))
            if (made := self._change(self.random.choice(tables))) is not None
        ]

    def _change(self, definition: Table) -> Change | None:
        random, rows = self.random, self._kept[definition.name]
        self._values += 1
        v, big = f"v{self._values}", f"big{self._values}"
        kind = random.choices(
            ("insert", "update", "delete", "move", "truncate"), (60, 20, 10, 8, 2)
        )[0]
        if kind == "insert" or not rows:
            id = random.choice([i for i in range(60) if i not in rows])
            rows[id] = v, big
            return change("insert", definition, str(id), v, big)
        id = random.choice(list(rows))
        full = definition.identity == "full"
        old: tuple[Raw, ...] = tuple(text.encode() for text in (str(id), *rows[id]))
        if kind == "delete":
            del rows[id]
            made = change("delete", definition, str(id))
            if full:
                made.values_before, made.key_new = old, None
            return made
        if kind == "truncate":
            rows.clear()
            return change("truncate", definition)
        unchanged = random.random() < 0.5 and not full
        to = id if kind == "update" else random.choice([i for i in range(60) if i not in rows])
        kept_big = rows.pop(id)[1]
        rows[to] = v, kept_big if unchanged else big
        made = change(
            "update",
            definition,
            str(to),
            v,
            UNCHANGED if unchanged else big,
            old=[str(id)] if to != id else (),
        )
        if full:
            made.values_before = old
        return made


def _as_user(url: str, user: str) -> str:
    from sqlalchemy import make_url

    return make_url(url).set(username=user).render_as_string(hide_password=False)
