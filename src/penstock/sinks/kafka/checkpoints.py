"""Checkpoints in a compacted topic of their own, written in the same transaction as the data.

One topic a sink: nobody else writes to it, so that once our own transactions are over, a reader
with ``read_committed`` sees it to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import orjson

from penstock.errors import SinkError, SinkUnavailableError
from penstock.model import Checkpoint, Mark
from penstock.registry import driver
from penstock.sinks.kafka.failures import explain, raised

CONFIG: Final = {"cleanup.policy": "compact", "min.compaction.lag.ms": "0"}


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

    ``tried`` are places of a commit of which nobody knows whether it was done.
    """

    writer: str = field(default_factory=lambda: uuid4().hex)

    seen: dict[str, Place] = field(default_factory=dict)
    tried: dict[str, Place] = field(default_factory=dict)
    loaded: bool = False

    def accept(self, found: dict[str, Place]) -> bool:
        """Take over what is stored; False where another copy has written it."""
        if self.loaded:
            for stream in found.keys() | self.seen.keys():
                place = found.get(stream)
                if place != self.seen.get(stream) and place != self.tried.get(stream):
                    return False
        self.seen, self.tried, self.loaded = found, {}, True
        return True


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


def load(settings: Mapping[str, Any], topic: str, timeout: float) -> dict[str, Place]:
    """All committed places. Raises SinkUnavailableError when the end is not reached in time."""
    confluent = driver("confluent_kafka", "kafka")
    consumer = confluent.Consumer(
        {
            **settings,
            "group.id": topic,  # required, and not used
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    places: dict[str, Place] = {}
    try:
        consumer.assign([confluent.TopicPartition(topic, 0, confluent.OFFSET_BEGINNING)])
        while True:
            message = consumer.poll(timeout)
            if message is None:
                raise SinkUnavailableError(f"topic {topic!r} could not be read to its end")
            error = message.error()
            if error is None:
                stream, place = _parse(topic, message.key(), message.value())
                places[stream] = place
            elif error.code() == confluent.KafkaError._PARTITION_EOF:
                return places
            elif error.name() != "UNKNOWN_TOPIC_OR_PART":
                raise explain(f"cannot read topic {topic!r}", error)
    except confluent.KafkaException as error:
        raise raised(f"cannot read topic {topic!r}", error) from error
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
