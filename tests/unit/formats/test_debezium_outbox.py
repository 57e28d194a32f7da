"""Events of outbox tables; Debezium's own router is asked in tests/interop."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.errors import DecodeError, SchemaError
from penstock.formats.debezium import Debezium
from penstock.formats.debezium.expansion import Expansion
from penstock.model import EventBatch, Record
from penstock.testing import delete, insert, update

ROW = {
    "id": 7,
    "aggregatetype": "order",
    "aggregateid": "42",
    "type": "created",
    "payload": '{"total": 5}',
}


def made(*events: Any, **options: Any) -> list[Record]:
    given = {"tables": ["*.outbox"], **options}
    format = Debezium(topic_prefix="shop", schemas=False, context_headers=False, outbox=given)
    return list(format.build().records(EventBatch("main", events)))


def test_a_row_is_the_event_that_it_holds() -> None:
    (record,) = made(insert("public.outbox", ROW))
    assert record.topic == "outbox.event.order"
    assert record.key == b'"42"'
    assert json.loads(record.value or b"") == ROW["payload"]
    assert record.headers["id"] == "7"
    assert "penstock.id" in record.headers


def test_deletes_and_their_tombstones_are_not_told_and_other_tables_stay() -> None:
    records = made(
        insert("public.outbox", ROW),
        delete("public.outbox", ROW),
        insert("public.orders", {"id": 1}),
        delete("public.orders", {"id": 1}),
    )
    assert [record.topic for record in records] == [
        "outbox.event.order",
        *["shop.public.orders"] * 3,
    ]


def test_an_update_is_left_out_and_told_or_stops(caplog: pytest.LogCaptureFixture) -> None:
    change = update("public.outbox", ROW, ROW)
    with caplog.at_level(logging.WARNING):
        assert made(change) == []
    assert "the update of a row of the outbox public.outbox is left out" in caplog.text
    with pytest.raises(DecodeError, match=r"public\.outbox was updated"):
        made(change, table_op_invalid_behavior="fatal")


def test_columns_are_placed() -> None:
    placement = ["type:header:eventType", "type : envelope : kind", "aggregateid:envelope"]
    (record,) = made(insert("public.outbox", ROW), table_fields_additional_placement=placement)
    assert record.headers["eventType"] == "created"
    assert json.loads(record.value or b"") == {
        "payload": ROW["payload"],
        "kind": "created",
        "aggregateid": "42",
    }


def test_a_column_that_is_not_there_is_refused_or_ignored() -> None:
    options = {"table_fields_additional_placement": ["nothing:header"]}
    with pytest.raises(SchemaError, match="no column 'nothing'"):
        made(insert("public.outbox", ROW), **options)
    made(insert("public.outbox", ROW), **options, table_field_additional_missing="ignore")
    with pytest.raises(SchemaError, match="no column 'other'"):
        made(insert("public.outbox", ROW), table_field_event_key="other")


@pytest.mark.parametrize("payload", [None, "", "  "])
def test_an_empty_payload_can_be_a_tombstone(payload: str | None) -> None:
    change = insert("public.outbox", {**ROW, "payload": payload})
    (record,) = made(change, route_tombstone_on_empty_payload=True)
    assert record.value is None
    (record,) = made(change)
    assert json.loads(record.value or b"") == payload


def test_topics_are_chosen_by_expression() -> None:
    options = {"route_topic_regex": "(?<kind>or).*", "route_topic_replacement": "x.${kind}"}
    records = made(
        insert("public.outbox", ROW),
        insert("public.outbox", {**ROW, "aggregatetype": "customer"}),
        **options,
    )
    assert [record.topic for record in records] == ["x.or", "customer"]


@pytest.mark.parametrize("placement", ["type", "type:partition", "type:header:", "a:b:c:d"])
def test_a_placement_that_means_nothing_is_refused(placement: str) -> None:
    with pytest.raises(ValidationError, match="is not column:header"):
        made(table_fields_additional_placement=[placement])


def test_a_payload_is_expanded_or_stays(caplog: pytest.LogCaptureFixture) -> None:
    (record,) = made(insert("public.outbox", ROW), table_expand_json_payload=True)
    assert json.loads(record.value or b"") == {"total": 5}
    odd = insert("public.outbox", {**ROW, "payload": "{not JSON"})
    with caplog.at_level(logging.WARNING):
        (record,) = made(odd, table_expand_json_payload=True)
    assert json.loads(record.value or b"") == "{not JSON"
    assert "stays the text" in caplog.text


def expand(document: Any, null: Any = "ignore", empty: Any = "ignore") -> tuple[Any, Any]:
    data = Expansion(null, empty).expand("p", json.dumps(document))
    return data.schema, data.value


def test_numbers_have_the_smallest_type() -> None:
    schema, _ = expand({"a": 2**31 - 1, "b": 2**31, "c": 1.0, "d": True, "e": "x"})
    types = [field["type"] for field in schema["fields"]]
    assert types == ["int32", "int64", "double", "boolean", "string"]


def test_nulls_and_empty_arrays_are_left_out_or_kept() -> None:
    assert expand({"a": None, "b": []})[1] == {}
    schema, value = expand({"a": None, "b": []}, "optional_bytes", "optional_string")
    assert value == {"a": None, "b": []}
    assert [field["type"] for field in schema["fields"]] == ["bytes", "array"]


def test_objects_in_an_array_have_one_schema_together() -> None:
    schema, value = expand([{"a": 1}, None, {"b": "x"}])
    assert [field["field"] for field in schema["items"]["fields"]] == ["a", "b"]
    assert value == [{"a": 1, "b": None}, None, {"a": None, "b": "x"}]


@pytest.mark.parametrize(
    "document", ["text", 5, None, {"a": [1, "x"]}, {"a": [None]}, {"a": [1, 2.5]}, {"a": 2**63}, []]
)
def test_what_has_no_schema_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"object|alike|type|integer"):
        expand(document)
