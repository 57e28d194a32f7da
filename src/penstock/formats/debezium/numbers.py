"""Numbers, booleans and bits: from the server's exact text to what Connect's converter writes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from penstock.formats.json import NULL, string

Encode = Callable[[bytes], bytes]
"""From a column's exact text to JSON. Raises ValueError for a text that its type does not have."""

BOOLEANS: Final = {b"t": b"true", b"f": b"false"}
_SPECIAL: Final = {
    b"NaN": ("NAN", b'"NaN"'),
    b"Infinity": ("POSITIVE_INFINITY", b'"Infinity"'),
    b"-Infinity": ("NEGATIVE_INFINITY", b'"-Infinity"'),
}


def as_it_stands(raw: bytes) -> bytes:
    """A text that is JSON already."""
    return raw


def boolean(raw: bytes) -> bytes:
    """``t`` and ``f``."""
    if raw not in BOOLEANS:
        raise ValueError("neither t nor f")
    return BOOLEANS[raw]


def floating(raw: bytes) -> bytes:
    """A float; always told from an integer by its point or exponent."""
    if b"." in raw or b"e" in raw:
        return raw
    return _SPECIAL[raw][1] if raw in _SPECIAL else raw + b".0"


def unscaled(number: int) -> bytes:
    """Base64 of the shortest big-endian two's complement, in quotes."""
    bits = number.bit_length() if number >= 0 else (~number).bit_length()
    return b'"%b"' % b64encode(number.to_bytes(bits // 8 + 1, "big", signed=True))


def decimal(scale: int) -> Encode:
    """Connect's ``Decimal``. NaN and the infinities have none: null, as Debezium has it."""

    def encode(raw: bytes) -> bytes:
        if raw in _SPECIAL:
            return NULL
        whole, _, fraction = raw.partition(b".")
        if len(fraction) != scale:
            fraction = fraction.ljust(scale, b"0")[:scale]
        return unscaled(int(whole + fraction))

    return encode


def variable_decimal(raw: bytes) -> bytes:
    """``VariableScaleDecimal``: without trailing zeros, and never of a negative scale."""
    if raw in _SPECIAL:
        return NULL
    whole, _, fraction = raw.partition(b".")
    fraction = fraction.rstrip(b"0")
    return b'{"scale":%d,"value":%b}' % (len(fraction), unscaled(int(whole + fraction)))


def decimal_text(scale: int) -> Encode:
    """``decimal.handling.mode = string``: with all digits of its scale, as the server writes it
    but for defaults; -1 is no scale."""

    def encode(raw: bytes) -> bytes:
        if raw in _SPECIAL:
            return b'"%b"' % _SPECIAL[raw][0].encode()
        whole, _, fraction = raw.partition(b".")
        if len(fraction) < scale:
            return b'"%b.%b"' % (whole, fraction.ljust(scale, b"0"))
        return b'"%b"' % raw

    return encode


def decimal_float(raw: bytes) -> bytes:
    """``decimal.handling.mode = double``."""
    return _SPECIAL[raw][1] if raw in _SPECIAL else repr(float(raw)).encode()


def plain_money(raw: bytes) -> bytes:
    """The number in a money text of the locale C: ``-$1,234.10`` is ``-1234.10``."""
    return raw.replace(b"$", b"").replace(b",", b"")


def money(digits: int) -> Encode:
    """Money as a ``Decimal`` of that many fraction digits."""
    step = Decimal(1).scaleb(-digits)
    encode_decimal = decimal(digits)

    def encode(raw: bytes) -> bytes:
        value = plain_money(raw)
        if len(value.partition(b".")[2]) > digits:
            value = str(Decimal(value.decode()).quantize(step, ROUND_HALF_UP)).encode()
        return encode_decimal(value)

    return encode


def bit(raw: bytes) -> bytes:
    """``bit(1)``, a boolean."""
    return {b"1": b"true", b"0": b"false"}[raw]


def bits(raw: bytes) -> bytes:
    """``io.debezium.data.Bits``: little-endian, without leading zeros."""
    number = int(raw, 2) if raw != b"" else 0
    return b'"%b"' % b64encode(number.to_bytes((number.bit_length() + 7) // 8, "little"))


def hex_bytes(raw: bytes) -> bytes:
    """The bytes of a bytea text."""
    return bytes.fromhex(raw[2:].decode())


def base64_text(data: bytes) -> bytes:
    """Bytes as Connect's JSON has them."""
    return b'"%b"' % b64encode(data)


def quoted_utf8(text: bytes) -> bytes:
    """A JSON string of a UTF-8 text."""
    return string(text.decode())
