"""A pipeline into MySQL and MariaDB dies anywhere, and so does the server, while tables grow: the
replica never shows half a transaction, and ends equal to its source."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import pymysql
import pytest

from tests.crash.test_mysql import ACCOUNTS, SUM, Writer, catch_up, shop, start
from tests.support.mysql import Database
from tests.support.waiting import eventually
from tools.mysql import FLAVORS

__all__ = ["shop"]  # the fixture

KILLS: Final = 3
SERVER_DIES: Final = 2
GROWS: Final = ("accounts", "journal", "accounts")
"""Which table gets a column at each life."""
PIPELINE: Final = """
name = "crash"
[source]
type = "mysql"
dsn = "{source}"
tables = ["d.accounts", "d.items", "d.journal"]
snapshot = "initial"
heartbeat = 1
[[sinks]]
type = "sql"
url = "{target}"
"""


class Reader(threading.Thread):
    """Looks at the replica's accounts all the time: what it sees, the source must have had."""

    def __init__(self, replica: Database) -> None:
        super().__init__(daemon=True)
        self._replica = replica
        self._enough = threading.Event()
        self.seen: Counter[tuple[Any, ...]] = Counter()

    def stop(self) -> None:
        self._enough.set()
        self.join()

    def run(self) -> None:
        query = "SELECT count(*), coalesce(sum(balance), 0) FROM accounts"
        while not self._enough.wait(0.01):
            with suppress(pymysql.err.OperationalError, pymysql.err.ProgrammingError):
                self.seen.update(self._replica.fetch(query))


def commits(replica: Database) -> int:
    """How many transactions the replica has."""
    with suppress(pymysql.err.OperationalError, pymysql.err.ProgrammingError):
        [(count,)] = replica.fetch("SELECT count(*) FROM journal")
        return int(count)
    return 0


@pytest.mark.parametrize("shop", FLAVORS, indirect=True)
def test_killed_with_the_target(shop: Database, tmp_path: Path) -> None:
    random = Random(11)
    shop.execute("CREATE DATABASE replica")
    replica = Database(shop.server, "replica")
    pipeline = PIPELINE.format(source=shop.server.dsn(), target=replica.dsn)
    (tmp_path / "pipeline.toml").write_text(pipeline)
    writers = [Writer(shop, seed) for seed in range(2)]
    reader = Reader(replica)
    for thread in (*writers, reader):
        thread.start()
    for kill in range(KILLS):
        before = commits(replica)
        life = start(tmp_path)
        eventually(partial(goes_on, life, replica, before), within=120)
        assert life.poll() is None, (tmp_path / "log").read_text()[-3000:]
        shop.execute(f"ALTER TABLE {GROWS[kill]} ADD COLUMN new{kill} int NULL")
        time.sleep(random.uniform(0, 0.5))
        if kill == SERVER_DIES:
            shop.server.kill()
            shop.server.start()
            time.sleep(random.uniform(0, 0.3))
        with suppress(ProcessLookupError):
            life.send_signal(signal.SIGKILL)
        life.wait()
    for writer in writers:
        writer.stop()
    catch_up(tmp_path)
    reader.stop()
    assert set(reader.seen) <= {(0, 0), (ACCOUNTS, SUM)}
    assert reader.seen[ACCOUNTS, SUM] > 10
    for table in ("accounts", "items", "journal"):
        query = f"SELECT * FROM {table}"
        assert Counter(replica.fetch(query)) == Counter(shop.fetch(query)), table
    assert sum(writer.committed for writer in writers) > 50


def goes_on(life: Any, replica: Database, before: int) -> bool:
    """Whether a life has committed something, or ended."""
    return life.poll() is not None or commits(replica) > before
