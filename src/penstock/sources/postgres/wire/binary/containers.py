"""Arrays, ranges and multiranges: values inside others, quoted where their text needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from operator import mul
from typing import Final

from penstock.sources.postgres.wire.binary.form import Parts, TextOf

_DEPTH: Final = 6  # the server's own limit of dimensions
_MOST: Final = 0x7FFF_FFFF
_ESCAPED: Final = re.compile(rb'["\\]')
_IN_RANGE: Final = re.compile(rb'["\\()\[\],\s]')
_EMPTY, _LOW_INCLUSIVE, _HIGH_INCLUSIVE, _LOW_INFINITE, _HIGH_INFINITE = 1, 2, 4, 8, 16


def array(element: TextOf, oid: int, delimiter: bytes) -> TextOf:
    """An array: dimensions, whether it has nulls, the elements' type, and for each dimension its
    length and lower bound; then the elements.

    Parameters
    ----------
    oid: the elements' type, which the form repeats.
    delimiter: stands between two elements.
    """
    special = re.compile(rb'["\\{}\s' + re.escape(delimiter) + rb"]")

    def quoted(value: bytes | None) -> bytes:
        if value is None:
            return b"NULL"
        text = element(value)
        if text and text.upper() != b"NULL" and special.search(text) is None:
            return text
        return b'"' + _ESCAPED.sub(rb"\\\g<0>", text) + b'"'

    def text(raw: bytes) -> bytes:
        parts = Parts(raw)
        depth, nulls, found = parts.integer(), parts.integer(), parts.integer() & 0xFFFF_FFFF
        if not 0 <= depth <= _DEPTH or nulls not in (0, 1):
            raise ValueError(f"an array of {depth} dimensions, with {nulls} for nulls")
        if found != oid:
            raise ValueError(f"an array of type {found} where {oid} is due")
        sizes = []
        bounds = b""
        shifted = False
        for _ in range(depth):
            size, low = parts.integer(), parts.integer()
            if size <= 0 or low + size - 1 > _MOST:
                raise ValueError(f"a dimension of {size} from {low} on")
            sizes.append(size)
            shifted |= low != 1
            bounds += b"[%d:%d]" % (low, low + size - 1)
        count = reduce(mul, sizes, 1 if sizes else 0)
        if count * 4 > parts.left:
            listed = "x".join(map(str, sizes))
            raise ValueError(f"{listed} elements in {parts.left} bytes")
        elements = iter([quoted(parts.part()) for _ in range(count)])
        parts.end()
        nested = _nested(elements, sizes, delimiter)
        return bounds + b"=" + nested if shifted else nested

    return text


def _nested(elements: Iterator[bytes], sizes: list[int], delimiter: bytes) -> bytes:
    if not sizes:
        return b"{}"
    size, *rest = sizes
    inner = (_nested(elements, rest, delimiter) if rest else next(elements) for _ in range(size))
    return b"{" + delimiter.join(inner) + b"}"


def range_(bound: TextOf) -> TextOf:
    """A range: what it has and includes, then its bounds."""

    def end(parts: Parts) -> bytes:
        value = parts.part()
        if value is None:
            raise ValueError("a bound that is null")
        text = bound(value)
        if text and _IN_RANGE.search(text) is None:
            return text
        return b'"' + _ESCAPED.sub(rb"\g<0>\g<0>", text) + b'"'

    def text(raw: bytes) -> bytes:
        parts = Parts(raw)
        flags = parts.byte()
        if flags > 0x1F:
            raise ValueError(f"a range with flags {flags}")
        if flags & _EMPTY:
            parts.end()
            return b"empty"
        low = b"" if flags & _LOW_INFINITE else end(parts)
        high = b"" if flags & _HIGH_INFINITE else end(parts)
        parts.end()
        opening = b"[" if flags & _LOW_INCLUSIVE else b"("
        closing = b"]" if flags & _HIGH_INCLUSIVE else b")"
        return opening + low + b"," + high + closing

    return text


def multirange(one: TextOf) -> TextOf:
    """A multirange: the number of its ranges, and the ranges."""

    def text(raw: bytes) -> bytes:
        parts = Parts(raw)
        count = parts.integer()
        if not 0 <= count * 5 <= parts.left:
            raise ValueError(f"{count} ranges in {parts.left} bytes")
        ranges = []
        for _ in range(count):
            value = parts.part()
            if value is None:
                raise ValueError("a range that is null")
            ranges.append(one(value))
        parts.end()
        return b"{" + b",".join(ranges) + b"}"

    return text
