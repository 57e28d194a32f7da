"""Changes as CloudEvents; Debezium's converter is asked in tests/interop."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.formats.cloudevents import CloudEvents
from penstock.model import EventBatch, Record
from penstock.testing import delete, insert, message

REQUIRED = ("id", "source", "specversion", "type")  # by CloudEvents 1.0


def made(*events: Any, **options: Any) -> list[Record]:
    given = {"topic_prefix": "shop", "schemas": False, **options}
    return list(CloudEvents(**given).build().records(EventBatch("main", events)))


def test_a_change_is_an_event() -> None:
    (record,) = made(insert("public.orders", {"id": 1, "status": "new"}))
    event = json.loads(record.value or b"")
    assert all(event[name] for name in REQUIRED)
    assert event["specversion"] == "1.0"
    assert event["source"] == "/debezium/postgresql/shop"
    assert event["iodebeziumop"] == "c"
    assert event["iodebeziumtable"] == "orders"
    assert event["data"] == {"before": None, "after": {"id": 1, "status": "new"}}
    assert record.key == b'{"id":1}'


def test_the_id_is_the_changes_own() -> None:
    changes = (insert("public.t", {"id": 1}), delete("public.t", {"id": 1}))
    first, second, tombstone = made(*changes)
    ids = [json.loads(record.value or b"")["id"] for record in (first, second)]
    assert ids == [f"name:shop;id:{changes[0].id};op:c", f"name:shop;id:{changes[1].id};op:d"]
    assert ids == [json.loads(r.value)["id"] for r in made(*changes) if r.value is not None]
    assert tombstone.value is None


def test_data_and_keys_come_with_schemas_where_that_is_asked_for() -> None:
    (record,) = made(insert("public.t", {"id": 1}), schemas=True)
    data = json.loads(record.value or b"")["data"]
    assert data["payload"]["after"] == {"id": 1}
    assert [field["field"] for field in data["schema"]["fields"]] == ["before", "after"]
    assert json.loads(record.key or b"")["payload"] == {"id": 1}


def test_messages_are_no_events_but_not_lost() -> None:
    (record,) = made(message("mine", "text"))
    assert json.loads(record.value or b"")["message"]["prefix"] == "mine"


@pytest.mark.parametrize("options", [{"unwrap": {}}, {"schema_registry": "http://r"}])
def test_what_leaves_no_event_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="for the format debezium"):
        CloudEvents(**options)
