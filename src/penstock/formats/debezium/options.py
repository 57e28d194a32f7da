"""The options of the format ``debezium``: the connector's and the converter's own, by their names
with underscores, and with their defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field, field_validator

from penstock.component import Component
from penstock.connect.registry import SchemaRegistry
from penstock.formats.debezium.names import Adjustment
from penstock.formats.debezium.outbox import Outbox
from penstock.formats.debezium.route import Route
from penstock.formats.debezium.unwrap import Unwrap

if TYPE_CHECKING:
    from penstock.formats.debezium.chain import Converter, DerivedFormat
    from penstock.formats.debezium.format import DebeziumFormat

DecimalMode = Literal["precise", "string", "double"]
TimeMode = Literal[
    "adaptive",
    "adaptive_time_microseconds",
    "connect",
    "isostring",
    "microseconds",
    "nanoseconds",
]
BinaryMode = Literal["bytes", "base64", "base64-url-safe", "hex"]
IntervalMode = Literal["numeric", "string"]
BigintUnsignedMode = Literal["long", "precise"]
HstoreMode = Literal["json", "map"]
Skipped = Literal["c", "u", "d", "t"]


ID_HEADER: Final = "penstock.id"
"""The header that names the change: the same on every repeat, for all records of one change."""


class Debezium(Component):
    """What Debezium's connectors for PostgreSQL, MySQL and MariaDB write, without Debezium.

    Parameters
    ----------
    topic_prefix: the first part of topics and schema names, and ``source.name``; the pipeline's
        name where it is empty.
    schemas: each key and value with its schema, as Connect's JSON converter has it by default.
    replace_null_with_default: a null in a column with a default is written as that default, as
        that converter does; False keeps the null.
    decimal_handling_mode, time_precision_mode, binary_handling_mode, interval_handling_mode,
    hstore_handling_mode, money_fraction_digits, unavailable_value_placeholder,
    include_unknown_datatypes, bigint_unsigned_handling_mode, enable_time_adjuster: as the
        connector's.
    tombstones_on_delete: a delete is followed by a record without a value, for compaction.
    skipped_operations: changes of which no records are made.
    message_key_columns: for tables (patterns such as ``public.*``), the columns of their key.
    provide_transaction_metadata: BEGIN and END of each transaction to a topic of their own, and
        every change's place in it.
    context_headers: the headers ``__debezium.context.*``.
    schema_registry: Avro instead of JSON, with its schemas in this registry.
    schema_name_adjustment_mode, field_name_adjustment_mode: names of schemas and columns are made
        such as Avro allows: ``avro`` by underscores, ``avro_unicode`` by ``_u0020``.
    outbox: rows of outbox tables as the events that they hold (``EventRouter``).
    route: tables share topics (``ByLogicalTableRouter``).
    unwrap: rows without their envelopes (``ExtractNewRecordState``), after ``route``.
    heartbeat_interval_ms: a heartbeat follows a batch that ends so long after the last, in ms;
        0 for none. Where nothing happens a batch is as rare as the server's signs of life, and
        no oftener than every ten seconds.
    """

    type: Literal["debezium"] = "debezium"
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    schemas: bool = True
    replace_null_with_default: bool = True
    decimal_handling_mode: DecimalMode = "precise"
    time_precision_mode: TimeMode = "adaptive"
    binary_handling_mode: BinaryMode = "bytes"
    interval_handling_mode: IntervalMode = "numeric"
    hstore_handling_mode: HstoreMode = "json"
    money_fraction_digits: int = Field(default=2, ge=0)
    unavailable_value_placeholder: str = "__debezium_unavailable_value"
    include_unknown_datatypes: bool = False
    bigint_unsigned_handling_mode: BigintUnsignedMode = "long"
    enable_time_adjuster: bool = True
    tombstones_on_delete: bool = True
    skipped_operations: frozenset[Skipped] = frozenset({"t"})
    message_key_columns: Mapping[str, tuple[str, ...]] = {}
    provide_transaction_metadata: bool = False
    context_headers: bool = True
    schema_registry: SchemaRegistry | None = None
    schema_name_adjustment_mode: Adjustment = "none"
    field_name_adjustment_mode: Adjustment = "none"
    outbox: Outbox | None = None
    route: Route | None = None
    unwrap: Unwrap | None = None
    heartbeat_interval_ms: int = Field(default=0, ge=0)

    extra_name: ClassVar[str] = ""

    @field_validator("message_key_columns")
    @classmethod
    def _not_empty(cls, value: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        for pattern, columns in value.items():
            if not columns:
                raise ValueError(f"{pattern!r} names no column")
        return value

    def build(self, pipeline: str = "penstock") -> DebeziumFormat | DerivedFormat:
        """The format; ``pipeline`` names the topics where no prefix is given."""
        from penstock.formats.debezium.format import DebeziumFormat

        options = self.model_copy(update={"topic_prefix": self.topic_prefix or pipeline})
        if options.derived:
            return options.derive(options.converter())
        return DebeziumFormat(options)

    @property
    def derived(self) -> bool:
        """Whether the records are more than the connector's own in JSON."""
        adjusted = (self.schema_name_adjustment_mode, self.field_name_adjustment_mode)
        return adjusted != ("none", "none") or any(
            (self.schema_registry, self.outbox, self.route, self.unwrap, self.heartbeat_interval_ms)
        )

    def converter(self) -> Converter:
        """What makes bytes of keys and values."""
        if self.schema_registry is not None:
            from penstock.formats.debezium.avro import AvroConverter

            return AvroConverter(self.schema_registry)
        from penstock.formats.debezium.chain import JsonConverter

        return JsonConverter(self.schemas)

    def derive(self, converter: Converter) -> DerivedFormat:
        """The format whose records are made of the connector's."""
        from penstock.formats.debezium.chain import DerivedFormat, Step
        from penstock.formats.debezium.format import DebeziumFormat
        from penstock.formats.debezium.heartbeat import Heartbeats
        from penstock.formats.debezium.names import NamesStep

        steps: list[Step] = []
        adjusted = self.schema_name_adjustment_mode, self.field_name_adjustment_mode
        if adjusted != ("none", "none"):
            steps.append(NamesStep(*adjusted))
        parts = (self.outbox, self.route, self.unwrap)
        steps += [part.build() for part in parts if part is not None]
        connector = DebeziumFormat(self.model_copy(update={"schemas": True}))
        interval = self.heartbeat_interval_ms
        extra = Heartbeats(self.topic_prefix, interval) if interval else None
        return DerivedFormat(self.type, connector, steps, converter, extra)


def topic_name(*parts: str) -> str:
    """A topic of these parts: what Kafka does not allow is an underscore, and 249 is the most."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", ".".join(parts))[:249]
