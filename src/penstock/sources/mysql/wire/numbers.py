"""Numbers as the servers write them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from penstock.errors import ProtocolError

_DIGITS: Final = 9  # decimal digits in four bytes
_BYTES: Final = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # bytes of fewer digits
_POINTS: Final = range(-14, 16)  # places of the point at which there is no exponent
_PLAIN: Final = 1e15
_FLOAT32: Final = Struct("<f")
_UNSIGNED: Final = {1: "B", 2: "H", 4: "I"}


def double_text(value: float) -> bytes:
    """The text of a DOUBLE: the fewest digits that mean this number (``my_gcvt`` in the servers).

    Raises ProtocolError for what no column can hold.
    """
    text = repr(value)
    if -_PLAIN < value < _PLAIN and "e" not in text:
        return text.removesuffix(".0").encode()
    return _shown(text)


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


def decimal_reader(precision: int, scale: int) -> Callable[[bytes], bytes]:
    """What makes the text of a decimal: groups of nine digits, big-endian, the sign in the highest
    bit; of negative ones all bits are turned over. Raises ProtocolError for groups of more digits.

    https://dev.mysql.com/doc/refman/en/precision-math-decimal-characteristics.html
    """
    sizes = _groups(precision, scale)
    bits = sum(8 * size for size, _ in sizes)
    sign, ones = 1 << bits - 1, (1 << bits) - 1
    unit = 10**scale
    point = b"%%d.%%0%dd" % scale

    def text(raw: bytes) -> bytes:
        packed = int.from_bytes(raw, "big") ^ sign
        negative = packed & sign
        if negative:
            packed ^= ones
        number, power = 0, 1
        for size, limit in reversed(sizes):
            group = packed & (1 << 8 * size) - 1
            if group >= limit:
                raise ProtocolError(f"a decimal has {group} where it must be below {limit}")
            number += group * power
            power *= limit
            packed >>= 8 * size
        shown = point % divmod(number, unit) if scale else b"%d" % number
        return b"-" + shown if negative else shown

    return _swiftly(sizes, scale, text)


def _groups(precision: int, scale: int) -> list[tuple[int, int]]:
    """Bytes and limit of each group of digits."""
    sizes = []
    for digits, leading in ((precision - scale, True), (scale, False)):
        groups, rest = divmod(digits, _DIGITS)
        found = [(4, 10**_DIGITS)] * groups
        if rest:
            found.insert(0 if leading else groups, (_BYTES[rest], 10**rest))
        sizes += found
    return sizes


def _swiftly(
    sizes: list[tuple[int, int]], scale: int, carefully: Callable[[bytes], bytes]
) -> Callable[[bytes], bytes]:
    """The same for positive numbers of no more than two groups before the point and one behind it,
    as most are; compiled from numbers alone."""
    whole = len(sizes) - (scale > 0)
    if scale > _DIGITS or not 0 < whole < 3 or any(size not in _UNSIGNED for size, _ in sizes):
        return carefully
    names = [f"g{i}" for i in range(len(sizes))]
    first = f"(g0 - {1 << 8 * sizes[0][0] - 1})"
    number = first if whole == 1 else f"{first} * {sizes[1][1]} + g1"
    limits = " and ".join(
        [f"0 <= {first} < {sizes[0][1]}"]
        + [f"{name} < {limit}" for name, (_, limit) in zip(names[1:], sizes[1:], strict=True)]
    )
    shown = f"b'%d.%0{scale}d' % ({number}, {names[-1]})" if scale else f"b'%d' % ({number})"
    scope: dict[str, Any] = {
        "unpack": Struct(">" + "".join(_UNSIGNED[size] for size, _ in sizes)).unpack,
        "carefully": carefully,
    }
    exec(
        f"def text(raw):\n {', '.join(names)}, = unpack(raw)\n"
        f" return {shown} if {limits} else carefully(raw)\n",
        scope,
    )
    compiled: Callable[[bytes], bytes] = scope["text"]
    return compiled


@lru_cache(maxsize=256)
def _reader(precision: int, scale: int) -> Callable[[bytes], bytes]:
    return decimal_reader(precision, scale)


def decimal_text(raw: bytes, precision: int, scale: int) -> bytes:
    """The text of one decimal; bytes behind it are not its own."""
    return _reader(precision, scale)(raw[: decimal_length(precision, scale)])
