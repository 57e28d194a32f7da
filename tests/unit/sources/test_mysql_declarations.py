"""What the catalog says of tables, put to what the log does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.model import Column, Kind, Table, Type
from penstock.sources.mysql.declarations import Declarations, Declared
from penstock.sources.mysql.wire.layouts import TypesNeeded

ORDERS = ("shop", "orders")
INT = Type("int unsigned", Kind.INTEGER, "int unsigned")
TABLE = Table("shop", "orders", (Column("id", INT, False), Column("n", INT, True)))


def declared(*unique: str, **columns: tuple[str, str | None]) -> Declarations:
    made = {name: Declared(*column) for name, column in columns.items()}
    return Declarations({ORDERS: made}, {ORDERS: unique}, [ORDERS])


def test_what_was_read_is_good_for_one_description() -> None:
    known = declared(id=("int", None), n=("int", "'7'"))
    assert known.complete(TABLE).columns[1].expression == "'7'"
    with pytest.raises(TypesNeeded) as needed:
        known.complete(TABLE)
    assert (needed.value.table, needed.value.column) == (ORDERS, "id")
    assert known.learn(needed.value, declared(id=("int", None), n=("int", "'8'"))) == "int"
    assert known.complete(TABLE).columns[1].expression == "'8'"


def test_a_default_is_that_of_a_column_of_the_same_name_and_type() -> None:
    for column in ({"n": ("date", "'7'")}, {"m": ("int", "'7'")}, {}):
        assert declared(**column).complete(TABLE).columns == TABLE.columns


def test_a_table_that_is_gone_is_asked_for_once() -> None:
    known = Declarations({}, {})
    with pytest.raises(TypesNeeded) as needed:
        known.complete(TABLE)
    assert known.learn(needed.value, Declarations({}, {})) == ""
    assert known.complete(TABLE) == TABLE


def test_a_unique_key_is_told_where_it_can_take_a_primary_ones_place() -> None:
    assert declared("id").complete(TABLE).unique_columns == ("id",)
    assert declared("n").complete(TABLE).unique_columns == ()  # the log says that it may be null
    assert declared("gone").complete(TABLE).unique_columns == ()
    keyed = replace(TABLE, key_columns=("id",))
    assert declared("id").complete(keyed).unique_columns == ()
