"""What a packed batch is beside its events."""

from __future__ import annotations

from penstock.model import Change, EventBatch, PackedBatch
from penstock.sources.postgres.wire import RelationFacts
from penstock.sources.postgres.wire.native import NativeDecoder
from tests.wire.payloads import ORDERS, ORDERS_COLUMNS, begin, commit, insert, relation


def test_a_batch_is_unpacked_only_where_events_are_left_out() -> None:
    decoder = NativeDecoder(database="shop", system="7", timeline=1)
    shape = relation(ORDERS, "orders", ORDERS_COLUMNS)
    rows = [insert(ORDERS, b"%d" % id, b"new", None) for id in range(3)]
    batches = decoder.feed([begin(0x100), shape, *rows, commit(0x100)])
    decoder.describe(RelationFacts("0/99", primary_key=("id",)))
    *_, batch = (*batches, *decoder.feed([]))
    assert isinstance(batch, PackedBatch)
    assert batch.select(lambda event: True) is batch
    rest = batch.select(lambda event: not isinstance(event, Change) or event.row["id"] == 1)
    assert isinstance(rest, EventBatch)
    assert rest.changes == 1
    assert (rest.last, rest.checkpoint, rest.size) == (batch.last, batch.checkpoint, batch.size)
