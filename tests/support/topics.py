"""Topics for tests of the kafka source, and what is written into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from penstock.formats.debezium import Debezium
from penstock.model import Change, Column, EventBatch, Origin, Record, Table, Transaction
from penstock.sources.postgres.wire.types import builtin


def create(url: str, topic: str, partitions: int = 1, **config: str) -> str:
    """An empty topic; its name."""
    admin = AdminClient({"bootstrap.servers": url, "log_level": 0})
    admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(60)
    return topic


def produce(url: str, records: Iterable[Record], *, topic: str = "", partition: int = -1) -> None:
    """Write records as the kafka sink does, to their topics or to another."""
    producer = Producer({"bootstrap.servers": url, "partitioner": "murmur2_random"})
    for record in records:
        headers: Any = list(record.headers.items())
        producer.produce(
            topic or record.topic, record.value, record.key, partition, headers=headers
        )
        producer.poll(0)
    assert producer.flush(60) == 0


def members(url: str, group: str) -> int:
    """How many consumers a group has, once it is settled."""
    admin: Any = AdminClient({"bootstrap.servers": url, "log_level": 0})
    try:
        found = admin.describe_consumer_groups([group])[group].result(60)
    except KafkaException:  # its coordinator is not there yet
        return 0
    return len(found.members) if found.state.name == "STABLE" else 0


def table(name: str = "items") -> Table:
    """``public.<name> (id int PRIMARY KEY, n bigint, note text)``."""
    types = [builtin(23), builtin(20), builtin(25)]
    names = ("id", "n", "note")
    columns = (Column(n, t, n != "id") for n, t in zip(names, types, strict=True) if t is not None)
    return Table("public", name, tuple(columns), ("id",))


class Writer:
    """Makes Debezium's records of changes to one table."""

    def __init__(self, prefix: str, name: str = "items", **options: Any) -> None:
        self.table = table(name)
        self.topic = f"{prefix}.public.{name}"
        self._format = Debezium(topic_prefix=prefix, **options).build()
        self._at = 0

    @property
    def count(self) -> int:
        """How many changes there were."""
        return self._at

    def insert(self, id: int, n: int, note: str = "x") -> list[Record]:
        return self._records("insert", after=_row(id, n, note))

    def update(self, id: int, n: int, note: str = "x") -> list[Record]:
        return self._records("update", after=_row(id, n, note))

    def delete(self, id: int) -> list[Record]:
        return self._records("delete", key=[str(id).encode()])

    def _records(self, operation: Any, after: Any = None, key: Any = None) -> list[Record]:
        self._at += 1
        origin = Origin(
            f"0/{self._at:X}", Transaction(str(self._at), 1_700_000_000_000_000 + self._at)
        )
        change: Change = Change(operation, self.table, origin, 0, None, after, key)
        return list(self._format.records(EventBatch("main", [change])))


def _row(id: int, n: int, note: str) -> Sequence[bytes]:
    return [str(id).encode(), str(n).encode(), note.encode()]
