"""Avro whose schemas are in a schema registry."""

from __future__ import annotations

from penstock.connect.registry import Registry, RegistryFailure, SchemaRegistry
from penstock.errors import ConnectionLostError, SourceError
from penstock.sources.kafka.codec import Decoded


class AvroCodec:
    """Keeps the schemas that it asked for."""

    def __init__(self, config: SchemaRegistry) -> None:
        self._registry = Registry(config)

    def decode(self, topic: str, data: bytes) -> Decoded:
        """Schema and value.

        Raises
        ------
        ValueError: the bytes do not begin with a schema's id, or are not of that schema.
        ConnectionLostError: the registry is away.
        SourceError: it has no such schema, or refuses us.
        """
        try:
            found = self._registry.decode(data)
        except RegistryFailure as failure:
            kind = ConnectionLostError if failure.away else SourceError
            hint = failure.hint
            if failure.unknown:
                hint = "is it the registry that the topic was written with?"
            raise kind(f"topic {topic!r}: {failure.message}", hint=hint) from failure
        return Decoded(found.schema, found.value)

    def close(self) -> None:
        """Disconnect."""
        self._registry.close()
