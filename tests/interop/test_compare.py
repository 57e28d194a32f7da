"""What the comparison with Debezium excuses, and what it does not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from penstock.formats.debezium import Debezium
from penstock.model import Change, EventBatch, Origin, Record, Transaction
from tests.interop.capture import Told, _told
from tests.interop.compare import differences, misplaced
from tests.support.feed import column, table

ORDERS = table(
    "orders", column("id", "integer"), column("total", "double precision"), column("source")
)
ORIGIN = Origin(
    "0/100", Transaction("7", 1_600_000_000_000_001), 256, {"type": "postgres", "lsn": "0/100"}
)


def told() -> Told:
    change = Change("update", ORDERS, ORIGIN, 0, None, (b"1", b"0.1", b"x"))
    records = Debezium(topic_prefix="dbserver").build().records(EventBatch("main", (change,)))
    (record,) = records
    assert isinstance(record, Record)
    return _told(record)


def changed(value: Any, *path: str) -> list[str]:
    """The fields that differ where one was changed."""
    other = deepcopy(told())
    place: Any = other
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    theirs = told()
    theirs["headers"].pop("penstock.id")
    other["headers"]["__debezium.context.runId"] = "another"
    return [found.field for found in differences([theirs], [other])]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (2, "value.payload.after.id"),
        (True, "value.payload.after.id"),
        (0.10000000149011612, "value.payload.after.total"),
        ("y", "value.payload.after.source"),
        (None, "value.payload.source.lsn"),
        (8, "value.payload.source.txId"),
        (1, "value.payload.source.ts_ms"),
        ("first", "value.payload.source.snapshot"),
        ("c", "value.payload.op"),
        ("1", "value.payload.ts_ms"),
        ("1", "headers.__debezium.context.taskId"),
    ],
)
def test_what_differs_is_told(value: Any, path: str) -> None:
    parts = path.split(".", 1) if path.startswith("headers") else path.split(".")
    assert changed(value, *parts) == [path]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1, "value.payload.ts_ms"),
        (1, "value.payload.source.lsn"),
        ('[null,"1"]', "value.payload.source.sequence"),
        ("3", "value.payload.source.version"),
    ],
)
def test_what_may_differ_is_not(value: Any, path: str) -> None:
    assert changed(value, *path.split(".")) == []


def test_a_record_too_many_is_told() -> None:
    assert [found.field for found in differences([told()], [told(), told()])] == ["records"]


def test_markers_are_those_of_their_places() -> None:
    def read(topic: str, marker: str) -> Told:
        return {"topic": topic, "value": {"op": "r", "source": {"snapshot": marker}}}

    right = [("a", "first"), ("a", "last_in_data_collection"), ("b", "last")]
    assert misplaced([read(*one) for one in right]) == []
    wrong = [("a", "first_in_data_collection"), ("a", "true"), ("b", "last_in_data_collection")]
    assert len(misplaced([read(*one) for one in wrong])) == 3
