"""What the pipeline file says of the ``kafka`` sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field, field_validator

from penstock.component import Secret, Settings, SinkComponent

if TYPE_CHECKING:
    from penstock.sinks.kafka.sink import KafkaSink

_OURS: Final = {
    "acks",
    "bootstrap.servers",
    "compression.codec",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.idempotence",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "request.required.acks",
    "retries",
    "transaction.timeout.ms",
    "transactional.id",
}


class Kafka(SinkComponent):
    """Writes records to Kafka topics.

    Parameters
    ----------
    brokers: ``host:port``, several with commas.
    compression: of the batches that are sent.
    transactions: each source transaction and its checkpoint are one Kafka transaction, so readers
        with ``isolation.level=read_committed`` see it once and whole.
    create_topics: topics that do not exist are created; otherwise the pipeline stops at them.
    partitions, replication: of created topics; -1 is the broker's default.
    topic_config: of created topics, e.g. ``{"cleanup.policy" = "compact"}``.
    too_large: what becomes of a change with a record larger than its topic takes
        (``max.message.bytes``): it stops the pipeline, or is parked, with what comes later for its
        key.
    max_parked: how many changes may be parked before the pipeline is stuck.
    delivery_timeout: seconds after which a broker that does not take a record is unavailable.
    settings: librdkafka's own, for security and tuning; values may be secrets.
    """

    extra_name: ClassVar[str] = "kafka"

    type: Literal["kafka"] = "kafka"
    brokers: str = Field(min_length=1)
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    transactions: bool = False
    create_topics: bool = True
    partitions: int = Field(default=-1, ge=-1)
    replication: int = Field(default=-1, ge=-1)
    topic_config: Mapping[str, str] = {}
    too_large: Literal["stop", "park"] = "stop"
    max_parked: int = Field(default=1000, ge=0)
    delivery_timeout: float = Field(default=30.0, gt=0)
    settings: Settings = Field(default_factory=dict)

    @field_validator("settings")
    @classmethod
    def _not_ours(cls, value: Mapping[str, Secret]) -> Mapping[str, Secret]:
        taken = sorted(_OURS & value.keys())
        if taken:
            raise ValueError(f"{', '.join(taken)}: the sink sets it itself")
        return value

    def build(self) -> KafkaSink:
        """The sink, not open yet."""
        from penstock.sinks.kafka.sink import KafkaSink

        return KafkaSink(self)
