"""Values between Connect's JSON and what fastavro writes and reads, by their Connect schema."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from math import isfinite
from struct import Struct
from typing import Any, Final, TypeAlias

from penstock.connect.avro import is_map, record_name
from penstock.connect.json import Schema

Convert: TypeAlias = Callable[[Any], Any]

_FLOAT: Final = Struct("<f")
_BRANCHES: Final = {"float": "float", "double": "double", "bytes": "bytes", "array": "array"}


def to_avro(schema: Schema) -> Convert:
    """A function from JSON's value to fastavro's. Where it had to look into a value for the branch
    of a union, the branch is told by name."""
    convert = _required(schema)
    if convert is _same or not schema.get("optional"):
        return convert
    branch = _branch(schema)
    return lambda value: None if value is None else (branch, convert(value))


def _branch(schema: Schema) -> str:
    kind = schema["type"]
    if kind == "struct":
        return record_name(schema)
    if kind == "map":
        return "map" if is_map(schema) else "array"
    return _BRANCHES[kind]


def _required(schema: Schema) -> Convert:
    kind = schema["type"]
    if kind == "bytes":
        return b64decode
    if kind in ("float", "double"):
        return float  # of "NaN" and "Infinity" as well
    if kind == "struct":
        return _struct(schema, to_avro)
    if kind == "array":
        item = to_avro(schema["items"])
        return lambda values: [item(value) for value in values]
    if kind == "map":
        key, item = to_avro(schema["keys"]), to_avro(schema["values"])
        if is_map(schema):
            return lambda values: {name: item(value) for name, value in values.items()}
        return lambda entries: [{"key": key(k), "value": item(v)} for k, v in entries]
    return _same


def from_avro(schema: Schema) -> Convert:
    """A function from what fastavro read to JSON's value."""
    convert = _read(schema)
    if convert is _same or not schema.get("optional"):
        return convert
    return lambda value: None if value is None else convert(value)


def _read(schema: Schema) -> Convert:
    kind = schema["type"]
    if kind == "bytes":
        return lambda value: b64encode(value).decode()
    if kind == "float":
        return _single
    if kind == "double":
        return _real
    if kind == "struct":
        return _struct(schema, from_avro)
    if kind == "array":
        item = from_avro(schema["items"])
        return lambda values: [item(value) for value in values]
    if kind == "map":
        key, item = from_avro(schema["keys"]), from_avro(schema["values"])
        if is_map(schema):
            return lambda values: {name: item(value) for name, value in values.items()}
        return lambda entries: [[key(entry["key"]), item(entry["value"])] for entry in entries]
    return _same


def _struct(schema: Schema, make: Callable[[Schema], Convert]) -> Convert:
    """Converts the fields that need it."""
    made = [(field["field"], make(field)) for field in schema["fields"]]
    fields = [(name, convert) for name, convert in made if convert is not _same]

    def convert_fields(value: Any) -> Any:
        converted = dict(value)
        for name, convert in fields:
            converted[name] = convert(converted[name])
        return converted

    return convert_fields


def _real(value: float) -> float | str:
    if isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _single(value: float) -> float | str:
    """The shortest number that is this one in four bytes, as a server prints it."""
    if not isfinite(value):
        return _real(value)
    shorter = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((number for number in shorter if _pack(number) == _pack(value)), value)


def _pack(number: float) -> bytes | None:
    try:
        return _FLOAT.pack(number)
    except OverflowError:
        return None


def _same(value: Any) -> Any:
    return value
