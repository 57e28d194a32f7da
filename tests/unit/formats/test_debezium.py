"""The records of changes, as Debezium's connector makes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import DecodeError, SchemaError
from penstock.formats.debezium import Debezium
from penstock.formats.debezium.format import DebeziumFormat
from penstock.model import (
    UNCHANGED,
    Change,
    EventBatch,
    Mark,
    Message,
    Origin,
    Record,
    SnapshotBegin,
    SnapshotEnd,
    Transaction,
    TransactionBegin,
    TransactionEnd,
)
from tests.support.feed import column, table

NOW = 1_700_000_000_123_456_789
ORDERS = table(
    "orders",
    replace(column("id", "integer"), nullable=False),
    replace(column("note"), nullable=True),
    replace(column("total", "numeric", (10 << 16 | 2) + 4), nullable=False, expression="1.5"),
    replace(column("at", "timestamptz"), nullable=False),
)
ORIGIN = Origin(
    "0/16B3748",
    Transaction("733", 1_600_000_000_000_001),
    0x16B3748,
    {"type": "postgres", "database": "shop", "lsn": "0/16B3748"},
)
ROW = (b"1", None, b"2.50", b"2020-01-01 00:00:00+00")
NEW = (b"2", b"x", b"2.50", b"2020-01-01 00:00:00+00")
AFTER = {"id": 1, "note": None, "total": "APo=", "at": "2020-01-01T00:00:00.000000Z"}


def made(*events: Any, **options: Any) -> list[Record]:
    options = {"topic_prefix": "dbserver", "schemas": False, **options}
    format = DebeziumFormat(Debezium(**options), now=lambda: NOW, run="r")
    return list(format.records(EventBatch("main", events)))


def values(records: Sequence[Record]) -> list[Any]:
    return [None if r.value is None else json.loads(r.value) for r in records]


def test_an_insert() -> None:
    (record,) = made(Change("insert", ORDERS, ORIGIN, 3, None, ROW))
    assert record.topic == "dbserver.public.orders"
    assert json.loads(record.key or b"") == {"id": 1}
    value = json.loads(record.value or b"")
    assert list(value) == [
        *("before", "after", "source", "transaction", "op", "ts_ms", "ts_us", "ts_ns")
    ]
    source = value.pop("source")
    assert source.pop("version")
    assert value == {
        "before": None,
        "after": AFTER,
        "transaction": None,
        "op": "c",
        "ts_ms": 1_700_000_000_123,
        "ts_us": 1_700_000_000_123_456,
        "ts_ns": NOW,
    }
    assert source == {
        "connector": "postgresql",
        "name": "dbserver",
        "ts_ms": 1_600_000_000_000,
        "snapshot": "false",
        "db": "shop",
        "sequence": '["23803720","23803720"]',
        "ts_us": 1_600_000_000_000_001,
        "ts_ns": 1_600_000_000_000_001_000,
        "schema": "public",
        "table": "orders",
        "txId": 733,
        "lsn": 23803720,
        "xmin": None,
        "origin": None,
        "origin_lsn": None,
    }
    assert record.headers == {
        "__debezium.context.connectorLogicalName": "dbserver",
        "__debezium.context.taskId": "0",
        "__debezium.context.connectorName": "postgresql",
        "__debezium.context.runId": "r",
        "penstock.id": "0/16B3748:3",
    }


def test_schemas_stand_around_keys_and_values() -> None:
    (record,) = made(Change("insert", ORDERS, ORIGIN, 0, None, ROW), schemas=True)
    key, value = json.loads(record.key or b""), json.loads(record.value or b"")
    assert key == {
        "schema": {
            "type": "struct",
            "fields": [{"type": "int32", "optional": False, "field": "id"}],
            "optional": False,
            "name": "dbserver.public.orders.Key",
        },
        "payload": {"id": 1},
    }
    assert value["schema"]["name"] == "dbserver.public.orders.Envelope"
    assert value["schema"]["version"] == 2
    after = value["schema"]["fields"][1]
    assert after["name"] == "dbserver.public.orders.Value"
    assert after["fields"][2] == {
        "type": "bytes",
        "optional": False,
        "name": "org.apache.kafka.connect.data.Decimal",
        "version": 1,
        "parameters": {"scale": "2", "connect.decimal.precision": "10"},
        "default": "AJY=",
        "field": "total",
    }
    assert value["payload"]["after"] == AFTER


def test_a_delete_tells_what_the_log_has_and_zeros_and_is_followed_by_a_tombstone() -> None:
    records = made(Change("delete", ORDERS, ORIGIN, 0, None, None, (b"1",)))
    value, tombstone = values(records)
    assert tombstone is None
    assert records[0].key == records[1].key == b'{"id":1}'
    assert records[0].headers == records[1].headers
    assert value["op"] == "d"
    assert value["after"] is None
    assert value["before"] == {"id": 1, "note": None, "total": "AJY=", "at": "1970-01-01T00:00:00Z"}
    assert len(made(Change("delete", ORDERS, ORIGIN, 0, ROW), tombstones_on_delete=False)) == 1


def test_a_key_change_is_three_records() -> None:
    records = made(Change("update", ORDERS, ORIGIN, 0, None, NEW, None, (b"1",)))
    gone, tombstone, come = values(records)
    assert (gone["op"], tombstone, come["op"]) == ("d", None, "c")
    assert [record.key for record in records] == [b'{"id":1}', b'{"id":1}', b'{"id":2}']
    assert records[0].headers["__debezium.newkey"] == '{"id":2}'
    assert records[1].headers["__debezium.newkey"] == '{"id":2}'
    assert records[2].headers["__debezium.oldkey"] == '{"id":1}'
    assert come["before"] is None
    assert {record.headers["penstock.id"] for record in records} == {"0/16B3748:0"}


def test_an_update_shows_the_old_row_only_where_the_log_has_it() -> None:
    assert values(made(Change("update", ORDERS, ORIGIN, 0, None, ROW)))[0]["before"] is None
    full = values(made(Change("update", ORDERS, ORIGIN, 0, ROW, ROW)))[0]
    assert (full["op"], full["before"], full["after"]) == ("u", AFTER, AFTER)


def test_a_null_is_told_as_the_default_as_connects_converter_does() -> None:
    nullable = replace(ORDERS.columns[2], nullable=True)
    orders = replace(ORDERS, columns=(ORDERS.columns[0], nullable))
    change = Change("insert", orders, ORIGIN, 0, None, (b"1", None))
    assert values(made(change))[0]["after"]["total"] == "AJY="
    assert values(made(change, replace_null_with_default=False))[0]["after"]["total"] is None


def test_a_large_value_that_the_log_does_not_repeat_is_the_placeholder() -> None:
    row = (b"1", UNCHANGED, b"2.50", ROW[3])
    value = values(made(Change("update", ORDERS, ORIGIN, 0, None, row)))[0]
    assert value["after"]["note"] == "__debezium_unavailable_value"
    with pytest.raises(DecodeError, match="did not repeat"):
        made(Change("update", ORDERS, ORIGIN, 0, None, (b"1", None, UNCHANGED, ROW[3])))


def test_a_value_that_is_none_of_its_type_is_an_error_that_names_it() -> None:
    with pytest.raises(DecodeError, match=r"public\.orders\.at"):
        made(Change("insert", ORDERS, ORIGIN, 0, None, (b"1", None, b"1.00", b"yesterday")))


def test_truncates_are_told_only_where_they_are_not_skipped() -> None:
    change = Change("truncate", ORDERS, ORIGIN, 0)
    assert made(change) == []
    (record,) = made(change, skipped_operations=[])
    assert record.key is None
    assert values([record])[0]["op"] == "t"


def test_a_snapshots_rows_say_where_they_stand() -> None:
    origin = Origin("snapshot:public.orders@1", None, 5, ORIGIN.source)

    def rows(count: int, *, first: bool = False, last: bool = False) -> list[str]:
        reads = [Change("read", ORDERS, origin, i, None, ROW) for i in range(count)]
        begin, end = SnapshotBegin(ORDERS, 1, first), SnapshotEnd(ORDERS, 1, count, last)
        return [value["source"]["snapshot"] for value in values(made(begin, *reads, end))]

    assert rows(3, first=True) == ["first", "true", "last_in_data_collection"]
    assert rows(3, last=True) == ["first_in_data_collection", "true", "last"]
    assert rows(1, first=True, last=True) == ["last"]
    assert rows(1, first=True) == ["first"]
    assert rows(1) == ["last_in_data_collection"]


def test_transactions_are_told_where_that_is_asked_for() -> None:
    begin, end = TransactionBegin(ORIGIN), TransactionEnd(ORIGIN, {"public.orders": 2})
    changes = [Change("insert", ORDERS, ORIGIN, i, None, ROW) for i in range(2)]
    assert len(made(begin, *changes, end)) == 2
    records = made(begin, *changes, end, provide_transaction_metadata=True)
    assert [record.topic for record in records][::3] == ["dbserver.transaction"] * 2
    first, one, two, last = values(records)
    assert first["status"] == "BEGIN"
    assert first["event_count"] is None
    assert one["transaction"] == {
        "id": "733:23803720",
        "total_order": 1,
        "data_collection_order": 1,
    }
    assert two["transaction"]["total_order"] == 2
    assert last["event_count"] == 2
    assert last["data_collections"] == [{"data_collection": "public.orders", "event_count": 2}]


def test_a_logical_message() -> None:
    (record,) = made(Message("mine", b"hi", Mark("0/16B3748", 0), ORIGIN.transaction))
    assert record.topic == "dbserver.message"
    assert record.key == b'{"prefix":"mine"}'
    value = values([record])[0]
    assert value["op"] == "m"
    assert value["message"] == {"prefix": "mine", "content": "aGk="}


def test_another_key_can_be_chosen() -> None:
    options = {"message_key_columns": {"public.*": ["note", "id"]}}
    assert made(Change("insert", ORDERS, ORIGIN, 0, None, NEW), **options)[0].key == (
        b'{"note":"x","id":2}'
    )
    with pytest.raises(SchemaError, match="nothing"):
        made(
            Change("insert", ORDERS, ORIGIN, 0, None, NEW),
            message_key_columns={"public.orders": ["nothing"]},
        )


def test_a_name_that_kafka_does_not_allow_is_made_one() -> None:
    odd = replace(ORDERS, name="odd näme")
    assert made(Change("insert", odd, ORIGIN, 0, None, ROW))[0].topic == "dbserver.public.odd_n_me"
