"""Avro through a schema registry, as Confluent's and Apicurio's converters write it."""

from __future__ import annotations

from penstock.connect import Data
from penstock.connect.registry import Registry, RegistryFailure, SchemaRegistry
from penstock.errors import SinkError, SinkUnavailableError
from penstock.formats.debezium.chain import ConnectRecord
from penstock.ports import Finding


class AvroConverter:
    """Keys under the subject ``<topic>-key``, values under ``<topic>-value``.

    A registry that does not answer makes the sink unavailable, so the write is tried again.
    """

    binary = True

    def __init__(self, config: SchemaRegistry) -> None:
        self._registry = Registry(config)

    def key(self, record: ConnectRecord) -> bytes | None:
        """The bytes of its key. Raises SinkUnavailableError, SinkError, SchemaError."""
        return self._encode(f"{record.topic}-key", record.key)

    def value(self, record: ConnectRecord) -> bytes | None:
        """The bytes of its value. Raises as :meth:`key`."""
        return self._encode(f"{record.topic}-value", record.value)

    def check(self) -> list[Finding]:
        """Whether the registry answers and lets us in."""
        try:
            self._registry.check()
        except RegistryFailure as failure:
            return [Finding("error", failure.message, failure.hint, "schema-registry")]
        return []

    def close(self) -> None:
        """Let go of the registry's connection; the next record opens another."""
        self._registry.close()

    def _encode(self, subject: str, data: Data | None) -> bytes | None:
        if data is None or data.value is None:
            return None
        try:
            return self._registry.encode(subject, data)
        except RegistryFailure as failure:
            kind = SinkUnavailableError if failure.away else SinkError
            raise kind(failure.message, hint=failure.hint) from failure
