"""Handlers that write through a connection, behind the kafka source."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from penstock.app import App
from penstock.model import Change
from penstock.sources.kafka import Kafka
from tests.support import topics
from tests.support.kafka import fresh_name
from tests.support.postgres import execute, fetch
from tools.brokers import Kafka as Broker


@pytest.mark.server
def test_writes_and_the_checkpoints_of_partitions_commit_together(
    kafka: Broker, database: str
) -> None:
    writer = topics.Writer(fresh_name())
    name = writer.topic.partition(".")[0]
    topics.create(kafka.url, writer.topic, 3)
    execute(database, "CREATE TABLE total (n bigint)", "INSERT INTO total VALUES (0)")
    topics.produce(kafka.url, [r for n in range(30) for r in writer.update(n % 7, n)])

    def run(*, fails_at: int = -1) -> bool:
        config = Kafka(brokers=kafka.url, topics=(writer.topic,), session_timeout=6)
        app = App(name, source=config, store=database, on_failure="stop", retries=0)

        @app.on("public.items")
        def add(change: Change[Any], connection: psycopg.Connection[Any]) -> None:
            if change.row["n"] == fails_at:
                raise ValueError("on the way")
            connection.execute("UPDATE total SET n = n + %s", (change.row["n"],))

        return app.run(until_caught_up=True).caught_up

    with pytest.raises(Exception, match="on the way"):
        run(fails_at=17)
    assert run()
    assert run()
    assert fetch(database, "SELECT n FROM total") == [(sum(range(30)),)]
