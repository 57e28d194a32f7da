"""Logs that do not tell tables' columns (``binlog_row_metadata`` other than FULL), which is what
MariaDB's are unless it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.errors import ConnectionLostError, SchemaError
from penstock.model import Batch, Change
from penstock.ports import Context
from penstock.sources.mysql import fence
from penstock.sources.mysql.config import MySQL
from tests.support.follow import Follower, Remembered, run
from tests.support.mysql import Database
from tools.capture_binlog import statements


@pytest.fixture
def untold(binlogs: Database) -> Iterator[Database]:
    """A database of a server whose log tells as little as it can."""
    least = "MINIMAL" if binlogs.server.flavor == "mysql" else "NO_LOG"
    binlogs.execute(f"SET GLOBAL binlog_row_metadata = {least}")
    try:
        yield binlogs
    finally:
        binlogs.execute("SET GLOBAL binlog_row_metadata = FULL")


def follow(database: Database, memory: Remembered | None = None, **options: Any) -> Follower:
    tables = (f"{database.name}.*",)
    return Follower(database.dsn, memory, kind=MySQL, **{"tables": tables, **options})


async def changes(follower: Follower) -> list[Change]:
    """The changes up to now; the source may ask the catalog meanwhile."""
    seen: list[Change] = []
    head = await follower.source.head()
    while True:
        try:
            item = await follower.next()
        except ConnectionLostError:
            await follower.reopen()
            head = await follower.source.head()
            continue
        if isinstance(item, Batch):
            seen += [event for event in item if isinstance(event, Change)]
            reached = item.checkpoint
            if head and reached and follower.source.meet(head, reached) == head:
                return seen


async def begin(database: Database, **options: Any) -> Remembered:
    memory = Remembered()
    async with follow(database, memory, **options) as follower:
        await follower.to_head()
    return memory


async def rows(database: Database, memory: Remembered, **options: Any) -> list[Any]:
    """What comes from where reading stopped."""
    async with follow(database, memory, **options) as follower:
        return [(c.definition.name, dict(c.row)) for c in await changes(follower)]


def test_every_type_is_read_as_a_log_that_tells_has_it(untold: Database) -> None:
    made = [s for s in statements(untold.server.flavor) if " v_" in s]
    create = [s for s in made if s.upper().startswith("CREATE")]
    write = [s for s in made if s not in create]

    async def scenario() -> list[Any]:
        async with follow(untold) as follower:
            with untold.connect() as connection, connection.cursor() as cursor:
                cursor.execute("SET SESSION sql_mode = ''")
                for statement in write:
                    cursor.execute(statement)
            return [
                (c.definition, c.values_before, c.values_after) for c in await changes(follower)
            ]

    with untold.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        for statement in create:
            cursor.execute(statement)
    guessed = run(scenario())
    names = {definition.name for definition, *_ in guessed}
    untold.execute("SET GLOBAL binlog_row_metadata = FULL")
    untold.execute(*(f"TRUNCATE TABLE {name}" for name in names))
    assert guessed == run(scenario())
    assert len(guessed) > 100


def test_rows_from_before_and_after_a_statement_are_read_by_their_own_shapes(
    untold: Database,
) -> None:
    untold.execute("CREATE TABLE t (id int PRIMARY KEY, a varchar(9), b varchar(9))")
    memory = run(begin(untold))
    untold.execute(
        "INSERT INTO t VALUES (1, 'a', 'b')",
        "ALTER TABLE t RENAME COLUMN a TO c, ADD COLUMN d int FIRST, DROP COLUMN b",
        "INSERT INTO t VALUES (4, 2, 'c')",
    )
    assert run(rows(untold, memory)) == [
        ("t", {"id": 1, "a": "a", "b": "b"}),
        ("t", {"d": 4, "id": 2, "c": "c"}),
    ]
    untold.execute("INSERT INTO t VALUES (5, 3, 'c')")
    assert run(rows(untold, memory)) == [("t", {"d": 5, "id": 3, "c": "c"})]


def test_values_of_columns_that_change_places_are_never_mixed_up(untold: Database) -> None:
    """Nothing but names tells these columns apart."""
    untold.execute("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    memory = run(begin(untold))
    untold.execute(
        "INSERT INTO t VALUES (1, 10, 20)",
        "ALTER TABLE t MODIFY COLUMN b int AFTER id",
        "INSERT INTO t (id, a, b) VALUES (2, 10, 20)",
    )
    assert run(rows(untold, memory)) == [
        ("t", {"id": 1, "a": 10, "b": 20}),
        ("t", {"id": 2, "a": 10, "b": 20}),
    ]


def test_rows_whose_shape_nobody_knows_stop_the_pipeline(untold: Database) -> None:
    untold.execute("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    memory = run(begin(untold))
    untold.execute(
        "INSERT INTO t VALUES (1, 10, 20)",
        "ALTER TABLE t MODIFY COLUMN b int AFTER id",
        "INSERT INTO t (id, a, b) VALUES (2, 10, 20)",
        "ALTER TABLE t MODIFY COLUMN a int AFTER id",
        "INSERT INTO t (id, a, b) VALUES (3, 10, 20)",
    )
    for _ in range(2):  # and again when it is started again
        with pytest.raises(SchemaError) as caught:
            run(rows(untold, memory))
        error = caught.value
        assert error.table == f"{untold.name}.t"
        assert "MODIFY COLUMN b int AFTER id" in error.message
        assert "MODIFY COLUMN a int AFTER id" in error.message
        assert "binlog_row_metadata" in error.hint


def test_two_statements_without_rows_between_them_are_as_one(untold: Database) -> None:
    untold.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
    memory = run(begin(untold))
    untold.execute(
        "ALTER TABLE t ADD COLUMN b int FIRST",
        "CREATE INDEX i ON t (a)",
        "ALTER TABLE t DROP COLUMN a",
        "INSERT INTO t (id, b) VALUES (1, 2)",
    )
    assert run(rows(untold, memory)) == [("t", {"b": 2, "id": 1})]


def test_tables_that_change_names_keep_their_shapes(untold: Database) -> None:
    untold.execute(
        "CREATE TABLE a (id int PRIMARY KEY, x int, y int)",
        "CREATE TABLE b (id int PRIMARY KEY, y int, x int)",
    )
    memory = run(begin(untold))
    untold.execute(
        "INSERT INTO a (id, x, y) VALUES (1, 10, 20)",
        "INSERT INTO b (id, x, y) VALUES (1, 10, 20)",
        "RENAME TABLE a TO c, b TO a, c TO b",
        "INSERT INTO a (id, x, y) VALUES (2, 10, 20)",
        "INSERT INTO b (id, x, y) VALUES (2, 10, 20)",
        f"ALTER TABLE b RENAME TO {untold.name}.d",
        "INSERT INTO d (id, x, y) VALUES (3, 10, 20)",
        "RENAME TABLE d TO b",
        "INSERT INTO b (id, x, y) VALUES (4, 10, 20)",
    )
    found = run(rows(untold, memory))
    assert [name for name, _ in found] == ["a", "b", "a", "b", "d", "b"]
    assert all((row["x"], row["y"]) == (10, 20) for _, row in found)


def test_a_table_is_altered_as_tools_do_it_online(untold: Database) -> None:
    """By a copy that takes the name in the end, while the log is followed."""
    untold.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")

    async def scenario(tables: str) -> list[Any]:
        memory = Remembered()
        memory.facts = (await begin(untold, tables=(tables,))).facts
        untold.execute(
            "CREATE TABLE _t_gho LIKE t",
            "ALTER TABLE _t_gho ADD COLUMN b int AFTER id",
            "INSERT INTO t VALUES (1, 1)",
            "INSERT INTO _t_gho (id, a) SELECT id, a FROM t",
            "RENAME TABLE t TO _t_del, _t_gho TO t",
            "INSERT INTO t VALUES (2, 2, 2)",
            "DROP TABLE _t_del",
            "INSERT INTO t VALUES (3, 3, 3)",
        )
        return await rows(untold, memory, tables=(tables,))

    old, new = {"id": 1, "a": 1}, [{"id": n, "b": n, "a": n} for n in (2, 3)]
    assert run(scenario(f"{untold.name}.t")) == [("t", row) for row in (old, *new)]
    untold.execute("DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY, a int)")
    copied = ("_t_gho", {"id": 1, "b": None, "a": 1})
    assert run(scenario(f"{untold.name}.*")) == [
        ("t", old),
        copied,
        *(("t", row) for row in new),
    ]


def test_what_was_altered_is_remembered_without_a_row(untold: Database) -> None:
    untold.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int)", "CREATE TABLE u (id int PRIMARY KEY)"
    )

    async def scenario() -> None:
        memory = Remembered()
        async with follow(untold, memory) as follower:
            await follower.to_head()
            untold.execute("ALTER TABLE t MODIFY COLUMN b int AFTER id", "INSERT INTO u VALUES (1)")
            assert len(await changes(follower)) == 1
        untold.execute(
            "INSERT INTO t (id, a, b) VALUES (1, 10, 20)",
            "ALTER TABLE t MODIFY COLUMN a int AFTER id",
            "INSERT INTO t (id, a, b) VALUES (2, 10, 20)",
        )
        found = await rows(untold, memory)
        assert [(row["a"], row["b"]) for _, row in found] == [(10, 20), (10, 20)]

    run(scenario())


def test_a_new_table_is_read_and_a_lost_one_is_said_to_be(untold: Database) -> None:
    untold.execute("CREATE TABLE t (id int PRIMARY KEY)")
    memory = run(begin(untold))
    untold.execute("CREATE TABLE n (id int PRIMARY KEY, a int)", "INSERT INTO n VALUES (1, 2)")
    assert run(rows(untold, memory)) == [("n", {"id": 1, "a": 2})]
    untold.execute(
        "CREATE TABLE g (id int PRIMARY KEY)", "INSERT INTO g VALUES (1)", "DROP TABLE g"
    )
    with pytest.raises(SchemaError, match=r"\.g was like .* is not known"):
        run(rows(untold, memory))


def test_a_statement_behind_the_reading_of_the_catalog_ends_what_it_told(
    untold: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    untold.execute("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    memory = run(begin(untold))
    untold.execute(
        "ALTER TABLE t MODIFY COLUMN b int AFTER id", "INSERT INTO t (id, a, b) VALUES (1, 10, 20)"
    )
    scan, late = fence.scan, ["ALTER TABLE t MODIFY COLUMN a int AFTER id"]

    def scan_later(*arguments: Any, **options: Any) -> Any:
        if late:
            untold.execute(late.pop(), "INSERT INTO t (id, a, b) VALUES (2, 10, 20)")
        return scan(*arguments, **options)

    monkeypatch.setattr(fence, "scan", scan_later)
    found = run(rows(untold, memory))
    assert [(row["id"], row["a"], row["b"]) for _, row in found] == [(1, 10, 20), (2, 10, 20)]
    assert not late


def test_a_copy_and_then_the_log_of_a_table_altered_in_between(untold: Database) -> None:
    untold.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int)", "INSERT INTO t VALUES (1, 10, 20)"
    )

    async def scenario() -> None:
        memory = Remembered()
        async with follow(untold, memory, snapshot="initial") as follower:
            untold.execute("INSERT INTO t VALUES (2, 10, 20)")
            found = await changes(follower)
            untold.execute(
                "ALTER TABLE t MODIFY COLUMN b int AFTER id",
                "INSERT INTO t (id, a, b) VALUES (3, 10, 20)",
            )
            found += await changes(follower)
        assert [(c.row["id"], c.row["a"], c.row["b"]) for c in found] == [
            (n, 10, 20) for n in (1, 2, 3)
        ]

    run(scenario())


def test_check_asks_for_the_setting(untold: Database) -> None:
    untold.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source = MySQL(dsn=untold.dsn, tables=(f"{untold.name}.*",)).build()
    findings = run(source.check(Context("shop", "source")))
    [found] = [f for f in findings if "does not tell" in f.message]
    assert found.severity == "warning"
    assert "binlog_row_metadata = FULL" in found.fix
