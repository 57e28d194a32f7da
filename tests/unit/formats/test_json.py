"""JSON of raw values: the compiled way and the careful way give the same bytes."""

from __future__ import annotations

import json as stdlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import DecodeError
from penstock.formats import json
from penstock.model import UNCHANGED, Column, Kind, Raw, Table, Type


def table(
    *columns: tuple[str, Kind], nullable: bool | None = None, key: Sequence[str] = ()
) -> Table:
    return Table(
        "public",
        "t",
        tuple(Column(name, Type(kind.value, kind, kind.value), nullable) for name, kind in columns),
        tuple(key),
    )


def encode(kind: Kind, raw: Raw) -> str:
    one = table(("c", kind))
    slow, _ = json.row(one, [raw])
    assert json.compile_row(one)([raw]) == slow
    not_null = table(("c", kind), nullable=False)
    if raw is not None:
        assert json.compile_row(not_null)([raw]) == slow
    text = slow.decode()
    stdlib.loads(text)
    return text.removeprefix('{"c":').removesuffix("}")


@pytest.mark.parametrize(
    ("kind", "raw", "text"),
    [
        (Kind.BOOLEAN, b"t", "true"),
        (Kind.BOOLEAN, b"f", "false"),
        (Kind.INTEGER, b"-9223372036854775808", "-9223372036854775808"),
        (Kind.FLOAT, b"1e+20", "1e+20"),
        (Kind.FLOAT, b"-0", "-0"),
        (Kind.FLOAT, b"NaN", '"NaN"'),
        (Kind.FLOAT, b"Infinity", '"Infinity"'),
        (Kind.FLOAT, b"-Infinity", '"-Infinity"'),
        (Kind.NUMERIC, b"1.10", '"1.10"'),
        (Kind.NUMERIC, b"NaN", '"NaN"'),
        (Kind.TEXT, b"", '""'),
        (
            Kind.TEXT,
            'a"b\\c\n\t\x01ä🐘\x7f\u2028'.encode(),
            '"a\\"b\\\\c\\n\\t\\u0001ä🐘\x7f\u2028"',
        ),
        (Kind.ENUM, b'so "so"', '"so \\"so\\""'),
        (Kind.BYTES, b"\\x", '""'),
        (Kind.BYTES, b"\\x00ff10", '"AP8Q"'),
        (Kind.JSON, b'{"a": 1, "a": 1e400}', '{"a": 1, "a": 1e400}'),
        (Kind.JSON, b"[1,\n\r\n2]", "[1,   2]"),
        (Kind.JSON, b'"\\u0000\\ud800\\n"', '"\\u0000\\ud800\\n"'),
        (
            Kind.UUID,
            b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"',
        ),
        (Kind.DATE, b"0044-03-15 BC", '"0044-03-15 BC"'),
        (Kind.TIME, b"24:00:00", '"24:00:00"'),
        (Kind.TIMESTAMP, b"infinity", '"infinity"'),
        (Kind.TIMESTAMPTZ, b"2024-01-01 00:00:00+00", '"2024-01-01 00:00:00+00"'),
        (Kind.INTERVAL, b"1 mon -00:00:01", '"1 mon -00:00:01"'),
        (Kind.ARRAY, b'[0:1]={5,"a b"}', '"[0:1]={5,\\"a b\\"}"'),
        (Kind.OTHER, b"(1,2)", '"(1,2)"'),
    ],
)
def test_values(kind: Kind, raw: bytes, text: str) -> None:
    assert encode(kind, raw) == text


@pytest.mark.parametrize("kind", Kind)
def test_null_of_every_kind(kind: Kind) -> None:
    assert encode(kind, None) == "null"


HOSTILE = ["%s", "%", 'a"b', "back\\slash", "ä🐘", "'''", "{v0}", "\n", "join", "x" * 63]


def test_hostile_column_names() -> None:
    hostile = table(*[(name, Kind.INTEGER) for name in HOSTILE])
    values = [b"%d" % i for i in range(len(HOSTILE))]
    encoded = json.compile_row(hostile)(values)
    assert encoded == json.row(hostile, values)[0]
    assert stdlib.loads(encoded) == {name: i for i, name in enumerate(HOSTILE)}


def test_unchanged_columns_are_absent_and_named() -> None:
    three = table(("a", Kind.INTEGER), ("b", Kind.TEXT), ("c", Kind.OTHER))
    assert json.row(three, [b"1", UNCHANGED, UNCHANGED]) == (b'{"a":1}', ["b", "c"])
    for i, kind in enumerate((Kind.INTEGER, Kind.TEXT, Kind.OTHER)):
        one = table((f"c{i}", kind))
        with pytest.raises(json.IRREGULAR):
            json.compile_row(one)([UNCHANGED])


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("nullable", [False, None])
def test_the_compiled_way_never_takes_unchanged_for_a_value(
    kind: Kind, nullable: bool | None
) -> None:
    with pytest.raises(json.IRREGULAR):
        json.compile_row(table(("c", kind), nullable=nullable))([UNCHANGED])


@pytest.mark.parametrize("kind", Kind)
def test_a_null_where_todays_catalog_allows_none(kind: Kind) -> None:
    not_null = table(("c", kind), nullable=False)
    with pytest.raises(json.IRREGULAR):
        json.compile_row(not_null)([None])
    assert json.row(not_null, [None]) == (b'{"c":null}', [])


def test_a_text_that_is_not_utf8_names_its_column() -> None:
    with pytest.raises(DecodeError, match=r"public\.t\.c: b'\\xff'"):
        json.row(table(("c", Kind.TEXT)), [b"\xff"])
    with pytest.raises(json.IRREGULAR):
        json.compile_row(table(("c", Kind.TEXT)))([b"\xff"])


def test_a_boolean_that_is_none_names_its_column() -> None:
    with pytest.raises(DecodeError, match=r"public\.t\.c.*neither t nor f"):
        json.row(table(("c", Kind.BOOLEAN)), [b"true"])


def test_keys() -> None:
    two = table(("a", Kind.TEXT), ("b", Kind.INTEGER), key=("b", "a"))
    assert json.Compiled().of(two).key([b"x", b"1"]) == b'{"b":1,"a":"x"}'
    assert json.key(two, [b"1", b"x"]) == b'{"b":1,"a":"x"}'
    assert json.key(two, None) is None
    with pytest.raises(DecodeError, match="did not repeat a"):
        json.key(two, [b"1", UNCHANGED])
    assert json.Compiled().of(table(("a", Kind.TEXT))).key([b"x"]) is None


def test_tables_without_columns_and_with_many() -> None:
    assert json.compile_row(table())([]) == b"{}" == json.row(table(), [])[0]
    wide = table(*[(f"c{i}", Kind.INTEGER) for i in range(1600)])
    values = [b"%d" % i for i in range(1600)]
    assert json.compile_row(wide)(values) == json.row(wide, values)[0]


def test_a_table_is_compiled_once() -> None:
    compiled, one = json.Compiled(), table(("a", Kind.TEXT))
    assert compiled.of(one) is compiled.of(one)
    assert compiled.of(table(("a", Kind.INTEGER))) is not compiled.of(one)


texts = st.text().filter(lambda t: "\0" not in t)


@given(st.lists(st.one_of(st.none(), texts), min_size=1, max_size=5))
def test_texts_come_back(values: list[str | None]) -> None:
    some = table(*[(f"c{i}", Kind.TEXT) for i in range(len(values))])
    raws: list[Raw] = [None if value is None else value.encode() for value in values]
    encoded = json.compile_row(some)(raws)
    assert encoded == json.row(some, raws)[0]
    assert list(stdlib.loads(encoded).values()) == values
    assert b"\n" not in encoded


json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=6,
)


@given(json_values, st.booleans())
def test_json_stays_the_same_json_on_one_line(value: Any, spread: bool) -> None:
    raw = stdlib.dumps(value, indent=2 if spread else None).encode()
    encoded = json.row(table(("c", Kind.JSON)), [raw])[0]
    assert stdlib.loads(encoded) == {"c": value}
    assert b"\n" not in encoded
