"""The ledger: nothing but a settled number moves a checkpoint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.model import EventBatch, Mark
from penstock.pipeline.ledger import Ledger
from penstock.testing import batch, checkpoint, insert, keepalive


def one(at: int, *, complete: bool = True) -> EventBatch:
    return batch(at, insert("public.t", {"id": at}), complete=complete)


def test_nothing_is_saved_or_acknowledged_before_a_flush() -> None:
    ledger = Ledger(["a"], {})
    ledger.admit(one(1))
    assert ledger.progress() is None
    assert ledger.behind


def test_the_slowest_sink_decides_what_is_acknowledged() -> None:
    ledger = Ledger(["a", "b"], {})
    first, second = ledger.admit(one(1)), ledger.admit(one(2))
    ledger.settle("a", second, "main", Mark("2", 0), checkpoint(2))
    progress = ledger.progress()
    assert progress is not None
    assert progress.acknowledge == {}
    assert progress.streams["a", "main"].safe == checkpoint(2)
    assert ("b", "main") not in progress.streams
    ledger.settle("b", first, "main", Mark("1", 0), checkpoint(1))
    progress = ledger.progress()
    assert progress is not None
    assert progress.acknowledge == {"main": checkpoint(1)}


def test_a_part_of_a_transaction_moves_nothing() -> None:
    ledger = Ledger(["a"], {})
    part = ledger.admit(one(1, complete=False))
    ledger.settle("a", part, "main")
    progress = ledger.progress()
    assert progress is not None
    assert not progress.streams
    assert not progress.acknowledge


def test_a_keepalive_moves_safe_and_leaves_data() -> None:
    ledger = Ledger(["a"], {})
    ledger.settle("a", ledger.admit(one(1)), "main", Mark("1", 0), checkpoint(1))
    ledger.settle("a", ledger.admit(keepalive(9)), "main", None, checkpoint(9))
    assert ledger.state("a", "main").data == Mark("1", 0)
    assert ledger.state("a", "main").safe == checkpoint(9)


def test_streams_do_not_mix() -> None:
    ledger = Ledger(["a"], {})
    ledger.admit(batch(1, insert("public.t", {"id": 1}), stream="p0"))
    last = ledger.admit(batch(5, insert("public.t", {"id": 2}), stream="p1"))
    ledger.settle("a", last, "p1", Mark("5", 0), checkpoint(5, "p1"))
    progress = ledger.progress()
    assert progress is not None
    assert progress.acknowledge == {"p0": checkpoint(1, "p0"), "p1": checkpoint(5, "p1")}


def test_a_rewind_forgets_what_was_not_durable_and_keeps_what_was() -> None:
    ledger = Ledger(["a", "b"], {})
    first, second = ledger.admit(one(1)), ledger.admit(one(2))
    for sink in "ab":
        ledger.settle(sink, first, "main", Mark("1", 0), checkpoint(1))
    ledger.settle("a", second, "main", Mark("2", 0), checkpoint(2))
    ledger.rewind()
    progress = ledger.progress()
    assert progress is not None
    assert progress.acknowledge == {"main": checkpoint(1)}
    assert not ledger.behind


def test_settling_what_was_never_admitted_is_a_bug() -> None:
    ledger = Ledger(["a"], {})
    with pytest.raises(AssertionError):
        ledger.settle("a", 1, "main")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), max_size=40))
def test_an_acknowledgement_never_passes_a_sink(settles: list[tuple[str, int]]) -> None:
    ledger = Ledger("abc", {})
    settled = dict.fromkeys("abc", 0)
    for sink, step in settles:
        while ledger.sequence < settled[sink] + step:
            ledger.admit(one(ledger.sequence + 1))
        settled[sink] += step
        ledger.settle(sink, settled[sink], "main", None, checkpoint(settled[sink]))
        progress = ledger.progress()
        if progress is not None and progress.acknowledge:
            assert progress.acknowledge["main"].value["at"] == min(settled.values())
