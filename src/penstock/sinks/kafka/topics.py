"""Topics: those that are missing are created, or stop the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.errors import SinkError
from penstock.registry import driver
from penstock.sinks.kafka.failures import explain, raised

if TYPE_CHECKING:
    from penstock.sinks.kafka.config import Kafka

_LARGEST = 1_048_588
"""What a broker takes by default, in bytes."""


class Topics:
    """What is known of the topics that records went to; asks the cluster once a topic."""

    def __init__(self, settings: dict[str, Any], config: Kafka) -> None:
        self._admin = driver("confluent_kafka.admin", "kafka").AdminClient(settings)
        self._config = config
        self._largest: dict[str, int] = {}

    def known(self, timeout: float) -> set[str]:
        """The names of all topics. Raises as :func:`penstock.sinks.kafka.failures.explain`."""
        confluent = driver("confluent_kafka", "kafka")
        try:
            return set(self._admin.list_topics(timeout=timeout).topics)
        except confluent.KafkaException as error:
            raise raised(f"cannot ask {self._config.brokers} for its topics", error) from error

    def largest(self, topic: str, timeout: float) -> int:
        """The largest record, in bytes, that a topic surely takes; the topic is created when it
        is missing.

        Raises SinkError when it is missing and must not, or cannot, be created.
        """
        found = self._largest.get(topic)
        if found is None:
            if topic not in self.known(timeout):
                self._create(topic, timeout)
            found = self._largest[topic] = self._limit(topic, timeout)
        return found

    def ensure(self, topic: str, timeout: float, **config: str) -> None:
        """Create a topic of one partition with its own configuration, unless it is there."""
        if topic not in self.known(timeout):
            self._new(topic, 1, config, timeout)

    def delete(self, topic: str) -> bool:
        """Delete a topic; whether it was there."""
        confluent = driver("confluent_kafka", "kafka")
        try:
            self._admin.delete_topics([topic])[topic].result()
        except confluent.KafkaException as error:
            if error.args[0].name() == "UNKNOWN_TOPIC_OR_PART":
                return False
            raise explain(f"cannot delete topic {topic!r}", error.args[0]) from error
        return True

    def _create(self, topic: str, timeout: float) -> None:
        if not self._config.create_topics:
            raise SinkError(
                f"there is no topic {topic!r} on {self._config.brokers}",
                hint="create it, or set create_topics = true",
            )
        self._new(topic, self._config.partitions, dict(self._config.topic_config), timeout)

    def _new(self, topic: str, partitions: int, config: dict[str, str], timeout: float) -> None:
        confluent = driver("confluent_kafka", "kafka")
        new = driver("confluent_kafka.admin", "kafka").NewTopic(
            topic, partitions, self._config.replication, config=config
        )
        future = self._admin.create_topics([new], operation_timeout=timeout)[topic]
        try:
            future.result()
        except confluent.KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise explain(f"cannot create topic {topic!r}", error.args[0]) from error

    def _limit(self, topic: str, timeout: float) -> int:
        """``max.message.bytes``, or the usual one where our user may not ask."""
        confluent = driver("confluent_kafka", "kafka")
        resource = driver("confluent_kafka.admin", "kafka").ConfigResource("topic", topic)
        try:
            found = self._admin.describe_configs([resource], request_timeout=timeout)[resource]
            return int(found.result()["max.message.bytes"].value)
        except (confluent.KafkaException, KeyError, TypeError, ValueError):
            return _LARGEST
