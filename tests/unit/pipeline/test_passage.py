"""What a sink that is ahead of the source's start still gets."""

from __future__ import annotations

from penstock.model import EventBatch, Origin, SchemaChange, TransactionEnd
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
