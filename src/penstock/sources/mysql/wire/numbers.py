"""Numbers as the servers write them."""

from __future__ import annotations

from struct import Struct
from typing import Final

from penstock.errors import ProtocolError

_DIGITS: Final = 9  # decimal digits in four bytes
_BYTES: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # bytes of fewer digits
_POINTS: Final = range(-14, 16)  # places of the point at which there is no exponent
_FLOAT32: Final = Struct("<f")


def double_text(value: float) -> bytes:
    """The text of a DOUBLE: the fewest digits that mean this number (``my_gcvt`` in the servers).

    Raises ProtocolError for what no column can hold.
    """
    return _shown(repr(value))


def float_text(value: float) -> bytes:
    """The fewest digits that mean this FLOAT. Servers show no more than six, which may be another
    number."""
    for digits in range(6, 9):
        text = f"{value:.{digits - 1}e}"
        try:
            if _FLOAT32.unpack(_FLOAT32.pack(float(text)))[0] == value:
                return _shown(repr(float(text)))
        except OverflowError:
            continue
    return _shown(f"{value:.8e}")


def _shown(text: str) -> bytes:
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    if not whole.isdigit():
        raise ProtocolError(f"{text} is no number of a column")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        shown = "0"
    elif point not in _POINTS:
        rest = "." + digits[1:] if digits[1:] else ""
        shown = f"{digits[0]}{rest}e{point - 1}"
    elif point <= 0:
        shown = "0." + "0" * -point + digits
    elif point < len(digits):
        shown = f"{digits[:point]}.{digits[point:]}"
    else:
        shown = digits + "0" * (point - len(digits))
    return (sign + shown).encode()


def decimal_length(precision: int, scale: int) -> int:
    """How many bytes a decimal takes."""
    whole, fraction = divmod(precision - scale, _DIGITS), divmod(scale, _DIGITS)
    return 4 * (whole[0] + fraction[0]) + _BYTES[whole[1]] + _BYTES[fraction[1]]


def decimal_text(raw: bytes, precision: int, scale: int) -> bytes:
    """The text of a decimal: groups of nine digits, big-endian, the sign in the highest bit.

    https://dev.mysql.com/doc/refman/en/precision-math-decimal-characteristics.html
    """
    negative = not raw[0] & 0x80
    flipped = bytes((raw[0] ^ 0x80,)) + raw[1:]
    if negative:
        flipped = bytes(byte ^ 0xFF for byte in flipped)
    at = 0
    digits: list[str] = []
    for count, first in ((precision - scale, True), (scale, False)):
        groups, rest = divmod(count, _DIGITS)
        sizes = [rest] * (rest > 0) + [_DIGITS] * groups
        for size in sizes if first else reversed(sizes):
            length = _BYTES[size]
            group = int.from_bytes(flipped[at : at + length], "big")
            if group >= 10**size:
                raise ProtocolError(f"a decimal has {group} in {size} digits")
            digits.append(f"{group:0{size}d}")
            at += length
    text = "".join(digits)
    whole = text[: precision - scale].lstrip("0") or "0"
    shown = f"{whole}.{text[precision - scale :]}" if scale else whole
    return (("-" if negative else "") + shown).encode()
