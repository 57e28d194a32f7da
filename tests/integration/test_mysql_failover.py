"""A primary dies and its replica takes over: what goes on, and what is refused."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from penstock import Pipeline
from penstock.errors import DivergedError
from penstock.model import Change
from penstock.sinks.jsonl import Jsonl
from penstock.sinks.sql.config import Sql
from penstock.sources.mysql.config import MySQL
from tests.conftest import OwnMySQL
from tests.support.follow import Follower, Remembered, run
from tests.support.mysql import Database, gtids, promote, replicate
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tools.mysql import FLAVORS, Flavor


class Pair:
    """A primary, its replica, and a proxy that leads to whichever is the primary now."""

    def __init__(self, own_mysql: OwnMySQL, flavor: Flavor) -> None:
        options = {} if flavor == "mysql" else {"log_slave_updates": "ON"}
        self.first, self.second = (Database(own_mysql(flavor, **options), "d") for _ in range(2))
        replicate(self.first.server, self.second.server)
        Database(self.first.server, "").execute("CREATE DATABASE d")
        self.first.execute("CREATE TABLE orders (id int PRIMARY KEY, v int)")
        self.proxy = Proxy(self.first.server.port)

    @property
    def dsn(self) -> str:
        return self.proxy.dsn(self.first.dsn)

    def follow(self, memory: Remembered) -> Follower:
        return Follower(self.dsn, memory, kind=MySQL, tables=("d.*",))

    def caught_up(self) -> None:
        """Wait until the replica has all."""
        had = gtids(self.first.server)
        eventually(lambda: gtids(self.second.server) == had)

    def fail_over(self) -> None:
        """The primary dies; the replica is one from now on."""
        self.first.server.kill()
        promote(self.second.server)
        self.proxy.server_port = self.second.server.port


@pytest.fixture(params=FLAVORS)
def pair(own_mysql: OwnMySQL, request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(own_mysql, request.param)
    with made.proxy:
        yield made


def insert(*ids: int) -> list[str]:
    return [f"INSERT INTO orders VALUES ({i}, 0)" for i in ids]


def ids_of(changes: list[Change]) -> list[int]:
    return [change.after["id"] for change in changes if change.after is not None]


def test_a_promoted_replica_is_read_on(pair: Pair) -> None:
    """Nothing is lost or doubled, though the first server's last were not read there."""

    async def scenario() -> None:
        memory = Remembered()
        async with pair.follow(memory) as follower:
            await follower.to_head()
            pair.first.execute(*insert(*range(40)))
            seen = ids_of(await follower.changes())
            await follower.close()
            pair.first.execute(*insert(*range(40, 80)), "UPDATE orders SET v = 1 WHERE id < 5")
            await asyncio.to_thread(pair.caught_up)
            await asyncio.to_thread(pair.fail_over)
            pair.second.execute(*insert(*range(80, 120)), "UPDATE orders SET v = 2 WHERE id < 3")
            await follower.open()
            seen += ids_of(await follower.changes())
            assert seen == [*range(80), *range(5), *range(80, 120), *range(3)]
        async with pair.follow(memory) as follower:
            pair.second.execute(*insert(120))
            assert ids_of(await follower.changes()) == [120]

    run(scenario())


def test_a_stream_that_breaks_is_read_on_at_the_promoted_replica(
    pair: Pair, tmp_path: Path
) -> None:
    """The whole pipeline, which is told nothing: the address leads elsewhere now."""
    lines = tmp_path / "lines"
    pipeline = Pipeline(
        "shop",
        MySQL(dsn=pair.dsn, tables=("d.*",), heartbeat=1),
        [Sql(url=f"sqlite:///{tmp_path}/replica.db"), Jsonl(path=str(lines))],
        store=f"sqlite:///{tmp_path}/store.db",
    )

    def has(last: int) -> bool:
        return lines.exists() and f'"id":{last},' in lines.read_text()

    with running(pipeline):
        eventually(lambda: pipeline.state == "running")
        pair.first.execute(*insert(*range(50)))
        eventually(partial(has, 20))
        pair.caught_up()
        pair.fail_over()
        pair.second.execute(*insert(*range(50, 100)))
        eventually(partial(has, 99))
    with closing(sqlite3.connect(tmp_path / "replica.db")) as replica:
        assert replica.execute("SELECT id FROM orders ORDER BY id").fetchall() == [
            (i,) for i in range(100)
        ]
    values = [json.loads(line)["value"] for line in lines.read_text().splitlines()]
    assert list(dict.fromkeys(value["after"]["id"] for value in values)) == [*range(100)]


@contextmanager
def running(pipeline: Pipeline) -> Iterator[None]:
    """Run a pipeline in a thread; its failure is that of the test."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            pipeline.run()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        pipeline.stop()
        thread.join()
    if failures:
        raise failures[0]


def test_a_replica_without_what_we_have_is_another_history(pair: Pair) -> None:
    async def scenario() -> None:
        memory = Remembered()
        async with pair.follow(memory) as follower:
            pair.first.execute(*insert(1))
            await asyncio.to_thread(pair.caught_up)
            stop = "STOP REPLICA" if pair.first.server.flavor == "mysql" else "STOP SLAVE"
            pair.second.execute(stop)
            pair.first.execute(*insert(2))
            assert 2 in ids_of(await follower.changes())
            await asyncio.to_thread(pair.fail_over)
            with pytest.raises(DivergedError, match="does not know"):
                await follower.reopen()
            # Its own transactions are not those that we have, whatever their numbers are.
            for ids in ((3,), (4, 5)):
                pair.second.execute(*insert(*ids))
                with pytest.raises(DivergedError, match="does not know"):
                    await read_on(follower)

    run(scenario())


async def read_on(follower: Follower) -> None:
    await follower.reopen()
    await follower.read_for_ever()


def test_what_only_one_sink_has_is_compared_too(pair: Pair) -> None:
    """MariaDB's positions name one transaction of each domain, which another may share a number
    with: were only the start looked at, that one would be skipped for the sink that is ahead."""

    async def scenario() -> None:
        memory = Remembered()
        async with pair.follow(memory) as follower:
            pair.first.execute(*insert(1))
            await follower.to_head()
            behind = memory.start["main"]
            await asyncio.to_thread(pair.caught_up)
            await asyncio.to_thread(promote, pair.second.server)
            pair.first.execute(*insert(2))
            await follower.to_head()
        memory.ahead, memory.start["main"] = (memory.start["main"],), behind
        await asyncio.to_thread(pair.fail_over)
        pair.second.execute(*insert(3, 4))
        with pytest.raises(DivergedError, match="does not know"):
            async with pair.follow(memory):
                pass

    run(scenario())


@pytest.mark.parametrize("flavor", FLAVORS)
def test_another_order_of_the_same_transactions(
    own_mysql: OwnMySQL, tmp_path: Path, flavor: Flavor
) -> None:
    """As on a replica that applies several at a time: each sink gets what it lacks, once."""
    first, second = (Database(own_mysql(flavor, log_slave_updates="ON"), "d") for _ in range(2))

    def copy(database: Database, *sinks: str) -> None:
        pipeline = Pipeline(
            "shop",
            MySQL(dsn=database.dsn, tables=("d.*",)),
            [Jsonl(name=name, path=str(tmp_path / name)) for name in sinks],
            store=f"sqlite:///{tmp_path}/store.db",
        )
        run(pipeline.serve(until_caught_up=True), within=60)

    for server in (first.server, second.server):
        named(Database(server, ""), (0, 1), "CREATE DATABASE d")
        named(Database(server, ""), (0, 2), "CREATE TABLE d.orders (id int PRIMARY KEY, v int)")
    copy(first, "a", "b")
    named(first, (1, 3), *insert(1))
    copy(first, "a")
    named(first, (2, 4), *insert(2))
    named(second, (2, 4), *insert(2))
    named(second, (1, 3), *insert(1))
    copy(second, "a", "b")
    named(second, (3, 5), *insert(3))
    copy(second, "a", "b")
    for sink in "ab":
        lines = (tmp_path / sink).read_text().splitlines()
        found = [json.loads(line)["value"]["after"]["id"] for line in lines]
        assert sorted(found) == [1, 2, 3], sink


def named(database: Database, name: tuple[int, int], *statements: str) -> None:
    """A transaction under a name that is given: (MariaDB's domain, MySQL's number)."""
    domain, number = name
    if database.server.flavor == "mysql":
        session = f"SET GTID_NEXT = '11111111-1111-1111-1111-111111111111:{number}'"
    else:
        session = f"SET gtid_domain_id = {domain}, server_id = 7, gtid_seq_no = {number}"
    database.execute(session, *statements)
