"""Debezium's records and our own as changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest

from penstock.errors import DecodeError
from penstock.formats.change import ChangeFormat
from penstock.formats.debezium import Debezium
from penstock.model import (
    UNCHANGED,
    Change,
    Column,
    EventBatch,
    Mark,
    Message,
    Origin,
    Record,
    SchemaChange,
    Table,
    Transaction,
)
from penstock.sources.kafka.decoder import Consumed, Decoder, Shapes
from penstock.sources.kafka.jsoncodec import JsonCodec
from penstock.sources.postgres.wire.types import builtin

TOPIC = "db.public.orders"


def type_of(oid: int, modifier: int = -1) -> Any:
    found = builtin(oid, modifier)
    assert found is not None
    return found


ORDERS = Table(
    "public",
    "orders",
    (
        Column("id", type_of(23), False),
        Column("note", type_of(25), True),
        Column("price", type_of(1700, (10 << 16 | 2) + 4), True),
    ),
    ("id",),
)
ORIGIN = Origin("0/16B3748", Transaction("7", 1_700_000_000_123_456), 5, {"database": "shop"})


def change(operation: Any, before: Any = None, after: Any = None, **keys: Any) -> Change:
    return Change(operation, ORDERS, ORIGIN, 3, before, after, **keys)


Records = Callable[..., list[Consumed]]


def placed(records: Any) -> list[Consumed]:
    return [
        Consumed(
            TOPIC,
            0,
            offset,
            record.key,
            record.value,
            {name: text.encode() for name, text in record.headers.items()},
        )
        for offset, record in enumerate(records)
    ]


def written(*events: Any, schemas: bool = True, **options: Any) -> list[Consumed]:
    format = Debezium(topic_prefix="db", schemas=schemas, **options).build()
    return placed(format.records(EventBatch("main", events)))


def decoder(**options: Any) -> Decoder:
    return Decoder(TOPIC, 0, Shapes(JsonCodec(), **options))


def events(records: list[Consumed], **options: Any) -> list[Any]:
    own = decoder(**options)
    return [event for record in records for event in own.decode(record)]


def test_an_insert_has_its_table_and_the_exact_values() -> None:
    shown, made = events(written(change("insert", None, [b"1", b"a", b"1.50"])))
    table = made.definition
    assert shown == SchemaChange(None, table)
    assert (made.operation, made.table, made.key) == ("insert", "public.orders", {"id": 1})
    assert [(c.name, c.type.sql, c.nullable) for c in table.columns] == [
        ("id", "integer", False),
        ("note", "text", True),
        ("price", "numeric(10,2)", True),
    ]
    assert made.after == {"id": 1, "note": "a", "price": Decimal("1.50")}
    assert made.after.text("price") == "1.50"
    assert made.mark == Mark(f"{TOPIC}/0", 0)
    assert made.id == "0/16B3748:3"
    assert made.version == 0
    assert made.transaction == Transaction("7", 1_700_000_000_123_456)


def test_the_records_of_another_have_ids_by_their_offset() -> None:
    (record,) = written(change("insert", None, [b"1", b"a", None]))
    made = decoder().decode(record._replace(headers={}, offset=41))[-1]
    assert isinstance(made, Change)
    assert made.id == f"{TOPIC}/0:41"


def test_without_schemas_values_are_json() -> None:
    _, made = events(written(change("insert", None, [b"1", b"a", None]), schemas=False))
    assert made.after == {"id": 1, "note": "a", "price": None}
    assert made.key == {"id": 1}


@pytest.mark.parametrize("schemas", [True, False])
def test_the_placeholder_is_unchanged(schemas: bool) -> None:
    record = written(change("update", None, [b"1", UNCHANGED, b"2.00"]), schemas=schemas)
    assert events(record)[-1].after["note"] is UNCHANGED


def test_a_delete_and_its_tombstone_are_one_change() -> None:
    found = events(written(change("delete", [b"1", b"a", None], key=[b"1"])))
    assert [type(event) for event in found] == [SchemaChange, Change]
    assert (found[1].operation, found[1].key, found[1].before) == ("delete", {"id": 1}, None)


def test_old_rows_are_whole_where_it_is_said() -> None:
    record = written(change("update", [b"1", b"a", None], [b"1", b"b", None]))
    assert events(record)[-1].before is None
    made = events(record, whole=("public.*",))[-1]
    assert made.before == {"id": 1, "note": "a", "price": None}
    assert made.changed == {"note"}


def test_a_changed_key_is_a_delete_and_an_insert() -> None:
    found = events(written(change("update", None, [b"2", b"a", None], old_key=[b"1"])))
    old, new = found[1], found[2]
    assert [(one.operation, one.key, one.id) for one in (old, new)] == [
        ("delete", {"id": 1}, "0/16B3748:3.delete"),
        ("insert", {"id": 2}, "0/16B3748:3"),
    ]


def test_a_tombstone_whose_delete_was_compacted_is_a_delete() -> None:
    delete, tombstone = written(change("delete", [b"1", b"a", None], key=[b"1"]))
    _, made = events([tombstone])
    assert (made.operation, made.table, made.key) == ("delete", "public.orders", {"id": 1})
    later = tombstone._replace(offset=9)
    assert len(events([delete, tombstone, later])) == 3


def test_a_snapshot_row_is_read() -> None:
    row = Change("read", ORDERS, Origin("snapshot:public.orders@1"), 0, None, [b"1", None, None])
    made = events(written(row))[-1]
    assert (made.operation, made.transaction) == ("read", None)


def test_a_truncate() -> None:
    made = events(written(change("truncate"), skipped_operations=frozenset()))[-1]
    assert (made.operation, made.table, made.key) == ("truncate", "public.orders", None)


def test_a_message() -> None:
    message = Message("mine", b"\x00hello", Mark("0/1", 0), Transaction("7", 5))
    (made,) = events(written(message))
    assert (made.prefix, made.content) == ("mine", b"\x00hello")
    assert made.mark == Mark(f"{TOPIC}/0", 0)


@pytest.mark.parametrize(
    "value",
    [
        {"ts_ms": 1},
        {"status": "BEGIN", "id": "1:2", "event_count": None, "data_collections": None, "ts_ms": 1},
        {"source": {}, "ts_ms": 1, "databaseName": "d", "ddl": "CREATE TABLE", "tableChanges": []},
    ],
    ids=["heartbeat", "transaction", "ddl"],
)
def test_what_tells_of_no_row_gives_nothing(value: Any) -> None:
    assert decoder().decode(Consumed(TOPIC, 0, 0, b"{}", orjson.dumps(value))) == []


def test_a_new_column_is_a_schema_change() -> None:
    wider = Table("public", "orders", (*ORDERS.columns, Column("at", type_of(1184), True)), ("id",))
    first = change("insert", None, [b"1", None, None])
    second = Change("insert", wider, ORIGIN, 4, None, [b"2", None, None, b"2020-01-01 00:00:00+00"])
    shown = [e for e in events(written(first, second, first)) if isinstance(e, SchemaChange)]
    assert [len(e.after.columns) for e in shown] == [3, 4, 3]
    assert shown[1].before is shown[0].after


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"hello", "no change"),
        (b"[1]", "no object"),
        (b'{"id":1}', "no envelope"),
        (b'{"op":"x","source":{"table":"t"}}', "'x'"),
        (b'{"op":"c","source":{"table":"t","ts_ms":1},"after":null}', "no row"),
        (b"\xff", "no change"),
    ],
)
def test_poison(value: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=f"record 5 of {TOPIC}/0") as raised:
        decoder().decode(Consumed(TOPIC, 0, 5, None, value))
    assert said in str(raised.value)


def test_a_value_that_is_not_of_its_schema_is_poison() -> None:
    (record,) = written(change("insert", None, [b"1", b"a", None]))
    assert record.value is not None
    with pytest.raises(DecodeError, match="no whole number"):
        decoder().decode(record._replace(value=record.value.replace(b'"id":1,', b'"id":"1",')))


def test_a_schema_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    records = written(*(change("insert", None, [b"%d" % i, b"a", None]) for i in range(3)))
    own = decoder()
    tables = [own.decode(record)[-1].definition for record in records]  # type: ignore[union-attr]
    assert tables[0] is tables[1] is tables[2]
    sizes: list[int] = []
    loads = orjson.loads

    def counted(data: bytes) -> Any:
        sizes.append(len(data))
        return loads(data)

    monkeypatch.setattr(orjson, "loads", counted)
    own.decode(records[0])
    assert records[0].value is not None
    assert max(sizes) < len(records[0].value) / 2


def as_json(record: Record | None) -> Any:
    assert record is not None
    return json.loads(record.value or b"null")


@pytest.mark.parametrize(
    "given",
    [
        change("insert", None, [b"1", b'a "b"', b"1.50"]),
        change("update", [b"1", b"a", None], [b"1", UNCHANGED, None]),
        change("update", None, [b"2", b"a", None], old_key=[b"1"]),
        change("delete", [b"1", b"a", None], key=[b"1"]),
        change("truncate"),
    ],
    ids=["insert", "update", "key", "delete", "truncate"],
)
def test_the_format_change_comes_back_as_it_was(given: Change) -> None:
    format = ChangeFormat()
    first = format.record(given)
    made = events(placed([first]))[-1]
    again, once = as_json(format.record(made)), as_json(first)
    assert again.pop("mark") == f"{TOPIC}/0:0"
    assert once.pop("mark") == "0/16B3748:3"
    assert again == once
    assert (made.id, made.operation) == (given.id, given.operation)


@pytest.mark.parametrize("table", ['"a.b"."c""d"', "t", "s.t"])
def test_names_of_tables_come_back(table: str) -> None:
    value = {
        **as_json(ChangeFormat().record(change("insert", None, [b"1", None, None]))),
        "table": table,
    }
    made = decoder().decode(Consumed(TOPIC, 0, 0, None, orjson.dumps(value)))[-1]
    assert isinstance(made, Change)
    assert made.table == table


def test_debezium_again_has_the_same_id() -> None:
    made = events(written(change("insert", None, [b"1", b"a", b"1.50"])))[-1]
    (record,) = Debezium(topic_prefix="db").build().records(EventBatch("x", [made]))
    assert record.headers["penstock.id"] == "0/16B3748:3"


def test_what_is_made_of_schemas_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.sources.kafka.jsoncodec._MOST", 5)
    monkeypatch.setattr("penstock.sources.kafka.decoder._MOST", 5)
    codec = JsonCodec()
    shapes = Shapes(codec)
    own = Decoder(TOPIC, 0, shapes)
    for n in range(30):
        wider = Table("public", "orders", (*ORDERS.columns, Column(f"c{n}", type_of(23))), ("id",))
        row: Any = [b"1", None, None, b"7"]
        (record,) = written(Change("insert", wider, ORIGIN, n, None, row))
        made = own.decode(record)[-1]
        assert isinstance(made, Change)
        assert dict(made.after or {})[f"c{n}"] == 7
    assert len(shapes.known) <= 5
    assert len(codec._schemas) <= 5
