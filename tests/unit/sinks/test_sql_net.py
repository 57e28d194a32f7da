"""What a run of changes comes to, per key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import SchemaError, SinkError
from penstock.model import UNCHANGED, Change, Column, Kind, Origin, Raw, Table, Type
from penstock.sinks.sql.net import Net

TEXT = Type("text", Kind.TEXT, "text")
COLUMNS = (Column("id", TEXT), Column("v", TEXT), Column("big", TEXT))
TABLE = Table("public", "t", COLUMNS, ("id",))
FULL = Table("public", "t", COLUMNS, ("id",), "full")
DEFERRABLE = Table("public", "t", COLUMNS, ("id",), "full", key_deferrable=True)
KEYLESS = Table("public", "t", COLUMNS, (), "full")
ORIGIN = Origin("0/1")

Row = tuple[Raw, ...]
Rows = dict[Row, Row]


def insert(row: Row, table: Table = TABLE) -> Change:
    return Change("insert", table, ORIGIN, 0, None, row)


def update(row: Row, old: Row | None = None, table: Table = TABLE) -> Change:
    """An update; ``old`` is the old row, which only FULL shows whole."""
    key = old[:1] if old is not None and old[0] != row[0] else None
    before = old if table.identity == "full" else None
    return Change("update", table, ORIGIN, 0, before, row, None, key)


def delete(row: Row, table: Table = TABLE) -> Change:
    if table.identity == "full":
        return Change("delete", table, ORIGIN, 0, row)
    return Change("delete", table, ORIGIN, 0, None, None, row[:1])


def apply(net: Net, target: Rows) -> None:
    """Do to a dictionary what the sink does to a table."""
    for key, row in net.rows.items():
        if row is None:
            target.pop(key, None)
    for key, row in net.rows.items():
        if row is None:
            continue
        if UNCHANGED in row:
            old = target[key]
            row = tuple(o if n is UNCHANGED else n for n, o in zip(row, old, strict=True))
        target[key] = row
    net.clear()


def replay(changes: list[Change], target: Rows, table: Table = TABLE) -> Rows:
    net = Net(table)
    for change in changes:
        if not net.add(change):
            apply(net, target)
            old, row = change.key_old, change.values_after
            assert old is not None
            assert row is not None
            kept = target.pop(tuple(old))
            moved = tuple(o if n is UNCHANGED else n for n, o in zip(row, kept, strict=True))
            target[moved[:1]] = moved
    apply(net, target)
    return target


def row(key: str, value: str, big: Raw = b"B") -> Row:
    return (key.encode(), value.encode(), big)


def rows(*all_rows: Row) -> Rows:
    return {r[:1]: r for r in all_rows}


def test_two_rows_swap_their_keys_through_a_third() -> None:
    start = rows(row("1", "a"), row("2", "b"))
    changes = [
        update(row("0", "a"), row("1", "a")),
        update(row("1", "b"), row("2", "b")),
        update(row("2", "a"), row("0", "a")),
    ]
    assert replay(changes, start) == rows(row("1", "b"), row("2", "a"))


def test_a_swap_of_rows_whose_large_values_only_the_target_has() -> None:
    start = rows(row("1", "a", b"BIG1"), row("2", "b", b"BIG2"))
    changes = [
        update(row("0", "a", UNCHANGED), row("1", "a")),
        update(row("1", "b", UNCHANGED), row("2", "b")),
        update(row("2", "a", UNCHANGED), row("0", "a")),
    ]
    assert replay(changes, start) == rows(row("1", "b", b"BIG2"), row("2", "a", b"BIG1"))


def test_a_chain_of_keys_ends_at_its_end() -> None:
    changes = [
        insert(row("1", "a")),
        update(row("2", "b"), row("1", "a")),
        update(row("3", "c"), row("2", "b")),
    ]
    assert replay(changes, {}) == rows(row("3", "c"))


def test_a_deferrable_key_may_be_held_twice_for_a_moment() -> None:
    """UPDATE t SET id = id + 1, and then a swap, in one statement each."""
    a, b, c = row("1", "a"), row("2", "b"), row("3", "c")
    shifted = [
        update(row("2", "a"), a, DEFERRABLE),
        update(row("3", "b"), b, DEFERRABLE),
        update(row("4", "c"), c, DEFERRABLE),
    ]
    expected = rows(row("2", "a"), row("3", "b"), row("4", "c"))
    assert replay(shifted, rows(a, b, c), DEFERRABLE) == expected
    swapped = [update(row("2", "a"), a, DEFERRABLE), update(row("1", "b"), b, DEFERRABLE)]
    assert replay(swapped, rows(a, b), DEFERRABLE) == rows(row("2", "a"), row("1", "b"))


def test_a_row_may_come_before_the_one_whose_key_it_takes_has_gone() -> None:
    old, new = row("1", "old"), row("1", "new")
    moved = [insert(new, DEFERRABLE), update(row("2", "old"), old, DEFERRABLE)]
    assert replay(moved, rows(old), DEFERRABLE) == rows(new, row("2", "old"))
    left = [insert(new, DEFERRABLE), delete(new, DEFERRABLE)]
    assert replay(left, rows(old), DEFERRABLE) == rows(old)
    kept = [
        insert(new, DEFERRABLE),
        update(row("1", "older"), old, DEFERRABLE),
        delete(new, DEFERRABLE),
    ]
    assert replay(kept, rows(old), DEFERRABLE) == rows(row("1", "older"))


def test_a_row_that_moved_and_moves_on_leaves_nothing_behind_under_full() -> None:
    changes = [
        update(row("2", "a"), row("1", "a"), FULL),
        update(row("2", "b"), row("2", "a"), FULL),
        update(row("3", "b"), row("2", "b"), FULL),
    ]
    assert replay(changes, rows(row("1", "a")), FULL) == rows(row("3", "b"))


def test_values_that_the_log_did_not_repeat_come_from_an_earlier_change() -> None:
    net = Net(TABLE)
    net.add(insert(row("1", "a", b"BIG")))
    net.add(update(row("1", "b", UNCHANGED)))
    assert net.rows == {(b"1",): (b"1", b"b", b"BIG")}


def test_an_update_of_a_row_that_is_deleted_here_is_drift() -> None:
    net = Net(TABLE)
    net.add(delete(row("1", "a")))
    with pytest.raises(SinkError, match=r"public\.t: the row \(id\)=\(1\)"):
        net.add(update(row("1", "b", UNCHANGED)))


def test_a_table_without_key_takes_rows_only() -> None:
    net = Net(KEYLESS)
    net.add(insert(row("1", "a"), KEYLESS))
    net.add(insert(row("1", "a"), KEYLESS))
    assert len(net.appended) == 2
    with pytest.raises(SchemaError, match="has no key: its delete") as caught:
        net.add(Change("delete", KEYLESS, ORIGIN, 0, row("1", "a")))
    assert "ALTER TABLE public.t ADD PRIMARY KEY" in caught.value.hint


KEYS = st.sampled_from(["1", "2", "3", "4"])
ACTS = st.tuples(st.sampled_from(["write", "move", "delete", "cut"]), KEYS, KEYS, st.booleans())


@given(st.sets(KEYS), st.lists(ACTS, max_size=25), st.sampled_from([TABLE, FULL]))
def test_folding_changes_nothing(start: set[str], acts: list, table: Table) -> None:  # type: ignore[type-arg]
    source = rows(*(row(key, "start", b"BIG" + key.encode()) for key in start))
    target = dict(source)
    changes: list[Change] = []
    for number, (act, first, second, repeats) in enumerate(acts):
        key, other = (first.encode(),), (second.encode(),)
        old = source.get(key)
        big: Raw = b"BIG%d" % number if repeats or old is None else old[2]
        shown = big if repeats or old is None or table is FULL else UNCHANGED
        if act == "cut":
            replay(changes, target, table)
            changes = []
        elif act == "delete" and old is not None:
            changes.append(delete(source.pop(key), table))
        elif act == "write":
            source[key] = (*key, b"%d" % number, big)
            new = (*key, b"%d" % number, shown)
            changes.append(insert(new, table) if old is None else update(new, old, table))
        elif act == "move" and old is not None and other not in source:
            del source[key]
            source[other] = (*other, b"%d" % number, big)
            changes.append(update((*other, b"%d" % number, shown), old, table))
    assert replay(changes, target, table) == source


STEPS = st.tuples(
    st.sampled_from(["insert", "update", "move", "delete", "apply"]),
    st.integers(0, 9),
    st.sampled_from("1234"),
)


@given(st.sets(st.sampled_from("1234")), st.lists(st.lists(STEPS, max_size=8), max_size=4))
def test_keys_that_are_unique_at_the_end_only(
    start: set[str],
    transactions: list[list[tuple[str, int, str]]],
) -> None:
    """Transactions that may hold a key twice on their way; those that end so are none."""
    table = [row(key, "start") for key in sorted(start)]
    target, net = rows(*table), Net(DEFERRABLE)
    for number, steps in enumerate(transactions):
        held, changes = list(table), []
        for place, (act, choice, key) in enumerate(steps):
            new = row(key, f"{number}.{place}")
            if act == "insert":
                held.append(new)
                changes.append(insert(new, DEFERRABLE))
            elif held and act != "apply":
                old = held.pop(choice % len(held))
                if act == "delete":
                    changes.append(delete(old, DEFERRABLE))
                    continue
                new = new if act == "move" else (old[0], *new[1:])
                held.append(new)
                changes.append(update(new, old, DEFERRABLE))
        if len({r[0] for r in held}) < len(held):
            continue
        table = held
        for change in changes:
            assert net.add(change)
        net.end_transaction()
        if ("apply", 0, "1") in steps:
            apply(net, target)
    apply(net, target)
    assert target == rows(*table)
