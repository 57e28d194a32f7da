"""Python values of exact texts: what psycopg gives, and the text where Python has no such value."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.pq import Format

from penstock.model import Kind
from penstock.model.archive import dump_type, load_type
from penstock.sources.postgres.wire.types import builtin, make_type

OIDS = {
    "bool": 16,
    "bytea": 17,
    "name": 19,
    "int8": 20,
    "int2": 21,
    "int4": 23,
    "text": 25,
    "oid": 26,
    "json": 114,
    "cidr": 650,
    "float4": 700,
    "float8": 701,
    "inet": 869,
    "bpchar": 1042,
    "varchar": 1043,
    "date": 1082,
    "time": 1083,
    "timestamp": 1114,
    "timestamptz": 1184,
    "interval": 1186,
    "timetz": 1266,
    "numeric": 1700,
    "uuid": 2950,
    "jsonb": 3802,
    "_int4": 1007,
    "_text": 1009,
    "_numeric": 1231,
    "_timestamptz": 1185,
    "_box": 1020,
    "_bool": 1000,
}

EXAMPLES: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "bytea": ["\\x", "\\x00ff10", "\\xDEADbeef"],
    "name": ["relname", 'a"b'],
    "int2": ["0", "-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["0", "4294967295"],
    "text": ["", " ", "tab\there", "\\N", "ä🐘", "\x01", '"quoted"', "NULL"],
    "bpchar": ["a    "],
    "varchar": ["x" * 5000],
    "json": [
        '{"a": [1, 2.5, null, true], "a": 2}',
        ' [ "x" ,\n 1 ] ',
        '"\\u0000 \\ud800"',
        "1e400",
        "123456789012345678901234567890",
        "null",
        '""',
    ],
    "jsonb": ['{"a": {"b": []}}', "1.10", '"ä\\n"'],
    "float4": ["1.1", "1e+20", "-0", "NaN", "Infinity", "-Infinity"],
    "float8": ["0.1", "1e-05", "5e-324", "1.7976931348623157e+308", "-Infinity", "0"],
    "numeric": ["0", "-0.00", "1.10", "NaN", "Infinity", "-Infinity", "9" * 1000 + "." + "1" * 999],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "inet": ["10.0.0.1", "10.1.2.3/8", "::1", "fe80::1/64", "0.0.0.0/0"],
    "cidr": ["10.0.0.0/8", "2001:db8::/32", "10.0.0.1/32"],
    "date": ["2024-02-29", "0001-01-01", "9999-12-31"],
    "time": ["00:00:00", "23:59:59.999999", "12:30:00.5"],
    "timetz": ["12:30:00+00", "23:59:59.000001-15:59", "01:02:03+05:30", "01:02:03-00:00:30"],
    "timestamp": ["2024-02-29 12:30:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"],
    "timestamptz": [
        "2024-02-29 12:30:00+00",
        "2024-02-29 12:30:00.25-05",
        "1900-01-01 00:00:00+00:19:32",
        "0001-01-01 00:00:00+00",
        "9999-12-31 23:59:59.999999+00",
        "9999-12-31 23:59:59.999999-08",
    ],
    "_int4": ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={5,6}", "[-2:-1][3:3]={{1},{2}}"],
    "_text": [
        '{NULL,"NULL","",a}',
        '{"a,b","{x}","q\\"q","b\\\\s"," "}',
        '{{{"a\nb"}}}',
        "{null}",
        '{"null"}',
        "{ä,🐘}",
    ],
    "_numeric": ["{1.10,NaN,NULL}"],
    "_timestamptz": ['{"2024-02-29 12:30:00+00",NULL}'],
    "_box": ["{(1,1),(0,0);(2,2),(1,1)}"],
    "_bool": ["{t,f,NULL}"],
}


def parse(name: str, text: str) -> Any:
    type = builtin(OIDS[name])
    assert type is not None
    return type.parse(text.encode())


def psycopg_value(name: str, text: str) -> Any:
    return Transformer().get_loader(OIDS[name], Format.TEXT).load(text.encode())


def alike(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float | Decimal) and isinstance(b, float | Decimal):
        nan = math.isnan(a) and math.isnan(b)
        return type(a) is type(b) and (nan or (a == b and str(a) == str(b)))
    zones = (getattr(a, "tzinfo", None), getattr(b, "tzinfo", None))
    return type(a) is type(b) and a == b and (zones[0] is None) == (zones[1] is None)


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in EXAMPLES.items() for text in texts]
)
def test_values_are_those_of_psycopg(name: str, text: str) -> None:
    ours, theirs = parse(name, text), psycopg_value(name, text)
    assert alike(ours, theirs), (ours, theirs)


BEYOND_PYTHON = [
    ("date", "infinity"),
    ("date", "-infinity"),
    ("date", "0044-03-15 BC"),
    ("date", "4713-01-01 BC"),
    ("date", "10000-01-01"),
    ("time", "24:00:00"),
    ("timetz", "24:00:00+00"),
    ("timestamp", "infinity"),
    ("timestamp", "294276-12-31 23:59:59.999999"),
    ("timestamp", "0044-03-15 12:00:00 BC"),
    ("timestamptz", "-infinity"),
    ("timestamptz", "4714-11-24 00:00:00+00 BC"),
    ("timestamptz", "10000-01-01 00:00:00+00"),
]


@pytest.mark.parametrize(("name", "text"), BEYOND_PYTHON)
def test_what_python_cannot_hold_is_the_exact_text(name: str, text: str) -> None:
    assert parse(name, text) == text
    with pytest.raises(psycopg.DataError):
        psycopg_value(name, text)


def test_an_array_may_hold_what_python_cannot() -> None:
    type = builtin(1182)
    assert type is not None
    assert type.parse(b"{infinity,2024-01-01}") == ["infinity", date(2024, 1, 1)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("00:00:00", timedelta()),
        ("1 day", timedelta(1)),
        ("-1 days +02:03:04.5", timedelta(-1, 7384, 500_000)),
        ("1 year 2 mons 3 days 04:05:06", timedelta(365 + 60 + 3, 14706)),
        ("-1 years -1 mons", timedelta(-395)),
        ("1 mon", timedelta(30)),
        ("-00:00:00.000001", timedelta(microseconds=-1)),
        ("2562047788:00:54.775807", timedelta(hours=2562047788, microseconds=54_775_807)),
        ("178000000 years", "178000000 years"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("", ""),
    ],
)
def test_intervals(text: str, value: object) -> None:
    assert parse("interval", text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bool", "true"),
        ("int4", "x"),
        ("bytea", "\\000"),
        ("bytea", "\\x0"),
        ("json", "{"),
        ("json", "[" * 100_000),
        ("uuid", "x"),
        ("inet", "x"),
        ("date", "2024-02-30"),
        ("_int4", ""),
        ("_int4", "{"),
        ("_int4", "}"),
        ("_int4", "{1"),
        ("_int4", "{1}}"),
        ("_int4", "{1,}"),
        ("_int4", "{,1}"),
        ("_int4", "{1 2"),
        ("_int4", "{1}{2}"),
        ("_int4", "{{1}2}"),
        ("_int4", "{{1}{2}}"),
        ("_int4", "1"),
        ("_int4", '{"1}'),
        ("_text", '{"a"b}'),
        ("_text", '{"a""b"}'),
        ("_int4", "{" * 8 + "}" * 8),
    ],
)
def test_texts_of_no_value_are_errors(name: str, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each parser's own words
        parse(name, text)


@pytest.mark.parametrize("oid", [27, 28, 142, 600, 718, 790, 829, 1560, 3220, 3614, 3904, 4451])
def test_other_types_are_their_exact_text(oid: int) -> None:
    type = builtin(oid)
    assert type is not None
    assert type.parse(b"exactly [this,)") == "exactly [this,)"


def test_hstore() -> None:
    type = make_type(90000, "public.hstore", "hstore", typtype="b")
    assert type.parse(b"") == {}
    assert type.parse(rb'"a"=>"1", "b"=>NULL, "q\"\\"=>"NULL", "c,=>"=>""') == {
        "a": "1",
        "b": None,
        'q"\\': "NULL",
        "c,=>": "",
    }
    for text in (b'"a"', b'"a"=>1', b'"a"=>"1" "b"=>"2"', b"x"):
        with pytest.raises(ValueError, match="not an hstore"):
            type.parse(text)


def test_a_domain_is_its_base_type() -> None:
    money = make_type(90001, "public.price", "price", typtype="d", base=builtin(1700, 655366))
    assert (money.kind, money.sql, money.oid, money.modifier) == (Kind.NUMERIC, "price", 90001, -1)
    assert money.parse(b"1.50") == Decimal("1.50")
    host = make_type(90002, "public.host", "host", typtype="d", base=builtin(869))
    assert load_type(dump_type(host)).parse(b"10.0.0.1") == parse("inet", "10.0.0.1")


def test_enums_composites_and_arrays_of_them() -> None:
    mood = make_type(90003, "public.mood", "mood", typtype="e", labels=("sad", "ok"))
    assert (mood.kind, mood.labels, mood.parse(b"ok")) == (Kind.ENUM, ("sad", "ok"), "ok")
    moods = make_type(90004, "public._mood", "mood[]", typtype="b", category="A", element=mood)
    assert moods.parse(b'{sad,NULL,"o k"}') == ["sad", None, "o k"]
    pair = make_type(90005, "public.pair", "pair", typtype="c")
    assert pair.parse(b'(1,"a ""b""")') == '(1,"a ""b""")'
    citext = make_type(90006, "public.citext", "citext", typtype="b", category="S")
    assert citext.kind is Kind.TEXT


def test_an_array_with_a_delimiter_of_its_own_is_exact_text() -> None:
    element = make_type(90007, "public.geometry", "geometry", typtype="b")
    array = make_type(
        90008, "public._geometry", "geometry[]", typtype="b", element=element, delimiter=":"
    )
    assert (array.kind, array.parse(b"{a:b}")) == (Kind.OTHER, "{a:b}")


@pytest.mark.parametrize("name", OIDS)
def test_a_saved_type_parses_as_before(name: str) -> None:
    type = builtin(OIDS[name])
    assert type is not None
    again = load_type(dump_type(type))
    assert again == type
    for text in EXAMPLES.get(name, []):
        assert alike(again.parse(text.encode()), type.parse(text.encode()))


# -- generated values, in the server's forms


@given(st.datetimes(timezones=st.just(UTC)))
def test_timestamps(moment: datetime) -> None:
    text = moment.replace(tzinfo=None).isoformat(" ").rstrip()
    assert parse("timestamp", text) == moment.replace(tzinfo=None)
    assert (
        parse("timestamptz", text + "+00") == moment == psycopg_value("timestamptz", text + "+00")
    )


@given(st.times())
def test_times(clock: time) -> None:
    assert parse("time", clock.isoformat()) == clock == psycopg_value("time", clock.isoformat())


@given(st.decimals())
def test_numerics(number: Decimal) -> None:
    if number.is_snan() or (number.is_nan() and number.is_signed()):
        return
    assert alike(parse("numeric", format(number, "f")), Decimal(format(number, "f")))


nested = st.recursive(
    st.one_of(st.none(), st.text().filter(lambda t: "\0" not in t)),
    lambda inner: st.lists(inner, min_size=1, max_size=3),
    max_leaves=8,
)


def array_text(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "{" + ",".join(map(array_text, value)) + "}"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(nested, max_size=4))
def test_arrays_of_any_texts(value: list[Any]) -> None:
    def depth(item: Any) -> int:
        return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0

    if depth(value) <= 6:
        assert parse("_text", array_text(value)) == value


@given(st.text().filter(lambda t: "\0" not in t))
def test_texts(text: str) -> None:
    assert parse("text", text) == text


@given(st.text(alphabet='{}",\\NUL1 ', max_size=12))
def test_an_array_parser_raises_only_value_errors(text: str) -> None:
    try:
        value = parse("_text", text)
    except ValueError:
        return
    assert isinstance(value, list)
