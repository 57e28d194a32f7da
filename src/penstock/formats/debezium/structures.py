"""Values that hold values: arrays, hstore, points, geometries, vectors."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from typing import Final

from penstock.formats.debezium.numbers import Encode, base64_text, floating
from penstock.formats.json import NULL, string

# A double-quoted text with backslash escapes, or a bare word, up to a separator.
_ELEMENT: Final = re.compile(rb'[{},]|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_PAIR: Final = re.compile(
    rb'"((?:[^"\\]|\\.)*)"=>(?:"((?:[^"\\]|\\.)*)"|(NULL))(?:, |$)', re.DOTALL
)


def elements(raw: bytes) -> Iterator[bytes | None]:
    """The elements of an array's text, all dimensions one after the other."""
    if b'"' not in raw and b"\\" not in raw:
        inner = raw[raw.index(b"{") :].replace(b"{", b"").replace(b"}", b"")
        if inner:
            yield from (None if word == b"NULL" else word for word in inner.split(b","))
        return
    for found in _ELEMENT.finditer(raw, raw.index(b"{")):
        quoted, bare = found.groups()
        if quoted is not None:
            yield _ESCAPED.sub(rb"\1", quoted)
        elif bare is not None:
            yield None if bare == b"NULL" else _ESCAPED.sub(rb"\1", bare)


def array(encode_element: Encode) -> Encode:
    """A JSON array. Connect's arrays have one dimension, so those of more are told flat."""

    def encode(raw: bytes) -> bytes:
        pieces = (NULL if e is None else encode_element(e) for e in elements(raw))
        return b"[" + b",".join(pieces) + b"]"

    return encode


def words(encode_element: Encode) -> Encode:
    """A JSON array of a text that has its elements between spaces (int2vector)."""
    return lambda raw: b"[" + b",".join(map(encode_element, raw.split())) + b"]"


def _pairs(raw: bytes) -> Iterator[tuple[str, str | None]]:
    at = 0
    while at < len(raw):
        found = _PAIR.match(raw, at)
        if found is None:
            raise ValueError("not an hstore")
        key, value, _ = found.groups()
        at = found.end()
        yield (
            _ESCAPED.sub(rb"\1", key).decode(),
            None if value is None else _ESCAPED.sub(rb"\1", value).decode(),
        )


def hstore_json(raw: bytes) -> bytes:
    """``hstore.handling.mode = json``: a string that holds an object."""
    text = json.dumps(dict(_pairs(raw)), separators=(",", ":"), ensure_ascii=False)
    return string(text)


def hstore_map(raw: bytes) -> bytes:
    """``hstore.handling.mode = map``: an object."""
    pairs = (
        string(key) + b":" + (NULL if value is None else string(value))
        for key, value in _pairs(raw)
    )
    return b"{" + b",".join(pairs) + b"}"


def point(raw: bytes) -> bytes:
    """``(x,y)``, also as well-known binary."""
    x, y = raw[1:-1].split(b",")
    wkb = struct.pack("<BIdd", 1, 1, float(x), float(y))
    return b'{"x":%b,"y":%b,"wkb":%b,"srid":null}' % (floating(x), floating(y), base64_text(wkb))


_HAS_SRID: Final = 0x20000000


def geometry(raw: bytes) -> bytes:
    """PostGIS: hexadecimal EWKB as it stands, and the SRID that it holds."""
    data = bytes.fromhex(raw.decode())
    order = "<" if data[:1] == b"\1" else ">"
    (kind,) = struct.unpack_from(order + "I", data, 1)
    srid = NULL
    if kind & _HAS_SRID:
        srid = str(*struct.unpack_from(order + "I", data, 5)).encode()
    return b'{"wkb":%b,"srid":%b}' % (base64_text(data), srid)


def vector(raw: bytes) -> bytes:
    """``[1,2.5]``."""
    return b"[" + b",".join(floating(x) for x in raw[1:-1].split(b",") if x) + b"]"


def sparse_vector(raw: bytes) -> bytes:
    """``{1:0.5,20:2}/25``."""
    inner, _, dimensions = raw.rpartition(b"/")
    pairs = (pair.split(b":") for pair in inner[1:-1].split(b",") if pair)
    listed = b",".join(b"[%b,%b]" % (index, floating(value)) for index, value in pairs)
    return b'{"dimensions":%b,"vector":[%b]}' % (dimensions, listed)
