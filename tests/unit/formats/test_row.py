"""The format ``row``."""

from __future__ import annotations

from penstock.formats.row import RowFormat
from penstock.model import (
    UNCHANGED,
    Change,
    Column,
    EventBatch,
    Kind,
    Origin,
    Table,
    TransactionBegin,
    Type,
)

ORDERS = Table(
    "public",
    "orders",
    (
        Column("id", Type("int8", Kind.INTEGER, "bigint")),
        Column("note", Type("text", Kind.TEXT, "text")),
    ),
    ("id",),
)
ORIGIN = Origin("0/1543558")


def test_the_row_after_the_change() -> None:
    record = RowFormat().record(Change("insert", ORDERS, ORIGIN, 0, None, [b"1", b"a"]))
    assert record == ("public.orders", b'{"id":1}', b'{"id":1,"note":"a"}', {})


def test_unchanged_columns_are_absent() -> None:
    record = RowFormat().record(Change("update", ORDERS, ORIGIN, 0, None, [b"1", UNCHANGED]))
    assert record.value == b'{"id":1}'


def test_a_delete_is_null_with_its_key() -> None:
    for change in (
        Change("delete", ORDERS, ORIGIN, 0, key=[b"1"]),
        Change("delete", ORDERS, ORIGIN, 0, [b"1", b"a"]),
    ):
        record = RowFormat().record(change)
        assert (record.key, record.value) == (b'{"id":1}', None)


def test_a_truncate_says_so_in_a_header() -> None:
    change: Change = Change("truncate", ORDERS, ORIGIN, 0)
    change.headers = {"cascade": "true"}
    record = RowFormat().record(change)
    assert (record.key, record.value) == (None, None)
    assert record.headers == {"cascade": "true", "op": "truncate"}


def test_route_and_batches() -> None:
    change: Change = Change("insert", ORDERS, ORIGIN, 0, None, [b"1", None])
    change.route = "elsewhere"
    format = RowFormat()
    records = list(EventBatch("main", [TransactionBegin(ORIGIN), change]).records(format))
    assert records == [format.record(change)]
    assert records[0].topic == "elsewhere"
