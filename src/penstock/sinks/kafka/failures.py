"""librdkafka's errors as ours: what is tried again, what stops, who was fenced."""

from __future__ import annotations

from typing import Any, Final

from penstock.errors import FencedError, SinkError, SinkUnavailableError
from penstock.registry import driver

_FENCED: Final = ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "_FATAL")
"""That may be: who is told only that the producer has ended, is not told why."""
_REFUSED: Final = {
    "_AUTHENTICATION": "check the user and password in settings (sasl.*)",
    "SASL_AUTHENTICATION_FAILED": "check the user and password in settings (sasl.*)",
    "_SSL": "check security.protocol and the ssl.* settings",
    "TOPIC_AUTHORIZATION_FAILED": "let our user Write, Describe and Create this topic",
    "CLUSTER_AUTHORIZATION_FAILED": "let our user IdempotentWrite on the cluster",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "let our user Write the transactional id",
    "INVALID_REPLICATION_FACTOR": "there are fewer brokers: set replication",
    "INVALID_PARTITIONS": "set partitions to a number that the broker allows",
    "POLICY_VIOLATION": "create the topic by hand, or set partitions, replication, topic_config",
    "INVALID_CONFIG": "check topic_config",
    "INVALID_TOPIC_EXCEPTION": "Kafka takes letters, digits, '.', '_' and '-' in a topic's name",
    "TOPIC_EXCEPTION": "Kafka takes letters, digits, '.', '_' and '-' in a topic's name",
    "MSG_SIZE_TOO_LARGE": "raise max.message.bytes of the topic",
    "INVALID_MSG": "a compacted topic takes no record without a key",
    "INVALID_RECORD": "a compacted topic takes no record without a key",
}


def explain(what: str, error: Any) -> SinkError:
    """Our error for a ``KafkaError`` that came while doing ``what``."""
    name = error.name()
    text = f"{what}: {error.str()} ({name})"
    if name in _FENCED:
        return FencedError(
            text,
            hint="another copy of this pipeline writes now; two are never to run at once",
        )
    if name in _REFUSED:
        return SinkError(text, hint=_REFUSED[name])
    return SinkUnavailableError(text)


def raised(what: str, exception: Exception) -> SinkError:
    """Our error for an exception of confluent-kafka."""
    confluent = driver("confluent_kafka", "kafka")
    found = exception.args[0] if exception.args else None
    if isinstance(found, confluent.KafkaError):
        return explain(what, found)
    return SinkError(f"{what}: {exception}")
