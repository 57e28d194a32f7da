"""MySQL's binary JSON as the text that the server shows.

https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from operator import add
from struct import Struct
from struct import error as StructError
from typing import Final, TypeAlias

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire.numbers import decimal_length, decimal_text, double_text
from penstock.sources.mysql.wire.reader import Reader
from penstock.sources.mysql.wire.tablemap import Code
from penstock.sources.mysql.wire.times import clock_text

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY = range(4)
_LITERAL, _INT16, _UINT16, _INT32, _UINT32, _INT64, _UINT64, _DOUBLE, _STRING = range(4, 13)
_OPAQUE: Final = 15
_LITERALS: Final = {0: "null", 1: "true", 2: "false"}
_INTEGERS: Final = {
    _INT16: (2, True),
    _UINT16: (2, False),
    _INT32: (4, True),
    _UINT32: (4, False),
    _INT64: (8, True),
    _UINT64: (8, False),
}
_INLINE: Final = frozenset({_LITERAL, _INT16, _UINT16})
_INLINE_WIDE: Final = _INLINE | {_INT32, _UINT32}
_FLOAT64: Final = Struct("<d").unpack
_DEEPEST: Final = 100  # the server refuses deeper ones

Node: TypeAlias = "str | dict[str, Node] | list[Node]"
"""A JSON value: the text of a scalar, or what holds others."""


def json_text(raw: bytes) -> bytes:
    """The text of a binary JSON value. Raises ProtocolError where it is none."""
    if raw[:1] == _FLAT:
        try:
            if text := _flat_text(raw):
                return text
        except (StructError, IndexError, KeyError, UnicodeDecodeError):
            pass  # the careful way says what is wrong
    return json_form(json_node(raw))


_FLAT: Final = bytes((_SMALL_OBJECT,))
_COUNTS: Final = Struct("<HH").unpack_from


@lru_cache(maxsize=256)
def _entries(count: int) -> Struct:
    """Where keys and values of a small object are: (place, length) each, then (type, place)."""
    return Struct("<4x" + "HH" * count + "BH" * count)


@lru_cache(maxsize=4096)
def _flat_key(raw: bytes) -> str:
    return quoted(raw.decode()) + ": "


def _flat_text(raw: bytes) -> bytes:
    """The text of a small object of short strings, small numbers and literals, as most are; empty
    for any other. Raises one of several errors, or is empty, where bytes are wrong."""
    count, size = _COUNTS(raw, 1)
    entries = _entries(count)
    numbers = entries.unpack_from(raw, 1)
    spent = entries.size
    if not count or size > len(raw) - 1 or spent > size:
        return b""
    members = {}
    for at, length, kind, value in zip(
        numbers[: 2 * count : 2],
        numbers[1 : 2 * count : 2],
        numbers[2 * count :: 2],
        numbers[2 * count + 1 :: 2],
        strict=True,
    ):
        if kind == _STRING:
            long = raw[value + 1]
            text = raw[value + 2 : value + 2 + long]
            if long > 127 or value < entries.size or value + 1 + long > size:
                return b""
            spent += long
            shown = quoted(text.decode())
        elif kind == _INT16:
            shown = str(value - (value >> 15 << 16))
        elif kind == _UINT16:
            shown = str(value)
        elif kind == _LITERAL and value < 256:
            shown = _LITERALS[value]
        else:
            return b""
        spent += length
        if at + length > size:
            return b""
        members[_flat_key(raw[at + 1 : at + 1 + length])] = shown
    if spent > len(raw) or len(members) != count:
        return b""
    return f"{{{', '.join(map(add, members, members.values()))}}}".encode()


def json_node(raw: bytes) -> Node:
    """A binary JSON value. Raises ProtocolError where it is none."""
    if not raw:
        return "null"  # what an empty value means to the server
    return _Binary(raw).value(raw[0], Reader(raw, 1), 0)


def json_form(node: Node) -> bytes:
    """The text of a value as the server writes it."""
    pieces: list[str] = []
    _write(node, pieces.append)
    return "".join(pieces).encode("utf-8", "surrogatepass")


def _write(node: Node, write: Callable[[str], None]) -> None:
    if isinstance(node, str):
        write(node)
    elif isinstance(node, dict):
        separator = "{"
        for key, value in node.items():
            write(separator + quoted(key) + ": ")
            _write(value, write)
            separator = ", "
        write("}" if node else "{}")
    else:
        separator = "["
        for value in node:
            write(separator)
            _write(value, write)
            separator = ", "
        write("]" if node else "[]")


class _Binary:
    """A document, with what may still be read of it: in hostile bytes values may share theirs."""

    def __init__(self, raw: bytes) -> None:
        self.left = len(raw)

    def spend(self, length: int, reader: Reader) -> None:
        self.left -= length
        if self.left < 0:
            raise ProtocolError("JSON values share their bytes", offset=reader.at)

    def value(self, kind: int, reader: Reader, depth: int) -> Node:
        if kind <= _LARGE_ARRAY:
            if depth >= _DEEPEST:
                raise ProtocolError(f"JSON deeper than {_DEEPEST} levels", offset=reader.at)
            return self._container(kind, reader, depth + 1)
        if kind == _LITERAL:
            return _literal(reader.byte(), reader)
        if kind in _INTEGERS:
            size, signed = _INTEGERS[kind]
            return str(int.from_bytes(reader.take(size), "little", signed=signed))
        if kind == _DOUBLE:
            return _double(_FLOAT64(reader.take(8))[0])
        if kind not in (_STRING, _OPAQUE):
            raise ProtocolError(f"unknown JSON type {kind}", offset=reader.at)
        code = reader.byte() if kind == _OPAQUE else 0
        raw = reader.take(_length(reader))
        self.spend(len(raw), reader)
        return _opaque(code, raw, reader) if kind == _OPAQUE else quoted(_string(raw, reader))

    def _container(self, kind: int, reader: Reader, depth: int) -> Node:
        """An object or array: counts, then where keys and values are, from its begin."""
        wide = 4 if kind in (_LARGE_OBJECT, _LARGE_ARRAY) else 2
        is_object = kind in (_SMALL_OBJECT, _LARGE_OBJECT)
        begin = reader.at
        count, size = reader.integer(wide), reader.integer(wide)
        end = begin + size
        head = 2 * wide + count * (1 + wide + (wide + 2 if is_object else 0))
        if end > reader.end or head > size:
            raise ProtocolError(f"{count} entries in {size} bytes of JSON", offset=begin)
        self.spend(head, reader)
        keys = []
        for _ in range(count if is_object else 0):
            at, length = reader.integer(wide), reader.integer(2)
            self.spend(length, reader)
            key = Reader(reader.data, min(begin + at, end), end)
            keys.append(_string(key.take(length), key))
        values = []
        for _ in range(count):
            inner = reader.byte()
            held = Reader(reader.data, reader.at, reader.at + wide)
            at = reader.integer(wide)
            if inner not in (_INLINE_WIDE if wide == 4 else _INLINE):
                if at < head:  # behind the entries, so that there are no cycles
                    raise ProtocolError(f"a JSON value at {at}", offset=begin)
                held = Reader(reader.data, min(begin + at, end), end)
            values.append(self.value(inner, held, depth))
        if not is_object:
            return values
        return dict(zip(keys, values, strict=True))


def _literal(value: int, reader: Reader) -> str:
    if value not in _LITERALS:
        raise ProtocolError(f"unknown JSON literal {value}", offset=reader.at)
    return _LITERALS[value]


def _double(value: float) -> str:
    text = double_text(value).decode()
    return text if "." in text or "e" in text else text + ".0"


def _string(raw: bytes, reader: Reader) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise ProtocolError("a JSON string is not UTF-8", offset=reader.at) from None


def _length(reader: Reader) -> int:
    """A length in groups of seven bits, the lowest first."""
    length = shift = 0
    while True:
        byte = reader.byte()
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return length
        shift += 7
        if shift > 28:
            raise ProtocolError("a JSON length of more than five bytes", offset=reader.at)


def _opaque(code: int, raw: bytes, reader: Reader) -> str:
    """A value of an SQL type: decimals and times have texts, the rest is base64."""
    if code == Code.NEWDECIMAL:
        if len(raw) < 3 or not raw[0] or raw[1] > raw[0]:
            raise ProtocolError("a JSON decimal without digits", offset=reader.at)
        if len(raw) - 2 < decimal_length(raw[0], raw[1]):
            raise ProtocolError("a JSON decimal that ends early", offset=reader.at)
        return decimal_text(raw[2:], raw[0], raw[1]).decode()
    if code in (Code.DATE, Code.DATETIME, Code.TIMESTAMP, Code.TIME):
        if len(raw) != 8:
            raise ProtocolError("a JSON time of another length", offset=reader.at)
        return f'"{_moment(code, int.from_bytes(raw, "little", signed=True))}"'
    encoded = b64encode(raw).decode()
    return f'"base64:type{code}:{encoded}"'


def _moment(code: int, packed: int) -> str:
    sign, packed = ("-", -packed) if packed < 0 else ("", packed)
    whole, micros = packed >> 24, packed & (1 << 24) - 1
    if code == Code.TIME:
        clock = clock_text(whole >> 12 & 1023, whole >> 6 & 63, whole & 63).decode()
        return f"{sign}{clock}.{micros:06d}"
    months, day = whole >> 22, whole >> 17 & 31
    date = f"{months // 13:04d}-{months % 13:02d}-{day:02d}"
    if code == Code.DATE:
        return date
    clock = clock_text(whole >> 12 & 31, whole >> 6 & 63, whole & 63).decode()
    return f"{date} {clock}.{micros:06d}"
