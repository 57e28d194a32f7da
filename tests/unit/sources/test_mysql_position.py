"""Checkpoints of MySQL and MariaDB: which transactions they have, and what two have in common."""

from __future__ import annotations

import pytest

from penstock.model import Checkpoint, Mark
from penstock.model.stream import MAIN, snapshot_mark
from penstock.sources.mysql.position import (
    Flavor,
    covers,
    gtids_in,
    gtids_of,
    main_checkpoint,
    meet,
    snapshot_checkpoint,
)

ONE = "11111111-1111-1111-1111-111111111111"
TWO = "22222222-2222-2222-2222-222222222222"


def at(flavor: Flavor, gtids: str) -> Checkpoint:
    return main_checkpoint(flavor, gtids_of(flavor, gtids))


@pytest.mark.parametrize(
    ("flavor", "a", "b", "common"),
    [
        ("mysql", f"{ONE}:1-5", f"{ONE}:1-3", f"{ONE}:1-3"),
        ("mysql", f"{ONE}:1-5", f"{ONE}:1-3:7,{TWO}:1", f"{ONE}:1-3"),
        ("mysql", f"{ONE}:1-5", f"{TWO}:1-5", ""),
        ("mysql", f"{ONE}:tag:1-5", f"{ONE}:1-5", ""),
        ("mariadb", "0-1-5", "0-2-9", "0-1-5"),
        ("mariadb", "0-1-5,1-1-9", "0-1-9,1-1-5", "0-1-5,1-1-5"),
        ("mariadb", "0-1-5", "1-1-5", ""),
    ],
)
def test_meet_is_what_both_have(flavor: Flavor, a: str, b: str, common: str) -> None:
    for first, second in ((a, b), (b, a)):
        assert str(gtids_in(meet(at(flavor, first), at(flavor, second)))) == common


def test_a_transaction_is_covered_by_its_own_name_alone() -> None:
    read = at("mysql", f"{ONE}:1-3:7")
    assert covers(read, Mark(f"{ONE}:7", 3))
    assert not covers(read, Mark(f"{ONE}:5", 0))
    assert not covers(read, Mark(f"{TWO}:1", 0))
    read = at("mariadb", "0-1-5")
    assert covers(read, Mark("0-2-4", 0))
    assert not covers(read, Mark("1-1-4", 0))


def test_of_copies_the_earlier_attempt_counts() -> None:
    first = snapshot_checkpoint("d.t", 1, "mariadb", "0-1-9")
    second = snapshot_checkpoint("d.t", 2, "mariadb", "0-1-5")
    assert meet(first, second) == meet(second, first) == first
    assert covers(second, Mark(snapshot_mark("d.t", 1), 0))
    assert not covers(first, Mark(snapshot_mark("d.t", 2), 0))


@pytest.mark.parametrize(
    ("flavor", "shown", "read", "all_read"),
    [
        ("mysql", f"{ONE}:1-5", f"{ONE}:1-5,{TWO}:1", True),
        ("mysql", f"{ONE}:1-5,{TWO}:1", f"{ONE}:1-9", False),
        ("mariadb", "0-1-5", "0-1-5", True),
        ("mariadb", "0-1-5,1-1-2", "0-1-9", False),
    ],
)
def test_the_log_has_passed_a_copy_when_it_has_all_of_it(
    flavor: Flavor, shown: str, read: str, all_read: bool
) -> None:
    copy = snapshot_checkpoint("d.t", 3, flavor, shown)
    assert copy.stream != MAIN
    assert (meet(copy, at(flavor, read)) == copy) == all_read
