"""Several connections that copy the tables at the same time."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from penstock.errors import PrivilegeError
from penstock.kernel import kernel
from penstock.model import Barrier, Change
from penstock.sources.postgres import catalog, parts, reader, readers
from penstock.sources.postgres.connection import Server
from penstock.sources.postgres.wire.copies import Payloads
from tests.support.follow import Follower, run, texts, until
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables of these tests are small; each is read in parts all the same."""
    monkeypatch.setattr(parts, "PART", 1 << 14)


def many(dsn: str, name: str = "t", rows: int = 20000) -> None:
    """A table of many parts, whose balances add up to nothing, with an index to keep."""
    execute(
        dsn,
        f"CREATE TABLE {name} (id int PRIMARY KEY, balance int, note text)",
        f"INSERT INTO {name} SELECT i, 0, repeat('x', 100) FROM generate_series(1, {rows}) i",
    )


def test_all_readers_see_one_moment(databases: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money moves between rows of different parts all the time: each snapshot adds up."""
    monkeypatch.setattr(reader, "BLOCK", 20000)
    blocks = reader.SnapshotReader.blocks
    meeting, here = threading.Barrier(3), threading.local()

    def together(self: reader.SnapshotReader, task: reader.Task) -> Iterator[Payloads]:
        """Each of the three readers gets a part before any of them reads."""
        if not hasattr(here, "met"):
            here.met = True
            meeting.wait(60)
        yield from blocks(self, task)

    monkeypatch.setattr(reader.SnapshotReader, "blocks", together)
    many(databases)
    stop = threading.Event()

    def move() -> None:
        dice = random.Random(7)
        with psycopg.connect(databases) as connection:
            while not stop.is_set():
                giver, taker = dice.sample(range(1, 20001), 2)
                connection.execute(
                    "UPDATE t SET balance = balance + CASE id WHEN %s THEN 1 ELSE -1 END"
                    " WHERE id IN (%s, %s)",
                    (giver, giver, taker),
                )
                connection.commit()

    mover = threading.Thread(target=move)
    mover.start()

    async def scenario() -> None:
        async with Follower(databases, snapshot="initial", snapshot_connections=3) as follower:
            rows: dict[int, int] = {}
            while not isinstance(item := await follower.next(), Barrier):
                for event in item:
                    if isinstance(event, Change):
                        assert event.row["id"] not in rows
                        rows[event.row["id"]] = event.row["balance"]
                copying = "SELECT query FROM pg_stat_activity WHERE query LIKE 'COPY%'"
                binary = ["FORMAT binary" in query for (query,) in fetch(databases, copying)]
                assert set(binary) <= {kernel() == "native"}
            assert len(rows) == 20000
            assert sum(rows.values()) == 0

    try:
        run(scenario())
    finally:
        stop.set()
        mover.join()


def test_what_would_rewrite_a_table_waits_for_all_readers(
    databases: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VACUUM FULL and a rewriting ALTER TABLE begin while rows are read, with writers besides."""
    monkeypatch.setattr(reader, "BLOCK", 20000)
    many(databases, "accounts", 300)
    many(databases, "ledger")
    rewriters = [
        threading.Thread(target=execute, args=(databases, statement))
        for statement in ("VACUUM FULL ledger", "ALTER TABLE accounts ALTER note TYPE varchar")
    ]

    async def scenario() -> None:
        async with Follower(databases, snapshot="initial") as follower:
            await follower.next()
            for rewriter in rewriters:
                rewriter.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid"
            waiting += " FROM pg_database WHERE datname = current_database())"
            await until(lambda: fetch(databases, waiting) == [(2,)])
            # Nobody changes rows of a table that somebody waits to rewrite; others may.
            while not isinstance(await follower.next(), Barrier):
                pass
            for rewriter in rewriters:
                rewriter.join()
            execute(databases, "UPDATE ledger SET balance = 1 WHERE id = 1")
            execute(databases, "UPDATE accounts SET balance = 1 WHERE id = 1")
            await follower.to_head()
            for name, count in (("ledger", 20000), ("accounts", 300)):
                rows = follower.replica[f"public.{name}"]
                assert len(rows) == count
                assert texts(rows[(b"1",)])[:2] == ["1", "1"]

    run(scenario())


@pytest.mark.parametrize("direct", [True, False])
def test_rights_that_go_in_the_middle(
    database: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BLOCK", 20000)
    monkeypatch.setattr(readers, "BUFFER", 20000)
    if not direct:
        monkeypatch.setattr(reader, "is_plain", lambda *_: False)
    role = "penstock_dismissed"
    many(database)
    execute(
        database,
        f"DROP ROLE IF EXISTS {role}",
        f"CREATE ROLE {role} LOGIN REPLICATION",
        f"GRANT SELECT ON t TO {role}",
        "CREATE PUBLICATION penstock_shop FOR TABLE ONLY t",
    )

    async def scenario() -> None:
        async with Follower(f"{database}?user={role}", snapshot="initial") as follower:
            await follower.next()
            execute(database, f"REVOKE SELECT ON t FROM {role}")
            with pytest.raises(PrivilegeError, match=r"public\.t") as refused:
                await follower.to_head()
            assert "GRANT SELECT" in refused.value.hint
            await follower.close()
            left = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
            await until(lambda: fetch(database, left, role) == [(0,)])

    try:
        run(scenario())
    finally:
        execute(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_partitions_that_our_role_may_not_read_come_through_their_root(databases: str) -> None:
    role = "penstock_rooted"
    execute(
        databases,
        "CREATE TABLE events (id int PRIMARY KEY, note text) PARTITION BY RANGE (id)",
        "CREATE SCHEMA hidden",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000)",
        "CREATE TABLE hidden.events_2 PARTITION OF events FOR VALUES FROM (1000) TO (9000)",
        "INSERT INTO events SELECT i, 'n' FROM generate_series(1, 5000) i",
        f"DROP ROLE IF EXISTS {role}",
        f"CREATE ROLE {role} LOGIN REPLICATION",
        f"GRANT SELECT ON events, hidden.events_2 TO {role}",
    )

    def cut_by(user: str) -> tuple[parts.Part, ...]:
        with psycopg.connect(f"{databases}?user={user}", autocommit=True) as connection:
            (table,) = catalog.captured(connection, ["public.events"])
            return parts.cut(connection, table).parts

    try:
        assert cut_by(role) == (parts.Part('"public"."events"'),)
        execute(databases, f"GRANT SELECT ON events_1 TO {role}")
        assert cut_by(role) == (parts.Part('"public"."events"'),)  # the schema is closed
        execute(databases, f"GRANT USAGE ON SCHEMA hidden TO {role}")
        assert len(cut_by(role)) > 2
        execute(databases, "ALTER TABLE events ENABLE ROW LEVEL SECURITY")
        assert cut_by(role) == (parts.Part('"public"."events"'),)  # refused, as ever
    finally:
        execute(databases, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_statement_that_waits_for_a_table_keeps_only_further_readers_out(database: str) -> None:
    many(database)
    server = Server(SecretStr(database))
    with server.connect() as control:
        tables = catalog.captured(control, ["public.t"])
        first = reader.SnapshotReader(server.connect())
        first.lock(tables, 60)
        reading = readers.Readers(first)
        alter = "ALTER TABLE t ALTER id TYPE bigint"
        changer = threading.Thread(target=execute, args=(database, alter))
        changer.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
        while fetch(database, waiting) != [(1,)]:
            pass
        refused = reading.add(reader.SnapshotReader(server.connect()), tables)
        assert "public.t could not be locked" in refused
        reading.adopt(None)
        shape = first.describe(tables[0], "")
        cut = first.cut(tables[0]).parts
        reading.read(("t", reader.Task(tables[0], shape, False, part)) for part in cut)
        size = 0
        while found := reading.next("t"):
            size += found[1]
        reading.close()
        changer.join()
    lines = sum(len(f"{id}\t0\t{'x' * 100}\n") for id in range(1, 20001))
    assert size in (lines, lines + 5 * 20000)  # as they are, or as messages


def test_rows_come_through_libpq_where_the_connection_is_encrypted(
    databases: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "is_plain", lambda *_: False)
    many(databases)

    async def scenario() -> None:
        async with Follower(databases, snapshot="initial") as follower:
            changes = await follower.changes()
        assert sorted(change.row["id"] for change in changes) == list(range(1, 20001))

    run(scenario())


@pytest.mark.parametrize("connections", [1, 4])
def test_leaving_in_the_middle_is_prompt_and_leaves_nothing(
    database: str, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "BLOCK", 20000)
    many(database)

    async def scenario() -> None:
        async with Follower(
            database, snapshot="initial", snapshot_connections=connections
        ) as follower:
            await follower.next()
        left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'penstock%'"
        await until(lambda: fetch(database, left) == [(0,)])

    run(scenario())
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("penstock-snapshot")]
