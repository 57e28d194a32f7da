"""Which column a Connect schema is: its type, and how its values become exact texts.

Debezium's logical types come back as what they were made of, in PostgreSQL's spelling, so that
every sink takes them as it takes the database's own. What the record no longer says stays lost:
an interval's months, whether a ``bit`` was varying, whether a json was a jsonb.
"""

from __future__ import annotations

import math
import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import md5
from typing import Any, Final
from uuid import UUID

import orjson

from penstock.model import Kind, Type, values
from penstock.sources.kafka import times
from penstock.sources.kafka.codec import Schema
from penstock.sources.kafka.times import Text


class _Nothing:
    """What no value equals."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the values of one schema are read.

    Parameters
    ----------
    text: makes the exact text of a value.
    unavailable: the value that stands for one that the log did not repeat.
    """

    type: Type
    text: Text
    unavailable: object = _Nothing


def reading(schema: Schema | None, placeholder: str) -> Reading:
    """How values of a schema are read; without one they are JSON.

    Parameters
    ----------
    placeholder: Debezium's ``unavailable.value.placeholder``.

    Raises ValueError for a schema that is none.
    """
    if schema is None:
        return Reading(_JSON, orjson.dumps, placeholder)
    kind, name = schema.get("type"), schema.get("name")
    make = _LOGICAL.get(str(name)) or _PLAIN.get(str(kind))
    if make is None:
        raise ValueError(f"no schema that is known: {schema!r:.80}")
    return make(schema, placeholder)


def _type(name: str, kind: Kind, sql: str, codec: str = "parser", **rest: Any) -> Type:
    type = Type(name, kind, sql, codec=f"{values.__name__}:{codec}", **rest)
    return replace(type, parse=getattr(values, codec)(type))


Make = Callable[[Schema, str], Reading]


def _one(type: Type, text: Text) -> Make:
    found = Reading(type, text)
    return lambda schema, placeholder: found


def _string(type: Type, text: Text | None = None) -> Make:
    read = text or _text
    return lambda schema, placeholder: Reading(type, read, placeholder)


def _text(value: Any) -> bytes:
    if type(value) is not str:
        raise TypeError(f"{value!r:.80} is no text")
    return value.encode()


def _boolean(value: Any) -> bytes:
    if value is True:
        return b"t"
    if value is False:
        return b"f"
    raise TypeError(f"{value!r:.80} is no boolean")


def _integer(value: Any) -> bytes:
    if type(value) is not int:
        raise TypeError(f"{value!r:.80} is no whole number")
    return b"%d" % value


def _float(digits: int) -> Text:
    """As PostgreSQL prints it: the shortest digits that say it, with an exponent from
    ``digits`` digits before the point on."""

    def text(value: Any) -> bytes:
        number = float(value)
        if math.isnan(number) or math.isinf(number):
            return b"NaN" if math.isnan(number) else b"Infinity" if number > 0 else b"-Infinity"
        mantissa, _, exponent = repr(number).partition("e")
        if not exponent and (number == 0 or 1e-4 <= abs(number) < 10.0**digits):
            return mantissa.removesuffix(".0").encode()
        sign = "-" if mantissa.startswith("-") else ""
        whole, _, fraction = mantissa.lstrip("-").partition(".")
        figures = (whole + fraction).lstrip("0")
        leading = len(whole + fraction) - len(figures)
        power = int(exponent or 0) + len(whole) - 1 - leading
        figures = figures.rstrip("0") or "0"
        if -4 <= power < digits:
            plain = f"{abs(number):.{max(0, len(figures) - 1 - power)}f}"
            return (sign + plain).encode()
        point = f"{figures[0]}.{figures[1:]}" if len(figures) > 1 else figures
        return f"{sign}{point}e{'-' if power < 0 else '+'}{abs(power):02d}".encode()

    return text


def data(value: Any) -> bytes:
    """Bytes, which JSON has as base64."""
    return value if isinstance(value, bytes) else b64decode(value, validate=True)


def _hex(value: Any) -> bytes:
    return b"\\x" + data(value).hex().encode()


def _bytes(schema: Schema, placeholder: str) -> Reading:
    return Reading(_BYTEA, _hex, b64encode(placeholder.encode()).decode())


# -- numbers with a scale


def _scaled(number: int, scale: int) -> bytes:
    if scale <= 0:
        return b"%d" % (number * 10**-scale)
    digits = str(abs(number)).rjust(scale + 1, "0")
    return f"{'-' if number < 0 else ''}{digits[:-scale]}.{digits[-scale:]}".encode()


def _decimal(schema: Schema, placeholder: str) -> Reading:
    """Connect's ``Decimal``: an unscaled big-endian number."""
    parameters = schema.get("parameters") or {}
    scale = int(parameters.get("scale", 0))
    precision = parameters.get("connect.decimal.precision")
    type = _type("numeric", Kind.NUMERIC, "numeric")
    if precision is not None and 0 <= scale <= 1000:
        digits = int(precision)
        type = _type(
            "numeric",
            Kind.NUMERIC,
            f"numeric({digits},{scale})",
            modifier=(digits << 16 | scale) + 4,
            arrow=f"decimal128({digits}, {scale})" if digits <= 38 and scale <= digits else "",
        )

    def text(value: Any) -> bytes:
        if isinstance(value, str | bytes):
            return _scaled(int.from_bytes(data(value), "big", signed=True), scale)
        return str(value).encode()  # told as a number (decimal.format = NUMERIC)

    return Reading(type, text)


def _variable_decimal(value: Any) -> bytes:
    number = int.from_bytes(data(value["value"]), "big", signed=True)
    return _scaled(number, value["scale"])


# -- bits, enums, geometry


def _bits(schema: Schema, placeholder: str) -> Reading:
    """``io.debezium.data.Bits``: little-endian, of ``length`` bits at most."""
    length = int((schema.get("parameters") or {}).get("length", 0))
    bounded = 0 < length < 2147483647
    sql = f"bit({length})" if bounded else "bit varying"
    type = _type(
        "bit" if bounded else "varbit", Kind.OTHER, sql, modifier=length if bounded else -1
    )

    def text(value: Any) -> bytes:
        number = int.from_bytes(data(value), "little")
        digits = f"{number:b}" if number else ""
        return digits.rjust(length if bounded else 0, "0").encode()

    return Reading(type, text)


_COMMA: Final = re.compile(r"(?<!\\),")


def _enum(schema: Schema, placeholder: str) -> Reading:
    allowed = str((schema.get("parameters") or {}).get("allowed", ""))
    labels = tuple(label.replace("\\,", ",") for label in _COMMA.split(allowed))
    return Reading(_type("enum", Kind.ENUM, "text", labels=labels), _text, placeholder)


def _point(value: Any) -> bytes:
    float8 = _float(15)
    return b"(%b,%b)" % (float8(value["x"]), float8(value["y"]))


_HAS_SRID: Final = 0x20000000


def _geometry(value: Any) -> bytes:
    """PostGIS's text: hexadecimal EWKB. MySQL's has its SRID beside it."""
    wkb, srid = data(value["wkb"]), value.get("srid")
    order = "<" if wkb[:1] == b"\1" else ">"
    (kind,) = struct.unpack_from(order + "I", wkb, 1)
    if srid is not None and not kind & _HAS_SRID:
        wkb = struct.pack(order + "BII", wkb[0], kind | _HAS_SRID, srid) + wkb[5:]
    return wkb.hex().upper().encode()


def _vector(value: Any) -> bytes:
    return b"[" + b",".join(map(_float(6), value)) + b"]"


def _sparse_vector(value: Any) -> bytes:
    pairs = sorted((int(i), x) for i, x in _pairs(value["vector"]))
    listed = b",".join(b"%d:%b" % (i, _float(6)(x)) for i, x in pairs)
    return b"{%b}/%d" % (listed, value["dimensions"])


def _pairs(value: Any) -> Any:
    """A map: an object where its keys are texts, else an array of pairs."""
    return value.items() if isinstance(value, Mapping) else value


# -- what holds others


_PLAIN_ELEMENT: Final = re.compile(rb'[^{}",\\\s]+')


def _quoted(text: bytes) -> bytes:
    if _PLAIN_ELEMENT.fullmatch(text) and text.upper() != b"NULL":
        return text
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _array(schema: Schema, placeholder: str) -> Reading:
    element = reading(schema["items"], placeholder)
    type = _type("_" + element.type.name, Kind.ARRAY, element.type.sql + "[]", element=element.type)
    make = element.text

    def text(value: Any) -> bytes:
        return b"{%b}" % b",".join(b"NULL" if e is None else _quoted(make(e)) for e in value)

    return Reading(type, text, _unavailable_array(element, placeholder))


def _unavailable_array(element: Reading, placeholder: str) -> object:
    if element.type.name in ("int2", "int4", "int8"):
        return list(placeholder.encode())
    if element.type.kind is Kind.UUID:
        digest = bytearray(md5(placeholder.encode(), usedforsecurity=False).digest())
        digest[6], digest[8] = digest[6] & 0x0F | 0x30, digest[8] & 0x3F | 0x80
        return [str(UUID(bytes=bytes(digest)))]
    return _Nothing if element.unavailable is _Nothing else [element.unavailable]


def _map(schema: Schema, placeholder: str) -> Reading:
    """``hstore.handling.mode = map``."""
    if (schema.get("keys") or {}).get("type") != "string":
        return Reading(_JSON, orjson.dumps)

    def text(value: Any) -> bytes:
        return b", ".join(
            b"%b=>%b" % (_always(key), b"NULL" if item is None else _always(item))
            for key, item in _pairs(value)
        )

    return Reading(_HSTORE, text, {placeholder: placeholder})


def _always(text: str) -> bytes:
    return b'"' + text.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


_K = Kind
_JSON: Final = _type("jsonb", _K.JSON, "jsonb")
_TEXT: Final = _type("text", _K.TEXT, "text")
_BYTEA: Final = _type("bytea", _K.BYTES, "bytea")
_INT2: Final = _type("int2", _K.INTEGER, "smallint", arrow="int16")
_INT4: Final = _type("int4", _K.INTEGER, "integer", arrow="int32")
_INT8: Final = _type("int8", _K.INTEGER, "bigint")
_DATE: Final = _type("date", _K.DATE, "date")
_HSTORE: Final = _type("hstore", _K.OTHER, "hstore", "hstore_parser")
_INTERVAL: Final = _type("interval", _K.INTERVAL, "interval")
_TIMETZ: Final = _type("timetz", _K.TIME, "time with time zone", arrow="string")
_TIMESTAMPTZ: Final = _type("timestamptz", _K.TIMESTAMPTZ, "timestamp with time zone")


def _time(modifier: int = -1) -> Type:
    digits = f"({modifier})" if modifier >= 0 else ""
    return _type("time", _K.TIME, f"time{digits} without time zone", modifier=modifier)


def _timestamp(modifier: int = -1) -> Type:
    digits = f"({modifier})" if modifier >= 0 else ""
    spelling = f"timestamp{digits} without time zone"
    return _type("timestamp", _K.TIMESTAMP, spelling, modifier=modifier)


def _other(name: str, kind: Kind = Kind.OTHER) -> Type:
    return _type(name, kind, name)


_PLAIN: Final[Mapping[str, Make]] = {
    "boolean": _one(_type("bool", _K.BOOLEAN, "boolean"), _boolean),
    "int8": _one(_INT2, _integer),
    "int16": _one(_INT2, _integer),
    "int32": _one(_INT4, _integer),
    "int64": _one(_INT8, _integer),
    "float": _one(_type("float4", _K.FLOAT, "real", arrow="float32"), _float(6)),
    "double": _one(_type("float8", _K.FLOAT, "double precision"), _float(15)),
    "string": _string(_TEXT),
    "bytes": _bytes,
    "array": _array,
    "map": _map,
    "struct": _one(_JSON, orjson.dumps),
}
_CONNECT, _TIME, _DATA = "org.apache.kafka.connect.data.", "io.debezium.time.", "io.debezium.data."
_LOGICAL: Final[Mapping[str, Make]] = {
    _CONNECT + "Decimal": _decimal,
    _CONNECT + "Date": _one(_DATE, times.date),
    _CONNECT + "Time": _one(_time(3), times.time_of(3)),
    _CONNECT + "Timestamp": _one(_timestamp(3), times.timestamp_of(3)),
    _TIME + "Date": _one(_DATE, times.date),
    _TIME + "Time": _one(_time(3), times.time_of(3)),
    _TIME + "MicroTime": _one(_time(), times.time_of(6)),
    _TIME + "NanoTime": _one(_time(), times.time_of(9)),
    _TIME + "Timestamp": _one(_timestamp(3), times.timestamp_of(3)),
    _TIME + "MicroTimestamp": _one(_timestamp(), times.timestamp_of(6)),
    _TIME + "NanoTimestamp": _one(_timestamp(), times.timestamp_of(9)),
    _TIME + "ZonedTimestamp": _one(_TIMESTAMPTZ, times.zoned_timestamp),
    _TIME + "ZonedTime": _one(_TIMETZ, times.zoned_time),
    _TIME + "IsoDate": _one(_DATE, times.iso_date),
    _TIME + "IsoTime": _one(_time(), times.iso_time),
    _TIME + "IsoTimestamp": _one(_timestamp(), times.iso_timestamp),
    _TIME + "MicroDuration": _one(_INTERVAL, times.duration_of(6)),
    _TIME + "NanoDuration": _one(_INTERVAL, times.duration_of(9)),
    _TIME + "Interval": _one(_INTERVAL, times.interval),
    _TIME + "Year": _one(_INT4, _integer),
    _DATA + "VariableScaleDecimal": _one(
        _type("numeric", _K.NUMERIC, "numeric"), _variable_decimal
    ),
    _DATA + "Bits": _bits,
    _DATA + "Json": _string(_other("json", _K.JSON)),
    _DATA + "Uuid": _string(_type("uuid", _K.UUID, "uuid")),
    _DATA + "Xml": _string(_other("xml")),
    _DATA + "Ltree": _string(_other("ltree")),
    _DATA + "Tsvector": _string(_other("tsvector")),
    _DATA + "Enum": _enum,
    _DATA + "EnumSet": _string(_TEXT),
    _DATA + "geometry.Point": _one(_other("point"), _point),
    _DATA + "geometry.Geometry": _one(_other("geometry"), _geometry),
    _DATA + "geometry.Geography": _one(_other("geography"), _geometry),
    _DATA + "DoubleVector": _one(_other("vector"), _vector),
    _DATA + "FloatVector": _one(_other("halfvec"), _vector),
    _DATA + "SparseDoubleVector": _one(_other("sparsevec"), _sparse_vector),
}
