"""How each type of column is read: where a value ends, and what makes its exact text."""

from __future__ import annotations

import zlib
from binascii import hexlify
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire import times
from penstock.sources.mysql.wire.charsets import BINARY, charset_of
from penstock.sources.mysql.wire.jsonb import json_text
from penstock.sources.mysql.wire.numbers import (
    decimal_length,
    decimal_reader,
    double_text,
    float_text,
)
from penstock.sources.mysql.wire.tablemap import Code, MappedColumn

TextOf: TypeAlias = Callable[[bytes], bytes]


class Field(NamedTuple):
    """How to read a column's values.

    Parameters
    ----------
    text: makes the exact text of a value's bytes; None where they are the text. Raises
        ProtocolError or ValueError where it cannot.
    size: bytes of a value; 0 where its length stands before it.
    prefix: bytes of that length.
    number: the format of a fixed value that is an integer, for :mod:`struct`; empty for others.
    """

    text: TextOf | None
    size: int = 0
    prefix: int = 0
    number: str = ""


_INTEGERS: Final = {
    Code.TINY: (1, "b"),
    Code.SHORT: (2, "h"),
    Code.LONG: (4, "i"),
    Code.LONGLONG: (8, "q"),
}
_FLOAT32: Final = Struct("<f").unpack
_FLOAT64: Final = Struct("<d").unpack


@lru_cache(maxsize=4096)
def field_of(column: MappedColumn) -> Field:
    """How to read a column. Raises ProtocolError for a type or a size that there is not."""
    code, size = column.code, column.size
    if column.shown_as:
        text = _SHOWN[column.shown_as]
        return Field(lambda raw: text(raw.ljust(size, b"\0")), prefix=1)
    if code in _INTEGERS:
        length, letter = _INTEGERS[Code(code)]
        return Field(
            _integer(signed=not column.unsigned),
            length,
            number=letter.upper() if column.unsigned else letter,
        )
    if code == Code.INT24:
        return Field(_integer(signed=not column.unsigned), 3)
    if code == Code.FLOAT:
        return Field(lambda raw: float_text(_FLOAT32(raw)[0]), 4)
    if code == Code.DOUBLE:
        return Field(lambda raw: double_text(_FLOAT64(raw)[0]), 8)
    if code == Code.NEWDECIMAL:
        return _decimal(size, column.scale)
    if code in _CLOCKS:
        return _CLOCKS[Code(code)](size)
    if code == Code.BIT:
        return Field(_hex, _checked((size + 7) // 8, 1, 8))
    if code == Code.ENUM:
        return _enum(column)
    if code == Code.SET:
        return _set(column)
    if code in (Code.JSON, Code.TYPED_ARRAY):
        return Field(json_text, prefix=_checked(size, 1, 4))
    if code in (Code.GEOMETRY, Code.VECTOR):
        return Field(_hex, prefix=_checked(size, 1, 4))
    if code in (Code.VARCHAR, Code.VAR_STRING):
        return Field(_string(column), prefix=1 if size < 256 else 2)
    if code == Code.VARCHAR_COMPRESSED:
        return Field(_compressed(_string(column)), prefix=1 if size < 256 else 2)
    if code == Code.STRING:
        return _char(column)
    if code == Code.BLOB_COMPRESSED:
        return Field(_compressed(_string(column)), prefix=_checked(size, 1, 4))
    if code in (Code.BLOB, Code.TINY_BLOB, Code.MEDIUM_BLOB, Code.LONG_BLOB):
        return Field(_string(column), prefix=_checked(size, 1, 4))
    raise ProtocolError(f"columns of type {code} are not known")


def _checked(size: int, least: int, most: int) -> int:
    if not least <= size <= most:
        raise ProtocolError(f"a column has the size {size}, not {least} to {most}")
    return size


def _integer(*, signed: bool) -> TextOf:
    def text(raw: bytes) -> bytes:
        return b"%d" % int.from_bytes(raw, "little", signed=signed)

    return text


def _hex(raw: bytes) -> bytes:
    return b"\\x" + hexlify(raw)


def _decimal(precision: int, scale: int) -> Field:
    if not 0 < precision <= 65 or scale > min(precision, 38):
        raise ProtocolError(f"a decimal of {precision} digits, {scale} of them behind the point")
    return Field(decimal_reader(precision, scale), decimal_length(precision, scale))


# -- dates and times


def _plain(size: int, text: TextOf) -> Callable[[int], Field]:
    return lambda _: Field(lru_cache(maxsize=4096)(text), size)


def _with_fraction(size: int, make_text: Callable[[int], TextOf]) -> Callable[[int], Field]:
    def make(digits: int) -> Field:
        _checked(digits, 0, 6)
        text = make_text(digits)
        if not digits:
            text = lru_cache(maxsize=4096)(text)
        return Field(text, size + times.fraction_length(digits))

    return make


def _little(text: Callable[[int], bytes], *, signed: bool = False) -> TextOf:
    return lambda raw: text(int.from_bytes(raw, "little", signed=signed))


_CLOCKS: Final[dict[Code, Callable[[int], Field]]] = {
    Code.DATE: _plain(3, _little(times.date_text)),
    Code.NEWDATE: _plain(3, _little(times.date_text)),
    Code.YEAR: _plain(1, _little(times.year_text)),
    Code.TIMESTAMP: _plain(4, _little(times.timestamp_text)),
    Code.DATETIME: _plain(8, _little(times.old_datetime_text)),
    Code.TIME: _plain(3, _little(times.old_time_text, signed=True)),
    Code.TIMESTAMP2: _with_fraction(4, times.timestamp_reader),
    Code.DATETIME2: _with_fraction(5, times.datetime_reader),
    Code.TIME2: _with_fraction(3, times.time_reader),
}


# -- texts


def _string(column: MappedColumn) -> TextOf | None:
    if column.collation == BINARY:
        return _hex
    charset = charset_of(column.collation)
    if charset is None:
        raise ProtocolError(f"collation {column.collation} is not known")
    return charset.to_utf8


def _char(column: MappedColumn) -> Field:
    """A CHAR comes without the spaces at its end, a BINARY without the zeros, which are its own."""
    prefix = 1 if column.size < 256 else 2
    if column.collation != BINARY:
        return Field(_string(column), prefix=prefix)
    size = column.size
    return Field(lambda raw: _hex(raw.ljust(size, b"\0")), prefix=prefix)


def _uuid(raw: bytes) -> bytes:
    return str(UUID(bytes=raw)).encode()


def _inet4(raw: bytes) -> bytes:
    return str(IPv4Address(raw)).encode()


def _inet6(raw: bytes) -> bytes:
    """An address that holds one of version 4 is shown with that."""
    mapped = raw.startswith(b"\0" * 10 + b"\xff\xff")
    if mapped or (raw.startswith(b"\0" * 12) and raw[12:14] != b"\0\0"):
        return (b"::ffff:" if mapped else b"::") + _inet4(raw[12:])
    return str(IPv6Address(raw)).encode()


_SHOWN: Final[dict[str, TextOf]] = {"uuid": _uuid, "inet4": _inet4, "inet6": _inet6}


def _compressed(text: TextOf | None) -> TextOf:
    """A column that MariaDB stores compressed: a byte that says how, the length, zlib's data."""

    def inflated(raw: bytes) -> bytes:
        value = inflate(raw) if raw[:1] > b"\0" else raw[1:]
        return value if text is None else text(value)

    return inflated


def inflate(raw: bytes) -> bytes:
    """What MariaDB compressed: a column's value, or the body of an event.

    The first byte: in its high half the method, 8 for zlib; then whether zlib's own header is left
    out; in the lowest three bits how many bytes of length follow.

    Raises ProtocolError.
    """
    head = raw[0] if raw else 0
    if head >> 4 not in (8, 9):
        raise ProtocolError(f"unknown compression {head >> 4}")
    begin = 1 + (head & 7)
    length = int.from_bytes(raw[1:begin], "big")
    if length > len(raw) * 1040:  # more than deflate can do
        raise ProtocolError(f"{len(raw)} bytes cannot be {length} compressed")
    engine = zlib.decompressobj(-zlib.MAX_WBITS if head & 8 else zlib.MAX_WBITS)
    try:
        value = engine.decompress(raw[begin:], length + 1)
    except zlib.error as error:
        raise ProtocolError(f"compressed bytes are damaged: {error}") from None
    if len(value) != length:
        raise ProtocolError(f"{length} compressed bytes are {len(value)}")
    return value


def _labels(column: MappedColumn) -> list[bytes]:
    charset = charset_of(column.collation)
    to_utf8 = None if charset is None else charset.to_utf8
    return list(column.labels) if to_utf8 is None else list(map(to_utf8, column.labels))


def _enum(column: MappedColumn) -> Field:
    """The index of a label; 0 for what was refused, which is shown as nothing."""
    shown = [b"", *_labels(column)]

    def text(raw: bytes) -> bytes:
        index = int.from_bytes(raw, "little")
        if index >= len(shown):
            raise ProtocolError(f"label {index} of an enum of {len(shown) - 1}")
        return shown[index]

    return Field(text, _checked(column.size, 1, 2))


def _set(column: MappedColumn) -> Field:
    """A bit for each label."""
    labels = _labels(column)

    def text(raw: bytes) -> bytes:
        bits = int.from_bytes(raw, "little")
        if bits >> len(labels):
            raise ProtocolError(f"bits {bits:#x} of a set of {len(labels)}")
        return b",".join([label for i, label in enumerate(labels) if bits >> i & 1])

    return Field(text, _checked(column.size, 1, 8))
