"""Random writers, and the truth that they write down.

Every transaction adds a row to ``truth.oracle``, a table that is not captured: its own number and
a digest of what it changed, per table and in all. The row commits or aborts with the transaction,
so the committed rows are the truth, also where a COMMIT's answer was lost.

``ver`` grows with every write of a key, across deletes, key changes and swaps.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final, TypeAlias

import psycopg

Key: TypeAlias = dict[str, Any] | None
Op: TypeAlias = tuple[str, str, Key, Any, Key]
"""Table, operation, key, ver, old key where it changed."""

ACCOUNTS: Final = 40
BALANCE: Final = 1000
ABORTS: Final = 0.2
SCHEMA: Final = """
CREATE SCHEMA truth;
CREATE TABLE truth.oracle (
    xid bigint PRIMARY KEY, worker int NOT NULL, lower pg_lsn NOT NULL, digests jsonb NOT NULL
);
CREATE SEQUENCE ids START 100000;

CREATE TABLE account (id int PRIMARY KEY, ver bigint NOT NULL, balance bigint NOT NULL);

CREATE TABLE item (
    id bigint PRIMARY KEY, ver bigint NOT NULL, name text, big text, n smallint, flag boolean,
    price numeric, weight float8, raw bytea, at timestamptz, tags text[], spare text
);
ALTER TABLE item ALTER big SET STORAGE EXTERNAL;

CREATE TABLE doc (id bigint PRIMARY KEY, ver bigint NOT NULL, body text, n smallint);
ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
ALTER TABLE doc REPLICA IDENTITY FULL;

CREATE TABLE "Order Line" (
    "order" int, qty numeric(12, 3), line int, ver bigint NOT NULL, PRIMARY KEY (line, "order")
);

CREATE TABLE code (id bigint PRIMARY KEY, code text NOT NULL, ver bigint NOT NULL, title text);
CREATE UNIQUE INDEX code_identity ON code (code);
ALTER TABLE code REPLICA IDENTITY USING INDEX code_identity;

CREATE TABLE scratch (id bigint PRIMARY KEY, ver bigint NOT NULL, word text);

CREATE TABLE journal (ver bigint NOT NULL, note text, amount numeric);
ALTER TABLE journal REPLICA IDENTITY FULL;
"""
ROWS: Final = f"""
INSERT INTO account SELECT i, 1, {BALANCE} FROM generate_series(1, {ACCOUNTS}) i;
INSERT INTO item SELECT i, 1, 'item ' || i, repeat(md5(i::text), 80), i, i % 2 = 0, i * 1.10,
    i / 7.0, decode(md5(i::text), 'hex'), now(), ARRAY['a', NULL, i::text], 'spare'
    FROM generate_series(1, 400) i;
INSERT INTO doc SELECT i, 1, repeat(md5(i::text), 400), i FROM generate_series(1, 150) i;
INSERT INTO "Order Line" SELECT i, i * 0.125, j, 1 FROM generate_series(1, 60) i,
    generate_series(1, 5) j;
INSERT INTO code SELECT i, 'c' || i, 1, 'code' FROM generate_series(1, 100) i;
INSERT INTO scratch SELECT i, 1, 'word ' || i FROM generate_series(1, 2000) i;
INSERT INTO journal SELECT -i, 'old', i FROM generate_series(1, 300) i;
"""
TABLES: Final = ("account", "item", "doc", "Order Line", "code", "scratch", "journal")
TEXTS: Final = (
    None,
    "",
    "plain",
    "quo\"ted, 'both'",
    "back\\slash \\N \\.",
    "line\nline\r\n\ttab",
    "žluťoučký 🐎",
    "\x7f\x01",
    "null",
    "x" * 300,
)


def prepare(dsn: str) -> None:
    """Make the tables and fill them."""
    with psycopg.connect(dsn) as connection:
        connection.execute(SCHEMA)
        connection.execute(ROWS)


def digests(ops: Sequence[Op]) -> dict[str, list[Any]]:
    """Count and digest of a transaction's changes: per table, and of all under ``*``."""
    hashes: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for op in ops:
        text = json.dumps([*op[:2], *(_canonical(part) for part in op[2:])]).encode()
        for name in (op[0], "*"):
            hashes.setdefault(name, hashlib.sha1(usedforsecurity=False)).update(text)
            counts[name] = counts.get(name, 0) + 1
    return {name: [counts[name], hashes[name].hexdigest()] for name in sorted(hashes)}


def _canonical(part: Any) -> Any:
    if isinstance(part, dict):
        return sorted((name, str(value)) for name, value in part.items())
    return None if part is None else str(part)


class Rollback(Exception):
    """The transaction is to end in ROLLBACK."""


class Workload:
    """Writers on threads of this process, from one seed.

    Attributes
    ----------
    defaults: what rows that were there before show in a column that was added.
    committed: transactions whose COMMIT was answered.
    """

    def __init__(self, dsn: str, seed: int, writers: int = 4, ddl_every: float = 2.5) -> None:
        self.dsn = dsn
        self.ddl_every = ddl_every
        self.defaults: dict[str, str | None] = {}
        self.committed: set[int] = set()
        self.aborted = 0
        self.failures: list[BaseException] = []
        self.stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(Writer(self, worker, seed),), daemon=True)
            for worker in range(writers)
        ]

    def __enter__(self) -> Workload:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End after the transactions that run now. Raises what made a writer fail."""
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _run(self, writer: Writer) -> None:
        try:
            while not self.stopping.is_set():
                with suppress(psycopg.OperationalError, psycopg.InterfaceError):
                    writer.write()
                time.sleep(0.05)
            writer.settle()
        except BaseException as failure:  # noqa: BLE001 - raised by stop()
            self.failures.append(failure)


class Writer:
    """One session's random transactions."""

    def __init__(self, workload: Workload, worker: int, seed: int) -> None:
        self.workload = workload
        self.worker = worker
        self.random = Random(f"{seed}/{worker}")
        self.ops: list[Op] = []
        self.number = 0
        self.between = 0  # the next ver of the key that swaps pass through
        self.last_ddl = time.monotonic()
        self._acts: list[tuple[int, Callable[[], None]]] = [
            (30, self.transfer),
            (16, self.insert),
            (16, self.update),
            (10, self.toast),
            (8, self.delete),
            (8, self.change_key),
            (6, self.swap_keys),
            (5, self.reinsert),
            (8, self.document),
            (6, self.compose),
            (8, self.note),
            (2, self.copy),
            (3, self.message),
        ]

    def write(self) -> None:
        """Transactions, for as long as the connection and the workload last."""
        with psycopg.connect(self.workload.dsn, autocommit=True) as connection:
            self.connection = connection
            connection.execute("SET lock_timeout = '1s'")
            self._settle_prepared()
            while not self.workload.stopping.is_set():
                try:
                    self.transaction()
                except (
                    psycopg.errors.DeadlockDetected,
                    psycopg.errors.LockNotAvailable,
                    psycopg.errors.UniqueViolation,
                    Rollback,
                ):
                    connection.execute("ROLLBACK")
                    self.workload.aborted += 1
                if self.random.random() < 0.3:
                    time.sleep(self.random.random() * 0.02)

    def settle(self) -> None:
        """End what is prepared and not committed, for good."""
        with psycopg.connect(self.workload.dsn, autocommit=True) as connection:
            self.connection = connection
            self._settle_prepared()

    def _settle_prepared(self) -> None:
        found = self.connection.execute(
            "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE %s",
            (f"w{self.worker}-%",),
        ).fetchall()
        for (gid,) in found:
            self.connection.execute(
                f"{self.random.choice(['COMMIT', 'ROLLBACK'])} PREPARED '{gid}'"
            )

    def transaction(self) -> None:
        """One transaction of one to some acts."""
        random, execute = self.random, self.connection.execute
        self.ops = []
        self.number += 1
        execute("BEGIN")
        if self.worker == 0 and time.monotonic() - self.last_ddl > self.workload.ddl_every:
            self.last_ddl = time.monotonic()
            self.alter()
        elif random.random() < 0.002:
            self.flood()
        else:
            for _ in range(random.choice([1, 1, 1, 2, 3, 6])):
                self.act()
        if random.random() < ABORTS:
            raise Rollback
        # A transaction number is taken even where nothing was changed in the end.
        (xid,) = self.one(
            "INSERT INTO truth.oracle VALUES (pg_current_xact_id()::text::bigint, %s,"
            " pg_current_wal_insert_lsn(), %s) RETURNING xid",
            self.worker,
            json.dumps(digests(self.ops)),
        )
        if random.random() < 0.03:
            gid = f"w{self.worker}-{self.number}"
            execute(f"PREPARE TRANSACTION '{gid}'")
            time.sleep(random.random() * 0.05)
            if random.random() < ABORTS:
                execute(f"ROLLBACK PREPARED '{gid}'")
                return
            execute(f"COMMIT PREPARED '{gid}'")
        else:
            execute("COMMIT")
        self.workload.committed.add(xid)

    def act(self) -> None:
        """One act; some of them in a subtransaction, some of these rolled back."""
        random, execute = self.random, self.connection.execute
        (act,) = random.choices([act for _, act in self._acts], [w for w, _ in self._acts])
        kind = random.random()
        if kind < 0.15:
            done = len(self.ops)
            execute("SAVEPOINT s")
            act()
            if kind < 0.08:
                execute("ROLLBACK TO s")
                del self.ops[done:]
            else:
                execute("RELEASE s")
        else:
            act()
        if random.random() < 0.1:
            time.sleep(random.random() * 0.03)

    # -- acts

    def one(self, sql: str, *parameters: Any) -> tuple[Any, ...]:
        """The only row of a statement's result."""
        row = self.connection.execute(sql, parameters).fetchone()
        assert row is not None, sql
        return row

    def some(self, table: str, key: str = "id") -> Any:
        """A row's key, locked; None when there is none."""
        above = self.random.choice([0, self.random.randint(0, 500), 100_000])
        skip = self.random.randint(0, 20)
        found = self.connection.execute(
            f"SELECT {key} FROM {table} WHERE id >= %s ORDER BY id OFFSET %s LIMIT 1 FOR UPDATE",
            (above, skip),
        ).fetchone()
        return found[0] if found else None

    def large(self) -> str:
        """Text that is stored out of line."""
        return f"{self.random.getrandbits(200):x}" * self.random.randint(50, 200)

    def record(self, table: str, operation: str, key: Key, ver: Any, old: Key = None) -> None:
        """Note a change that a statement has made."""
        self.ops.append((f"public.{table}", operation, key, ver, old))

    def transfer(self) -> None:
        """Move money; the sum stays."""
        giver, taker = self.random.sample(range(1, ACCOUNTS + 1), 2)
        amount = self.random.randint(1, 50)
        for account, change in ((giver, -amount), (taker, amount)):
            (ver,) = self.one(
                "UPDATE account SET balance = balance + %s, ver = ver + 1 WHERE id = %s"
                " RETURNING ver",
                change,
                account,
            )
            self.record("account", "update", {"id": account}, ver)

    def insert(self) -> None:
        """New rows."""
        random = self.random
        (number,) = self.one(
            "INSERT INTO item (id, ver, name, big, n, flag, price, weight, raw, at, tags)"
            " VALUES (nextval('ids'), 1, %s, %s, %s, %s, %s, %s, %s, now(), %s) RETURNING id",
            random.choice(TEXTS),
            self.large() if random.random() < 0.4 else None,
            random.choice([None, 7, -32768, 32767]),
            random.choice([None, True, False]),
            random.choice([None, "NaN", "1.500", "-0.00000000000000000001", "1e30"]),
            random.choice([None, 0.1, -1e300, 5e-324, 3.0]),
            random.choice([None, b"", b"\x00\xff\\"]),
            random.choice([None, [], ["a", None, 'q"{,}']]),
        )
        self.record("item", "insert", {"id": number}, 1)
        if random.random() < 0.3:
            (number,) = self.one(
                "INSERT INTO code (id, code, ver, title)"
                " SELECT i, 'c' || i, 1, %s FROM nextval('ids') i RETURNING id",
                random.choice(TEXTS),
            )
            self.record("code", "insert", {"code": f"c{number}"}, 1)

    def update(self) -> None:
        """A row's small columns: the large one is not repeated in the log."""
        number = self.some("item")
        if number is None:
            return
        name, flag = self.random.choice(TEXTS), self.random.choice([None, True, False])
        (ver,) = self.one(
            "UPDATE item SET name = %s, flag = %s, ver = ver + 1 WHERE id = %s RETURNING ver",
            name,
            flag,
            number,
        )
        self.record("item", "update", {"id": number}, ver)

    def toast(self) -> None:
        """A row's large column."""
        number = self.some("item")
        if number is None:
            return
        value = self.random.choice([None, "short", self.large(), self.large()])
        (ver,) = self.one(
            "UPDATE item SET big = %s, ver = ver + 1 WHERE id = %s RETURNING ver", value, number
        )
        self.record("item", "update", {"id": number}, ver)

    def delete(self) -> None:
        """A row goes."""
        table, key = self.random.choice([("item", "id"), ("doc", "id"), ("code", "code")])
        value = self.some(table, key)
        if value is None:
            return
        self.connection.execute(f"DELETE FROM {table} WHERE {key} = %s", (value,))
        self.record(table, "delete", {key: value}, None)

    def reinsert(self) -> None:
        """A row goes and comes back in one transaction."""
        number = self.some("doc")
        if number is None:
            return
        (ver,) = self.one("DELETE FROM doc WHERE id = %s RETURNING ver", number)
        self.record("doc", "delete", {"id": number}, None)
        self.connection.execute(
            "INSERT INTO doc VALUES (%s, %s, %s, %s)",
            (number, ver + 1, self.large(), self.random.randint(0, 9)),
        )
        self.record("doc", "insert", {"id": number}, ver + 1)

    def change_key(self) -> None:
        """A row gets a key that nobody had."""
        table = self.random.choice(["item", "doc", "code"])
        if table == "code":
            old = self.some("code", "code")
            if old is None:
                return
            new, ver = self.one(
                "UPDATE code SET code = 'k' || nextval('ids'), ver = ver + 1 WHERE code = %s"
                " RETURNING code, ver",
                old,
            )
            self.record("code", "update", {"code": new}, ver, {"code": old})
            return
        old = self.some(table)
        if old is None:
            return
        new, ver = self.one(
            f"UPDATE {table} SET id = nextval('ids'), ver = ver + 1 WHERE id = %s"
            " RETURNING id, ver",
            old,
        )
        self.record(table, "update", {"id": new}, ver, {"id": old})

    def swap_keys(self) -> None:
        """Two rows exchange their keys, by way of a third."""
        table, key = self.random.choice([("item", "id"), ("doc", "id"), ("code", "code")])
        first, second = self.some(table, key), self.some(table, key)
        if first is None or second is None or first == second:
            return
        (highest,) = self.one(
            f"SELECT max(ver) FROM {table} WHERE {key} IN (%s, %s)", first, second
        )
        between = -self.worker - 1 if key == "id" else f"between {self.worker}"
        ver = max(highest + 1, self.between)
        self.between = ver + 3
        moves = [(first, between), (second, first), (between, second)]
        for i, (old, new) in enumerate(moves):
            self.connection.execute(
                f"UPDATE {table} SET {key} = %s, ver = %s WHERE {key} = %s", (new, ver + i, old)
            )
            self.record(table, "update", {key: new}, ver + i, {key: old})

    def document(self) -> None:
        """A table whose whole old rows are in the log."""
        if self.random.random() < 0.4:
            (number,) = self.one(
                "INSERT INTO doc VALUES (nextval('ids'), 1, %s, 1) RETURNING id", self.large()
            )
            self.record("doc", "insert", {"id": number}, 1)
            return
        number = self.some("doc")
        if number is None:
            return
        change = self.random.choice(["body = body || 'x'", "n = 5", "n = NULL"])
        (ver,) = self.one(
            f"UPDATE doc SET {change}, ver = ver + 1 WHERE id = %s RETURNING ver", number
        )
        self.record("doc", "update", {"id": number}, ver)

    def compose(self) -> None:
        """A key of two columns, in another order than the table's."""
        order, line = self.random.randint(1, 60), self.random.randint(1, 5)
        (ver,) = self.one(
            'UPDATE "Order Line" SET qty = qty + 0.001, ver = ver + 1'
            ' WHERE "order" = %s AND line = %s RETURNING ver',
            order,
            line,
        )
        self.record("Order Line", "update", {"line": line, "order": order}, ver)

    def note(self) -> None:
        """A row of a table without any key."""
        for _ in range(self.random.randint(1, 3)):
            (ver,) = self.one(
                "INSERT INTO journal VALUES (nextval('ids'), %s, %s) RETURNING ver",
                self.random.choice(TEXTS),
                self.random.randint(0, 99),
            )
            self.record("journal", "insert", None, ver)

    def copy(self) -> None:
        """COPY, which the log shows as inserts."""
        numbers = self.connection.execute(
            "SELECT nextval('ids') FROM generate_series(1, %s)", (self.random.randint(1, 200),)
        ).fetchall()
        with self.connection.cursor().copy("COPY scratch (id, ver, word) FROM STDIN") as rows:
            for (number,) in numbers:
                rows.write_row((number, 1, self.random.choice(TEXTS)))
        for (number,) in numbers:
            self.record("scratch", "insert", {"id": number}, 1)

    def message(self) -> None:
        """A logical message, inside the transaction or beside it."""
        self.connection.execute(
            "SELECT pg_logical_emit_message(%s, 'crash', 'hello')", (self.random.random() < 0.5,)
        )

    def flood(self) -> None:
        """A transaction of many rows: more than a batch holds."""
        if self.random.random() < 0.3:
            self.connection.execute("TRUNCATE scratch")
            self.record("scratch", "truncate", None, None)
        count = self.random.choice([6_000, 12_000, 20_000])
        numbers = self.connection.execute(
            "INSERT INTO scratch SELECT nextval('ids'), 1, repeat('flood ', 15)"
            " FROM generate_series(1, %s) RETURNING id",
            (count,),
        ).fetchall()
        for (number,) in numbers:
            self.record("scratch", "insert", {"id": number}, 1)

    # -- DDL

    def alter(self) -> None:
        """One change of a table's shape, then rows of the new shape."""
        kind = self.random.choice(["add", "add", "default", "default", "drop", "widen", "rename"])
        table = "item" if kind == "rename" else self.random.choice(["item", "doc"])
        self.connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        name = f"added_{self.number}"
        if kind == "add":
            self.connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} text")
            self.workload.defaults[name] = None
        elif kind == "default":
            self.connection.execute(
                f"ALTER TABLE {table} ADD COLUMN {name} int NOT NULL DEFAULT {self.number}"
            )
            self.workload.defaults[name] = str(self.number)
        elif kind == "drop":
            self._drop_added(table)
        elif kind == "widen":
            wider = self.random.choice(["integer", "bigint"])
            (now,) = self.one(
                "SELECT atttypid::regtype::text FROM pg_attribute"
                " WHERE attrelid = %s::regclass AND attname = 'n'",
                table,
            )
            if now == "smallint" or (now, wider) == ("integer", "bigint"):
                self.connection.execute(f"ALTER TABLE {table} ALTER n TYPE {wider}")
                self._write_all(table)
        else:
            self._rename_spare()
        self.touch(table)

    def _drop_added(self, table: str) -> None:
        found = self.connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
            " AND attname LIKE 'added%%' AND NOT attisdropped LIMIT 1",
            (table,),
        ).fetchone()
        if found:
            self.connection.execute(f"ALTER TABLE {table} DROP COLUMN {found[0]}")

    def _write_all(self, table: str) -> None:
        """What a replica cannot know of old rows is told by writing them again: the values of a
        renamed column, which is a new one to it; and the default of an added one, which the
        catalog forgets when the table is rewritten, when penstock has not come so far yet."""
        rows = self.connection.execute(f"UPDATE {table} SET ver = ver + 1 RETURNING id, ver")
        for number, ver in rows.fetchall():
            self.record(table, "update", {"id": number}, ver)

    def _rename_spare(self) -> None:
        (name,) = self.one(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'item'::regclass"
            " AND attname LIKE 'spare%%' AND NOT attisdropped"
        )
        self.connection.execute(f"ALTER TABLE item RENAME {name} TO spare_{self.number}")
        self._write_all("item")

    def touch(self, table: str) -> None:
        """Write a row, so that the log tells the table's shape."""
        found = self.connection.execute(
            f"UPDATE {table} SET ver = ver + 1 WHERE id = (SELECT min(id) FROM {table})"
            " RETURNING id, ver"
        ).fetchone()
        if found:
            self.record(table, "update", {"id": found[0]}, found[1])


def finish(dsn: str) -> None:
    """After the writers: write one row of each table whose shape may have changed."""
    workload = Workload(dsn, 0, writers=0)
    writer = Writer(workload, 99, 0)
    with psycopg.connect(dsn, autocommit=True) as connection:
        writer.connection = connection
        connection.execute("BEGIN")
        for table in ("item", "doc"):
            writer.touch(table)
        connection.execute(
            "INSERT INTO truth.oracle VALUES (pg_current_xact_id()::text::bigint, 99,"
            " pg_current_wal_insert_lsn(), %s)",
            (json.dumps(digests(writer.ops)),),
        )
        connection.execute("COMMIT")
