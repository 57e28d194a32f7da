"""How each type of MySQL and MariaDB is told: its Connect schema, and its JSON."""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Final

from penstock.formats.debezium import numbers
from penstock.formats.debezium.mysql import times
from penstock.formats.debezium.options import Debezium
from penstock.formats.debezium.types import Mapped, bytes_of, decimal_schema, named
from penstock.formats.json import NULL, string, text
from penstock.model import Type

_SIZES: Final = re.compile(r"\((\d+)(?:,(\d+))?\)")
_INTEGERS: Final = {
    "tinyint": "int16",
    "tinyint unsigned": "int16",
    "smallint": "int16",
    "smallint unsigned": "int32",
    "mediumint": "int32",
    "mediumint unsigned": "int32",
    "int": "int32",
    "int unsigned": "int64",
    "bigint": "int64",
}
_TEXTS: Final = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "inet4", "inet6")
_BYTES: Final = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_GEOMETRIES: Final = (
    "geometry",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
)
_UNITS: Final = {"": 1_000_000, "Micro": 1000, "Nano": 1}  # in nanoseconds
_Make = Callable[[Type, Debezium], Mapped]


def mapped(type: Type, options: Debezium) -> Mapped | None:
    """How a type is told; None for one that neither server has."""
    make = _BY_NAME.get(type.name)
    return None if make is None else make(type, options)


def _size(type: Type) -> int:
    """What stands in parentheses behind the type's name; 0 for nothing."""
    found = _SIZES.search(type.sql)
    return int(found[1]) if found is not None else 0


# -- numbers


def _integer(kind: str) -> _Make:
    made = Mapped({"type": kind}, numbers.as_it_stands, b"0", default="plain")
    return lambda type, options: made


def _bigint_unsigned(type: Type, options: Debezium) -> Mapped:
    if options.bigint_unsigned_handling_mode == "precise":
        encode = numbers.decimal(0)
        return Mapped(decimal_schema(0, 20), encode, encode(b"0"), default="plain")
    return Mapped({"type": "int64"}, _wrapped, b"0", default="long")


def _wrapped(raw: bytes) -> bytes:
    """A number of 64 bits as those of a signed one."""
    number = int(raw)
    return b"%d" % (number - (1 << 64)) if number >> 63 else raw


def _float(kind: str) -> _Make:
    made = Mapped({"type": kind}, numbers.floating, b"0.0", default="plain")
    return lambda type, options: made


def _decimal(type: Type, options: Debezium) -> Mapped:
    found = _SIZES.search(type.sql)
    precision, scale = (int(found[1]), int(found[2] or 0)) if found is not None else (10, 0)
    if options.decimal_handling_mode == "string":
        encode = numbers.decimal_text(scale)
        return Mapped({"type": "string"}, encode, encode(b"0"), default="plain")
    if options.decimal_handling_mode == "double":
        return Mapped({"type": "double"}, numbers.decimal_float, b"0.0", default="plain")
    schema = decimal_schema(scale, precision)
    return Mapped(schema, numbers.decimal(scale), b'"AA=="', default="plain")


def _bit(type: Type, options: Debezium) -> Mapped:
    size = _size(type)
    if size == 1:
        return Mapped({"type": "boolean"}, _flag, b"false", default="bits")
    schema = named("bytes", "io.debezium.data.Bits", parameters={"length": str(size)})
    zero = numbers.base64_text(bytes((size + 7) // 8))
    return Mapped(schema, _bits, zero, default="bits")


def _flag(raw: bytes) -> bytes:
    return b"true" if int(raw[2:], 16) else b"false"


def _bits(raw: bytes) -> bytes:
    """All bytes, the lowest first."""
    return numbers.base64_text(numbers.hex_bytes(raw)[::-1])


# -- texts and bytes


def _text(type: Type, options: Debezium) -> Mapped:
    placeholder = string(options.unavailable_value_placeholder)
    return Mapped({"type": "string"}, text, b'""', placeholder, "text")


def _json(type: Type, options: Debezium) -> Mapped:
    placeholder = string(options.unavailable_value_placeholder)
    return Mapped(named("string", "io.debezium.data.Json"), text, b'"{}"', placeholder)


def _labelled(name: str) -> _Make:
    def make(type: Type, options: Debezium) -> Mapped:
        allowed = ",".join(label.replace(",", r"\,") for label in type.labels)
        schema = named("string", f"io.debezium.data.{name}", parameters={"allowed": allowed})
        return Mapped(schema, text, b'""', default="text")

    return make


def _bytes(type: Type, options: Debezium) -> Mapped:
    return bytes_of(options, default="bytes")


# -- dates and times


def _adjust(options: Debezium) -> times.Adjust:
    return times.adjusted if options.enable_time_adjuster else times.as_written


def _year(type: Type, options: Debezium) -> Mapped:
    schema = named("int32", "io.debezium.time.Year")
    return Mapped(schema, numbers.as_it_stands, b"0", default="plain")


def _date(type: Type, options: Debezium) -> Mapped:
    mode = options.time_precision_mode
    if mode == "isostring":
        schema = named("string", "io.debezium.time.IsoDate")
        encode = times.iso_date(_adjust(options))
        return Mapped(schema, encode, b'"1970-01-01Z"', default="date", nulls=True)
    name = "org.apache.kafka.connect.data.Date" if mode == "connect" else "io.debezium.time.Date"
    encode = times.days(_adjust(options))
    return Mapped(named("int32", name), encode, b"0", default="date", nulls=True)


def _time(type: Type, options: Debezium) -> Mapped:
    """Modes that have times of a day only leave out the others."""
    mode = options.time_precision_mode
    if mode == "isostring":
        schema = named("string", "io.debezium.time.IsoTime")
        return Mapped(schema, times.iso_time, b'"00:00:00Z"', default="time", nulls=True)
    if mode == "connect":
        schema = named("int32", "org.apache.kafka.connect.data.Time")
        return Mapped(schema, times.time_millis, b"0", default="time", nulls=True)
    size = "Nano" if mode == "nanoseconds" else "Micro"
    schema = named("int64", f"io.debezium.time.{size}Time")
    return Mapped(schema, times.span_in(_UNITS[size]), b"0", default="time")


def _datetime(type: Type, options: Debezium) -> Mapped:
    mode, adjust = options.time_precision_mode, _adjust(options)
    if mode == "isostring":
        schema = named("string", "io.debezium.time.IsoTimestamp")
        zero = b'"1970-01-01T00:00:00Z"'
        return Mapped(schema, times.iso_datetime(adjust), zero, default="datetime", nulls=True)
    if mode == "connect":
        size, schema = "", named("int64", "org.apache.kafka.connect.data.Timestamp")
    else:
        size = "" if _size(type) <= 3 else "Micro"
        size = {"microseconds": "Micro", "nanoseconds": "Nano"}.get(mode, size)
        schema = named("int64", f"io.debezium.time.{size}Timestamp")
    encode = times.datetime_in(_UNITS[size], adjust)
    return Mapped(schema, encode, b"0", default="datetime", nulls=True)


def _timestamp(type: Type, options: Debezium) -> Mapped:
    schema = named("string", "io.debezium.time.ZonedTimestamp")
    zero = b'"1970-01-01T00:00:00Z"'
    return Mapped(schema, times.zoned(_size(type)), zero, default="timestamp", nulls=True)


# -- shapes and vectors

_WKB: Final = {"type": "bytes", "optional": False, "field": "wkb"}
_SRID: Final = {"type": "int32", "optional": True, "field": "srid"}


def _geometry(type: Type, options: Debezium) -> Mapped:
    fields = [_WKB, _SRID]
    schema = named("struct", "io.debezium.data.geometry.Geometry", doc="Geometry", fields=fields)
    return Mapped(schema, _shape, b'{"wkb":"","srid":null}')


def _point(type: Type, options: Debezium) -> Mapped:
    schema = named(
        "struct",
        "io.debezium.data.geometry.Point",
        doc="Geometry (POINT)",
        fields=[
            {"type": "double", "optional": False, "field": "x"},
            {"type": "double", "optional": False, "field": "y"},
            {**_WKB, "optional": True},
            _SRID,
        ],
    )
    zero = struct.pack("<IBIdd", 0, 1, 1, 0.0, 0.0).hex()
    return Mapped(schema, _shape_point, _shape_point(rb"\x" + zero.encode()))


def _shape(raw: bytes) -> bytes:
    """The server's form: an SRID in four bytes, then well-known binary."""
    data = numbers.hex_bytes(raw)
    srid = int.from_bytes(data[:4], "little")
    shown = b"%d" % srid if srid else NULL
    return b'{"wkb":"%b","srid":%b}' % (b64encode(data[4:]), shown)


def _shape_point(raw: bytes) -> bytes:
    x, y = struct.unpack_from("<dd", numbers.hex_bytes(raw), 9)
    return b'{"x":%b,"y":%b,%b' % (repr(x).encode(), repr(y).encode(), _shape(raw)[1:])


def _vector(type: Type, options: Debezium) -> Mapped:
    item = {"type": "float", "optional": False}
    return Mapped(named("array", "io.debezium.data.FloatVector", items=item), _floats, b"[]")


def _floats(raw: bytes) -> bytes:
    data = numbers.hex_bytes(raw)
    found = struct.unpack(f"<{len(data) // 4}f", data)
    return b"[%b]" % b",".join(_float32(number) for number in found)


def _float32(number: float) -> bytes:
    """The shortest text that is that number in 32 bits."""
    form = struct.Struct("<f")
    for digits in (6, 7, 8):
        shown = f"{number:.{digits}g}"
        if form.unpack(form.pack(float(shown)))[0] == number:
            return numbers.floating(shown.encode())
    return numbers.floating(f"{number:.9g}".encode())


def _uuid(type: Type, options: Debezium) -> Mapped:
    return Mapped(named("string", "io.debezium.data.Uuid"), text, b'""', default="text")


_BY_NAME: Final[dict[str, _Make]] = {
    **{name: _integer(kind) for name, kind in _INTEGERS.items()},
    **dict.fromkeys(_TEXTS, _text),
    **dict.fromkeys(_BYTES, _bytes),
    **dict.fromkeys(_GEOMETRIES, _geometry),
    **dict.fromkeys(("decimal", "decimal unsigned"), _decimal),
    **dict.fromkeys(("float", "float unsigned"), _float("float")),
    **dict.fromkeys(("double", "double unsigned"), _float("double")),
    "bigint unsigned": _bigint_unsigned,
    "bit": _bit,
    "json": _json,
    "enum": _labelled("Enum"),
    "set": _labelled("EnumSet"),
    "year": _year,
    "date": _date,
    "time": _time,
    "datetime": _datetime,
    "timestamp": _timestamp,
    "point": _point,
    "vector": _vector,
    "uuid": _uuid,
}
