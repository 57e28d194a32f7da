"""PostgreSQL's types: the built-in ones by OID, and others from what pg_type says of them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from penstock.model import Kind, Type, values

_K = Kind
_BUILTIN: Final[dict[int, tuple[str, int, Kind, str]]] = {
    # oid: (name, oid of the array type, kind, spelling)
    16: ("bool", 1000, _K.BOOLEAN, "boolean"),
    17: ("bytea", 1001, _K.BYTES, "bytea"),
    18: ("char", 1002, _K.TEXT, '"char"'),
    19: ("name", 1003, _K.TEXT, "name"),
    20: ("int8", 1016, _K.INTEGER, "bigint"),
    21: ("int2", 1005, _K.INTEGER, "smallint"),
    22: ("int2vector", 1006, _K.OTHER, "int2vector"),
    23: ("int4", 1007, _K.INTEGER, "integer"),
    24: ("regproc", 1008, _K.OTHER, "regproc"),
    25: ("text", 1009, _K.TEXT, "text"),
    26: ("oid", 1028, _K.INTEGER, "oid"),
    27: ("tid", 1010, _K.OTHER, "tid"),
    28: ("xid", 1011, _K.OTHER, "xid"),
    29: ("cid", 1012, _K.OTHER, "cid"),
    30: ("oidvector", 1013, _K.OTHER, "oidvector"),
    114: ("json", 199, _K.JSON, "json"),
    142: ("xml", 143, _K.OTHER, "xml"),
    600: ("point", 1017, _K.OTHER, "point"),
    601: ("lseg", 1018, _K.OTHER, "lseg"),
    602: ("path", 1019, _K.OTHER, "path"),
    603: ("box", 1020, _K.OTHER, "box"),
    604: ("polygon", 1027, _K.OTHER, "polygon"),
    628: ("line", 629, _K.OTHER, "line"),
    650: ("cidr", 651, _K.OTHER, "cidr"),
    700: ("float4", 1021, _K.FLOAT, "real"),
    701: ("float8", 1022, _K.FLOAT, "double precision"),
    718: ("circle", 719, _K.OTHER, "circle"),
    774: ("macaddr8", 775, _K.OTHER, "macaddr8"),
    790: ("money", 791, _K.OTHER, "money"),
    829: ("macaddr", 1040, _K.OTHER, "macaddr"),
    869: ("inet", 1041, _K.OTHER, "inet"),
    1033: ("aclitem", 1034, _K.OTHER, "aclitem"),
    1042: ("bpchar", 1014, _K.TEXT, "bpchar"),
    1043: ("varchar", 1015, _K.TEXT, "character varying"),
    1082: ("date", 1182, _K.DATE, "date"),
    1083: ("time", 1183, _K.TIME, "time without time zone"),
    1114: ("timestamp", 1115, _K.TIMESTAMP, "timestamp without time zone"),
    1184: ("timestamptz", 1185, _K.TIMESTAMPTZ, "timestamp with time zone"),
    1186: ("interval", 1187, _K.INTERVAL, "interval"),
    1266: ("timetz", 1270, _K.TIME, "time with time zone"),
    1560: ("bit", 1561, _K.OTHER, '"bit"'),
    1562: ("varbit", 1563, _K.OTHER, "bit varying"),
    1700: ("numeric", 1231, _K.NUMERIC, "numeric"),
    1790: ("refcursor", 2201, _K.OTHER, "refcursor"),
    2202: ("regprocedure", 2207, _K.OTHER, "regprocedure"),
    2203: ("regoper", 2208, _K.OTHER, "regoper"),
    2204: ("regoperator", 2209, _K.OTHER, "regoperator"),
    2205: ("regclass", 2210, _K.OTHER, "regclass"),
    2206: ("regtype", 2211, _K.OTHER, "regtype"),
    2950: ("uuid", 2951, _K.UUID, "uuid"),
    2970: ("txid_snapshot", 2949, _K.OTHER, "txid_snapshot"),
    3220: ("pg_lsn", 3221, _K.OTHER, "pg_lsn"),
    3614: ("tsvector", 3643, _K.OTHER, "tsvector"),
    3615: ("tsquery", 3645, _K.OTHER, "tsquery"),
    3642: ("gtsvector", 3644, _K.OTHER, "gtsvector"),
    3734: ("regconfig", 3735, _K.OTHER, "regconfig"),
    3769: ("regdictionary", 3770, _K.OTHER, "regdictionary"),
    3802: ("jsonb", 3807, _K.JSON, "jsonb"),
    3904: ("int4range", 3905, _K.OTHER, "int4range"),
    3906: ("numrange", 3907, _K.OTHER, "numrange"),
    3908: ("tsrange", 3909, _K.OTHER, "tsrange"),
    3910: ("tstzrange", 3911, _K.OTHER, "tstzrange"),
    3912: ("daterange", 3913, _K.OTHER, "daterange"),
    3926: ("int8range", 3927, _K.OTHER, "int8range"),
    4072: ("jsonpath", 4073, _K.OTHER, "jsonpath"),
    4089: ("regnamespace", 4090, _K.OTHER, "regnamespace"),
    4096: ("regrole", 4097, _K.OTHER, "regrole"),
    4191: ("regcollation", 4192, _K.OTHER, "regcollation"),
    4451: ("int4multirange", 6150, _K.OTHER, "int4multirange"),
    4532: ("nummultirange", 6151, _K.OTHER, "nummultirange"),
    4533: ("tsmultirange", 6152, _K.OTHER, "tsmultirange"),
    4534: ("tstzmultirange", 6153, _K.OTHER, "tstzmultirange"),
    4535: ("datemultirange", 6155, _K.OTHER, "datemultirange"),
    4536: ("int8multirange", 6157, _K.OTHER, "int8multirange"),
    5038: ("pg_snapshot", 5039, _K.OTHER, "pg_snapshot"),
    5069: ("xid8", 271, _K.OTHER, "xid8"),
}
_ELEMENT: Final = {array: oid for oid, (_, array, _, _) in _BUILTIN.items()}
_ARROW: Final = {21: "int16", 23: "int32", 26: "uint32", 700: "float32", 1266: "string"}
_CODEC: Final = {650: "cidr_parser", 869: "inet_parser"}

_SHORT, _FULL_RANGE, _FULL_PRECISION = 4, 0x7FFF, 0xFFFF
_INTERVAL_FIELDS: Final = {  # the fields' bits: month 1, year 2, day 3, hour 10, …
    1 << 2: " year",
    1 << 1: " month",
    1 << 3: " day",
    1 << 10: " hour",
    1 << 11: " minute",
    1 << 12: " second",
    1 << 2 | 1 << 1: " year to month",
    1 << 3 | 1 << 10: " day to hour",
    1 << 3 | 1 << 10 | 1 << 11: " day to minute",
    1 << 3 | 1 << 10 | 1 << 11 | 1 << 12: " day to second",
    1 << 10 | 1 << 11: " hour to minute",
    1 << 10 | 1 << 11 | 1 << 12: " hour to second",
    1 << 11 | 1 << 12: " minute to second",
}


def _spell(oid: int, spelling: str, modifier: int) -> str:
    """The server's ``format_type(oid, modifier)``."""
    if modifier < 0:
        return spelling
    if oid == 1700:
        precision, scale = _digits(modifier)
        return f"numeric({precision},{scale})"
    if oid in (1042, 1043):
        name = "character" if oid == 1042 else spelling
        return f"{name}({modifier - _SHORT})"
    if oid in (1560, 1562):
        return f"{'bit' if oid == 1560 else spelling}({modifier})"
    if oid in (1083, 1114, 1184, 1266):
        name, _, rest = spelling.partition(" ")
        return f"{name}({modifier}) {rest}"
    if oid == 1186:
        fields, precision = modifier >> 16 & _FULL_RANGE, modifier & _FULL_PRECISION
        digits = "" if precision == _FULL_PRECISION else f"({precision})"
        return f"interval{_INTERVAL_FIELDS.get(fields, '')}{digits}"
    return spelling


def _digits(modifier: int) -> tuple[int, int]:
    """Precision and scale of a numeric."""
    precision, scale = (modifier - _SHORT) >> 16, (modifier - _SHORT) & 0x7FF
    return precision, (scale ^ 1024) - 1024


def _decimal(modifier: int) -> str:
    """The Arrow type of a numeric; none where Arrow's decimals are too small for it."""
    precision, scale = _digits(modifier)
    fits = modifier >= 0 and 1 <= precision <= 38 and 0 <= scale <= precision
    return f"decimal128({precision}, {scale})" if fits else ""


@lru_cache(maxsize=4096)
def builtin(oid: int, modifier: int = -1) -> Type | None:
    """The built-in type with that OID, arrays included; None when it is not built in."""
    element_oid = _ELEMENT.get(oid)
    if element_oid:
        element = builtin(element_oid, modifier)
        assert element is not None
        delimiter = ";" if element_oid == 603 else ","
        array = _array(oid, "_" + element.name, element, delimiter, modifier)
        return replace(array, base=oid)
    if oid not in _BUILTIN:
        return None
    name, _, kind, spelling = _BUILTIN[oid]
    codec = f"{values.__name__}:{_CODEC.get(oid, 'parser')}"
    return _with_parse(
        Type(
            name,
            kind,
            _spell(oid, spelling, modifier),
            oid=oid,
            modifier=modifier,
            codec=codec,
            base=oid,
            arrow=_decimal(modifier) if oid == 1700 else _ARROW.get(oid, ""),
        )
    )


def make_type(
    oid: int,
    name: str,
    sql: str,
    *,
    typtype: str,
    category: str = "U",
    labels: tuple[str, ...] = (),
    base: Type | None = None,
    element: Type | None = None,
    delimiter: str = ",",
) -> Type:
    """A type that is not built in, from what the catalog says of it.

    Parameters
    ----------
    oid: ``pg_type.oid``.
    name: ``schema.name``.
    sql: ``format_type(oid, NULL)``.
    typtype: ``pg_type.typtype``: ``b`` base, ``e`` enum, ``d`` domain, ``c`` composite,
        ``r`` range, ``m`` multirange.
    category: ``pg_type.typcategory``; ``S`` is a kind of text (citext).
    labels: an enum's labels in order.
    base: a domain's base type (``typbasetype`` with ``typtypmod``), made before.
    element: an array's element type (``typelem`` where ``typcategory`` is ``A``), made before.
    delimiter: ``typdelim`` of the element.

    A domain is to everyone what its base type is. Composites, ranges and unknown types are kept
    as their exact text.
    """
    if base is not None:
        below = base.modifier if base.modifier >= 0 else base.base_modifier
        return replace(base, name=name, sql=sql, oid=oid, modifier=-1, base_modifier=below)
    if element is not None:
        return _array(oid, name, element, delimiter, sql=sql)
    codec = "hstore_parser" if typtype == "b" and name.endswith(".hstore") else "parser"
    kind = Kind.ENUM if typtype == "e" else Kind.TEXT if category == "S" else Kind.OTHER
    return _with_parse(
        Type(name, kind, sql, labels=labels, oid=oid, codec=f"{values.__name__}:{codec}")
    )


def unknown(oid: int) -> Type:
    """A type that neither we nor today's catalog know: its exact text."""
    codec = f"{values.__name__}:parser"
    return _with_parse(Type(f"oid:{oid}", Kind.OTHER, "text", oid=oid, codec=codec))


def _array(
    oid: int, name: str, element: Type, delimiter: str, modifier: int = -1, sql: str = ""
) -> Type:
    codec = "box_array_parser" if delimiter == ";" else "parser"
    return _with_parse(
        Type(
            name,
            Kind.ARRAY if delimiter in ",;" else Kind.OTHER,
            sql or element.sql + "[]",
            element=element,
            oid=oid,
            modifier=modifier,
            codec=f"{values.__name__}:{codec}",
        )
    )


def _with_parse(type: Type) -> Type:
    parse = getattr(values, type.codec.partition(":")[2])(type)
    return replace(type, parse=parse)
