"""Changes of MySQL and MariaDB in Debezium's form: values, defaults, keys, transactions."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

import pytest

from penstock.errors import DecodeError
from penstock.formats.debezium import Debezium
from penstock.formats.debezium.mysql import default, mapped
from penstock.model import (
    Change,
    Column,
    Event,
    EventBatch,
    Kind,
    Operation,
    Origin,
    Raw,
    Table,
    Transaction,
    TransactionBegin,
    TransactionEnd,
    Type,
)

POINT: Final = struct.pack("<IBIdd", 4326, 1, 1, 2.0, 1.0)
FACTS: Final = {
    "type": "mysql",
    "server_id": 7,
    "gtid": "u:5",
    "file": "binlog.1",
    "pos": 400,
    "thread": 9,
}


def make_type(sql: str, *labels: str) -> Type:
    name = sql.partition("(")[0] + sql.partition(")")[2]
    return Type(name, Kind.OTHER, sql, labels=labels)


def hexed(data: bytes) -> bytes:
    return rb"\x" + data.hex().encode()


def told(sql: str, raw: bytes, **options: Any) -> Any:
    how = mapped(make_type(sql), Debezium(**options))
    assert how is not None
    return json.loads(how.encode(raw))


@pytest.mark.parametrize(
    ("sql", "raw", "expected"),
    [
        ("tinyint unsigned", b"255", 255),
        ("bigint unsigned", b"18446744073709551615", -1),
        ("bigint unsigned", b"9223372036854775807", 9223372036854775807),
        ("double", b"100", 100.0),
        ("decimal(10,2)", b"1.10", "bg=="),
        ("bit(1)", rb"\x01", True),
        ("bit(20)", rb"\x080001", "AQAI"),
        ("binary(3)", rb"\x00ff00", "AP8A"),
        ("date", b"1969-12-31", -1),
        ("date", b"0000-00-00", None),
        ("date", b"2016-02-31", None),
        ("date", b"0001-01-01", 11323),
        ("date", b"0070-01-01", 0),
        ("time", b"-838:59:59", -3020399000000),
        ("time(6)", b"-00:00:00.000001", -1),
        ("datetime(3)", b"2016-11-04 13:51:30.123", 1478267490123),
        ("datetime(6)", b"2016-11-04 13:51:30.123456", 1478267490123456),
        ("datetime", b"2016-00-00 00:00:00", None),
        ("timestamp(3)", b"2016-11-04 13:51:30.120+00", "2016-11-04T13:51:30.120Z"),
        ("timestamp", b"0000-00-00 00:00:00", None),
        ("geometry", hexed(POINT), {"wkb": "AQEAAAAAAAAAAAAAQAAAAAAAAPA/", "srid": 4326}),
        (
            "point",
            hexed(bytes(4) + POINT[4:]),
            {"x": 2.0, "y": 1.0, "wkb": "AQEAAAAAAAAAAAAAQAAAAAAAAPA/", "srid": None},
        ),
        ("vector(2)", hexed(struct.pack("<2f", 1, -0.1)), [1.0, -0.1]),
        ("uuid", b"09e59e9c-3c5d-4e0c-9bf8-7d6f0c8f8f1e", "09e59e9c-3c5d-4e0c-9bf8-7d6f0c8f8f1e"),
        ("inet6", b"::1", "::1"),
    ],
)
def test_default_options(sql: str, raw: bytes, expected: Any) -> None:
    got = told(sql, raw)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("sql", "raw", "options", "expected"),
    [
        ("bigint unsigned", b"5", {"bigint_unsigned_handling_mode": "precise"}, "BQ=="),
        ("decimal(10,2)", b"1.10", {"decimal_handling_mode": "string"}, "1.10"),
        ("date", b"0001-01-01", {"enable_time_adjuster": False}, -719162),
        ("date", b"2016-11-04", {"time_precision_mode": "isostring"}, "2016-11-04Z"),
        ("time(3)", b"14:51:30.500", {"time_precision_mode": "isostring"}, "14:51:30.5Z"),
        ("time", b"-00:00:01", {"time_precision_mode": "isostring"}, None),
        ("time", b"24:00:00", {"time_precision_mode": "connect"}, None),
        ("time(3)", b"00:00:01.500", {"time_precision_mode": "connect"}, 1500),
        ("time", b"-00:00:01", {"time_precision_mode": "nanoseconds"}, -1000000000),
        ("datetime", b"1970-01-01 00:00:01", {"time_precision_mode": "microseconds"}, 1000000),
        ("datetime", b"9999-12-31 00:00:00", {"time_precision_mode": "nanoseconds"}, None),
        (
            "datetime(3)",
            b"2016-11-04 13:51:30.120",
            {"time_precision_mode": "isostring"},
            "2016-11-04T13:51:30.12Z",
        ),
        ("blob", rb"\xfbff", {"binary_handling_mode": "base64-url-safe"}, "-_8="),
    ],
)
def test_other_options(sql: str, raw: bytes, options: dict[str, Any], expected: Any) -> None:
    assert told(sql, raw, **options) == expected


@pytest.mark.parametrize(
    ("sql", "expression", "nullable", "expected"),
    [
        ("int", "'8'", True, 8),
        ("int", "8", True, 8),
        ("int", "(1 + 1)", True, None),
        ("bigint unsigned", "'18446744073709551615'", True, 9223372036854775807),
        ("bit(1)", "b'1'", True, True),
        ("bit(12)", "b'101'", True, "BQA="),
        ("varchar(9)", "'it''s'", True, "it''s"),
        ("varchar(9)", "lcase('X')", True, None),
        ("binary(3)", "0x616263", True, "YWJj"),
        ("binary(3)", "'abc'", True, "YWJj"),
        ("date", "'2016-11-04'", True, 17109),
        ("date", "'0000-00-00'", True, None),
        ("date", "'0000-00-00'", False, 0),
        ("datetime", "CURRENT_TIMESTAMP", True, 0),
        ("timestamp", "current_timestamp()", True, None),
        ("timestamp", "CURRENT_TIMESTAMP", False, "1970-01-01T00:00:00Z"),
        ("timestamp", "'2016-11-04 13:51:30'", True, "2016-11-04T13:51:30Z"),
        ("json", "(_utf8mb4'{}')", True, None),
    ],
)
def test_defaults(sql: str, expression: str, nullable: bool, expected: Any) -> None:
    type = make_type(sql)
    how = mapped(type, Debezium())
    assert how is not None
    made = default(Column("c", type, nullable, expression=expression), how)
    assert (None if made is None else json.loads(made)) == expected


ORDERS: Final = Table(
    "shop",
    "orders",
    (
        Column("id", make_type("int"), False),
        Column("due", make_type("date"), False, expression="'2016-11-04'"),
        Column("paid", make_type("date"), True),
        Column("mood", make_type("enum('a','b,c')", "a", "b,c"), True),
    ),
    unique_columns=("id",),
)


def change(
    operation: Operation,
    before: Sequence[Raw] | None,
    after: Sequence[Raw] | None,
    ordinal: int = 0,
    **facts: Any,
) -> Change:
    origin = Origin("u:5", Transaction("u:5", 1_500_000), None, {**FACTS, **facts})
    return Change(operation, ORDERS, origin, ordinal, before, after)


def records(*events: Event, **options: Any) -> list[tuple[str, Any, Any]]:
    format = Debezium(topic_prefix="p", schemas=False, **options).build()
    return [
        (r.topic, r.key and json.loads(r.key), r.value and json.loads(r.value))
        for r in format.records(EventBatch("main", events))
    ]


ROW: Final = (b"1", b"2016-11-05", None, b"b,c")


def test_the_block_of_the_source() -> None:
    [(topic, key, value)] = records(change("insert", None, ROW, 3))
    assert (topic, key) == ("p.shop.orders", {"id": 1})
    source = value["source"]
    assert source.pop("version")
    assert source == {
        "connector": "mysql",
        "name": "p",
        "ts_ms": 1500,
        "snapshot": "false",
        "db": "shop",
        "sequence": None,
        "ts_us": 1500000,
        "ts_ns": 1500000000,
        "table": "orders",
        "server_id": 7,
        "gtid": "u:5",
        "file": "binlog.1",
        "pos": 400,
        "row": 3,
        "thread": 9,
        "query": None,
    }


def test_each_schema_is_of_its_connector() -> None:
    for connector in ("mysql", "mariadb"):
        event = change("insert", None, ROW, type=connector)
        [record] = Debezium(topic_prefix="p").build().records(EventBatch("main", [event]))
        assert record.value is not None
        envelope = json.loads(record.value)["schema"]
        named = {field["field"]: field.get("name") for field in envelope["fields"]}
        assert named["source"] == f"io.debezium.connector.{connector}.Source"
        [*_, mood] = envelope["fields"][0]["fields"]
        assert mood["parameters"] == {"allowed": "a,b\\,c"}
        assert record.headers["__debezium.context.connectorName"] == connector


def test_a_zero_date_is_null_or_else_the_default() -> None:
    zero = b"0000-00-00"
    [(_, _, value)] = records(change("insert", None, (b"1", zero, zero, None)))
    assert value["after"] == {"id": 1, "due": 17109, "paid": None, "mood": None}


def test_a_unique_key_takes_the_place_of_a_primary_one() -> None:
    moved = (b"2", *ROW[1:])
    found = records(change("update", ROW, moved))
    assert [(key, value and value["op"]) for _, key, value in found] == [
        ({"id": 1}, "d"),
        ({"id": 1}, None),
        ({"id": 2}, "c"),
    ]


def test_what_is_skipped_is_of_the_log() -> None:
    moved = (b"2", *ROW[1:])
    found = records(change("update", ROW, moved), skipped_operations=["d"])
    assert [value and value["op"] for _, _, value in found] == ["d", None, "c"]
    assert records(change("update", ROW, moved), skipped_operations=["u"]) == []


def test_a_truncate_is_in_no_transaction() -> None:
    def transaction(event: Change) -> list[Event]:
        return [TransactionBegin(event.origin), event, TransactionEnd(event.origin, {})]

    options = {"provide_transaction_metadata": True, "skipped_operations": []}
    [(_, _, value)] = records(*transaction(change("truncate", None, None)), **options)
    assert (value["op"], value["transaction"]) == ("t", None)
    begin, row, end = records(*transaction(change("insert", None, ROW)), **options)
    assert [told[2]["id"] for told in (begin, end)] == ["u:5", "u:5"]
    assert row[2]["transaction"] == {"id": "u:5", "total_order": 1, "data_collection_order": 1}


def test_a_transaction_without_gtid_is_known_by_its_place() -> None:
    event = change("insert", None, ROW, gtid=None)
    [(_, _, value)] = records(event, provide_transaction_metadata=True)
    assert value["transaction"]["id"] == "file=binlog.1,pos=400"


def test_a_value_that_the_server_does_not_write_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"shop\.orders\.due"):
        records(change("insert", None, (b"1", b"x", None, None)))
