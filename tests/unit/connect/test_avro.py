"""Avro schemas of Connect schemas, and back; the converter itself is asked in tests/interop."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.connect.avro import avro_schema, connect_schema
from penstock.errors import SchemaError


def struct(*fields: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"type": "struct", "fields": list(fields), "optional": False, "name": "a.b.C"} | rest


def test_a_struct_is_a_record_of_its_name() -> None:
    schema = struct(
        {"type": "int16", "optional": True, "default": 7, "field": "n"},
        {"type": "bytes", "optional": False, "default": "/w==", "field": "b"},
        version=2,
    )
    assert avro_schema(schema) == {
        "type": "record",
        "name": "C",
        "namespace": "a.b",
        "fields": [
            {
                "name": "n",
                "type": [{"type": "int", "connect.default": 7, "connect.type": "int16"}, "null"],
                "default": 7,
            },
            {
                "name": "b",
                "type": {"type": "bytes", "connect.default": "\xff"},
                "default": "\xff",
            },
        ],
        "connect.version": 2,
        "connect.name": "a.b.C",
    }
    assert connect_schema(avro_schema(schema)) == schema


def test_a_record_is_written_once() -> None:
    inner = struct({"type": "string", "optional": False, "field": "s"}, optional=True)
    schema = struct(inner | {"field": "before"}, inner | {"field": "after"}, name="a.b.Envelope")
    before, after = avro_schema(schema)["fields"]
    assert before["type"][1]["fields"] == [{"name": "s", "type": "string"}]
    assert after == {"name": "after", "type": ["null", "C"], "default": None}
    assert connect_schema(avro_schema(schema)) == schema


def test_a_foreign_schema_is_understood() -> None:
    foreign = {
        "type": "record",
        "name": "x.Order",
        "fields": [
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "scale": 2}},
            {"name": "day", "type": {"type": "int", "logicalType": "date"}, "default": 1},
            {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 2}},
            {"name": "next", "type": ["null", {"type": "array", "items": "string"}]},
        ],
    }
    fields = {field.pop("field"): field for field in connect_schema(foreign)["fields"]}
    assert fields["kind"] == {"type": "string", "optional": False}
    assert fields["price"]["name"] == "org.apache.kafka.connect.data.Decimal"
    assert fields["price"]["parameters"] == {"scale": "2"}
    assert fields["day"]["name"] == "org.apache.kafka.connect.data.Date"
    assert fields["day"]["default"] == 1
    assert fields["hash"] == {"type": "bytes", "optional": False}
    assert fields["next"]["optional"]


def test_a_union_of_types_is_refused() -> None:
    with pytest.raises(SchemaError, match="union of 2 types"):
        connect_schema(["int", "string"])


@pytest.mark.parametrize("name", ["a-b.C", "a.1", "a..b", "ä"])
def test_a_name_that_avro_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(SchemaError, match="no name for Avro"):
        avro_schema(struct(name=name))
