"""Names of schemas and fields, made such as Avro allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import orjson

from penstock.connect import Data, Schema
from penstock.formats.debezium.chain import (
    NEW_KEY,
    OLD_KEY,
    ConnectRecord,
    Derived,
    is_envelope,
)

Adjustment = Literal["none", "avro", "avro_unicode"]
Adjust = Callable[[str], str]

_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_FIRST: Final = _LETTERS | {"_"}
_SIDES: Final = ("before", "after")
_DIGITS: Final = frozenset("0123456789")
_OTHER: Final = _FIRST | _DIGITS


def adjusted(mode: Adjustment, *, column: bool) -> Adjust:
    """What gives names another form: ``avro`` replaces a character by an underscore,
    ``avro_unicode`` by its number (an underscore too). A digit that begins a column's name is kept
    by ``avro``, after an underscore."""
    if mode == "none":
        return lambda name: name
    unicode = mode == "avro_unicode"
    others = (_OTHER - {"_"} if unicode else _OTHER) | (set() if column else {"."})
    firsts = _LETTERS if unicode else _FIRST

    def replaced(character: str) -> str:
        return f"_u{ord(character):04x}" if unicode else "_"

    def adjust(name: str) -> str:
        first, rest = name[:1], name[1:]
        if column and not unicode and first in _DIGITS:
            first = "_" + first
        elif first not in firsts:
            first = replaced(first)
        return first + "".join(c if c in others else replaced(c) for c in rest)

    return adjust


class NamesStep:
    """Adjusts the names of tables' schemas, and those of their columns."""

    def __init__(self, schemas: Adjustment, fields: Adjustment) -> None:
        self._name = adjusted(schemas, column=False)
        self._field = adjusted(fields, column=True)
        self._keys = Derived(self._row)
        self._envelopes = Derived(self._envelope)

    def __call__(self, record: ConnectRecord) -> ConnectRecord:
        topic, key, value, headers = record
        if key is not None and str(key.schema.get("name", "")).endswith(".Key"):
            key = Data(self._keys.of(key.schema), self._columns(key.value))
        if value is not None and is_envelope(value):
            envelope = value.value
            sides = {side: self._columns(envelope[side]) for side in _SIDES}
            value = Data(self._envelopes.of(value.schema), {**envelope, **sides})
        moved = {name: self._text(headers[name]) for name in (OLD_KEY, NEW_KEY) if name in headers}
        return ConnectRecord(topic, key, value, {**headers, **moved})

    def _text(self, key: str) -> str:
        return orjson.dumps(self._columns(orjson.loads(key))).decode()

    def _envelope(self, schema: Schema) -> Schema:
        fields = [
            self._row(field) if field["field"] in _SIDES else field for field in schema["fields"]
        ]
        return {**schema, "name": self._name(schema["name"]), "fields": fields}

    def _row(self, schema: Schema) -> Schema:
        fields = [{**field, "field": self._field(field["field"])} for field in schema["fields"]]
        return {**schema, "name": self._name(schema["name"]), "fields": fields}

    def _columns(self, row: Any) -> Any:
        return row and {self._field(name): value for name, value in row.items()}
