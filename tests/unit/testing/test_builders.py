import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from penstock.errors import SchemaError
from penstock.model import UNCHANGED, Kind
from penstock.model.archive import dump_change, load_change
from penstock.testing import delete, insert, read, table_of, truncate, update

VALUES: dict[str, Any] = {
    "id": 1,
    "flag": True,
    "ratio": 0.1,
    "price": Decimal("1E+3"),
    "at": datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    "local": datetime(2026, 1, 2, 3, 4, 5),
    "day": date(2026, 1, 2),
    "clock": time(1, 2, 3, 4),
    "span": timedelta(days=-2, hours=3, microseconds=7),
    "uid": UUID(int=7),
    "blob": b"\x00\xff",
    "tags": {"a": [1, None, "é"]},
    "list": [1, 2],
    "text": "sn\u00f6\n",
    "none": None,
}


def test_values_come_back_as_they_went_in_also_from_an_archive() -> None:
    change = insert("public.things", VALUES)
    assert dict(change.row) == VALUES
    assert dict(load_change(json.loads(json.dumps(dump_change(change)))).row) == VALUES


def test_types_follow_values() -> None:
    table = table_of("things", VALUES)
    assert table.text == "public.things"
    assert table.key_columns == ("id",)
    kinds = {column.name: column.type.kind for column in table.columns}
    assert kinds["flag"] is Kind.BOOLEAN
    assert kinds["at"] is Kind.TIMESTAMPTZ
    assert kinds["local"] is Kind.TIMESTAMP
    assert kinds["none"] is Kind.TEXT


def test_each_call_is_the_next_transaction() -> None:
    first, second = insert("t", {"id": 1}), insert("t", {"id": 1})
    assert int(second.mark.transaction) == int(first.mark.transaction) + 1
    assert first.version is not None
    assert second.version == first.version + 1


def test_an_update_that_changes_the_key_says_so() -> None:
    change = update("t", {"id": 2, "v": "x"}, before={"id": 1, "v": "x"})
    assert change.old_key is not None
    assert dict(change.old_key) == {"id": 1}
    assert change.changed == frozenset({"id"})
    assert update("t", {"id": 2}).old_key is None
    explicit = update("t", {"id": 2}, old_key={"id": 9}).old_key
    assert explicit is not None
    assert explicit["id"] == 9


def test_a_delete_has_its_key_and_row() -> None:
    change = delete("t", {"a": 1, "b": 2}, key=("b",))
    assert change.key is not None
    assert dict(change.key) == {"b": 2}
    assert dict(change.row) == {"a": 1, "b": 2}
    assert change.after is None


def test_snapshot_rows_and_truncates() -> None:
    row = read("shop.orders", {"id": 1}, attempt=2, ordinal=4)
    assert row.id == "snapshot:shop.orders@2:4"
    assert row.transaction is None
    assert truncate("shop.orders").operation == "truncate"


def test_a_table_gives_the_exact_types_and_unknown_columns_are_refused() -> None:
    table = table_of("t", {"id": 1, "note": "x"})
    assert dict(insert(table, {"id": 2}).row) == {"id": 2, "note": None}
    assert insert(table, {"id": 2, "note": UNCHANGED}).row["note"] is UNCHANGED
    with pytest.raises(SchemaError, match="no column 'nope'"):
        insert(table, {"nope": 1})
    with pytest.raises(SchemaError, match="no column type"):
        insert("t", {"id": object()})
