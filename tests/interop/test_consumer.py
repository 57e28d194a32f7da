"""The classic consumer of Debezium's topics, which imports no penstock, reads ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.formats.debezium import Debezium
from penstock.pipeline import Pipeline
from penstock.sinks.kafka import Kafka
from penstock.sources.postgres.config import Postgres
from tests.support.kafka import fresh_name
from tests.support.postgres import execute
from tools.brokers import Kafka as Broker

EXAMPLE = Path(__file__).parents[2] / "examples" / "consumer.py"


@pytest.mark.server
def test_the_classic_consumer_reads_our_topics(kafka: Broker, database: str) -> None:
    prefix = fresh_name()
    source = Postgres(dsn=database, tables=("public.orders",), snapshot="initial")
    sink = Kafka(brokers=kafka.url, format=Debezium(topic_prefix=prefix))
    pipeline = Pipeline(prefix, source, [sink], store="memory")
    execute(
        database,
        "CREATE TABLE orders (id int PRIMARY KEY, status text)",
        "INSERT INTO orders VALUES (1, 'new')",
    )
    assert pipeline.run(until_caught_up=True).caught_up
    execute(
        database,
        "INSERT INTO orders VALUES (2, 'new')",
        "UPDATE orders SET status = 'paid' WHERE id = 2",
        "DELETE FROM orders WHERE id = 1",
    )
    assert pipeline.run(until_caught_up=True).caught_up
    pipeline.teardown()
    assert not re.search(r"^\s*(import|from) penstock", EXAMPLE.read_text(), re.MULTILINE)
    command = [sys.executable, str(EXAMPLE), kafka.url, f"{prefix}.public.orders"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().rstrip() for _ in range(4)]
        finally:
            process.terminate()
    assert lines == [
        "r None {'id': 1, 'status': 'new'}",
        "c None {'id': 2, 'status': 'new'}",
        "u None {'id': 2, 'status': 'paid'}",
        "d {'id': 1, 'status': None} None",
    ]
