"""Numbers: integers, numeric, and floats as PostgreSQL's shortest-precise output writes them."""

from __future__ import annotations

from collections.abc import Sequence
from struct import unpack_from
from typing import Final

from penstock.sources.postgres.wire.binary.form import TextOf, fixed

_NEGATIVE, _NAN, _INFINITE, _MINUS_INFINITE = 0x4000, 0xC000, 0xD000, 0xF000
_SPECIAL: Final = {_NAN: b"NaN", _INFINITE: b"Infinity", _MINUS_INFINITE: b"-Infinity"}
_LARGEST_SCALE: Final = 0x3FFF


def boolean(raw: bytes) -> bytes:
    """``bool``: one byte."""
    if raw == b"\1":
        return b"t"
    if raw == b"\0":
        return b"f"
    raise ValueError("neither 0 nor 1")


def integer(form: str) -> TextOf:
    """An integer of the given form (:mod:`struct`)."""
    unpack = fixed(form)
    return lambda raw: b"%d" % unpack(raw)[0]


def numeric(raw: bytes) -> bytes:
    """``numeric``: digits of base 10,000, the first one's weight, sign, and decimals to show."""
    if len(raw) < 8:
        raise ValueError(f"{len(raw)} bytes where at least 8 are due")
    count, weight, sign, scale = unpack_from(">HhHH", raw)
    if len(raw) != 8 + 2 * count:
        raise ValueError(f"{len(raw)} bytes where {8 + 2 * count} are due")
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if sign not in (0, _NEGATIVE):
        raise ValueError(f"a sign of {sign}")
    if scale > _LARGEST_SCALE:
        raise ValueError(f"a scale of {scale}")
    digits = unpack_from(f">{count}H", raw, 8)
    if any(digit > 9999 for digit in digits):
        raise ValueError("a digit above 9999")
    whole = _places(digits, weight, 0, weight + 1).lstrip(b"0") or b"0"
    text = b"-" + whole if sign else whole
    if scale:
        groups = -(-scale // 4)
        text += b"." + _places(digits, weight, weight + 1, weight + 1 + groups)[:scale]
    return text


def _places(digits: Sequence[int], weight: int, start: int, stop: int) -> bytes:
    """The decimal digits of the places from ``start`` to ``stop``, counted from the first digit;
    places that have no digit are zeros."""
    count = len(digits)
    return b"".join(
        b"%04d" % digits[place] if 0 <= place < count else b"0000" for place in range(start, stop)
    )


def float4(raw: bytes) -> bytes:
    """``real``."""
    (bits,) = fixed("I")(raw)
    return _float(bits, 8, 23, 6)


def float8(raw: bytes) -> bytes:
    """``double precision``."""
    (bits,) = fixed("Q")(raw)
    return _float(bits, 11, 52, 15)


def _float(bits: int, exponent_bits: int, fraction_bits: int, wide: int) -> bytes:
    """An IEEE 754 number. From the decimal exponent ``wide`` on it is written with an exponent."""
    fraction = bits & ((1 << fraction_bits) - 1)
    largest = (1 << exponent_bits) - 1
    biased = bits >> fraction_bits & largest
    sign = b"-" if bits >> fraction_bits + exponent_bits else b""
    if biased == largest:
        return b"NaN" if fraction else sign + b"Infinity"
    if biased == 0 and fraction == 0:
        return sign + b"0"
    mantissa = fraction | (1 << fraction_bits) if biased else fraction
    exponent = max(biased, 1) - (largest >> 1) - fraction_bits
    number, place = _shortest(mantissa, exponent, closer=fraction == 0 and biased > 1)
    return sign + _spell(b"%d" % number, place, wide)


def _shortest(mantissa: int, exponent: int, *, closer: bool) -> tuple[int, int]:
    """The number of fewest digits, and its last digit's place, that reads as
    ``mantissa * 2**exponent``: the nearest of them, an even one if two are.

    Unlike most others PostgreSQL does not take a number that lies half-way to the next float,
    which only a reader that rounds to even reads as this one. ``closer``: the next float below is
    at half the distance of the one above.
    """
    low, value, high = 4 * mantissa - (1 if closer else 2), 4 * mantissa, 4 * mantissa + 2
    exponent -= 2
    place = (exponent + high.bit_length()) * 30103 // 100000 + 1  # log10(2); never too small
    while True:
        up = (1 << max(exponent, 0)) * 10 ** max(-place, 0)
        down = (1 << max(-exponent, 0)) * 10 ** max(place, 0)
        number, rest = divmod(value * up, down)
        below = number * down > low * up
        above = (number + 1) * down < high * up
        if below or above:
            nearer = (2 * rest, number % 2) > (down, 0)
            return (number + 1 if above and (nearer or not below) else number), place
        place -= 1


def _spell(digits: bytes, place: int, wide: int) -> bytes:
    exponent = place + len(digits) - 1
    if not -4 <= exponent < wide:
        point = b"." if len(digits) > 1 else b""
        return digits[:1] + point + digits[1:] + b"e%+03d" % exponent
    if place >= 0:
        return digits + b"0" * place
    if exponent >= 0:
        return digits[: exponent + 1] + b"." + digits[exponent + 1 :]
    return b"0." + b"0" * (-exponent - 1) + digits
