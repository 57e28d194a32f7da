"""What can be seen and done without being a member of the group. Blocking."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError, SourceError
from penstock.ports import Finding
from penstock.registry import driver
from penstock.sources.kafka import offsets
from penstock.sources.kafka.client import (
    PATIENCE,
    Errors,
    explained,
    made,
    settings,
    topics_of,
)
from penstock.sources.kafka.place import stream_of

if TYPE_CHECKING:
    from penstock.sources.kafka.config import Kafka


def group_of(pipeline: str) -> str:
    """The consumer group that a pipeline has unless it names another."""
    return f"penstock.{pipeline}"


class _View:
    """A consumer that joins nothing."""

    def __init__(self, config: Kafka, pipeline: str) -> None:
        self.config = config
        self.group = config.group or group_of(pipeline)
        self.errors = Errors(config.brokers)
        self._confluent = driver("confluent_kafka", "kafka")
        given = {**settings(config, self.errors), "group.id": self.group}
        self.consumer = made("confluent_kafka", "Consumer", given)

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._confluent.KafkaException as error:
            raise self.errors.of(explained(what, error)) from error

    def topics(self) -> dict[str, list[int]]:
        """The topics that are asked for, and are there."""
        what = f"cannot ask {self.config.brokers} for its topics"
        return {
            name: partitions
            for name, partitions in topics_of(self.consumer, self.errors, what).items()
            if any(re.match(t, name) if t[:1] == "^" else t == name for t in self.config.topics)
        }

    def partitions(self) -> list[Any]:
        """All partitions of these topics."""
        return [
            self._confluent.TopicPartition(name, partition)
            for name, partitions in self.topics().items()
            for partition in partitions
        ]

    def committed(self) -> list[Any]:
        """The same with the group's offsets."""
        partitions = self.partitions()
        if not partitions:
            return []
        with self.asking(f"cannot ask for the offsets of group {self.group!r}"):
            return list(self.consumer.committed(partitions, timeout=PATIENCE))

    def range(self, one: Any) -> tuple[int, int]:
        """The first offset that a partition has, and the one after its last."""
        with self.asking("cannot ask for the ends of the topics"):
            low, high = self.consumer.get_watermark_offsets(one, timeout=PATIENCE)
        return low, high


@contextmanager
def _view(config: Kafka, pipeline: str) -> Iterator[_View]:
    view = _View(config, pipeline)
    try:
        yield view
    finally:
        view.consumer.close()


def check(config: Kafka, pipeline: str) -> list[Finding]:
    """What would keep the source from reading."""
    try:
        with _view(config, pipeline) as view:
            found = view.topics()
            findings = [
                Finding("error", f"there is no topic {name!r}", "create it, or leave it out")
                for name in config.topics
                if name[:1] != "^" and name not in found
            ]
            if not found and not findings:
                findings.append(
                    Finding("warning", f"no topic is called {' or '.join(config.topics)} yet")
                )
            for one in view.committed():
                if one.offset >= 0:
                    stream = stream_of(one.topic, one.partition)
                    offsets.load(pipeline, view.group, stream, one.metadata)
            return findings
    except PenstockError as error:
        return [Finding("error", error.message, error.hint, error.code)]


def status(config: Kafka, pipeline: str) -> dict[str, Any]:
    """The group, and each partition's committed offset, end, and records between them.

    Raises SourceError when it cannot be asked.
    """
    with _view(config, pipeline) as view:
        partitions: dict[str, dict[str, Any]] = {}
        for one in view.committed():
            low, high = view.range(one)
            at = one.offset if one.offset >= 0 else None
            partitions[stream_of(one.topic, one.partition)] = {
                "committed": at,
                "end": high,
                "lag": high - (low if at is None else at),
            }
        lag = sum(partition["lag"] for partition in partitions.values())
        return {"group": view.group, "lag": lag, "partitions": partitions}


def ends(config: Kafka, pipeline: str) -> dict[str, int]:
    """The offsets at which all partitions end now. Raises SourceError when they cannot be asked."""
    with _view(config, pipeline) as view:
        return {
            stream_of(one.topic, one.partition): view.range(one)[1] for one in view.partitions()
        }


def teardown(config: Kafka, pipeline: str) -> list[str]:
    """Delete the group; what was deleted. Raises SourceError while it has members."""
    group = config.group or group_of(pipeline)
    errors = Errors(config.brokers)
    admin = made("confluent_kafka.admin", "AdminClient", settings(config, errors))
    try:
        admin.delete_consumer_groups([group], request_timeout=PATIENCE)[group].result()
    except driver("confluent_kafka", "kafka").KafkaException as error:
        name = error.args[0].name()
        if name == "GROUP_ID_NOT_FOUND":
            return []
        if name == "NON_EMPTY_GROUP":
            raise SourceError(
                f"group {group!r} has members: the pipeline runs", hint="stop all workers first"
            ) from error
        raise errors.of(explained(f"cannot delete group {group!r}", error)) from error
    return [f"consumer group {group}"]
