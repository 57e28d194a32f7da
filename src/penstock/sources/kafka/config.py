"""What the pipeline file says of the ``kafka`` source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field, field_validator

from penstock.component import Component, Secret, Settings
from penstock.connect.registry import SchemaRegistry
from penstock.sources.kafka.decoder import PLACEHOLDER

if TYPE_CHECKING:
    from penstock.sources.kafka.source import KafkaSource

_OURS: Final = {
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "isolation.level",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
}


class Kafka(Component):
    """Topics of Kafka that Debezium or penstock wrote, read by a group of any number of workers.

    Parameters
    ----------
    brokers: ``host:port``, several with commas.
    topics: names; one that begins with ``^`` is a regular expression.
    group: the consumer group; ``penstock.<pipeline>`` by default.
    start: where a partition begins that the group never read: ``earliest`` or ``latest``. One
        that is added to a topic later is always read from its beginning.
    schema_registry: where keys and values are Avro.
    whole_rows: patterns ``schema.table`` of tables whose old rows are whole (REPLICA IDENTITY
        FULL): Debezium does not tell them from others, of which only the key is believed.
    placeholder: Debezium's ``unavailable.value.placeholder``.
    poison: a record that is no change stops the pipeline, or is parked.
    session_timeout: seconds after which a worker that was not heard of loses its partitions.
    poll_timeout: seconds in which a worker must hand over what it has when others come or go.
    settings: librdkafka's own, for security and tuning; values may be secrets.
    """

    extra_name: ClassVar[str] = "kafka"

    type: Literal["kafka"] = "kafka"
    brokers: str = Field(min_length=1)
    topics: tuple[str, ...] = Field(min_length=1)
    group: str = ""
    start: Literal["earliest", "latest"] = "earliest"
    schema_registry: SchemaRegistry | None = None
    whole_rows: tuple[str, ...] = ()
    placeholder: str = PLACEHOLDER
    poison: Literal["stop", "park"] = "stop"
    session_timeout: float = Field(default=30.0, ge=1)
    poll_timeout: float = Field(default=300.0, ge=1)
    settings: Settings = Field(default_factory=dict)

    @field_validator("topics")
    @classmethod
    def _expressions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for topic in value:
            if topic.startswith("^"):
                try:
                    re.compile(topic)
                except re.error as error:
                    raise ValueError(f"{topic!r} is no regular expression: {error}") from None
        return value

    @field_validator("settings")
    @classmethod
    def _not_ours(cls, value: Mapping[str, Secret]) -> Mapping[str, Secret]:
        taken = sorted(_OURS & value.keys())
        if taken:
            raise ValueError(f"{', '.join(taken)}: the source sets it itself")
        return value

    def build(self) -> KafkaSource:
        """The source, not open yet."""
        from penstock.sources.kafka.source import KafkaSource

        return KafkaSource(self)
