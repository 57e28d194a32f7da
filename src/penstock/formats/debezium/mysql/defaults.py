"""A column's default as its schema tells it: that of a literal, and of the moment a zero.

Expressions are not evaluated, so none is told of them.
"""

from __future__ import annotations

import re
from typing import Final

from penstock.formats.debezium.types import Mapped
from penstock.formats.json import NULL, string
from penstock.model import Column

_NOW: Final = re.compile(r"(?i)(?:current_timestamp|now)\b")
_BITS: Final = re.compile(r"b'([01]*)'")
_HEX: Final = re.compile(r"(?i)0x([0-9a-f]*)|x'([0-9a-f]*)'")
_MOST: Final = (1 << 63) - 1


def default(column: Column, mapped: Mapped) -> bytes | None:
    """JSON of the column's default; None when there is none to tell."""
    expression, kind = column.expression, mapped.default
    if expression is None or not kind or column.generated:
        return None
    required = column.nullable is False
    if _NOW.match(expression):
        return mapped.zero if required or kind == "datetime" else None
    try:
        made = _value(expression, kind, mapped)
    except (ValueError, ArithmeticError):
        return None
    return (mapped.zero if required else None) if made == NULL else made


def _value(expression: str, kind: str, mapped: Mapped) -> bytes:
    literal = expression[1:-1] if expression[:1] == "'" else None
    if kind == "text":
        if literal is None:
            raise ValueError("no literal")
        return string(literal)  # quotes in it stay doubled
    given = literal if literal is not None else expression
    if kind == "bits":
        bits = _BITS.fullmatch(expression)
        number = int(bits[1] or "0", 2) if bits is not None else int(given)
        size = int(mapped.schema.get("parameters", {}).get("length", 1))
        return mapped.encode(rb"\x%0*x" % ((size + 7) // 8 * 2, number))
    if kind == "bytes":
        found = _HEX.fullmatch(expression)
        data = bytes.fromhex(found[1] or found[2] or "") if found is not None else given.encode()
        return mapped.encode(rb"\x" + data.hex().encode())
    if kind == "long":
        return b"%d" % min(int(given), _MOST)
    if kind == "timestamp":
        given += "" if given.startswith("0000") else "+00"
    if kind == "plain":
        float(given)  # or it is an expression
    return mapped.encode(given.encode())
