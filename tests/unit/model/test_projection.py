"""What a projection makes of rows, changes and tables."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import SchemaError
from penstock.model import (
    UNCHANGED,
    Change,
    Column,
    Kind,
    Mark,
    Message,
    Origin,
    SchemaChange,
    SnapshotBegin,
    SnapshotEnd,
    Table,
    TransactionBegin,
)
from penstock.model.projection import TEXT, Masking, Output, Projection, project_event
from tests.support.feed import column, table

KEY = b"0123456789abcdef"
HMAC = Masking("hmac", key=KEY)
USERS = table("users", column("id", "bigint"), column("email"), column("born", "date"))


def projection(*outputs: Output, source: Table = USERS) -> Projection:
    return Projection(source, outputs)


def test_columns_in_another_order_and_under_other_names() -> None:
    made = projection(Output(2, "birthday"), Output(0, "id"))
    assert made.table.names == ("birthday", "id")
    assert [c.type.kind for c in made.table.columns] == [Kind.DATE, Kind.INTEGER]
    assert made.table.key_columns == ("id",)
    assert made.values([b"1", b"a@b", b"2000-01-01"]) == [b"2000-01-01", b"1"]


def test_a_masked_column_is_text() -> None:
    born = Column("born", USERS.columns[2].type, False, "now()", True, external=True)
    source = table("users", USERS.columns[0], born)
    made = projection(Output(0, "id"), Output(1, "born", HMAC), source=source).table
    assert made.columns[1] == Column("born", TEXT, False, "(masked)", False)
    assert made.columns[1].external
    assert made.columns[0] == source.columns[0]


def test_what_is_stored_of_the_source_has_no_value_of_what_is_hidden() -> None:
    columns = [column(name, default=f"'{name}'") for name in ("id", "email", "note", "name")]
    source = table("users", *columns, column("born"))
    made = projection(Output(3, "who"), Output(0, "id"), Output(1, "email", HMAC), source=source)
    assert made.stored.names == source.names
    assert [c.default for c in made.stored.columns] == ["'id'", *["(masked)"] * 2, "'name'", None]


def test_a_renamed_and_masked_key_stays_the_key() -> None:
    source = table("t", column("a", "integer"), column("b"), key=("b", "a"))
    made = projection(Output(0, "x", HMAC), Output(1, "y"), source=source)
    assert made.table.key_columns == ("y", "x")
    assert made.key_values([b"B", b"7"]) == [b"B", HMAC(b"7")]


def test_null_and_unchanged_stay_what_they_are() -> None:
    masks = [Masking("fixed", text=b"***"), Masking("truncate", length=1), HMAC]
    made = projection(*(Output(1, str(i), mask) for i, mask in enumerate(masks)), Output(0, "id"))
    assert made.values([b"1", None, None]) == [None, None, None, b"1"]
    assert made.values([b"1", UNCHANGED, None]) == [UNCHANGED, UNCHANGED, UNCHANGED, b"1"]


def test_hmac_is_that_of_the_exact_text() -> None:
    expected = hmac.new(KEY, "ä@b".encode(), hashlib.sha256).hexdigest().encode()
    assert HMAC("ä@b".encode()) == expected


@given(st.text(), st.integers(1, 8))
def test_truncate_counts_characters(text: str, length: int) -> None:
    assert Masking("truncate", length=length)(text.encode()).decode() == text[:length]


@given(st.binary(), st.integers(1, 8))
def test_truncate_gives_a_beginning_of_whatever_it_gets(raw: bytes, length: int) -> None:
    made = Masking("truncate", length=length)(raw)
    assert raw.startswith(made)
    assert len(made) >= min(len(raw), length)


def test_no_key_shows() -> None:
    assert KEY.decode() not in repr(projection(Output(0, "id", HMAC)))


def test_a_change_whose_every_image_is_masked() -> None:
    source = table("users", column("email"), column("name"), key=("email",))
    made = projection(Output(0, "email", HMAC), source=source)
    change: Change = Change(
        "update", source, Origin("9"), 4, (b"a", b"A"), (b"b", b"B"), (b"b",), (b"a",)
    )
    change.part, change.route, change.headers = 2, "r", {"h": "1"}
    shown = made.change(change)
    a, b = HMAC(b"a"), HMAC(b"b")
    assert (shown.values_before, shown.values_after) == ([a], [b])
    assert (shown.key_new, shown.key_old) == ([b], [a])
    assert (shown.id, shown.operation, shown.route) == ("9:4.2", "update", "r")
    assert shown.headers == {"h": "1"}
    assert shown.definition is made.table


def test_a_truncate_has_no_rows() -> None:
    shown = projection(Output(0, "id")).change(Change("truncate", USERS, Origin("9"), 0))
    assert (shown.values_before, shown.values_after, shown.key_values) == (None, None, None)


def test_every_event_that_shows_a_table() -> None:
    made = projection(Output(0, "id"))
    other = table("other", column("id"))

    def of(table: Table) -> Projection | None:
        return made if table is USERS else None

    assert project_event(SchemaChange(USERS, USERS), of) == SchemaChange(made.table, made.table)
    assert project_event(SchemaChange(None, USERS), of) == SchemaChange(None, made.table)
    assert project_event(SchemaChange(None, other), of) == SchemaChange(None, other)
    assert project_event(SnapshotBegin(USERS, 2), of) == SnapshotBegin(made.table, 2)
    assert project_event(SnapshotEnd(USERS, 2, 9), of) == SnapshotEnd(made.table, 2, 9)
    for event in (TransactionBegin(Origin("9")), Message("p", b"x", Mark("9", 0), None)):
        assert project_event(event, of) is event


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([Output(1, "email")], r"public\.users\.id is of the key, so it cannot be left out"),
        ([Output(0, "id", Masking("fixed"))], r"public\.users\.id is of the key: masked by fixed"),
        ([Output(0, "id", Masking("truncate", length=1))], "masked by truncate"),
        ([Output(0, "id"), Output(1, "id")], "called 'id': 'id' and 'email'"),
        ([], r"no column of public\.users is left"),
    ],
)
def test_what_cannot_be_a_table(outputs: list[Output], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        _ = projection(*outputs).table


def test_only_a_projection_that_changes_nothing_is_trivial() -> None:
    assert Projection.whole(USERS).trivial
    assert not projection(Output(0, "id")).trivial
    assert not projection(Output(1, "email"), Output(0, "id"), Output(2, "born")).trivial
    whole = Projection.whole(USERS)
    assert not projection(Output(0, "id", HMAC), *whole.outputs[1:]).trivial
    assert not projection(Output(0, "number"), *whole.outputs[1:]).trivial
