"""What every client of the source is made with, and librdkafka's errors as ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import (
    ConfigError,
    ConnectionLostError,
    GapError,
    PenstockError,
    PrivilegeError,
    SourceError,
)
from penstock.registry import driver

if TYPE_CHECKING:
    from penstock.sources.kafka.config import Kafka

PATIENCE: Final = 10.0
"""Seconds that a question to the brokers may take."""

_TRY: Final = 1.0

_LOGIN: Final = "check the user and password in settings (sasl.*)"
_REFUSED: Final[dict[str, tuple[type[SourceError], str]]] = {
    "_AUTHENTICATION": (SourceError, _LOGIN),
    "SASL_AUTHENTICATION_FAILED": (SourceError, _LOGIN),
    "_SSL": (SourceError, "check security.protocol and the ssl.* settings"),
    "TOPIC_AUTHORIZATION_FAILED": (PrivilegeError, "let our user Read and Describe this topic"),
    "GROUP_AUTHORIZATION_FAILED": (PrivilegeError, "let our user Read this group"),
    "CLUSTER_AUTHORIZATION_FAILED": (PrivilegeError, "let our user Describe the cluster"),
    "_AUTO_OFFSET_RESET": (
        GapError,
        "the broker deleted records that were not read yet (retention): begin again with "
        "`penstock teardown`, or read what is there with another group",
    ),
    "OFFSET_METADATA_TOO_LARGE": (
        SourceError,
        "give the sinks shorter names, or raise offset.metadata.max.bytes at the brokers",
    ),
    "INVALID_SESSION_TIMEOUT": (
        SourceError,
        "set session_timeout between the brokers' group.min.session.timeout.ms and "
        "group.max.session.timeout.ms",
    ),
    "UNSUPPORTED_SASL_MECHANISM": (SourceError, "check sasl.mechanism in settings"),
    "INCONSISTENT_GROUP_PROTOCOL": (
        SourceError,
        "another kind of consumer is a member of this group: give this pipeline its own",
    ),
}


def explain(what: str, error: Any) -> SourceError:
    """Our error for a ``KafkaError`` that came while doing ``what``."""
    name = error.name()
    text = f"{what}: {error.str()} ({name})"
    if name in _REFUSED:
        kind, hint = _REFUSED[name]
        return kind(text, hint=hint)
    return SourceError(text) if error.fatal() else ConnectionLostError(text)


def explained(what: str, exception: Exception) -> PenstockError:
    """Our error for an exception of confluent-kafka."""
    found = exception.args[0] if exception.args else None
    if isinstance(found, driver("confluent_kafka", "kafka").KafkaError):
        return explain(what, found)
    return SourceError(f"{what}: {exception}")


class Errors:
    """What librdkafka says unasked: of a refusal it is the only sign.

    Attributes
    ----------
    refused: what no waiting will mend.
    said: the last thing that it said.
    """

    def __init__(self, brokers: str, note: Callable[[str], None] = lambda text: None) -> None:
        self.refused: SourceError | None = None
        self.said = ""
        self._brokers = brokers
        self._note = note

    def __call__(self, error: Any) -> None:
        """librdkafka's ``error_cb``."""
        found = explain(f"Kafka at {self._brokers}", error)
        if isinstance(found, ConnectionLostError):
            self.said = error.str()
            self._note(self.said)
        else:
            self.refused = self.refused or found

    def of(self, failure: PenstockError) -> PenstockError:
        """The better of two reasons."""
        if self.refused is not None:
            return self.refused
        if self.said and self.said not in failure.message:
            failure.message += f"; {self.said}"
        return failure


def settings(config: Kafka, errors: Errors) -> dict[str, Any]:
    """What each client is made with."""
    given = {name: text.get_secret_value() for name, text in config.settings.items()}
    return {"log_level": 0, **given, "bootstrap.servers": config.brokers, "error_cb": errors}


def made(module: str, kind: str, settings: dict[str, Any]) -> Any:
    """A client of confluent-kafka. Raises ConfigError for settings that librdkafka refuses."""
    make = getattr(driver(module, "kafka"), kind)
    try:
        return make(settings)
    except driver("confluent_kafka", "kafka").KafkaException as error:
        raise ConfigError(
            f"the kafka source's settings: {error.args[0].str()}",
            hint="settings are librdkafka's own, by its names (CONFIGURATION.md)",
        ) from error


def topics_of(consumer: Any, errors: Errors, what: str) -> dict[str, list[int]]:
    """The partitions of all topics that there are; stops asking as soon as we are refused.

    Raises ConnectionLostError when no broker answers, SourceError when they refuse us.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = consumer.list_topics(timeout=min(_TRY, PATIENCE)).topics
        except driver("confluent_kafka", "kafka").KafkaException as error:
            consumer.poll(0)  # hears why
            if errors.refused is not None or time.monotonic() > deadline:
                raise errors.of(explained(what, error)) from error
        else:
            return {name: sorted(topic.partitions) for name, topic in found.items()}
