"""What every client of the sink is made with, and what a cluster says without being asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigError, SinkError, SinkUnavailableError
from penstock.ports import Context
from penstock.registry import driver
from penstock.sinks.kafka.deadline import Deadline
from penstock.sinks.kafka.failures import explain

if TYPE_CHECKING:
    from penstock.sinks.kafka.config import Kafka


class Cluster:
    """The brokers as the configuration names them.

    librdkafka tells of its own accord of brokers that are away, and goes on trying. That is for
    time-outs to judge; of a refusal it is the only sign.

    Parameters
    ----------
    stopping: whether nobody waits for the work any more.

    Attributes
    ----------
    failure: what was refused to one of the clients; set once.
    """

    def __init__(self, config: Kafka, context: Context, stopping: Callable[[], bool]) -> None:
        self.config = config
        self.failure: SinkError | None = None
        self._context = context
        self._stopping = stopping
        self._said = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What a client is made with."""
        given = {name: text.get_secret_value() for name, text in self.config.settings.items()}
        return {
            "log_level": 0,
            **given,
            "bootstrap.servers": self.config.brokers,
            "error_cb": self._note,
        }

    def client(self, module: str, kind: str, settings: dict[str, Any]) -> Any:
        """A client of confluent-kafka. Raises ConfigError for settings that librdkafka refuses."""
        made = getattr(driver(module, "kafka"), kind)
        confluent = driver("confluent_kafka", "kafka")
        try:
            return made(settings)
        except confluent.KafkaException as error:
            raise ConfigError(
                f"the kafka sink's settings: {error.args[0].str()}",
                hint="settings are librdkafka's own, by its names (CONFIGURATION.md)",
            ) from error

    def deadline(self) -> Deadline:
        """Ends a wait for the brokers."""
        return Deadline(self.config.delivery_timeout, self._stopping)

    def away(self, what: str) -> SinkError:
        """What to raise when a wait was in vain."""
        text = f"{what}: nothing from {self.config.brokers} in {self.config.delivery_timeout:g} s"
        return self.failure or SinkUnavailableError(f"{text}; {self._said}" if self._said else text)

    def check(self) -> None:
        """Raise what was refused."""
        if self.failure is not None:
            raise self.failure

    def fail(self, failure: SinkError) -> None:
        """Something was refused."""
        self.failure = self.failure or failure

    def _note(self, error: Any) -> None:
        failure = explain(f"Kafka at {self.config.brokers}", error)
        if not isinstance(failure, SinkUnavailableError):
            self.fail(failure)
            return
        self._said = error.str()
        self._context.logger.info("kafka: %s", self._said)
