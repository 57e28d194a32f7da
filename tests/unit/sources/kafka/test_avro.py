"""Avro through a schema registry."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from penstock.connect.registry import SchemaRegistry
from penstock.errors import DecodeError, SourceError
from penstock.formats.debezium import Debezium
from penstock.model import Change, EventBatch
from penstock.sources.kafka.avrocodec import AvroCodec
from penstock.sources.kafka.decoder import Consumed, Decoder, Shapes
from tests.unit.sources.kafka.test_decoder import change


def test_the_same_comes_out_of_avro(monkeypatch: pytest.MonkeyPatch) -> None:
    clients: dict[str, Any] = {}
    make = SchemaRegistry.client

    def shared(self: SchemaRegistry) -> Any:
        return clients.setdefault(self.url, make(self))

    monkeypatch.setattr(SchemaRegistry, "client", shared)
    format = Debezium(topic_prefix="db", schema_registry="mock://one").build()
    given = change("insert", None, [b"1", b"a", b"1.50"])
    (record,) = format.records(EventBatch("main", [given]))
    assert record.value is not None
    assert record.value[:1] == b"\0"
    codec = AvroCodec(SchemaRegistry(url="mock://one"))
    headers: Any = {name: text.encode() for name, text in record.headers.items()}
    found = Decoder("t", 0, Shapes(codec)).decode(
        Consumed("t", 0, 0, record.key, record.value, headers)
    )[-1]
    assert isinstance(found, Change)
    assert found.id == given.id
    assert dict(found.after or {}) == {"id": 1, "note": "a", "price": Decimal("1.50")}
    assert [c.type.sql for c in found.definition.columns] == ["integer", "text", "numeric(10,2)"]


def test_an_unknown_schema_id_stops() -> None:
    decoder = Decoder("t", 0, Shapes(AvroCodec(SchemaRegistry(url="mock://two"))))
    with pytest.raises(SourceError, match="no schema has the id 7") as raised:
        decoder.decode(Consumed("t", 0, 0, None, b"\0\0\0\0\7rest"))
    assert "is it the registry" in raised.value.hint


def test_what_is_not_avro_is_poison() -> None:
    decoder = Decoder("t", 0, Shapes(AvroCodec(SchemaRegistry(url="mock://three"))))
    with pytest.raises(DecodeError, match="record 0 of t/0"):
        decoder.decode(Consumed("t", 0, 0, None, b'{"op":"c"}'))
