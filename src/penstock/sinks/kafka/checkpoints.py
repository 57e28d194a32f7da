"""Checkpoints in a compacted topic of their own, written in the same transaction as the data.

One topic a sink: nobody else writes to it, so that once our own transactions are over, a reader
with ``read_committed`` sees it to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import orjson

from penstock.errors import SinkError
from penstock.model import Checkpoint, Mark
from penstock.registry import driver
from penstock.sinks.kafka.client import Cluster
from penstock.sinks.kafka.deadline import SLICE
from penstock.sinks.kafka.failures import explain, raised
from penstock.sinks.kafka.topics import Topics

CONFIG: Final = {"cleanup.policy": "compact"}


@dataclass(frozen=True, slots=True)
class Place:
    """How far a stream is in Kafka.

    Parameters
    ----------
    checkpoint: where the source begins again; None before the stream's first whole transaction.
    after: of the transaction that begins there, the last change that is in Kafka already; None
        when no part of it is.
    writer: the process that wrote it; two copies may try to write the same.
    """

    checkpoint: Checkpoint | None
    after: Mark | None = None
    writer: str = ""


@dataclass(slots=True)
class Memory:
    """What a process remembers of its checkpoints from one connection to the next.

    Attributes
    ----------
    writer: names the process.
    seen: the places that were stored when we looked last.
    tried: those of a commit of which nobody knows whether it was done.
    batch: what the largest batch of records may be, in bytes.
    """

    batch: int
    writer: str = field(default_factory=lambda: uuid4().hex)
    seen: dict[str, Place] = field(default_factory=dict)
    tried: dict[str, Place] = field(default_factory=dict)
    loaded: bool = False

    def explains(self, found: Mapping[str, Place]) -> bool:
        """Whether all that is stored is ours, or was there before us."""
        return not self.loaded or (
            self.seen.keys() <= found.keys()
            and all(
                place in (self.seen.get(stream), self.tried.get(stream))
                for stream, place in found.items()
            )
        )

    def settle(self, found: Mapping[str, Place]) -> None:
        """This is stored, and no commit is under way any more."""
        self.seen, self.tried, self.loaded = dict(found), {}, True


def topic_of(pipeline: str, sink: str) -> str:
    """The topic of a sink's checkpoints."""
    return f"penstock.{pipeline}.{sink}.checkpoints"


def dump(stream: str, place: Place) -> tuple[bytes, bytes]:
    """Key and value of a place's record."""
    value = {
        "checkpoint": None if place.checkpoint is None else place.checkpoint.text,
        "after": None if place.after is None else str(place.after),
        "writer": place.writer,
    }
    return stream.encode(), orjson.dumps(value)


def load(cluster: Cluster, topic: str) -> dict[str, Place]:
    """All committed places. Raises SinkUnavailableError when the end is not reached in time."""
    confluent = driver("confluent_kafka", "kafka")
    end = Topics(cluster).end(topic)
    deadline = cluster.deadline()
    what = f"cannot read topic {topic!r}"
    consumer = cluster.client(
        "confluent_kafka",
        "Consumer",
        {
            **cluster.settings,
            "group.id": topic,  # required, and not used
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the end is told by an answer without records
        },
    )
    places: dict[str, Place] = {}
    try:
        with suppress(confluent.KafkaException):  # asked now, or by itself in a second
            consumer.list_topics(topic, timeout=SLICE)
        consumer.assign([confluent.TopicPartition(topic, 0, confluent.OFFSET_BEGINNING)])
        while True:
            message = consumer.poll(SLICE)
            cluster.check()
            if message is None:
                if deadline.passed:
                    raise cluster.away(what)
                continue
            error = message.error()
            if error is None:
                stream, place = _parse(topic, message.key(), message.value())
                places[stream] = place
                deadline.renew()
            elif error.code() == confluent.KafkaError._PARTITION_EOF:
                if message.offset() >= end:
                    return places
            elif error.name() != "UNKNOWN_TOPIC_OR_PART":  # it was created just now
                raise explain(what, error)
    except confluent.KafkaException as error:
        raise raised(what, error) from error
    finally:
        consumer.close()


def _parse(topic: str, key: bytes | None, value: bytes | None) -> tuple[str, Place]:
    try:
        stream = (key or b"").decode()
        found = orjson.loads(value or b"")
        text, after, writer = found["checkpoint"], found["after"], found["writer"]
    except (ValueError, KeyError, TypeError) as error:
        raise SinkError(
            f"topic {topic!r} holds a record that is no checkpoint: {value!r:.80}",
            hint="nobody else may write to it; penstock teardown forgets it",
        ) from error
    return stream, Place(
        None if text is None else Checkpoint(stream, text),
        None if after is None else Mark.parse(after),
        writer,
    )
