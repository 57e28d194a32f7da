"""Which mark a checkpoint covers, and which of two comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.model import Mark
from penstock.model.stream import snapshot_mark
from penstock.sources.postgres.position import (
    checkpoint_lsn,
    covers,
    main_checkpoint,
    meet,
    snapshot_checkpoint,
)
from penstock.sources.postgres.wire.lsn import format_lsn

lsns = st.integers(1, 2**64 - 1)


def test_the_commit_at_which_reading_goes_on_is_not_covered() -> None:
    """One transaction's end can be the next one's commit (fault 2)."""
    end = main_checkpoint(0x1543558, "1", 1)
    assert not covers(end, Mark("0/1543558", 0))
    assert covers(end, Mark("0/1543557", 3))


@given(lsns, lsns)
def test_main_covers_what_was_committed_before(at: int, commit: int) -> None:
    assert covers(main_checkpoint(at, "1", 1), Mark(format_lsn(commit), 7)) == (commit < at)


@given(lsns, lsns)
def test_a_finished_copy_covers_the_log_that_it_shows(at: int, commit: int) -> None:
    checkpoint = snapshot_checkpoint("public.t", 2, at)
    assert covers(checkpoint, Mark(format_lsn(commit), 0)) == (commit < at)


@pytest.mark.parametrize(
    ("table", "attempt", "covered"),
    [("public.t", 1, True), ("public.t", 2, True), ("public.t", 3, False), ("public.u", 1, False)],
)
def test_a_finished_copy_covers_its_rows_and_earlier_attempts(
    table: str, attempt: int, covered: bool
) -> None:
    checkpoint = snapshot_checkpoint("public.t", 2, 100)
    assert covers(checkpoint, Mark(snapshot_mark(table, attempt), 5)) == covered


def test_the_log_covers_no_copied_row() -> None:
    assert not covers(main_checkpoint(2**63, "1", 1), Mark(snapshot_mark("public.t", 1), 0))


@given(lsns, lsns)
def test_meet_is_the_earlier_one(a: int, b: int) -> None:
    met = meet(main_checkpoint(a, "1", 1), main_checkpoint(b, "1", 1))
    assert checkpoint_lsn(met) == min(a, b)


def test_meet_of_copies_is_the_earlier_attempt() -> None:
    first, second = snapshot_checkpoint("t", 1, 900), snapshot_checkpoint("t", 2, 100)
    assert meet(first, second) == meet(second, first) == first


@given(lsns, lsns)
def test_the_log_has_passed_a_copy_when_it_has_all_of_it(shown: int, read: int) -> None:
    copy = snapshot_checkpoint("public.t", 2, shown)
    assert (meet(copy, main_checkpoint(read, "1", 1)) == copy) == (shown <= read)
