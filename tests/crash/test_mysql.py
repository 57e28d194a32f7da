"""A pipeline from MySQL and MariaDB dies anywhere, and nothing is lost, invented or altered.

Every transaction of the workload notes in ``journal``, which is captured too, how many changes it
makes. So the log of changes itself shows whether each transaction came whole.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import closing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import pymysql
import pytest

from penstock.sources.mysql.position import gtids_of
from tests.conftest import OwnMySQL
from tests.support.mysql import Database
from tests.support.waiting import eventually
from tools.mysql import FLAVORS, Flavor

KILLS: Final = 8
ACCOUNTS: Final = 20
SUM: Final = 1000 * ACCOUNTS
PIPELINE: Final = """
name = "crash"
[source]
type = "mysql"
dsn = "{dsn}"
tables = ["d.accounts", "d.items", "d.journal"]
snapshot = "initial"
heartbeat = 1
[[sinks]]
type = "jsonl"
path = "{folder}/changes.jsonl"
[[sinks]]
type = "sql"
url = "sqlite:///{folder}/replica.db"
"""
TABLES: Final = (
    "CREATE TABLE accounts (id int PRIMARY KEY, balance int, ver bigint)",
    "CREATE TABLE items (id varchar(20) PRIMARY KEY, text text, ver bigint)",
    "CREATE TABLE journal (tx int PRIMARY KEY AUTO_INCREMENT, changes int)",
    "INSERT INTO accounts SELECT n + 1, 1000, 0 FROM ({}) AS numbers".format(
        " UNION ALL ".join(f"SELECT {n} AS n" for n in range(ACCOUNTS))
    ),
)


class Writer(threading.Thread):
    """Writes random transactions until it is told to stop; rides out a server that dies."""

    def __init__(self, database: Database, seed: int) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._random = Random(seed)
        self._items = count()
        self._seed = seed
        self._enough = threading.Event()
        self.committed = 0
        self.prepares = False
        self.failure: Exception | None = None

    def stop(self) -> None:
        self._enough.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        while not self._enough.is_set():
            try:
                with self._database.connect(autocommit=False) as connection:
                    while not self._enough.is_set():
                        self._transaction(connection)
            except (pymysql.err.OperationalError, pymysql.err.InterfaceError):
                time.sleep(0.05)
            except Exception as error:  # noqa: BLE001 - told by stop
                self.failure = error
                return

    def _transaction(self, connection: pymysql.Connection[Any]) -> None:
        random = self._random
        with connection.cursor() as cursor:
            xa = (
                f"'{self._seed}-{next(self._items)}'"
                if self.prepares and random.random() < 0.1
                else ""
            )
            cursor.execute(f"XA START {xa}" if xa else "BEGIN")
            changes = sum(self._change(cursor) for _ in range(random.randint(1, 5)))
            cursor.execute("INSERT INTO journal (changes) VALUES (%s)", (changes + 1,))
            keeps = random.random() < 0.8
            if xa:
                cursor.execute(f"XA END {xa}")
                cursor.execute(f"XA PREPARE {xa}")
                time.sleep(random.random() / 20)
                cursor.execute(f"XA {'COMMIT' if keeps else 'ROLLBACK'} {xa}")
            elif keeps:
                connection.commit()
            else:
                connection.rollback()
            self.committed += keeps

    def _change(self, cursor: Any) -> int:
        random = self._random
        kind = random.randrange(4)
        if kind == 0:
            first, second = sorted(random.sample(range(1, ACCOUNTS + 1), 2))
            amount = random.randint(1, 50)
            sql = "UPDATE accounts SET balance = balance + %s, ver = ver + 1 WHERE id = %s"
            return int(
                cursor.execute(sql, (-amount, first)) + cursor.execute(sql, (amount, second))
            )
        mine = f"{self._seed}-{random.randrange(40)}"
        if kind == 1:
            sql = "INSERT IGNORE INTO items VALUES (%s, %s, 1)"
            return int(cursor.execute(sql, (mine, "ü" * random.randint(0, 300))))
        if kind == 2:
            return int(cursor.execute("DELETE FROM items WHERE id = %s", (mine,)))
        sql = "UPDATE IGNORE items SET id = CONCAT(%s, '-', %s), ver = ver + 1 WHERE id = %s"
        return int(cursor.execute(sql, (mine, random.randrange(9), mine)))


@pytest.fixture
def shop(own_mysql: OwnMySQL, request: pytest.FixtureRequest) -> Database:
    flavor: Flavor = request.param
    server = own_mysql(flavor, innodb_lock_wait_timeout=2)
    Database(server, "").execute("CREATE DATABASE d")
    database = Database(server, "d")
    database.execute(*TABLES)
    return database


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from penstock.cli.main import main; main()"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, "run", str(folder / "pipeline.toml")],
            stdout=log,
            stderr=log,
            env=environment,
        )


def catch_up(folder: Path) -> None:
    command = [sys.executable, "-c", "from penstock.cli.main import main; main()"]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
    done = subprocess.run(
        [*command, "run", str(folder / "pipeline.toml"), "--until-caught-up"],
        env=environment,
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]


@pytest.mark.parametrize("shop", FLAVORS, indirect=True)
def test_killed_at_random_moments(shop: Database, tmp_path: Path) -> None:
    random = Random(7)
    pipeline = PIPELINE.format(dsn=shop.server.dsn(), folder=tmp_path)
    (tmp_path / "pipeline.toml").write_text(pipeline)
    writers = [Writer(shop, seed) for seed in range(3)]
    for writer in writers:
        writer.start()
    lines = tmp_path / "changes.jsonl"
    for kill in range(KILLS):
        before = lines.stat().st_size if lines.exists() else -1
        life = start(tmp_path)
        if kill == 0:
            time.sleep(random.uniform(0.5, 1.5))
        else:  # it has gone on
            eventually(partial(goes_on, life, lines, before), within=120)
            assert life.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(random.uniform(0, 0.8))
        if kill == 2:  # a copy needs a moment in which nothing is prepared, and may wait long
            eventually(partial(is_past_the_copy, life, lines), within=120)
            for writer in writers:
                writer.prepares = True
        if kill in (3, 6):
            shop.server.kill()
            shop.server.start()
            time.sleep(random.uniform(0, 0.5))
        with suppress(ProcessLookupError):
            life.send_signal(signal.SIGKILL)
        life.wait()
    for writer in writers:
        writer.stop()
    for *_, xid in shop.fetch("XA RECOVER"):  # of writers whose server died
        shop.execute(f"XA ROLLBACK '{xid if isinstance(xid, str) else xid.decode()}'")
    catch_up(tmp_path)
    judge(shop, tmp_path)
    assert sum(writer.committed for writer in writers) > 100


def goes_on(life: subprocess.Popen[bytes], lines: Path, before: int) -> bool:
    """Whether a life has written something, or ended."""
    return life.poll() is not None or (lines.exists() and lines.stat().st_size > before)


def is_past_the_copy(life: subprocess.Popen[bytes], lines: Path) -> bool:
    """Whether a life has followed the log, or ended."""
    return life.poll() is not None or b'"op":"insert"' in lines.read_bytes()


def judge(shop: Database, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "replica.db")) as replica:
        for table in ("accounts", "items", "journal"):
            found = replica.execute(f"SELECT * FROM {table}").fetchall()
            assert Counter(found) == Counter(shop.fetch(f"SELECT * FROM {table}")), table
        [(total,)] = replica.execute("SELECT sum(balance) FROM accounts").fetchall()
        assert total == SUM

    changes: dict[str, dict[str, Any]] = {}
    for line in (folder / "changes.jsonl").read_bytes().splitlines():
        value = json.loads(line)["value"]
        assert changes.setdefault(value["id"], value) == value, "the same change, altered"
    transactions: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    noted = set()
    latest: dict[int, int] = {}
    copies: dict[str, str] = {}
    for value in changes.values():
        if value["op"] != "read":
            transactions[value["transaction"]["id"]].append(value)
            if value["table"] == "d.accounts":
                key, ver = value["key"]["id"], value["after"]["ver"]
                assert latest.get(key, -1) < ver, "changes of one key out of order"
                latest[key] = ver
        else:
            copies[value["table"]] = value["source"]["gtids"]
            if value["table"] == "d.journal":
                noted.add(value["after"]["tx"])
    for name, parts in transactions.items():
        notes = [part["after"] for part in parts if part["table"] == "d.journal"]
        noted |= {note["tx"] for note in notes}
        if any(name in gtids_of(shop.server.flavor, at) for at in copies.values()):
            continue  # a table that was copied again, after others, shows what it wrote there
        [note] = notes
        assert note["changes"] == len(parts), f"{name} is not whole"
    assert noted == {tx for (tx,) in shop.fetch("SELECT tx FROM journal")}, "lost or invented"
