"""Kafka transactions: the records, and with them how far each stream has come."""

from __future__ import annotations

import time
from typing import Final

from penstock.errors import FencedError
from penstock.model import Record
from penstock.sinks.kafka import checkpoints
from penstock.sinks.kafka.checkpoints import Memory, Place
from penstock.sinks.kafka.client import Cluster
from penstock.sinks.kafka.producer import TRANSACTION_LIMIT, Producer

PART_AFTER: Final = TRANSACTION_LIMIT / 3
"""Seconds after which a Kafka transaction is committed inside a source transaction."""


class Transaction:
    """One Kafka transaction after the other.

    Parameters
    ----------
    topic: where the places are stored.
    memory: what this process knows of them; others in the topic are another copy's.
    """

    def __init__(self, cluster: Cluster, producer: Producer, topic: str, memory: Memory) -> None:
        self._cluster = cluster
        self._producer = producer
        self._topic = topic
        self._memory = memory
        self._places: dict[str, Place] = {}
        self._began: float | None = None

    @property
    def open(self) -> bool:
        """Whether something was written that is not committed."""
        return self._began is not None

    def begin(self) -> None:
        """Begin one, unless one is open; one that the broker would soon abort is committed first,
        in the middle of the source's."""
        if self._began is not None and time.monotonic() - self._began > PART_AFTER:
            self.commit()
        if self._began is None:
            self._producer.begin()
            self._began = time.monotonic()

    def place(self, stream: str) -> Place:
        """How far a stream is, with what is not committed yet."""
        return self._places.get(stream) or self._memory.seen.get(stream) or Place(None)

    def reach(self, stream: str, place: Place) -> None:
        """With what was written so far, a stream has come to ``place``."""
        self._places[stream] = place

    def commit(self) -> None:
        """Commit, with all places that were reached.

        Raises FencedError when another copy of the pipeline writes, SinkUnavailableError when the
        outcome is for the next producer to find out.
        """
        if self._began is None:
            return
        stored = [Record(self._topic, *checkpoints.dump(*one), {}) for one in self._places.items()]
        self._producer.send(stored)
        self._memory.tried = self._places
        self._producer.commit()
        self._began = None
        self._memory.settle({**self._memory.seen, **self._places})
        self._places = {}


def take_over(cluster: Cluster, producer: Producer, topic: str, memory: Memory) -> None:
    """End what an earlier producer left open, fence it, and learn what is stored.

    Raises FencedError when another copy of the pipeline has written since we last looked.
    """
    producer.take_over()
    memory.settle(stored(cluster, topic, memory))


def stored(cluster: Cluster, topic: str, memory: Memory) -> dict[str, Place]:
    """The places that are stored. Raises FencedError when they are another copy's."""
    found = checkpoints.load(cluster, topic)
    if not memory.explains(found):
        raise FencedError(
            f"another copy of this pipeline has written to {cluster.config.brokers}",
            hint="two copies are never to run at once",
        )
    return found
