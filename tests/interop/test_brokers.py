"""A pipeline into a cluster of Kafka brokers that are killed and started again under load."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from penstock.formats.debezium import Debezium
from penstock.pipeline import Pipeline
from penstock.sinks.kafka import Kafka
from penstock.sources.postgres.config import Postgres
from tests.support.kafka import consume
from tests.support.postgres import execute, fetch
from tests.support.waiting import eventually
from tools.brokers import Kafka as Brokers

pytestmark = [pytest.mark.server, pytest.mark.slow]
KEYS: Final = 50
MODES: Final = {"plain": False, "exact": True}


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    with Brokers(3) as brokers:
        yield brokers


@contextmanager
def writing(dsn: str) -> Iterator[Callable[[], int]]:
    """Transactions without end, each counting some keys up by one; gives how many there were."""
    stop = threading.Event()
    numbers = count(1)
    done = [0]

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            while not stop.wait(0.005):
                done[0] = number = next(numbers)
                connection.execute("UPDATE counter SET n = n + 1 WHERE id %% 5 = %s", (number % 5,))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def counted(url: str, topic: str) -> dict[int, list[int]]:
    """The values that each key went through, as a reader of what is committed sees them."""
    seen: dict[int, list[int]] = defaultdict(list)
    for message in consume(url, topic):
        row: dict[str, Any] = json.loads(message.value())["after"]
        seen[row["id"]].append(row["n"])
    return seen


def test_killed_brokers_cost_no_record_and_no_order(
    brokers: Brokers, database: str, tmp_path: Path
) -> None:
    """One after the other is killed and comes back; then all at once."""
    execute(
        database,
        "CREATE TABLE counter (id int PRIMARY KEY, n int)",
        f"INSERT INTO counter SELECT i, 0 FROM generate_series(1, {KEYS}) i",
    )
    sinks = [
        Kafka(
            name=name,
            brokers=brokers.url,
            transactions=transactions,
            partitions=3,
            delivery_timeout=4,
            format=Debezium(topic_prefix=name, schemas=False),
        )
        for name, transactions in MODES.items()
    ]
    source = Postgres(dsn=database, tables=("public.counter",), snapshot="initial")

    def pipeline() -> Pipeline:
        return Pipeline("brokers", source, sinks, store=str(tmp_path / "state.db"))

    def disturb() -> None:
        with writing(database) as written:
            eventually(lambda: written() > 100, what="some load")
            for node in brokers.nodes:
                brokers.kill(node)
                before = written()
                eventually(lambda before=before: written() > before + 100, what="more load")  # type: ignore[misc]
                brokers.start(node)
            brokers.kill()
            before = written()
            eventually(lambda: written() > before + 300, what="more load")
            brokers.start()

    async def main() -> None:
        first = pipeline()
        running = asyncio.create_task(first.serve())
        disturbing = asyncio.create_task(asyncio.to_thread(disturb))
        await asyncio.wait([running, disturbing], return_when=asyncio.FIRST_COMPLETED)
        first.stop()
        await asyncio.gather(running, disturbing)

    asyncio.run(main())
    pipeline().run(until_caught_up=True)

    (last,) = {tuple(row) for row in fetch(database, "SELECT sum(n) FROM counter")}
    for name, transactions in MODES.items():
        seen = counted(brokers.url, f"{name}.public.counter")
        assert len(seen) == KEYS
        for id, values in seen.items():
            firsts = list(dict.fromkeys(values))
            assert firsts == list(range(firsts[0], firsts[-1] + 1)), f"{name}, key {id}: {values}"
            if transactions:
                assert values == firsts, f"{name}, key {id}: {values}"
        assert sum(max(values) for values in seen.values()) == last[0]
