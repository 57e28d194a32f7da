"""A column's default as its schema tells it.

The connector does not evaluate a default: it takes the first quoted literal in its text, for a
function call the type's zero, or else the text itself, and tells none where that is no value of the
type. Consumers see that in schemas, and in place of nulls, so it is done here in the same way.
"""

from __future__ import annotations

import re
from typing import Final

from penstock.formats.debezium.types import Mapped, is_domain
from penstock.formats.json import string
from penstock.model import Column

_CALL: Final = re.compile(r"[(]?[A-Za-z0-9_.]+\(.*\)", re.DOTALL)
_LITERAL: Final = re.compile(r"'(.*?)'", re.DOTALL)
_TEXTS: Final = frozenset(
    ("char", "name", "bpchar", "varchar", "text", "citext", "json", "jsonb", "xml", "uuid", "enum")
)
_FUNCTION: Final = {
    "bool": b"false",
    "int": b"0",
    "float": b"0.0",
    "uuid": b'"00000000-0000-0000-0000-000000000000"',
}


def default(column: Column, mapped: Mapped) -> bytes | None:
    """JSON of the column's default; None when there is none to tell."""
    expression = column.expression
    kind = mapped.default
    if expression is None or not kind or column.generated or is_domain(column.type):
        return None
    if expression.startswith("NULL"):
        return None
    if _CALL.match(expression):
        return _zero(kind, mapped)
    literal = _LITERAL.search(expression)
    if kind in _TEXTS:
        return string(literal[1] if literal else expression)
    if literal is None and kind in ("date", "time", "timestamp", "timestamptz", "interval"):
        return _zero(kind, mapped)  # CURRENT_DATE and the like
    return _value(kind, literal[1] if literal else expression, mapped)


def _zero(kind: str, mapped: Mapped) -> bytes:
    if kind == "timestamptz":
        return mapped.encode(b"1970-01-01 00:00:00+00")
    return _FUNCTION.get(kind, mapped.zero)


def _value(kind: str, text: str, mapped: Mapped) -> bytes | None:
    if kind == "bool":
        return b"true" if text in ("true", "t") else b"false"
    try:
        if kind == "int":
            return b"%d" % int(text)
        if kind in ("float", "numeric"):
            float(text)  # or it is an expression
        return mapped.encode(text.encode())
    except (ValueError, KeyError):
        return None
