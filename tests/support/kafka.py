"""What tests ask of a Kafka besides writing to it."""

from __future__ import annotations

from itertools import count
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from penstock.formats.change import ChangeFormat
from penstock.model import Batch, Change, Record

_numbers: Final = count(1)


def fresh_name() -> str:
    """A name that no other test uses."""
    return f"t{next(_numbers)}_{uuid4().hex[:8]}"


class Prefixed(ChangeFormat):
    """The format ``change`` with topics of its own, since all tests share one broker."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def records(self, batch: Batch) -> Any:
        return (self._own(record) for record in super().records(batch))

    def record(self, change: Change[Any]) -> Record:
        return self._own(super().record(change))

    def _own(self, record: Record) -> Record:
        return record._replace(topic=f"{self._prefix}.{record.topic}")


class Single(ChangeFormat):
    """The format ``change``, all in one topic."""

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic

    def build(self, pipeline: str) -> Single:
        """Itself: it stands for its configuration too."""
        return self

    def records(self, batch: Batch) -> Any:
        return (record._replace(topic=self._topic) for record in super().records(batch))


def consume(url: str, topic: str, *, committed: bool = True) -> list[Any]:
    """All messages of a topic, partition by partition; none when there is no such topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": url,
            "group.id": fresh_name(),
            "enable.auto.commit": False,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "enable.partition.eof": True,
        }
    )
    try:
        known = consumer.list_topics(timeout=20).topics.get(topic)
        partitions = list(known.partitions) if known is not None else []
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        messages: list[Any] = []
        open_ = set(partitions)
        while open_:
            message = consumer.poll(20)
            assert message is not None, f"{topic}: no end within 20 s"
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                open_.discard(message.partition())
        return messages
    finally:
        consumer.close()
