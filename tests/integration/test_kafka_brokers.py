"""A pipeline into Kafka while its broker is killed and started again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.formats.debezium import Debezium
from penstock.pipeline import Pipeline
from penstock.sinks.kafka import Kafka
from penstock.sources.postgres.config import Postgres
from tests.support.kafka import consume
from tests.support.postgres import execute
from tools.brokers import Kafka as Broker

pytestmark = [pytest.mark.server, pytest.mark.slow]
ROUNDS, ROWS = 3, 2000


@pytest.fixture
def own_kafka() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


@pytest.mark.parametrize("transactions", [False, True])
def test_a_killed_broker_costs_no_record(
    own_kafka: Broker, database: str, tmp_path: Path, transactions: bool
) -> None:
    execute(database, "CREATE TABLE orders (id int PRIMARY KEY, note text)")
    sink = Kafka(
        brokers=own_kafka.url,
        transactions=transactions,
        delivery_timeout=3,
        format=Debezium(topic_prefix="shop", schemas=False),
    )
    source = Postgres(dsn=database, tables=("public.orders",), snapshot="initial")
    pipeline = Pipeline("brokers", source, [sink], store=str(tmp_path / "state.db"))

    def disturb() -> None:
        for n in range(ROUNDS):
            begin = n * ROWS
            for part in range(begin, begin + ROWS, 100):
                execute(
                    database,
                    f"INSERT INTO orders SELECT i, 'n' FROM generate_series({part + 1}, "
                    f"{part + 100}) i",
                )
                if part == begin + ROWS // 2:
                    own_kafka.kill()
            own_kafka.start()

    async def main() -> None:
        running = asyncio.create_task(pipeline.serve())
        disturbing = asyncio.create_task(asyncio.to_thread(disturb))
        done, _ = await asyncio.wait(
            [running, disturbing], return_when=asyncio.FIRST_COMPLETED, timeout=200
        )
        assert disturbing in done, running
        await disturbing
        pipeline.stop()
        await running

    asyncio.run(main())
    again = Pipeline("brokers", source, [sink], store=str(tmp_path / "state.db"))
    again.run(until_caught_up=True)

    ids = [json.loads(m.key())["id"] for m in consume(own_kafka.url, "shop.public.orders")]
    assert set(ids) == set(range(1, ROUNDS * ROWS + 1))
    firsts = list(dict.fromkeys(ids))
    assert firsts == sorted(firsts)
    if transactions:
        assert len(ids) == len(firsts)
