"""Avro through a real broker, with confluent-kafka's own registry in memory."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from penstock.connect import Data
from penstock.connect.registry import SchemaRegistry
from penstock.errors import SinkError, SinkUnavailableError
from penstock.formats.debezium import Debezium
from penstock.formats.debezium.avro import AvroConverter
from penstock.formats.debezium.chain import ConnectRecord
from penstock.pipeline import Pipeline
from penstock.sinks.kafka import Kafka
from penstock.sinks.sql import Sql
from penstock.sources.kafka.config import Kafka as KafkaSource
from penstock.sources.postgres.config import Postgres
from tests.support.kafka import consume, fresh_name
from tests.support.postgres import execute
from tools.brokers import Kafka as Broker

pytestmark = pytest.mark.server

TABLE = "CREATE TABLE orders (id int PRIMARY KEY, note text, price numeric(6,2), tags text[])"
ROWS = (
    "INSERT INTO orders VALUES (1, 'new', 2.50, '{a,NULL}'), (2, NULL, NULL, NULL)",
    "UPDATE orders SET note = 'paid' WHERE id = 1",
    "DELETE FROM orders WHERE id = 2",
)


class Flaky:
    """A registry's client that fails sometimes before it lets one through."""

    def __init__(self, client: Any, failures: list[Exception]) -> None:
        self._client = client
        self.failures = failures

    def register_schema(self, subject: str, schema: Any) -> int:
        if self.failures:
            raise self.failures.pop(0)
        return int(self._client.register_schema(subject, schema))

    def get_schema(self, id: int) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        return self._client.get_schema(id)


@pytest.fixture
def client() -> Iterator[Any]:
    made = SchemaRegistryClient.new_client({"url": "mock://"})
    yield made
    made.close()


def pipeline(kafka: Broker, database: str, prefix: str, directory: Path) -> Pipeline:
    format = Debezium(topic_prefix=prefix, schema_registry="mock://")
    source = Postgres(dsn=database, tables=("public.orders",))
    sink = Kafka(brokers=kafka.url, format=format)
    return Pipeline(prefix, source, [sink], store=str(directory / "state.db"))


def read(kafka: Broker, prefix: str, client: Any) -> list[tuple[Any, Any]]:
    """Keys and values as any Python consumer reads them."""
    topic = f"{prefix}.public.orders"
    decode = AvroDeserializer(client)
    key = SerializationContext(topic, MessageField.KEY)
    value = SerializationContext(topic, MessageField.VALUE)
    messages = consume(kafka.url, topic)
    return [(decode(m.key(), key), decode(m.value(), value)) for m in messages]


@pytest.mark.parametrize(
    "failures",
    [
        [],
        [SchemaRegistryError(503, 50003, "no leader"), OSError("refused"), OSError("refused")],
    ],
    ids=["registry there", "registry away for a while"],
)
def test_a_consumer_reads_every_change(
    kafka: Broker,
    database: str,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failures: list[Exception],
) -> None:
    flaky = Flaky(client, list(failures))
    monkeypatch.setattr(SchemaRegistry, "client", lambda self: flaky)
    prefix = fresh_name()
    execute(database, TABLE)
    made = pipeline(kafka, database, prefix, tmp_path)
    made.run(until_caught_up=True)
    execute(database, *ROWS)
    made.run(until_caught_up=True)
    assert flaky.failures == []

    told = [(key, value and value["op"]) for key, value in read(kafka, prefix, client)]
    first = list(dict.fromkeys((key["id"], op) for key, op in told))
    assert first == [(1, "c"), (2, "c"), (1, "u"), (2, "d"), (2, None)]
    if not failures:
        assert len(told) == len(first)
    row = read(kafka, prefix, client)[0][1]["after"]
    assert row == {"id": 1, "note": "new", "price": Decimal("2.50"), "tags": ["a", None]}


def test_the_kafka_source_reads_it_into_a_replica(
    kafka: Broker,
    database: str,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flaky = Flaky(client, [])
    monkeypatch.setattr(SchemaRegistry, "client", lambda self: flaky)
    prefix = fresh_name()
    execute(database, TABLE)
    made = pipeline(kafka, database, prefix, tmp_path)
    made.run(until_caught_up=True)
    execute(database, *ROWS)
    made.run(until_caught_up=True)

    flaky.failures = [OSError("refused")]
    topics = (f"{prefix}.public.orders",)
    source = KafkaSource(brokers=kafka.url, topics=topics, schema_registry="mock://")
    sink = Sql(url=f"sqlite:///{tmp_path / 'replica.db'}")
    Pipeline(f"{prefix}_read", source, [sink], store="memory").run(until_caught_up=True)
    assert flaky.failures == []
    with closing(sqlite3.connect(tmp_path / "replica.db")) as connection:
        rows = connection.execute("SELECT id, note, price FROM orders").fetchall()
    assert [(id, note, Decimal(str(price))) for id, note, price in rows] == [
        (1, "paid", Decimal("2.5"))
    ]


def test_an_incompatible_schema_stops_and_what_was_not_written_is_later(
    kafka: Broker,
    database: str,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flaky = Flaky(client, [])
    monkeypatch.setattr(SchemaRegistry, "client", lambda self: flaky)
    prefix = fresh_name()
    execute(database, TABLE)
    pipeline(kafka, database, prefix, tmp_path).run(until_caught_up=True)
    execute(database, ROWS[0], "ALTER TABLE orders ALTER id TYPE bigint", ROWS[1])
    flaky.failures = [SchemaRegistryError(409, 409, "incompatible")]
    with pytest.raises(SinkError, match="incompatible") as caught:
        pipeline(kafka, database, prefix, tmp_path).run(until_caught_up=True)
    assert not isinstance(caught.value, SinkUnavailableError)
    assert "compatibility" in (caught.value.hint or "")
    flaky.failures = []
    pipeline(kafka, database, prefix, tmp_path).run(until_caught_up=True)
    told = {(key["id"], value["op"]) for key, value in read(kafka, prefix, client)}
    assert told == {(1, "c"), (2, "c"), (1, "u")}


def test_a_registry_that_does_not_answer_makes_the_sink_unavailable() -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        converter = AvroConverter(SchemaRegistry(url=url))
        record = ConnectRecord("t", Data({"type": "string", "optional": False}, "x"), None, {})
        with pytest.raises(SinkUnavailableError, match=url):
            converter.key(record)
        converter.close()
