"""What becomes of old and new tuples under each replica identity."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import ProtocolError
from penstock.model import UNCHANGED, Change, Raw
from penstock.sources.postgres.wire import LogDecoder
from penstock.sources.postgres.wire.tuples import row_reader
from tests.wire.payloads import (
    INT8,
    ORDERS,
    TEXT,
    begin,
    commit,
    delete,
    insert,
    orders_with,
    tuple_data,
    update,
)


def only(source: LogDecoder, *payloads: bytes) -> Change[Any]:
    (batch,) = source.feed([begin(0x100), *payloads, commit(0x100)])
    (change,) = (event for event in batch if isinstance(event, Change))
    return change


def test_an_update_without_an_old_tuple() -> None:
    change = only(orders_with(), update(ORDERS, b"1", b"paid", UNCHANGED))
    assert change.values_before is None
    assert change.values_after == [b"1", b"paid", UNCHANGED]
    assert change.key == {"id": 1}
    assert change.old_key is None


def test_an_update_of_the_key() -> None:
    change = only(orders_with(), update(ORDERS, b"2", b"paid", UNCHANGED, key=[b"1", None, None]))
    assert change.key == {"id": 2}
    assert change.old_key == {"id": 1}
    assert change.before is None
    assert change.values_after == [b"2", b"paid", UNCHANGED]


def test_a_key_tuple_that_repeats_the_key_is_no_key_change() -> None:
    change = only(orders_with(), update(ORDERS, b"1", b"paid", None, key=[b"1", None, None]))
    assert change.old_key is None


def test_a_large_key_that_is_not_repeated_is_in_the_key_tuple() -> None:
    source = orders_with(key=("note",), primary_key=("note",))
    change = only(source, update(ORDERS, b"1", b"paid", UNCHANGED, key=[None, None, b"long"]))
    assert change.values_after == [b"1", b"paid", b"long"]
    assert change.key == {"note": "long"}
    assert change.old_key is None


def test_a_delete_by_key() -> None:
    change = only(orders_with(), delete(ORDERS, key=[b"1", None, None]))
    assert change.operation == "delete"
    assert change.key == {"id": 1}
    assert change.before is None
    assert change.after is None


def test_full_identity_has_the_old_row_and_fills_what_is_not_repeated() -> None:
    change = only(
        orders_with("f"),
        update(ORDERS, b"1", b"paid", UNCHANGED, old=[b"1", b"new", b"a long note"]),
    )
    assert change.before == {"id": 1, "status": "new", "note": "a long note"}
    assert change.after == {"id": 1, "status": "paid", "note": "a long note"}
    assert change.changed == frozenset({"status"})
    assert change.old_key is None


def test_what_neither_tuple_has_stays_unchanged() -> None:
    change = only(
        orders_with("f"), update(ORDERS, b"1", b"paid", UNCHANGED, old=[b"1", b"new", UNCHANGED])
    )
    assert change.values_after == [b"1", b"paid", UNCHANGED]


def test_full_identity_key_change_and_delete() -> None:
    source = orders_with("f")
    change = only(source, update(ORDERS, b"2", b"a", None, old=[b"1", b"a", None]))
    assert change.key == {"id": 2}
    assert change.old_key == {"id": 1}
    source = orders_with("f")
    change = only(source, delete(ORDERS, old=[b"1", b"a", None]))
    assert change.before == {"id": 1, "status": "a", "note": None}
    assert change.key == {"id": 1}


def test_full_identity_without_a_primary_key_has_no_key() -> None:
    change = only(orders_with("f", primary_key=()), delete(ORDERS, old=[b"1", b"a", None]))
    assert change.key is None


def test_the_identity_index_is_the_key() -> None:
    source = orders_with("i", key=("status", "note"), primary_key=("id",))
    change = only(source, delete(ORDERS, key=[None, b"a", b"b"]))
    assert change.key == {"status": "a", "note": "b"}
    source = orders_with("i", key=("note", "status"), primary_key=("id",))
    change = only(source, update(ORDERS, b"1", b"x", b"b", key=[None, b"a", b"b"]))
    assert change.key_values == (b"b", b"x")
    assert change.key_old == [b"b", b"a"]


def test_identity_nothing_has_the_primary_key_for_inserts() -> None:
    change = only(orders_with("n"), insert(ORDERS, b"1", b"a", None))
    assert change.key == {"id": 1}


def test_a_key_in_another_order_than_the_columns() -> None:
    columns = (("a", INT8), ("b", TEXT), ("c", INT8))
    source = orders_with(key=("a", "c"), primary_key=("c", "a"), columns=columns)
    change = only(source, update(ORDERS, b"1", b"x", b"9", key=[b"1", None, b"2"]))
    assert change.key_values == (b"9", b"1")
    assert change.key_old == [b"2", b"1"]
    source = orders_with(key=("a", "c"), primary_key=("c", "a"), columns=columns)
    assert only(source, delete(ORDERS, key=[b"1", None, b"2"])).key_values == (b"2", b"1")


# -- the fast way and the careful way read the same

ROWS: list[list[Raw]] = [
    [],
    [None],
    [b""],
    [None, None, None],
    [b"a", None],
    [None, b"a"],
    [b"", b"", b""],
    [UNCHANGED],
    [b"1", UNCHANGED, None],
    [b"x" * 1023, b"y" * 1024, b"z" * 70_000, None],
    [b"t\0\0\0", b"nnnn", b"n", b"t", b"u"],
    [b"%d" % i for i in range(1600)],
    [None] * 1600,
]


@pytest.mark.parametrize("values", ROWS, ids=range(len(ROWS)))
def test_rows_of_all_shapes(values: list[Raw]) -> None:
    payload = b"head" + tuple_data(values)
    assert row_reader(len(values), 6)(payload) == values
    with pytest.raises(ProtocolError, match="follow the message"):
        row_reader(len(values), 6)(payload + b"n")
    if values:
        with pytest.raises(ProtocolError):
            row_reader(len(values), 6)(payload[:-1])
