"""The format ``change``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.errors import DecodeError
from penstock.formats.change import ChangeFormat
from penstock.model import (
    OPERATIONS,
    UNCHANGED,
    Change,
    Column,
    Event,
    EventBatch,
    Kind,
    Mark,
    Message,
    Origin,
    SchemaChange,
    Table,
    Transaction,
    TransactionBegin,
    TransactionEnd,
    Type,
)

ORDERS = Table(
    "public",
    "orders",
    (
        Column("id", Type("int8", Kind.INTEGER, "bigint")),
        Column("status", Type("text", Kind.TEXT, "text")),
        Column("note", Type("text", Kind.TEXT, "text")),
    ),
    ("id",),
)
LOG = Table("public", "log", ORDERS.columns)
ORIGIN = Origin(
    "0/1543558",
    Transaction("742", 1_700_000_000_000_000),
    0x1543558,
    {"type": "postgres", "database": "shop", "lsn": "0/1543558"},
)


def value(change: Change[Any]) -> dict[str, Any]:
    record = ChangeFormat().record(change)
    assert record.value is not None
    decoded: dict[str, Any] = json.loads(record.value)
    assert list(decoded) == [
        "id",
        "op",
        "table",
        "key",
        "old_key",
        "before",
        "after",
        "unchanged",
        "mark",
        "transaction",
        "source",
    ]
    return decoded


def test_an_insert_in_full() -> None:
    record = ChangeFormat().record(Change("insert", ORDERS, ORIGIN, 3, None, [b"1", b"new", None]))
    assert record == (
        "public.orders",
        b'{"id":1}',
        b'{"id":"0/1543558:3","op":"insert","table":"public.orders","key":{"id":1},'
        b'"old_key":null,"before":null,"after":{"id":1,"status":"new","note":null},'
        b'"unchanged":[],"mark":"0/1543558:3",'
        b'"transaction":{"id":"742","committed_at":"2023-11-14T22:13:20.000000+00:00"},'
        b'"source":{"type":"postgres","database":"shop","lsn":"0/1543558"}}',
        {},
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_named(operation: Any) -> None:
    assert value(Change(operation, ORDERS, ORIGIN, 0, None, [b"1", b"a", b"b"]))["op"] == operation


def test_an_update_with_all_that_a_log_can_say() -> None:
    shown = value(
        Change(
            "update",
            ORDERS,
            ORIGIN,
            0,
            [b"1", b"new", b"x"],
            [b"2", b"paid", UNCHANGED],
            None,
            [b"1"],
        )
    )
    assert shown["key"] == {"id": 2}
    assert shown["old_key"] == {"id": 1}
    assert shown["before"] == {"id": 1, "status": "new", "note": "x"}
    assert shown["after"] == {"id": 2, "status": "paid"}
    assert shown["unchanged"] == ["note"]


def test_an_update_that_does_not_repeat_a_column() -> None:
    shown = value(Change("update", ORDERS, ORIGIN, 0, None, [b"1", b"paid", UNCHANGED]))
    assert (shown["after"], shown["unchanged"]) == ({"id": 1, "status": "paid"}, ["note"])


def test_a_delete_by_key() -> None:
    record = ChangeFormat().record(Change("delete", ORDERS, ORIGIN, 0, key=[b"1"]))
    assert record.key == b'{"id":1}'
    shown = value(Change("delete", ORDERS, ORIGIN, 0, key=[b"1"]))
    assert (shown["key"], shown["before"], shown["after"]) == ({"id": 1}, None, None)


def test_a_delete_with_its_row() -> None:
    shown = value(Change("delete", ORDERS, ORIGIN, 0, [b"1", b"a", None]))
    assert shown["key"] == {"id": 1}
    assert shown["before"] == {"id": 1, "status": "a", "note": None}


def test_a_truncate_and_a_table_without_a_key() -> None:
    record = ChangeFormat().record(Change("truncate", ORDERS, ORIGIN, 0))
    assert record.key is None
    assert value(Change("truncate", ORDERS, ORIGIN, 0))["key"] is None
    record = ChangeFormat().record(Change("insert", LOG, ORIGIN, 0, None, [b"1", None, None]))
    assert record.key is None
    assert value(Change("insert", LOG, ORIGIN, 0, None, [b"1", None, None]))["key"] is None


def test_a_snapshot_row_has_no_transaction_and_its_mark_may_hold_quotes() -> None:
    origin = Origin('snapshot:public."a.""b"@1', None, None, {"type": "postgres"})
    shown = value(Change("read", ORDERS, origin, 7, None, [b"1", None, None]))
    assert shown["id"] == shown["mark"] == 'snapshot:public."a.""b"@1:7'
    assert shown["transaction"] is None


def test_the_route_is_the_topic_and_headers_go_along() -> None:
    change: Change = Change("insert", ORDERS, ORIGIN, 0, None, [b"1", None, None])
    change.route, change.headers, change.part = "orders.eu", {"a": "b"}, 2
    record = ChangeFormat().record(change)
    assert (record.topic, record.headers) == ("orders.eu", {"a": "b"})
    assert value(change)["id"] == value(change)["mark"] == change.id == "0/1543558:0.2"


def test_the_route_of_a_plain_change() -> None:
    change: Change = Change("insert", ORDERS, ORIGIN, 0, None, [b"1", None, None])
    change.route = "orders.eu"
    assert ChangeFormat().record(change).topic == "orders.eu"


def test_a_key_that_was_set_apart_from_the_row_is_the_key() -> None:
    change: Change = Change("update", ORDERS, ORIGIN, 0, None, [b"1", None, None], key=[b"9"])
    assert ChangeFormat().record(change).key == b'{"id":9}'
    assert value(change)["key"] == {"id": 9}


def test_records_of_a_batch_are_those_of_its_changes_in_order() -> None:
    other = Origin("0/2000000", Transaction("743", 1), 0x2000000)
    events: list[Event] = [
        SchemaChange(None, ORDERS),
        TransactionBegin(ORIGIN),
        Change("insert", ORDERS, ORIGIN, 0, None, [b"1", b"a", None]),
        Change("update", ORDERS, ORIGIN, 1, None, [b"1", UNCHANGED, None]),
        Change("insert", LOG, ORIGIN, 2, None, [b"1", b"a", None]),
        Message("audit", b"x", Mark("0/1543558", 3), None),
        TransactionEnd(ORIGIN, {}),
        Change("delete", ORDERS, other, 0, key=[b"1"]),
        Change("insert", ORDERS, other, 1, None, [b"2", None, None]),
    ]
    batch = EventBatch("main", events)
    format = ChangeFormat()
    records = list(batch.records(format))
    changes = [event for event in events if isinstance(event, Change)]
    assert records == [ChangeFormat().record(change) for change in changes]
    assert records == list(batch.records(format)), "repeats have the same bytes"
    ids = [json.loads(record.value or b"")["id"] for record in records]
    assert ids == [change.id for change in changes]


def test_a_value_that_cannot_be_json_names_its_column() -> None:
    with pytest.raises(DecodeError, match=r"public\.orders\.status"):
        ChangeFormat().record(Change("insert", ORDERS, ORIGIN, 0, None, [b"1", b"\xff", None]))
