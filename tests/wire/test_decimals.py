"""Decimals of every precision and scale, as the servers pack them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire.numbers import decimal_length, decimal_reader

BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


def packed(digits: str, scale: int, *, negative: bool) -> bytes:
    """Groups of nine digits from the point outwards; the first bit is turned, of negative ones
    all others too."""
    whole, fraction = digits[: len(digits) - scale], digits[len(digits) - scale :]
    lead = len(whole) % 9
    groups = [whole[:lead]] + [whole[i : i + 9] for i in range(lead, len(whole), 9)]
    groups += [fraction[i : i + 9] for i in range(0, scale, 9)]
    raw = b"".join(int(group).to_bytes(BYTES[len(group)], "big") for group in groups if group)
    if negative:
        raw = bytes(byte ^ 0xFF for byte in raw)
    return bytes((raw[0] ^ 0x80,)) + raw[1:]


@st.composite
def decimals(draw: st.DrawFn) -> tuple[str, int, bool]:
    precision = draw(st.integers(1, 65))
    scale = draw(st.integers(0, min(precision, 38)))
    digits = "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=precision)))[:precision]
    return digits, scale, draw(st.booleans())


@given(decimals())
@example(("1234567890", 2, False))
@example(("0000000001", 2, True))
@example(("999999999999999999999", 3, False))
@example(("5", 1, False))
def test_each_is_read_as_it_was_written(decimal: tuple[str, int, bool]) -> None:
    digits, scale, negative = decimal
    negative = negative and int(digits) != 0  # the servers know no negative zero
    raw = packed(digits, scale, negative=negative)
    assert len(raw) == decimal_length(len(digits), scale)
    whole = str(int(digits[: len(digits) - scale] or "0"))
    shown = whole + ("." + digits[len(digits) - scale :] if scale else "")
    assert decimal_reader(len(digits), scale)(raw).decode() == ("-" if negative else "") + shown


@pytest.mark.parametrize("raw", ["8a0000000000", "803b9aca0000", "800000000064"])
def test_a_group_of_more_digits_is_refused(raw: str) -> None:
    with pytest.raises(ProtocolError, match="where it must be below"):
        decimal_reader(12, 2)(bytes.fromhex(raw))
