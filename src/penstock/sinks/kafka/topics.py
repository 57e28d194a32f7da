"""Topics: those that are missing are created, or stop the pipeline."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from penstock.errors import SinkError, SinkUnavailableError
from penstock.registry import driver
from penstock.sinks.kafka.client import Cluster
from penstock.sinks.kafka.deadline import SLICE
from penstock.sinks.kafka.failures import explain, raised

_LARGEST: Final = 1_048_588
"""What a broker takes by default, in bytes."""


class Topics:
    """What is known of the topics that records went to; asks the cluster once a topic."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._config = cluster.config
        self._exception = driver("confluent_kafka", "kafka").KafkaException
        self._admin = cluster.client("confluent_kafka.admin", "AdminClient", cluster.settings)
        self._largest: dict[str, int] = {}

    def known(self) -> set[str]:
        """The names of all topics.

        Raises SinkUnavailableError when no broker answers, SinkError when they refuse us.
        """
        deadline = self._cluster.deadline()
        what = f"cannot ask {self._config.brokers} for its topics"
        while True:
            try:
                return set(self._admin.list_topics(timeout=5 * SLICE).topics)
            except self._exception as error:
                self._admin.poll(0)
                self._cluster.check()
                failure = raised(what, error)
                if not isinstance(failure, SinkUnavailableError):
                    raise failure from error
                if deadline.passed:
                    raise self._cluster.away(what) from error

    def largest(self, topic: str) -> int:
        """The largest record, in bytes, that a topic surely takes; the topic is created when it
        is missing.

        Raises SinkError when it is missing and must not, or cannot, be created.
        """
        found = self._largest.get(topic)
        if found is None:
            self.ensure(topic, self._config.partitions, self._config.topic_config)
            found = self._largest[topic] = self._limit(topic)
        return found

    def ensure(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        """Create a topic unless it is there. Raises SinkError when that must not, or cannot, be."""
        if topic in self.known():
            return
        if not self._config.create_topics:
            wanted = "".join(f", {name}={value}" for name, value in config.items())
            raise SinkError(
                f"there is no topic {topic!r} on {self._config.brokers}",
                hint=f"create it{wanted and ' with' + wanted[1:]}, or set create_topics = true",
            )
        made = driver("confluent_kafka.admin", "kafka").NewTopic(
            topic, partitions, self._config.replication, config=dict(config)
        )
        try:
            self._ask(self._admin.create_topics([made], **self._times)[topic])
        except self._exception as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise explain(f"cannot create topic {topic!r}", error.args[0]) from error

    def end(self, topic: str) -> int:
        """Where the first partition of a topic ends for readers of what is committed.

        A broker that has just taken a partition over may not know yet that its last records are
        committed, and ends there for who reads; asked for its end, it makes us wait (KIP-207).
        """
        deadline = self._cluster.deadline()
        confluent = driver("confluent_kafka", "kafka")
        admin = driver("confluent_kafka.admin", "kafka")
        partition = confluent.TopicPartition(topic, 0)
        while True:
            asked = self._admin.list_offsets(
                {partition: admin.OffsetSpec.latest()},
                isolation_level=confluent.IsolationLevel.READ_COMMITTED,
                **self._times,
            )
            try:
                return int(self._ask(asked[partition]).offset)
            except self._exception as error:
                what = f"cannot find the end of topic {topic!r}"
                failure = raised(what, error)
                if not isinstance(failure, SinkUnavailableError):
                    raise failure from error
                if deadline.passed:
                    raise self._cluster.away(what) from error
            time.sleep(SLICE)

    def delete(self, topic: str) -> bool:
        """Delete a topic; whether it was there."""
        try:
            self._ask(self._admin.delete_topics([topic], **self._times)[topic])
        except self._exception as error:
            if error.args[0].name() == "UNKNOWN_TOPIC_OR_PART":
                return False
            raise explain(f"cannot delete topic {topic!r}", error.args[0]) from error
        return True

    def _limit(self, topic: str) -> int:
        """``max.message.bytes``, or the usual one where our user may not ask."""
        resource = driver("confluent_kafka.admin", "kafka").ConfigResource("topic", topic)
        asked = self._admin.describe_configs([resource], **self._times)[resource]
        try:
            return int(self._ask(asked)["max.message.bytes"].value)
        except (self._exception, KeyError, TypeError, ValueError):
            return _LARGEST

    @property
    def _times(self) -> dict[str, float]:
        return {"request_timeout": self._config.delivery_timeout}

    def _ask(self, answer: Any) -> Any:
        """Wait for an answer, as long as somebody waits for us."""
        deadline = self._cluster.deadline()
        while True:
            try:
                return answer.result(SLICE)
            except TimeoutError:
                if deadline.passed:
                    raise self._cluster.away("an administrator's request") from None
