"""What a sink that is ahead of the source's start still gets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.model import (
    Batch,
    Change,
    Checkpoint,
    EventBatch,
    Mark,
    Origin,
    SchemaChange,
    TransactionEnd,
)
from penstock.pipeline.passage import Passage
from penstock.testing import ScriptedSource, batch, checkpoint, insert, table_of

SHAPE = SchemaChange(None, table_of("public.t", {"id": 1}))


def passage(at: int) -> Passage:
    return Passage(ScriptedSource([]), {"main": checkpoint(at)})


def test_news_of_a_shape_alone_passes() -> None:
    """As before a TRUNCATE of two tables: the second one's shape ends the first one's batch."""
    alone = EventBatch("main", (SHAPE,))
    passed, _ = passage(5).admit(alone)
    assert list(passed) == [SHAPE]


def test_nothing_of_a_covered_batch_passes() -> None:
    """A shape alone would make a sink commit the batch's checkpoint, which is behind its own."""
    passed, news = passage(5).admit(batch(4, SHAPE, insert("public.t", {"id": 4})))
    assert not len(passed)
    assert not news


def test_a_batch_that_is_partly_covered_keeps_its_shapes() -> None:
    both = EventBatch(
        "main",
        (SHAPE, *batch(5, insert("public.t", {"id": 5})), *batch(6, insert("public.t", {"id": 6}))),
        last=batch(6, insert("public.t", {"id": 6})).last,
        checkpoint=checkpoint(6),
    )
    passed, news = passage(5).admit(both)
    assert [getattr(event, "id", event) for event in passed] == [SHAPE, "6:0"]
    assert news


def test_the_end_of_a_covered_transaction_does_not_pass() -> None:
    """A transaction that was cut at its last row: the end comes alone, with the checkpoint."""
    end = EventBatch("main", (TransactionEnd(Origin("4"), {}),), checkpoint=checkpoint(4))
    passed, news = passage(5).admit(end)
    assert not len(passed)
    assert not news


class SetSource(ScriptedSource):
    """A source whose transactions have no order: a checkpoint is a set of them."""

    def __init__(self) -> None:
        super().__init__([])

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        return mark.transaction in checkpoint.value["has"]

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        both = set(a.value["has"]) & set(b.value["has"])
        return having(both, a.stream)


def having(transactions: Collection[str], stream: str = "main") -> Checkpoint:
    return Checkpoint.of(stream, has=sorted(transactions))


def log(transactions: Sequence[str], ends: Collection[str] = ()) -> EventBatch:
    """A batch of whole transactions, one change each; with a checkpoint of ``ends``."""
    events = [
        event
        for name in transactions
        for event in (
            Change("insert", SHAPE.after, Origin(name), 0, None, (b"1",)),
            TransactionEnd(Origin(name), {}),
        )
    ]
    at = having(ends) if ends else None
    last = Mark(transactions[-1], 0) if transactions else None
    return EventBatch("main", events, last, at)


def shown(passed: Batch) -> list[str]:
    return [event.mark.transaction for event in passed if isinstance(event, Change)]


def test_what_comes_before_what_the_sink_has_is_not_skipped_with_it() -> None:
    """A promoted replica shows B before A, and the sink has A only."""
    ahead = Passage(SetSource(), {"main": having("A")})
    passed, news = ahead.admit(log("BA", "AB"))
    assert shown(passed) == ["B"]
    assert passed.last == Mark("B", 0)
    assert passed.checkpoint == having("AB")
    assert news


def test_what_the_sink_has_is_skipped_behind_news_too() -> None:
    ahead = Passage(SetSource(), {"main": having("AC")})
    passed, news = ahead.admit(log("B", "B"))
    assert shown(passed) == ["B"]
    assert passed.checkpoint is None, "a sink would commit a checkpoint without A"
    assert not news
    passed, news = ahead.admit(log("A", "AB"))
    assert not len(passed)
    assert passed.checkpoint is None
    assert not news
    passed, news = ahead.admit(log("CD", "ABCD"))
    assert shown(passed) == ["D"]
    assert passed.checkpoint == having("ABCD")
    assert news


def test_what_a_snapshot_shows_is_skipped_behind_news_too() -> None:
    position = having("A", "snapshot:public.t")
    passage = Passage(SetSource(), {"snapshot:public.t": position})
    assert shown(passage.admit(log("B", "B"))[0]) == ["B"]
    assert shown(passage.admit(log("A", "AB"))[0]) == []


class Untouched(EventBatch):
    """A batch that nobody may look into: a packed one would be unpacked for it."""

    def __iter__(self) -> Any:
        raise AssertionError("unpacked")


def test_a_batch_is_unpacked_only_while_the_sink_is_ahead() -> None:
    ahead = Passage(SetSource(), {"main": having("A"), "snapshot:public.t": having("A")})
    ahead.admit(log("A", "A"))
    passed, news = ahead.admit(Untouched("main", (SHAPE,), Mark("B", 0), having("AB")))
    assert len(passed) == 1
    assert news


def test_a_large_transaction_is_unpacked_at_its_beginning_only() -> None:
    ahead = Passage(SetSource(), {"main": having("A"), "snapshot:public.t": having("A")})
    ahead.admit(log("B"))
    passed, _ = ahead.admit(Untouched("main", (SHAPE,), Mark("B", 9)))
    assert len(passed) == 1


NAMES = "ABCDEFGH"


@given(
    st.permutations(NAMES),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.integers(1, len(NAMES) - 1)),
    st.sets(st.integers(0, len(NAMES))),
)
def test_each_sink_gets_each_transaction_once(
    order: list[str], mine: set[str], others: set[str], cuts: set[int], bare: set[int]
) -> None:
    """Whatever the order on the new server, and wherever batches end."""
    passage = Passage(SetSource(), {"main": having(mine)})
    start = mine & others
    rest = [name for name in order if name not in start]
    has, written = set(mine), list[str]()
    for first, end in pairwise([0, *sorted(cut for cut in cuts if cut < len(rest)), len(rest)]):
        read = start | set(rest[:end])
        ends = read if end == len(rest) or end not in bare else ()
        passed, news = passage.admit(log(rest[first:end], ends))
        written += shown(passed)
        assert len(written) == len(set(written)), "doubled"
        assert not has & set(shown(passed)), "doubled"
        if passed.checkpoint is not None:
            assert news
            has |= set(written)
            assert set(passed.checkpoint.value["has"]) == has, "more or less than the sink has"
    assert set(written) == set(NAMES) - mine, "lost"
