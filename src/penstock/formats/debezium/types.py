"""How each type of PostgreSQL is told: its Connect schema, and its JSON.

What a schema cannot hold is left out, as Debezium leaves it out (composites, ``tsquery``, boxes,
multiranges, arrays of intervals, …).
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import md5
from typing import Any, Final
from uuid import UUID

from penstock.formats.debezium import numbers, structures, times
from penstock.formats.debezium.numbers import Encode
from penstock.formats.debezium.options import Debezium
from penstock.formats.json import NULL, string, text
from penstock.model import Kind, Type

Schema = dict[str, Any]

_BUILTIN: Final[Mapping[int, str]] = {
    16: "bool", 17: "bytea", 18: "char", 19: "name", 20: "int8", 21: "int2", 22: "int2vector",
    23: "int4", 25: "text", 26: "oid", 114: "json", 142: "xml", 600: "point", 650: "cidr",
    700: "float4", 701: "float8", 774: "macaddr8", 790: "money", 829: "macaddr", 869: "inet",
    1042: "bpchar", 1043: "varchar", 1082: "date", 1083: "time", 1114: "timestamp",
    1184: "timestamptz", 1186: "interval", 1266: "timetz", 1560: "bit", 1562: "varbit",
    1700: "numeric", 2950: "uuid", 3614: "tsvector", 3802: "jsonb", 3904: "int4range",
    3906: "numrange", 3908: "tsrange", 3910: "tstzrange", 3912: "daterange", 3926: "int8range",
}  # fmt: skip
_SHORT: Final = 4  # what PostgreSQL adds to the modifiers of types with a length
_UNBOUNDED: Final = 2147483647
_STRINGS: Final = frozenset(
    ("char", "name", "text", "bpchar", "varchar", "citext", "inet", "cidr", "macaddr", "macaddr8")
).union(("isbn", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"))
_NAMED_STRINGS: Final = {
    "json": "io.debezium.data.Json",
    "jsonb": "io.debezium.data.Json",
    "xml": "io.debezium.data.Xml",
    "uuid": "io.debezium.data.Uuid",
    "tsvector": "io.debezium.data.Tsvector",
    "ltree": "io.debezium.data.Ltree",
}
_ARRAYS_OF: Final = (_STRINGS - {"char", "name", "isbn"}).union(
    ("int2", "int4", "int8", "oid", "float4", "float8", "numeric", "bool", "date", "time"),
    ("timestamp", "timestamptz", "timetz", "bytea", "uuid", "json", "jsonb", "hstore", "ltree"),
    ("tsvector", "enum"),
)


@dataclass(frozen=True, slots=True)
class Mapped:
    """How one type is told.

    Parameters
    ----------
    schema: the Connect schema, without ``optional``, ``default`` and ``field``.
    encode: makes JSON of the exact text.
    zero: JSON of the type's zero, told for what the log did not carry of a required column.
    unavailable: JSON of the placeholder for a large value that the log did not repeat; None
        where the schema has no room for one.
    default: which way :mod:`penstock.formats.debezium.defaults` reads the column's default.
    code: by what name the native kernel knows ``encode``; empty where it has no such encoder.
    nulls: whether ``encode`` may give null, for a value that is none to Connect: a required column
        shows the type's zero then.
    """

    schema: Schema
    encode: Encode
    zero: bytes
    unavailable: bytes | None = None
    default: str = ""
    code: str = ""
    nulls: bool = False


def name_of(type: Type) -> str:
    """The server's own name of a type, of a domain that of the type below it."""
    if type.kind is Kind.ENUM:
        return "enum"
    known = _BUILTIN.get(type.base or type.oid)
    return known or type.name.rpartition(".")[2]


def modifier_of(type: Type) -> int:
    """The type modifier, of a domain that of the type below it."""
    return type.base_modifier if is_domain(type) else type.modifier


def is_domain(type: Type) -> bool:
    """Whether a type is another one by a name of its own."""
    return bool(type.base) and type.base != type.oid


def mapped(type: Type, options: Debezium) -> Mapped | None:
    """How a type is told; None where it is left out."""
    if type.element is not None:
        return _array(type, options)
    found = _scalar(type, options)
    if found is None and options.include_unknown_datatypes:
        return _unknown(options)
    return found


def named(kind: str, name: str, **rest: Any) -> Schema:
    """A schema of a logical type, of version 1."""
    return {"type": kind, "name": name, "version": 1, **rest}


def _scalar(type: Type, options: Debezium) -> Mapped | None:
    name = name_of(type)
    placeholder = string(options.unavailable_value_placeholder)
    if name in _STRINGS:
        default = name if name in ("bpchar", "varchar", "text", "citext", "char", "name") else ""
        return Mapped({"type": "string"}, text, b'""', placeholder, default, "text")
    if name in _NAMED_STRINGS:
        default = name if name not in ("tsvector", "ltree") else ""
        schema = named("string", _NAMED_STRINGS[name])
        return Mapped(schema, text, b'""', placeholder, default, "text")
    if name == "enum":
        allowed = {"allowed": ",".join(type.labels)}
        schema = named("string", "io.debezium.data.Enum", parameters=allowed)
        return Mapped(schema, text, b'""', placeholder, "enum", "text")
    make = _SPECIAL.get(name)
    return make(modifier_of(type), options) if make is not None else None


# -- one function a type that needs more than a row of a table: (modifier, options) → Mapped


def _boolean(modifier: int, options: Debezium) -> Mapped:
    return Mapped({"type": "boolean"}, numbers.boolean, b"false", None, "bool", "boolean")


def _integer(kind: str, default: str) -> Callable[[int, Debezium], Mapped]:
    made = Mapped({"type": kind}, numbers.as_it_stands, b"0", None, default, "plain")
    return lambda modifier, options: made


def _float(kind: str) -> Callable[[int, Debezium], Mapped]:
    made = Mapped({"type": kind}, numbers.floating, b"0.0", None, "float", "float")
    return lambda modifier, options: made


def decimal_schema(scale: int, precision: int | None = None) -> Schema:
    """Connect's ``Decimal``."""
    parameters = {"scale": str(scale)}
    if precision is not None:
        parameters["connect.decimal.precision"] = str(precision)
    return named("bytes", "org.apache.kafka.connect.data.Decimal", parameters=parameters)


def _numeric(modifier: int, options: Debezium) -> Mapped:
    if options.decimal_handling_mode == "string":
        scale = _declared_scale(modifier)
        encode = numbers.decimal_text(scale)
        code = f"decimal_text {max(scale, 0)}"
        return Mapped({"type": "string"}, encode, encode(b"0"), None, "numeric", code)
    if options.decimal_handling_mode == "double":
        return Mapped({"type": "double"}, numbers.decimal_float, b"0.0", None, "numeric")
    if modifier < 0:
        zero = b'{"scale":0,"value":"AA=="}'
        schema = _variable_decimal_schema()
        return Mapped(schema, numbers.variable_decimal, zero, code="variable")
    precision, scale = (modifier - _SHORT) >> 16, (modifier - _SHORT) & 0x7FF
    # A negative scale is read as Debezium reads it, by its eleven bits: right, if long-winded.
    schema, encode = decimal_schema(scale, precision), numbers.decimal(scale)
    return Mapped(schema, encode, b'"AA=="', None, "numeric", f"decimal {scale}")


def _declared_scale(modifier: int) -> int:
    if modifier < 0:
        return -1
    return (((modifier - _SHORT) & 0x7FF) ^ 0x400) - 0x400


def _variable_decimal_schema() -> Schema:
    return named(
        "struct",
        "io.debezium.data.VariableScaleDecimal",
        doc="Variable scaled decimal",
        fields=[
            {"type": "int32", "optional": False, "field": "scale"},
            {"type": "bytes", "optional": False, "field": "value"},
        ],
    )


def _money(modifier: int, options: Debezium) -> Mapped:
    if options.decimal_handling_mode == "string":
        return Mapped({"type": "string"}, lambda raw: b'"%b"' % numbers.plain_money(raw), b'"0.00"')
    if options.decimal_handling_mode == "double":
        return Mapped(
            {"type": "double"},
            lambda raw: numbers.decimal_float(numbers.plain_money(raw)),
            b"0.0",
        )
    digits = options.money_fraction_digits
    schema, encode = decimal_schema(digits), numbers.money(digits)
    return Mapped(schema, encode, b'"AA=="', code=f"money {digits}")


def _date(modifier: int, options: Debezium) -> Mapped:
    mode = options.time_precision_mode
    if mode == "isostring":
        schema = named("string", "io.debezium.time.IsoDate")
        return Mapped(schema, times.iso_date, b'"1970-01-01Z"', None, "date")
    name = "org.apache.kafka.connect.data.Date" if mode == "connect" else "io.debezium.time.Date"
    return Mapped(named("int32", name), times.days, b"0", None, "date", "days")


_UNITS: Final = {"": 1_000_000, "Micro": 1000, "Nano": 1}  # in nanoseconds


def _time(modifier: int, options: Debezium) -> Mapped:
    mode = options.time_precision_mode
    if mode == "isostring":
        schema = named("string", "io.debezium.time.IsoTime")
        return Mapped(schema, times.iso_time, b'"00:00:00Z"', None, "time")
    if mode == "connect":
        schema = named("int32", "org.apache.kafka.connect.data.Time")
        return _time_in(schema, "")
    size = _size(mode, modifier)
    if mode == "adaptive_time_microseconds":
        size = "Micro"
    schema = named("int64" if size else "int32", f"io.debezium.time.{size}Time")
    return _time_in(schema, size)


def _time_in(schema: Schema, size: str) -> Mapped:
    unit = _UNITS[size]
    return Mapped(schema, times.time_in(unit), b"0", None, "time", f"time {unit}")


def _timestamp(modifier: int, options: Debezium) -> Mapped:
    mode = options.time_precision_mode
    if mode == "isostring":
        schema = named("string", "io.debezium.time.IsoTimestamp")
        zero = b'"1970-01-01T00:00:00Z"'
        return Mapped(schema, times.iso_timestamp, zero, None, "timestamp")
    if mode == "connect":
        schema = named("int64", "org.apache.kafka.connect.data.Timestamp")
        return _timestamp_in(schema, "")
    size = _size(mode, modifier)
    schema = named("int64", f"io.debezium.time.{size}Timestamp")
    return _timestamp_in(schema, size)


def _timestamp_in(schema: Schema, size: str) -> Mapped:
    unit = _UNITS[size]
    encode = times.timestamp_in(unit)
    return Mapped(schema, encode, b"0", None, "timestamp", f"timestamp {unit}")


def _size(mode: str, modifier: int) -> str:
    if mode == "microseconds":
        return "Micro"
    if mode == "nanoseconds":
        return "Nano"
    return "" if 0 <= modifier <= 3 else "Micro"


def _timestamptz(modifier: int, options: Debezium) -> Mapped:
    schema = named("string", "io.debezium.time.ZonedTimestamp")
    digits = 6 if modifier < 0 else modifier
    zero = b'"1970-01-01T00:00:00Z"'
    encode = times.zoned_timestamp(digits)
    return Mapped(schema, encode, zero, None, "timestamptz", f"zoned {digits}")


def _timetz(modifier: int, options: Debezium) -> Mapped:
    schema = named("string", "io.debezium.time.ZonedTime")
    return Mapped(schema, times.zoned_time, b'"00:00:00Z"', code="timetz")


def _interval(modifier: int, options: Debezium) -> Mapped:
    if options.interval_handling_mode == "string":
        schema = named("string", "io.debezium.time.Interval")
        return Mapped(schema, times.interval_text, b'"P0Y0M0DT0H0M0S"', None, "interval")
    schema = named("int64", "io.debezium.time.MicroDuration")
    return Mapped(schema, times.interval_micros, b"0", None, "interval", "interval")


_SPELL: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "bytes": b64encode,
    "base64": b64encode,
    "base64-url-safe": urlsafe_b64encode,
    "hex": lambda data: data.hex().encode(),
}


_SPELL_CODES: Final = {
    "bytes": "bytes",
    "base64": "bytes",
    "base64-url-safe": "bytes_url",
    "hex": "bytes_hex",
}


def _bytea(modifier: int, options: Debezium) -> Mapped:
    return bytes_of(options)


def bytes_of(options: Debezium, default: str = "") -> Mapped:
    """How bytes are told, of a text in hex form."""
    spell = _SPELL[options.binary_handling_mode]
    placeholder = options.unavailable_value_placeholder.encode()
    return Mapped(
        _binary_schema(options),
        lambda raw: b'"%b"' % spell(numbers.hex_bytes(raw)),
        b'""',
        b'"%b"' % spell(placeholder),
        default,
        _SPELL_CODES[options.binary_handling_mode],
    )


def _unknown(options: Debezium) -> Mapped:
    """The text's bytes."""
    spell = _SPELL[options.binary_handling_mode]
    return Mapped(_binary_schema(options), lambda raw: b'"%b"' % spell(raw), b'""')


def _binary_schema(options: Debezium) -> Schema:
    return {"type": "bytes" if options.binary_handling_mode == "bytes" else "string"}


def _bits(modifier: int, options: Debezium) -> Mapped:
    if modifier == 1:
        return Mapped({"type": "boolean"}, numbers.bit, b"false", None, "bit", "bit")
    length = str(modifier if modifier > 0 else _UNBOUNDED)
    schema = named("bytes", "io.debezium.data.Bits", parameters={"length": length})
    return Mapped(schema, numbers.bits, b'""', None, "bit", "bits")


def _hstore(modifier: int, options: Debezium) -> Mapped:
    placeholder = string(options.unavailable_value_placeholder)
    pair = b"{%b:%b}" % (placeholder, placeholder)
    if options.hstore_handling_mode == "json":
        schema = named("string", "io.debezium.data.Json")
        return Mapped(schema, structures.hstore_json, b'""', string(pair.decode()), "hstore")
    schema = {
        "type": "map",
        "keys": {"type": "string", "optional": False},
        "values": {"type": "string", "optional": True},
    }
    return Mapped(schema, structures.hstore_map, b"{}", pair)


def _point(modifier: int, options: Debezium) -> Mapped:
    schema = named(
        "struct",
        "io.debezium.data.geometry.Point",
        doc="Geometry (POINT)",
        fields=[
            {"type": "double", "optional": False, "field": "x"},
            {"type": "double", "optional": False, "field": "y"},
            {"type": "bytes", "optional": True, "field": "wkb"},
            {"type": "int32", "optional": True, "field": "srid"},
        ],
    )
    return Mapped(schema, structures.point, structures.point(b"(0,0)"))


def _geometry(name: str) -> Callable[[int, Debezium], Mapped]:
    schema = named(
        "struct",
        f"io.debezium.data.geometry.{name}",
        doc=name,
        fields=[
            {"type": "bytes", "optional": False, "field": "wkb"},
            {"type": "int32", "optional": True, "field": "srid"},
        ],
    )
    made = Mapped(schema, structures.geometry, b'{"wkb":"","srid":null}')
    return lambda modifier, options: made


def _vector(name: str, kind: str) -> Callable[[int, Debezium], Mapped]:
    item = {"type": kind, "optional": False}
    made = Mapped(named("array", f"io.debezium.data.{name}", items=item), structures.vector, b"[]")
    return lambda modifier, options: made


def _sparse_vector(modifier: int, options: Debezium) -> Mapped:
    vector = {
        "type": "map",
        "keys": {"type": "int16", "optional": False},
        "values": {"type": "double", "optional": False},
        "optional": False,
        "field": "vector",
    }
    schema = named(
        "struct",
        "io.debezium.data.SparseDoubleVector",
        doc="Sparse double vector",
        fields=[{"type": "int16", "optional": False, "field": "dimensions"}, vector],
    )
    return Mapped(schema, structures.sparse_vector, b'{"dimensions":0,"vector":[]}')


def _int2vector(modifier: int, options: Debezium) -> Mapped:
    schema = {"type": "array", "items": {"type": "int16", "optional": False}}
    return Mapped(schema, structures.words(numbers.as_it_stands), b"[]")


_SPECIAL: Final[dict[str, Callable[[int, Debezium], Mapped]]] = {
    "bool": _boolean,
    "int2": _integer("int16", "int"),
    "int4": _integer("int32", "int"),
    "int8": _integer("int64", "int"),
    "oid": _integer("int64", ""),
    "float4": _float("float"),
    "float8": _float("double"),
    "numeric": _numeric,
    "money": _money,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "timestamptz": _timestamptz,
    "timetz": _timetz,
    "interval": _interval,
    "bytea": _bytea,
    "bit": _bits,
    "varbit": _bits,
    "hstore": _hstore,
    "point": _point,
    "geometry": _geometry("Geometry"),
    "geography": _geometry("Geography"),
    "vector": _vector("DoubleVector", "double"),
    "halfvec": _vector("FloatVector", "float"),
    "sparsevec": _sparse_vector,
    "int2vector": _int2vector,
}


def _array(type: Type, options: Debezium) -> Mapped | None:
    assert type.element is not None
    name = name_of(type.element)
    if name == "bit" and not is_domain(type.element):
        # its schema is that of one bit string, which has no room for them
        bits = _bits(type.element.modifier, options)
        return Mapped(bits.schema, lambda raw: NULL, bits.zero, code="null")
    if is_domain(type.element):
        element = _unknown(options) if options.include_unknown_datatypes else None
    else:
        element = _scalar(type.element, options) if name in _ARRAYS_OF else None
    if element is None:
        return None
    required = name in ("enum", "tsvector") or is_domain(type.element)
    item = {**element.schema, "optional": not required}
    schema = {"type": "array", "items": item}
    return Mapped(
        schema,
        structures.array(element.encode),
        b"[]",
        _unavailable_array(name, element, options.unavailable_value_placeholder),
        code=f"array {element.code}" if element.code else "",
    )


def _unavailable_array(name: str, element: Mapped, placeholder: str) -> bytes | None:
    data = placeholder.encode()
    if name in ("int2", "int4", "int8", "oid"):
        return b"[" + b",".join(b"%d" % byte for byte in data) + b"]"
    if name == "uuid":
        digest = bytearray(md5(data, usedforsecurity=False).digest())
        digest[6], digest[8] = digest[6] & 0x0F | 0x30, digest[8] & 0x3F | 0x80
        return b'["%b"]' % str(UUID(bytes=bytes(digest))).encode()
    return b"[%b]" % element.unavailable if element.unavailable is not None else None
