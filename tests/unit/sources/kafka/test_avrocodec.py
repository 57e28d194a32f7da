"""Avro as the kafka source reads it."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryError

from penstock.connect import Data
from penstock.connect.registry import Registry, SchemaRegistry
from penstock.errors import ConnectionLostError, SourceError
from penstock.sources.kafka.avrocodec import AvroCodec

CONFIG = SchemaRegistry(url="mock://")
SCHEMA = {"type": "string", "optional": False}


def codec(monkeypatch: pytest.MonkeyPatch, client: Any) -> AvroCodec:
    monkeypatch.setattr(SchemaRegistry, "client", lambda self: client)
    return AvroCodec(CONFIG)


def test_values_come_with_their_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    client = CONFIG.client()
    message = Registry(CONFIG, client).encode("t-value", Data(SCHEMA, "x"))
    made = codec(monkeypatch, client)
    found = made.decode("t", message)
    assert (found.schema, found.value) == (SCHEMA, "x")
    assert made.decode("t", message).schema is found.schema
    made.close()


class Refusing:
    """A client whose registry answers with an error, or not at all."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_schema(self, id: int) -> Any:
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "hint"),
    [
        (OSError("refused"), ConnectionLostError, ""),
        (SchemaRegistryError(503, 50003, "no leader"), ConnectionLostError, ""),
        (SchemaRegistryError(401, 401, "who are you"), SourceError, "basic.auth.user.info"),
        (SchemaRegistryError(404, 40403, "no such"), SourceError, "is it the registry"),
    ],
)
def test_what_the_registry_says_is_the_sources_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[SourceError], hint: str
) -> None:
    made = codec(monkeypatch, Refusing(error))
    with pytest.raises(SourceError, match="topic 't': no schema has the id 7") as caught:
        made.decode("t", b"\0\0\0\0\x07")
    assert type(caught.value) is kind
    assert hint in (caught.value.hint or "")
