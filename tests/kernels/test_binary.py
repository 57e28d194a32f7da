"""Both kernels make the same text, or refuse with the same words, of any bytes of any type."""

from __future__ import annotations

from random import Random
from struct import pack
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import ProtocolError
from penstock.kernel import native
from penstock.model import Type
from penstock.sources.postgres.wire.binary import text_of
from penstock.sources.postgres.wire.types import builtin, make_type
from tests.support.forms import forms_of_chance

EVERY_BUILTIN: Final = [type for oid in range(10_000) if (type := builtin(oid)) is not None]
MOOD: Final = make_type(20_000, "public.mood", "mood", typtype="e", labels=("sad",))
PRICE: Final = make_type(20_001, "public.price", "price", typtype="d", base=builtin(1700))
MANY: Final = make_type(20_002, "public.many", "many", typtype="d", base=builtin(1231))
PAIR: Final = make_type(20_003, "public.pair", "pair", typtype="c")
CITEXT: Final = make_type(20_004, "public.citext", "citext", typtype="b", category="S")


def array_of(element: Type) -> Type:
    return make_type(20_100, "public._x", "x[]", typtype="b", category="A", element=element)


TYPES: Final = [
    *(*EVERY_BUILTIN, MOOD, PRICE, MANY, PAIR, CITEXT),
    *map(array_of, (MOOD, PRICE, MANY, PAIR, array_of(MOOD))),
]
EXACT: Final = [type for type in TYPES if text_of(type) is not None]
INTS: Final = st.one_of(
    st.sampled_from([0, 1, 2, 6, 7, 8, 16, 1 << 31, 0xFFFF_FFFF, 0xFFFF_FFFE]),
    st.integers(0, 0xFFFF_FFFF),
)
SHAPED: Final = st.lists(
    st.one_of(INTS.map(lambda number: pack(">I", number)), st.binary(max_size=9)), max_size=9
).map(b"".join)
"""Bytes that look like lengths and values."""


def of_python(type: Type, raw: bytes) -> bytes | str:
    make = text_of(type)
    assert make is not None
    try:
        return make(raw)
    except ValueError as error:
        return str(error)


def of_native(type: Type, raw: bytes) -> bytes | str:
    try:
        return native().binary_text(type, raw)  # type: ignore[no-any-return]
    except ProtocolError as error:
        return error.message


def test_the_same_types_are_known() -> None:
    for type in TYPES:
        unknown = "the binary form of type" in str(of_native(type, b""))
        if type.element is None:
            assert unknown == (text_of(type) is None), type
    assert len(EXACT) > 90


@given(st.sampled_from(EXACT), st.one_of(SHAPED, st.binary(max_size=40)))
@example(EXACT[0], b"")
def test_any_bytes(type: Type, raw: bytes) -> None:
    assert of_native(type, raw) == of_python(type, raw)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Type, bytes]:
    """Arrays that are right but for what may be changed in them."""
    type = draw(st.sampled_from([type for type in EXACT if type.element is not None]))
    assert type.element is not None
    sizes = draw(st.lists(st.integers(0, 3), max_size=3))
    form = pack(">iiI", len(sizes), draw(st.integers(0, 1)), type.element.oid)
    count = 1
    for size in sizes:
        form += pack(">ii", size, draw(st.sampled_from([1, 1, 0, -7, 0x7FFF_FFFF])))
        count *= size
    for _ in range(count):
        value = draw(st.one_of(st.none(), st.binary(max_size=16)))
        form += pack(">i", -1) if value is None else pack(">i", len(value)) + value
    return type, form


@given(arrays())
def test_arrays(array: tuple[Type, bytes]) -> None:
    assert of_native(*array) == of_python(*array)


@given(st.sampled_from([700, 701]), st.binary(min_size=8, max_size=8))
def test_floats(oid: int, raw: bytes) -> None:
    type = builtin(oid)
    assert type is not None
    raw = raw[: 4 if oid == 700 else 8]
    assert of_native(type, raw) == of_python(type, raw)


@pytest.mark.parametrize("seed", range(2))
def test_values_of_chance(seed: int) -> None:
    """The values that are shown to real servers too."""
    names = {type.name: type for type in EVERY_BUILTIN}
    for name, forms in forms_of_chance(Random(seed)).items():
        for form in forms:
            assert of_native(names[name], form) == of_python(names[name], form), (name, form)
