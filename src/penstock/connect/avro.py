"""Avro schemas of Connect schemas and back, as Confluent's and Apicurio's converters make them.

What Avro has no word for goes into properties that begin with ``connect.``. An optional value is a
union with null, where what the default is of comes first. A struct's name is its record's; another
schema's name is only a property.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from penstock.connect.json import Schema
from penstock.errors import SchemaError

Avro: TypeAlias = Any
"""An Avro schema as JSON has it: a dict, a name, or the list of a union's branches."""

NAMESPACE: Final = "io.confluent.connect.avro"
_UNNAMED: Final = "ConnectDefault"
MAP_ENTRY: Final = "MapEntry"
_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
_PRECISION: Final = "connect.decimal.precision"
_MOST_DIGITS: Final = 64  # of a decimal that does not tell its precision
_LOGICAL: Final[Mapping[str, tuple[str, str]]] = {
    "date": ("int32", "org.apache.kafka.connect.data.Date"),
    "time-millis": ("int32", "org.apache.kafka.connect.data.Time"),
    "timestamp-millis": ("int64", "org.apache.kafka.connect.data.Timestamp"),
}
_LOGICAL_OF: Final = {name: logical for logical, (_, name) in _LOGICAL.items()}
_PRIMITIVES: Final[Mapping[str, str]] = {
    "boolean": "boolean",
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
}
_CONNECT: Final[Mapping[str, str]] = {
    "boolean": "boolean",
    "int": "int32",
    "long": "int64",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
    "fixed": "bytes",
    "enum": "string",
}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z")


def avro_schema(schema: Schema) -> Avro:
    """The Avro schema of a Connect schema.

    Raises SchemaError for a name that Avro does not allow.
    """
    return _Writer().of(schema)


def record_name(schema: Schema) -> str:
    """The full name of a struct's record, or of the record of a map's entries."""
    name = schema.get("name")
    if name is not None:
        return str(name)
    return f"{NAMESPACE}.{MAP_ENTRY if schema['type'] == 'map' else _UNNAMED}"


def is_map(schema: Schema) -> bool:
    """Whether a Connect map is an Avro map; otherwise it is an array of entries."""
    keys = schema["keys"]
    return keys["type"] == "string" and not keys.get("optional")


class _Writer:
    """Writes one schema; a record that it has written is named from then on.

    ``space`` is the namespace around, which names within it need not repeat.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    def of(self, schema: Schema, space: str = "") -> Avro:
        made = self._required(schema, space)
        if not schema.get("optional"):
            return made
        if schema.get("default") is not None and schema["type"] != "struct":
            return [made, "null"]
        return ["null", made]

    def _required(self, schema: Schema, space: str) -> Avro:
        kind = schema["type"]
        if kind == "struct":
            return self._struct(schema, space)
        if kind == "array":
            made: dict[str, Any] = {"type": "array", "items": self.of(schema["items"], space)}
        elif kind == "map" and is_map(schema):
            made = {"type": "map", "values": self.of(schema["values"], space)}
        elif kind == "map":
            made = {"type": "array", "items": self._entry(schema, space)}
        else:
            made = {"type": _PRIMITIVES[kind]}
        if schema.get("name") == _DECIMAL:
            parameters = schema["parameters"]
            made["scale"] = int(parameters["scale"])
            made["precision"] = int(parameters.get(_PRECISION, _MOST_DIGITS))
        made |= self._properties(schema)
        if kind in ("int8", "int16"):
            made["connect.type"] = kind
        if logical := _logical(schema):
            made["logicalType"] = logical
        return made["type"] if len(made) == 1 else made

    def _struct(self, schema: Schema, space: str) -> Avro:
        fields = [(field["field"], field) for field in schema["fields"]]
        return self._record(record_name(schema), fields, self._properties(schema), space)

    def _entry(self, schema: Schema, space: str) -> Avro:
        fields = [("key", schema["keys"]), ("value", schema["values"])]
        properties = {"connect.internal.type": MAP_ENTRY} if "name" in schema else {}
        return self._record(record_name(schema), fields, properties, space)

    def _record(
        self, name: str, fields: list[tuple[str, Schema]], properties: dict[str, Any], space: str
    ) -> Avro:
        own, _, last = name.rpartition(".")
        if name in self._known:
            return last if own == space else name
        _check(name)
        self._known.add(name)
        made: dict[str, Any] = {"type": "record", "name": last}
        if own != space:
            made["namespace"] = own
        made["fields"] = [self._field(field, schema, own) for field, schema in fields]
        return made | properties

    def _field(self, name: str, schema: Schema, space: str) -> dict[str, Any]:
        _check(name)
        made = {"name": name, "type": self.of(schema, space)}
        if schema.get("default") is not None:
            made["default"] = to_avro_default(schema, schema["default"])
        elif schema.get("optional"):
            made["default"] = None
        return made

    @staticmethod
    def _properties(schema: Schema) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name in ("doc", "version", "parameters"):
            if schema.get(name):
                made[f"connect.{name}"] = schema[name]
        if schema.get("default") is not None:
            made["connect.default"] = to_avro_default(schema, schema["default"])
        if schema.get("name") is not None:
            made["connect.name"] = schema["name"]
        return made


def _logical(schema: Schema) -> str:
    """The logical type that Avro has for it. Of a decimal whose scale exceeds its precision only
    the property says so: Avro has none."""
    name = schema.get("name", "")
    return "decimal" if name == _DECIMAL else _LOGICAL_OF.get(name, "")


def _check(name: str) -> None:
    if not _NAME.match(name):
        raise SchemaError(
            f"{name!r} is no name for Avro, which has letters, digits and underscores",
            hint='set schema_name_adjustment_mode and field_name_adjustment_mode to "avro"',
        )


def to_avro_default(schema: Schema, value: Any) -> Any:
    """A default in Avro's JSON, where bytes are a text of the characters of these numbers."""
    if value is not None and schema["type"] == "bytes":
        return b64decode(value).decode("latin-1")
    return value


def connect_schema(avro: Avro) -> Schema:
    """The Connect schema of an Avro schema.

    Raises SchemaError for a union of more than a type and null, which Connect has no word for.
    """
    return _Reader().of(avro)


class _Reader:
    """Reads one schema."""

    def __init__(self) -> None:
        self._known: dict[str, Schema] = {}

    def of(self, avro: Avro, space: str = "") -> Schema:
        if isinstance(avro, str):
            if avro in _CONNECT:
                return {"type": _CONNECT[avro], "optional": False}
            return dict(self._known[avro if "." in avro or not space else f"{space}.{avro}"])
        if isinstance(avro, list):
            others = [branch for branch in avro if branch != "null"]
            if len(others) != 1 or len(avro) != 2:
                raise SchemaError(f"an Avro union of {len(avro)} types is no Connect schema")
            return self.of(others[0], space) | {"optional": True}
        made = self._structure(avro, space)
        self._describe(made, avro)
        if avro["type"] == "record":
            self._known[self._full(avro, space)] = made
        return made

    def _structure(self, avro: dict[str, Any], space: str) -> Schema:
        kind = avro["type"]
        if isinstance(kind, dict | list):
            return self.of(kind, space)
        if kind == "record":
            full = self._full(avro, space)
            inner = full.rpartition(".")[0]
            fields = [self._field(field, inner) for field in avro["fields"]]
            return {"type": "struct", "fields": fields, "optional": False, "name": full}
        if kind == "array":
            items = avro["items"]
            if _is_entry(items):
                inner = self._full(items, space).rpartition(".")[0]
                key, value = (self.of(field["type"], inner) for field in items["fields"])
                return {"type": "map", "keys": key, "values": value, "optional": False}
            return {"type": "array", "items": self.of(items, space), "optional": False}
        if kind == "map":
            keys = {"type": "string", "optional": False}
            values = self.of(avro["values"], space)
            return {"type": "map", "keys": keys, "values": values, "optional": False}
        return {"type": _CONNECT[kind], "optional": False}

    def _field(self, field: dict[str, Any], space: str) -> Schema:
        made = self.of(field["type"], space)
        if "default" not in made and field.get("default") is not None:
            made["default"] = _from_avro_default(made, field["default"])
        return made | {"field": field["name"]}

    @staticmethod
    def _describe(made: Schema, avro: dict[str, Any]) -> None:
        for name in ("doc", "version", "parameters", "name"):
            if (value := avro.get(f"connect.{name}")) is not None:
                made[name] = value
        if (kind := avro.get("connect.type")) is not None:
            made["type"] = kind
        if (value := avro.get("connect.default")) is not None:
            made["default"] = _from_avro_default(made, value)
        logical = avro.get("logicalType", "")
        if logical == "decimal":
            made.setdefault("name", _DECIMAL)
            made.setdefault("version", 1)
            made.setdefault("parameters", {"scale": str(avro.get("scale", 0))})
        elif logical in _LOGICAL:
            made.setdefault("name", _LOGICAL[logical][1])
            made.setdefault("version", 1)

    @staticmethod
    def _full(avro: dict[str, Any], space: str) -> str:
        name = str(avro["name"])
        space = avro.get("namespace", space)
        return name if "." in name or not space else f"{space}.{name}"


def _is_entry(items: Avro) -> bool:
    return isinstance(items, dict) and (
        items.get("connect.internal.type") == MAP_ENTRY
        or (items.get("name") == MAP_ENTRY and items.get("namespace") == NAMESPACE)
    )


def _from_avro_default(schema: Schema, value: Any) -> Any:
    if value is not None and schema["type"] == "bytes":
        return b64encode(value.encode("latin-1")).decode()
    return value
