"""What real servers wrote, told by every format: all types, all kinds of changes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import pytest

from penstock.connect.registry import SchemaRegistry
from penstock.formats.change import ChangeFormat
from penstock.formats.debezium import Debezium
from penstock.formats.row import RowFormat
from penstock.model import Batch, Record
from tests.support.binlog import decode, events, make_decoder
from tools.capture_binlog import BINLOGS, DATABASE, load
from tools.mysql import FLAVORS, Flavor

OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "text": {
        "decimal_handling_mode": "string",
        "time_precision_mode": "isostring",
        "binary_handling_mode": "hex",
    },
    "other": {
        "decimal_handling_mode": "double",
        "time_precision_mode": "connect",
        "bigint_unsigned_handling_mode": "precise",
        "skipped_operations": [],
    },
    "avro": {
        "schema_registry": SchemaRegistry(url="mock://"),
        "schema_name_adjustment_mode": "avro",
        "field_name_adjustment_mode": "avro",
    },
}


@cache
def batches(flavor: Flavor) -> list[Batch]:
    decoder = make_decoder(flavor, wanted=lambda schema, name: schema == DATABASE)
    return decode(decoder, events(*load(BINLOGS / f"{flavor}.gz").files))


def conforms(schema: Any, value: Any) -> bool:
    """Whether a value is what its schema says."""
    if value is None:
        return bool(schema["optional"])
    kind = schema["type"]
    if kind == "struct":
        fields = {field["field"]: field for field in schema["fields"]}
        return fields.keys() == value.keys() and all(
            conforms(fields[name], part) for name, part in value.items()
        )
    if kind == "array":
        return all(conforms(schema["items"], part) for part in value)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind.startswith("int"):
        bits = int(kind[3:]) - 1
        return type(value) is int and -(1 << bits) <= value < 1 << bits
    return isinstance(value, float if kind in ("float", "double") else str)


def of_json(records: list[Record]) -> None:
    for record in records:
        for text in (record.key, record.value):
            if text is not None:
                told = json.loads(text)
                assert conforms(told["schema"], told["payload"]), text


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("options", OPTIONS)
def test_debeziums_records_are_what_their_schemas_say(flavor: Flavor, options: str) -> None:
    format = Debezium(topic_prefix="p", **OPTIONS[options]).build()
    records = [record for batch in batches(flavor) for record in format.records(batch)]
    assert len(records) > 150
    if options != "avro":
        of_json(records)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_lines_are_json(flavor: Flavor) -> None:
    for format in (ChangeFormat(), RowFormat()):
        lines = b"".join(batch.lines(format) for batch in batches(flavor)).splitlines()
        assert len(lines) > 150
        assert all(map(json.loads, lines))
