"""What the format makes of a value, the source makes the value of again."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import orjson
import pytest

from penstock.formats.debezium import Debezium
from penstock.formats.debezium.types import mapped
from penstock.model import Kind
from penstock.sources.kafka.decoder import PLACEHOLDER
from penstock.sources.kafka.types import reading
from penstock.sources.postgres.wire.types import builtin, make_type

_PRECISE: Final = (10 << 16 | 2) + 4
BUILTIN: Final[list[tuple[int, int, tuple[bytes, ...]]]] = [
    (16, -1, (b"t", b"f")),
    (21, -1, (b"-32768", b"7")),
    (23, -1, (b"2147483647",)),
    (20, -1, (b"-9223372036854775808",)),
    (700, -1, (b"1.5", b"-0", b"1e+20", b"3.4028235e+38", b"100000", b"1e+06", b"1e-05", b"NaN")),
    (701, -1, (b"0.1", b"1e+15", b"100000000000000", b"1.2345678901234568e+17", b"0.0001")),
    (701, -1, (b"1e-05", b"-1.5e-300", b"Infinity", b"-Infinity", b"123456.789")),
    (1700, _PRECISE, (b"1.10", b"-0.05", b"12345678.90", b"0.00")),
    (1700, -1, (b"10.1111", b"-3", b"0.000001")),
    (25, -1, (b"", "Käse \"'\\".encode())),
    (17, -1, (b"\\x", b"\\x00ff10")),
    (1082, -1, (b"2016-11-04", b"0001-01-01", b"0044-03-15 BC", b"infinity", b"-infinity")),
    (1082, -1, (b"5874897-12-31", b"1600-02-29", b"1900-03-01")),
    (1083, -1, (b"14:51:30", b"00:00:00.000001", b"24:00:00")),
    (1083, 3, (b"14:51:30.12",)),
    (1114, -1, (b"2016-11-04 13:51:30.123456", b"infinity", b"-infinity", b"0002-01-01 00:00:00")),
    (1114, 3, (b"2016-11-04 13:51:30.123", b"1900-01-01 00:00:00")),
    (1184, -1, (b"2016-11-04 13:51:30.5+00", b"20000-01-01 00:00:00+00", b"infinity")),
    (1184, -1, (b"0044-03-15 12:00:00+00 BC", b"2016-11-04 13:51:30+00")),
    (1266, -1, (b"11:51:30.123789+00", b"00:00:00+00")),
    (1186, -1, (b"00:00:00", b"-01:02:03.5", b"100:00:00")),
    (114, -1, (b'{"a":   1}',)),
    (2950, -1, (b"09e59e9c-3c5d-4e0c-9bf8-7d6f0c8f8f1e",)),
    (142, -1, (b"<a/>",)),
    (3614, -1, (b"'a':1 'b':2",)),
    (1560, 5, (b"00101", b"00000")),
    (1562, -1, (b"101",)),
    (600, -1, (b"(1.5,-2)",)),
    (1007, -1, (b"{1,NULL,-3}", b"{}")),
    (1009, -1, (b'{a,"b c",NULL,"NULL","","q\\"x","back\\\\slash"}',)),
    (1182, -1, (b"{2016-11-04}",)),
    (1115, -1, (b'{"2016-11-04 13:51:30.5"}',)),
    (1231, _PRECISE, (b"{1.10,-3.00}",)),
    (1000, -1, (b"{t,f}",)),
    (2951, -1, (b"{09e59e9c-3c5d-4e0c-9bf8-7d6f0c8f8f1e}",)),
]


def told(type: Any, raw: bytes, **options: Any) -> tuple[Any, Any]:
    how = mapped(type, Debezium(**options))
    assert how is not None
    return how.schema, orjson.loads(how.encode(raw))


def again(type: Any, raw: bytes, **options: Any) -> bytes:
    schema, value = told(type, raw, **options)
    return reading(schema, PLACEHOLDER).text(value)


@pytest.mark.parametrize(
    ("oid", "modifier", "raw"),
    [(oid, modifier, raw) for oid, modifier, texts in BUILTIN for raw in texts],
)
def test_a_value_comes_back_exactly(oid: int, modifier: int, raw: bytes) -> None:
    type = builtin(oid, modifier)
    assert type is not None
    schema, value = told(type, raw)
    how = reading(schema, PLACEHOLDER)
    assert how.text(value) == raw
    assert how.type.kind is type.kind
    assert how.type.sql == type.sql
    assert repr(how.type.parse(raw)) == repr(type.parse(raw))


@pytest.mark.parametrize("mode", ["isostring", "connect", "microseconds", "nanoseconds"])
@pytest.mark.parametrize(
    ("oid", "raw"),
    [
        (1082, b"2016-11-04"),
        (1083, b"14:51:30.123"),
        (1114, b"2016-11-04 13:51:30.123"),
        (1114, b"1969-12-31 23:59:59"),
    ],
)
def test_times_come_back_in_every_mode(mode: str, oid: int, raw: bytes) -> None:
    assert again(builtin(oid), raw, time_precision_mode=mode) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"1 year 2 mons 3 days 04:05:06.78",
        b"-1 mons +2 days -00:00:00.5",
        b"1 mon",
        b"-3 days +01:00:00",
        b"00:00:00",
    ],
)
def test_intervals_as_texts_come_back(raw: bytes) -> None:
    assert again(builtin(1186), raw, interval_handling_mode="string") == raw


def test_hstores_come_back_from_maps() -> None:
    type = make_type(90001, "public.hstore", "hstore", typtype="b")
    raw = b'"k"=>"v \\"x\\"", "n"=>NULL'
    assert again(type, raw, hstore_handling_mode="map") == raw


def test_enums_bear_their_labels() -> None:
    type = make_type(90002, "public.mood", "mood", typtype="e", labels=("sad", "ok"))
    schema, value = told(type, b"ok")
    how = reading(schema, PLACEHOLDER)
    assert (how.text(value), how.type.kind, how.type.labels) == (b"ok", Kind.ENUM, ("sad", "ok"))


@pytest.mark.parametrize("name", ["vector", "halfvec"])
def test_vectors_come_back(name: str) -> None:
    type = make_type(90003, f"public.{name}", name, typtype="b")
    assert again(type, b"[1,2.5,-3]") == b"[1,2.5,-3]"


def test_sparse_vectors_come_back() -> None:
    type = make_type(90004, "public.sparsevec", "sparsevec", typtype="b")
    assert again(type, b"{1:0.5,20:2}/25") == b"{1:0.5,20:2}/25"


@pytest.mark.parametrize("oid", [25, 17, 1009, 1007, 2951])
def test_what_the_log_did_not_repeat_is_known(oid: int) -> None:
    type = builtin(oid)
    assert type is not None
    how = mapped(type, Debezium())
    assert how is not None
    assert how.unavailable is not None
    assert orjson.loads(how.unavailable) == reading(how.schema, PLACEHOLDER).unavailable


def test_geometry_of_mysql_gets_its_srid() -> None:
    point = bytes.fromhex("0101000000000000000000F03F0000000000000040")
    schema = {"type": "struct", "name": "io.debezium.data.geometry.Geometry"}
    value = {"wkb": b64encode(point).decode(), "srid": 4326}
    made = reading(schema, PLACEHOLDER).text(value)
    assert made == b"0101000020E6100000000000000000F03F0000000000000040"


def test_a_schema_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="no schema"):
        reading({"type": "thing"}, PLACEHOLDER)
