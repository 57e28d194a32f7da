"""JSON documents as values with schemas, as the outbox event router expands them.

Every field is optional. A number is an int32, an int64 or a double, whichever takes it; an array is
of what its elements are, which must be alike; objects in an array have one schema together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import orjson

from penstock.connect import Data, Schema

NullBehavior = Literal["ignore", "optional_bytes"]
EmptyArrayBehavior = Literal["ignore", "optional_string"]

_INT32: Final = range(-(2**31), 2**31)
_INT64: Final = range(-(2**63), 2**63)


class Expansion:
    """Expands documents.

    Parameters
    ----------
    null: fields that are null are left out, or are null bytes.
    empty_array: fields that are empty arrays are left out, or are empty arrays of strings.
    """

    def __init__(self, null: NullBehavior, empty_array: EmptyArrayBehavior) -> None:
        self._null = null
        self._empty = empty_array

    def expand(self, name: str, text: str) -> Data:
        """The document in a text; ``name`` begins the names of its schemas.

        Raises ValueError for what is no object or array in JSON, or of which no schema can be
        told.
        """
        if not text.startswith(("{", "[")):
            raise ValueError("it is no object or array")
        document = orjson.loads(text)
        schema = self._schema(name, document)
        if schema is None:
            raise ValueError("nothing tells its type")
        return Data(schema, _value(document, schema))

    def _schema(self, name: str, value: Any) -> Schema | None:
        if isinstance(value, dict):
            return self._struct(name, value)
        if isinstance(value, list):
            return self._array(name, value)
        if value is None:
            return _optional("bytes") if self._null == "optional_bytes" else None
        return _optional(_scalar(value))

    def _struct(self, name: str, value: Mapping[str, Any]) -> Schema:
        fields = []
        for field, inner in value.items():
            schema = self._schema(f"{name}.{field}" if name else field, inner)
            if schema is not None:
                fields.append({**schema, "field": field})
        made = {"type": "struct", "fields": fields, "optional": True}
        return {**made, "name": name} if name else made

    def _array(self, name: str, values: list[Any]) -> Schema | None:
        known = [value for value in values if value is not None]
        if not values:
            items = _optional("string") if self._empty == "optional_string" else None
        elif not known:
            raise ValueError("an array of nulls has no type")
        elif all(isinstance(value, dict) for value in known):
            items = _merged(self._struct(name, value) for value in known)
            if len(known) < len(values):
                items = {**items, "optional": True}
        else:
            items = self._alike(known)
        return items and {"type": "array", "items": items, "optional": True}

    def _alike(self, values: list[Any]) -> Schema:
        schemas = [self._schema("", value) for value in values]
        first = schemas[0]
        if first is None or any(schema != first for schema in schemas):
            raise ValueError("the elements of an array are not alike")
        return first


def _optional(kind: str) -> Schema:
    return {"type": kind, "optional": True}


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        if value not in _INT64:
            raise ValueError("a number is no 64-bit integer")
        return "int32" if value in _INT32 else "int64"
    return "double" if isinstance(value, float) else "string"


def _merged(schemas: Iterable[Schema]) -> Schema:
    """One struct with the fields of all; what is only null in one is what it is in another. It is
    optional where there was nothing to merge, as the router has it."""
    first, *others = schemas
    if all(schema == first for schema in others):
        return first
    fields: dict[str, Schema] = {}
    for field in (field for schema in (first, *others) for field in schema["fields"]):
        known = fields.setdefault(field["field"], field)
        if known["type"] == "bytes" and field["type"] != "bytes":
            fields[field["field"]] = field
    return {**first, "fields": list(fields.values()), "optional": False}


def _value(value: Any, schema: Schema) -> Any:
    if value is None:
        return None
    if schema["type"] == "struct":
        return {f["field"]: _value(value.get(f["field"]), f) for f in schema["fields"]}
    if schema["type"] == "array":
        return [_value(item, schema["items"]) for item in value]
    return value
