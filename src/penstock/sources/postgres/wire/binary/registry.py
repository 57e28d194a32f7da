"""Which types are read in binary, and how."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from penstock.model import Kind, Table, Type
from penstock.sources.postgres.wire.binary import containers, numbers, others, times
from penstock.sources.postgres.wire.binary.form import TextOf

_BOX: Final = 603
_SCALARS: Final[dict[int, TextOf]] = {
    16: numbers.boolean,
    17: others.bytea,
    19: others.text,  # name
    20: numbers.integer("q"),
    21: numbers.integer("h"),
    23: numbers.integer("i"),
    25: others.text,
    26: numbers.integer("I"),  # oid
    27: others.tid,
    28: numbers.integer("I"),  # xid
    29: numbers.integer("I"),  # cid
    114: others.text,  # json
    142: others.text,  # xml: with client_encoding UTF8 the same as its text
    600: others.points(1),
    601: others.points(2, b"[%s]"),  # lseg
    602: others.path,
    603: others.points(2),  # box
    604: others.polygon,
    628: others.line,
    650: others.address,  # cidr
    700: numbers.float4,
    701: numbers.float8,
    718: others.circle,
    774: others.hardware(8),
    829: others.hardware(6),
    869: others.address,  # inet
    1042: others.text,  # bpchar
    1043: others.text,  # varchar
    1082: times.date,
    1083: times.time,
    1114: times.timestamp(b""),
    1184: times.timestamp(b"+00"),
    1186: times.interval,
    1266: times.timetz,
    1560: others.bits,
    1562: others.bits,
    1700: numbers.numeric,
    1790: others.text,  # refcursor
    2950: others.uuid,
    3802: others.versioned,  # jsonb
    4072: others.versioned,  # jsonpath
    5069: numbers.integer("Q"),  # xid8
}
_RANGES: Final = {
    # range: (its multirange, its bounds' type)
    3904: (4451, 23),
    3906: (4532, 1700),
    3908: (4533, 1114),
    3910: (4534, 1184),
    3912: (4535, 1082),
    3926: (4536, 20),
}
for _range, (_multirange, _bound) in _RANGES.items():
    _SCALARS[_range] = containers.range_(_SCALARS[_bound])
    _SCALARS[_multirange] = containers.multirange(_SCALARS[_range])

_SINCE: Final = {1186: 170000}
"""The first server version whose every value has the text that we make of it: before, intervals
at both ends of their range were none of infinity's."""


@lru_cache(maxsize=4096)
def text_of(type: Type) -> TextOf | None:
    """What makes the server's text of a type's send form; None where that is not exactly known."""
    if type.element is not None:
        element = text_of(type.element)
        if element is None:
            return None
        delimiter = b";" if type.element.base == _BOX else b","
        return containers.array(element, type.element.oid, delimiter)
    if type.kind is Kind.ENUM:
        return others.text
    return _SCALARS.get(type.base)


def is_exact(type: Type, server: int) -> bool:
    """Whether a server of that version (``160004``) may send the type in binary."""
    inner = type.element or type
    while inner.element is not None:
        inner = inner.element
    return text_of(type) is not None and server >= _SINCE.get(inner.base, 0)


def inexact(table: Table, server: int) -> str:
    """The first of a table's columns that must come as text, with its type; empty for none."""
    for column in table.columns:
        if not is_exact(column.type, server):
            return f"{table.text}.{column.name} ({column.type.sql})"
    return ""
