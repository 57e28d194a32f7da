"""Runs of new rows, as a target that can COPY takes them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.model import (
    UNCHANGED,
    Change,
    Column,
    Event,
    EventBatch,
    Kind,
    Operation,
    Origin,
    Raw,
    SchemaChange,
    SnapshotEnd,
    Table,
    TransactionBegin,
    TransactionEnd,
    Type,
)
from penstock.model.loads import Load, copy_text

TEXT = Type("text", Kind.TEXT, "text")
A, B = (Table("public", name, (Column("v", TEXT),), ("v",)) for name in "ab")
ORIGIN = Origin("0/1")
BEGIN, END = TransactionBegin(ORIGIN), TransactionEnd(ORIGIN, {})


def change(operation: Operation, table: Table, *values: Raw) -> Change:
    return Change(operation, table, ORIGIN, 0, None, values or (b"x",))


def given_of(events: Sequence[Event], least: int = 2) -> list[Event | Load]:
    return list(EventBatch("main", events).loads(least))


def shown(items: Sequence[Event | Load]) -> list[str]:
    """Each item in short: a load as its table and number of rows."""
    found = []
    for item in items:
        if isinstance(item, Load):
            found.append(f"{item.definition.name}{item.rows}")
        elif isinstance(item, Change):
            found.append(f"{item.operation} {item.definition.name}")
        else:
            found.append(type(item).__name__)
    return found


def test_the_text_is_what_copy_reads() -> None:
    rows = [(b"\\.", None), (b"a\tb\nc\rd", b""), (b"\\N", "ä".encode())]
    assert copy_text(rows) == b"\\\\.\t\\N\na\\tb\\nc\\rd\t\n\\\\N\t\xc3\xa4\n"
    with pytest.raises(TypeError):
        copy_text([(UNCHANGED,)])


def test_values_that_are_not_utf_8_reach_the_server_which_refuses_them() -> None:
    assert copy_text([(b"\xfd\t", None), (b"\xfe\xff", b"\\")]) == b"\xfd\\t\t\\N\n\xfe\xff\t\\\\\n"


def test_runs_of_each_table_end_at_its_other_changes() -> None:
    a, b = change("insert", A), change("insert", B)
    items = given_of([BEGIN, a, b, a, change("update", B), b, a, END, BEGIN, b, END])
    assert shown(items) == ["insert b", "update b", "TransactionEnd", "a3", "b2"]
    load = items[3]
    assert isinstance(load, Load)
    assert (load.text, load.read, load.changes()) == (b"x\nx\nx\n", False, [a, a, a])


def test_ends_of_transactions_that_are_all_loads_are_left_out() -> None:
    insert, delete = change("insert", A), change("delete", A)
    events: list[Event] = [BEGIN, insert, END, BEGIN, insert, END, BEGIN, delete, END, BEGIN, END]
    assert shown(given_of(events)) == ["a2", "delete a", "TransactionEnd"]


def test_shapes_and_the_end_of_a_snapshot_come_after_all_before_them() -> None:
    read = change("read", A)
    changed = SchemaChange(None, B)
    events: list[Event] = [read, read, changed, read, SnapshotEnd(A, 1, 3)]
    assert shown(given_of(events)) == [
        "a2",
        "SchemaChange",
        "read a",
        "SnapshotEnd",
    ]


def test_what_was_read_and_what_was_inserted_are_loads_of_their_own() -> None:
    read, insert = change("read", A), change("insert", A)
    items = given_of([read, read, insert, insert])
    assert [item.read for item in items if isinstance(item, Load)] == [True, False]


def test_rows_that_are_not_whole_are_no_load() -> None:
    assert shown(given_of([change("insert", A), change("insert", A, UNCHANGED)])) == [
        "insert a",
        "insert a",
    ]


NEW_OR_NOT: tuple[Operation, ...] = ("insert", "update", "read")
KINDS = st.tuples(st.sampled_from(NEW_OR_NOT), st.sampled_from((A, B)))


@given(st.lists(KINDS), st.integers(1, 4))
def test_each_table_keeps_its_changes_in_order(
    kinds: list[tuple[Operation, Table]], least: int
) -> None:
    changes = [change(operation, table, b"%d" % i) for i, (operation, table) in enumerate(kinds)]
    found: list[Change] = []
    for item in given_of(changes, least):
        if isinstance(item, Load):
            assert item.rows == len(item.changes()) >= least
            found += item.changes()
        else:
            assert isinstance(item, Change)
            found.append(item)
    for table in (A, B):
        assert [c for c in found if c.definition is table] == [
            c for c in changes if c.definition is table
        ]
