"""Which key a table has, and which types, when stream and catalog tell different times."""

from __future__ import annotations

import pytest

from penstock.errors import SchemaError
from penstock.model import Kind, Table
from penstock.sources.postgres.wire import ColumnFacts, RelationFacts, builtin, make_type
from penstock.sources.postgres.wire.messages import Relation, RelationColumn
from penstock.sources.postgres.wire.relations import make_table, same_shape


def relation(identity: str, *names: str, key: tuple[str, ...] = (), oid: int = 25) -> Relation:
    columns = tuple(RelationColumn(identity == "f" or n in key, n, oid, -1) for n in names)
    return Relation(7, "public", "t", identity, columns)


def key(
    relation: Relation,
    *,
    primary: tuple[str, ...] = (),
    index: tuple[str, ...] = (),
    previous: Table | None = None,
) -> tuple[str, ...]:
    facts = RelationFacts("0/1", primary_key=primary, identity_index=index)
    return make_table(relation, facts, previous).key_columns


def before(*key_columns: str) -> Table:
    columns = make_table(relation("d", "a", "b", "c"), RelationFacts("0/1"), None).columns
    return Table("public", "t", columns, key_columns)


def test_the_catalog_lends_the_order_of_the_primary_key() -> None:
    assert key(relation("d", "a", "b", key=("a", "b")), primary=("b", "a")) == ("b", "a")


def test_flags_that_disagree_with_the_catalog_are_the_truth_of_their_time() -> None:
    then = relation("d", "a", "b", "c", key=("a", "b"))
    assert key(then, primary=("c",)) == ("a", "b")
    assert key(then, primary=()) == ("a", "b")
    assert key(then, primary=("c",), previous=before("b", "a")) == ("b", "a")
    assert key(then, primary=("c",), previous=before("c")) == ("a", "b")


def test_no_flags_no_key() -> None:
    assert key(relation("d", "a", "b"), primary=("a",)) == ()


def test_the_identity_index_is_the_key_in_its_own_order() -> None:
    then = relation("i", "a", "b", "c", key=("a", "b"))
    assert key(then, primary=("c",), index=("b", "a")) == ("b", "a")
    assert key(then, primary=("c",), index=("c",)) == ("a", "b")


@pytest.mark.parametrize("identity", ["f", "n"])
def test_where_flags_say_nothing_the_catalog_says_the_key(identity: str) -> None:
    then = relation(identity, "a", "b", "c")
    assert key(then, primary=("b", "a")) == ("b", "a")
    assert key(then) == ()
    assert key(then, primary=("new",), previous=before("c", "a")) == ("c", "a")


def test_rows_from_before_a_primary_key_stay_without() -> None:
    then = relation("f", "a", "b", "c")
    keyless = make_table(then, RelationFacts("0/1"), None)
    assert key(then, primary=("new",), previous=keyless) == ()


@pytest.mark.parametrize("identity", ["f", "n"])
def test_a_primary_key_that_the_stream_does_not_have_is_an_error(identity: str) -> None:
    then = relation(identity, "a", "b", "c")
    with pytest.raises(SchemaError, match="no column new") as error:
        key(then, primary=("a", "new"))
    assert "snapshot" in error.value.hint
    with pytest.raises(SchemaError):
        key(then, primary=("new",), previous=before())


def test_facts_of_columns_are_taken_by_name() -> None:
    facts = RelationFacts(
        "0/1",
        columns={
            "a": ColumnFacts(nullable=False, default="7"),
            "gone": ColumnFacts(nullable=True),
            "g": ColumnFacts(generated=True),
        },
    )
    table = make_table(relation("d", "a", "b", "g"), facts, None)
    assert [(c.nullable, c.default, c.generated) for c in table.columns] == [
        (False, "7", False),
        (None, None, False),
        (None, None, True),
    ]


def test_a_type_that_the_catalog_has_forgotten_is_remembered_or_exact_text() -> None:
    then = relation("d", "a", oid=90001)
    mood = make_type(90001, "public.mood", "mood", typtype="e", labels=("sad", "ok"))
    first = make_table(then, RelationFacts("0/1", types={90001: mood}), None)
    assert first.columns[0].type == mood
    assert make_table(then, RelationFacts("0/2"), first).columns[0].type == mood
    forgotten = make_table(then, RelationFacts("0/2"), None).columns[0].type
    assert (forgotten.kind, forgotten.oid, forgotten.parse(b"x")) == (Kind.OTHER, 90001, "x")


def test_same_shape_sees_every_difference() -> None:
    then = relation("d", "a", "b", key=("a",))
    table = make_table(then, RelationFacts("0/1", primary_key=("a",)), None)
    assert same_shape(then, table)
    a, b = then.columns
    others = [
        Relation(7, "other", "t", "d", then.columns),
        Relation(7, "public", "u", "d", then.columns),
        Relation(7, "public", "t", "f", then.columns),
        Relation(7, "public", "t", "d", (a,)),
        Relation(7, "public", "t", "d", (b, a)),
        Relation(7, "public", "t", "d", (a, RelationColumn(True, "b", 25, -1))),
        Relation(7, "public", "t", "d", (a, RelationColumn(False, "c", 25, -1))),
        Relation(7, "public", "t", "d", (a, RelationColumn(False, "b", 23, -1))),
        Relation(7, "public", "t", "d", (a, RelationColumn(False, "b", 25, 9))),
    ]
    assert not any(same_shape(other, table) for other in others)


def test_same_shape_after_a_type_with_a_modifier_of_an_extension() -> None:
    then = Relation(7, "public", "t", "d", (RelationColumn(False, "a", 90002, 5),))
    geometry = make_type(90002, "public.geometry", "geometry", typtype="b")
    assert same_shape(then, make_table(then, RelationFacts("0/1", types={90002: geometry}), None))


def test_builtin_columns_carry_their_modifier() -> None:
    then = Relation(7, "public", "t", "d", (RelationColumn(False, "a", 1700, 655366),))
    table = make_table(then, RelationFacts("0/1"), None)
    assert table.columns[0].type == builtin(1700, 655366)
    assert table.columns[0].type.sql == "numeric(10,2)"
