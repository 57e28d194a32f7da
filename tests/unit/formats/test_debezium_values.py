"""Values as Debezium tells them: the documented ones, and what the connector really writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.formats.debezium import Debezium
from penstock.formats.debezium.types import mapped, name_of
from penstock.model import Kind, Type

OIDS = {
    "bool": 16,
    "bytea": 17,
    "float8": 701,
    "numeric": 1700,
    "money": 790,
    "date": 1082,
    "time": 1083,
    "timestamp": 1114,
    "timestamptz": 1184,
    "timetz": 1266,
    "interval": 1186,
    "bit": 1560,
    "varbit": 1562,
    "point": 600,
}
DECIMAL_10_2 = (10 << 16 | 2) + 4


def told(name: str, text: str, modifier: int = -1, **options: Any) -> Any:
    """What is told of a value."""
    type = Type(name, Kind.OTHER, name, oid=OIDS.get(name, 0), modifier=modifier)
    how = mapped(type, Debezium(**options))
    assert how is not None
    return json.loads(how.encode(text.encode()))


@pytest.mark.parametrize(
    ("name", "modifier", "text", "expected"),
    [
        ("numeric", DECIMAL_10_2, "1.10", "bg=="),
        ("numeric", DECIMAL_10_2, "-1.28", "gA=="),
        ("numeric", DECIMAL_10_2, "NaN", None),
        ("numeric", -1, "10.1111", {"scale": 4, "value": "AYr3"}),
        ("numeric", -1, "1.500", {"scale": 1, "value": "Dw=="}),
        ("money", -1, "$1,234.11", "AeIT"),
        ("money", -1, "-$0.01", "/w=="),
        ("float8", -1, "100", 100.0),
        ("float8", -1, "NaN", "NaN"),
        ("bit", 1, "1", True),
        ("bit", 2, "11", "Aw=="),
        ("varbit", 12, "000100000000", "AAE="),
        ("bit", 2, "00", ""),
        ("date", -1, "1969-12-31", -1),
        ("date", -1, "0044-03-15 BC", -735160),
        ("date", -1, "5874897-12-31", 2145042905),
        ("date", -1, "infinity", -2147472692),
        ("time", 3, "14:51:30.123", 53490123),
        ("time", -1, "24:00:00", 86400000000),
        ("timestamp", 3, "1969-12-31 23:59:59.999", -1),
        ("timestamp", -1, "2016-11-04 13:51:30.123456", 1478267490123456),
        ("timestamp", -1, "-infinity", -9223372036832400000),
        ("timestamptz", -1, "2016-11-04 13:51:30+00", "2016-11-04T13:51:30.000000Z"),
        ("timestamptz", 0, "2016-11-04 13:51:30+00", "2016-11-04T13:51:30Z"),
        ("timestamptz", -1, "20000-01-01 00:00:00+00", "+20000-01-01T00:00:00.000000Z"),
        ("timestamptz", -1, "0044-03-15 12:00:00+00 BC", "-0043-03-15T12:00:00.000000Z"),
        ("timetz", -1, "01:00:00+02", "23:00:00Z"),
        ("timetz", -1, "13:51:30.120+05:30", "08:21:30.12Z"),
        ("interval", -1, "1 year 2 mons 3 days 04:05:06.78", 37091106780000),
        ("interval", -1, "-1 years -2 mons +3 days -04:05:06.5", -36572706500000),
        ("bytea", -1, r"\x00ff10", "AP8Q"),
        ("public.hstore", -1, '"k"=>"v", "n"=>NULL', '{"k":"v","n":null}'),
        ("public.vector", -1, "[1,2.5,-3]", [1.0, 2.5, -3.0]),
    ],
)
def test_default_options(name: str, modifier: int, text: str, expected: Any) -> None:
    got = told(name, text, modifier)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("name", "text", "options", "expected"),
    [
        ("numeric", "1.10", {"decimal_handling_mode": "string"}, "1.10"),
        ("numeric", "Infinity", {"decimal_handling_mode": "string"}, "POSITIVE_INFINITY"),
        ("numeric", "1.10", {"decimal_handling_mode": "double"}, 1.1),
        ("bytea", r"\xfbff", {"binary_handling_mode": "base64-url-safe"}, "-_8="),
        ("bytea", r"\xfbff", {"binary_handling_mode": "hex"}, "fbff"),
        ("interval", "1 year 00:00:01.5", {"interval_handling_mode": "string"}, "P1Y0M0DT0H0M1.5S"),
        ("timestamp", "2016-11-04 13:51:30", {"time_precision_mode": "connect"}, 1478267490000),
        ("timestamp", "9999-01-01 00:00:00", {"time_precision_mode": "nanoseconds"}, None),
        ("date", "2016-11-04", {"time_precision_mode": "isostring"}, "2016-11-04Z"),
        ("public.hstore", '"a"=>"1"', {"hstore_handling_mode": "map"}, {"a": "1"}),
        ("money", "$1.25", {"money_fraction_digits": 1}, "DQ=="),
    ],
)
def test_option_families(name: str, text: str, options: dict[str, Any], expected: Any) -> None:
    assert told(name, text, **options) == expected


def test_an_array_is_told_with_its_quotes_nulls_and_escapes() -> None:
    text = Type("text", Kind.TEXT, "text", oid=25)
    array = Type("_text", Kind.ARRAY, "text[]", element=text, oid=1009)
    how = mapped(array, Debezium())
    assert how is not None
    found = json.loads(how.encode(rb'{"q\"uote","back\\slash","NULL",NULL,plain,""}'))
    assert found == ['q"uote', "back\\slash", "NULL", None, "plain", ""]
    assert json.loads(how.encode(b"{}")) == []


def test_what_has_no_schema_is_left_out_unless_it_is_asked_for() -> None:
    box = Type("box", Kind.OTHER, "box", oid=603)
    assert mapped(box, Debezium()) is None
    how = mapped(box, Debezium(include_unknown_datatypes=True))
    assert how is not None
    assert json.loads(how.encode(b"(1,1),(0,0)")) == "KDEsMSksKDAsMCk="


def test_a_domain_is_told_as_the_type_below_it() -> None:
    price = Type(
        "public.price", Kind.NUMERIC, "price", oid=99999, base=1700, base_modifier=DECIMAL_10_2
    )
    how = mapped(price, Debezium())
    assert name_of(price) == "numeric"
    assert how is not None
    assert json.loads(how.encode(b"1.10")) == "bg=="
