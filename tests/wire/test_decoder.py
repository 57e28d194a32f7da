"""Transactions, tables and batches: payloads in, batches out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import ProtocolError
from penstock.model import (
    Batch,
    Change,
    Mark,
    Message,
    SchemaChange,
    TransactionBegin,
    TransactionEnd,
)
from penstock.sources.postgres.position import covers
from penstock.sources.postgres.wire import ColumnFacts, RelationFacts
from tests.wire.payloads import (
    COMMITTED_US,
    INT8,
    ORDERS,
    ORDERS_COLUMNS,
    ORDERS_FACTS,
    TEXT,
    begin,
    commit,
    decoder,
    delete,
    insert,
    keepalive,
    message,
    orders,
    orders_with,
    origin,
    relation,
    truncate,
    type_,
    update,
    xlog,
)

OTHER = 16402


def lsns(batches: Sequence[Batch]) -> list[str | None]:
    return [b.checkpoint.value["lsn"] if b.checkpoint else None for b in batches]


def changes(batches: Sequence[Batch]) -> list[Change[Any]]:
    return [event for batch in batches for event in batch if isinstance(event, Change)]


def test_a_transaction_becomes_one_batch_with_its_checkpoint() -> None:
    (batch,) = orders().feed(
        [
            begin(0x1_0000_0100, xid=741),
            insert(ORDERS, b"1", b"new", None),
            update(ORDERS, b"1", b"paid", b""),
            commit(0x1_0000_0100, 0x1_0000_0130),
        ]
    )

    first, one, two, last = batch
    assert isinstance(first, TransactionBegin)
    assert isinstance(one, Change)
    assert isinstance(two, Change)
    assert (one.operation, one.values_after, one.id) == (
        "insert",
        [b"1", b"new", None],
        "1/100:0",
    )
    assert (two.operation, two.values_after, two.id) == ("update", [b"1", b"paid", b""], "1/100:1")
    assert last == TransactionEnd(one.origin, {"public.orders": 2})
    assert one.origin is two.origin is first.origin
    assert one.version == 0x1_0000_0100
    assert one.transaction is not None
    assert (one.transaction.id, one.transaction.committed_us) == ("741", COMMITTED_US)
    assert one.origin.source == {"type": "postgres", "database": "shop", "lsn": "1/100"}
    assert batch.last == Mark("1/100", 1)
    assert batch.checkpoint is not None
    assert batch.checkpoint.value == {"lsn": "1/130", "system": "7", "timeline": 1}
    assert batch.size > 0


def test_nothing_of_an_open_transaction_is_handed_over() -> None:
    source = orders()
    assert source.feed([begin(0x100), insert(ORDERS, b"1", b"new", None)]) == []
    assert source.in_transaction
    (batch,) = source.feed([commit(0x100)])
    assert not source.in_transaction
    assert len(changes([batch])) == 1


def test_a_tail_waits_while_what_is_complete_goes() -> None:
    source = orders()
    batches = source.feed(
        [
            begin(0x100),
            insert(ORDERS, b"1", b"a", None),
            commit(0x100),
            begin(0x200),
            insert(ORDERS, b"2", b"b", None),
        ]
    )
    assert lsns(batches) == ["0/130"]
    assert [c.id for c in changes(batches)] == ["0/100:0"]
    assert [c.id for c in changes(source.feed([commit(0x200)]))] == ["0/200:0"]


def test_the_same_stream_gives_the_same_events_however_it_is_cut_into_feeds() -> None:
    payloads = [
        begin(0x100),
        insert(ORDERS, b"1", b"a", None),
        insert(ORDERS, b"2", b"b", None),
        commit(0x100),
        keepalive(0x180),
        begin(0x200),
        truncate(ORDERS),
        commit(0x200),
    ]
    whole = orders().feed(payloads)
    source = orders()
    single = [batch for payload in payloads for batch in source.feed([payload])]
    assert [(c.operation, c.id) for c in changes(single)] == [
        (c.operation, c.id) for c in changes(whole)
    ]
    assert lsns(whole) == ["0/230"]
    assert lsns(single) == ["0/130", "0/180", "0/230"]


# -- checkpoints without changes


def test_an_empty_transaction_moves_the_checkpoint() -> None:
    (batch,) = orders().feed([begin(0x100), commit(0x100)])
    assert (len(batch), batch.last, lsns([batch])) == (0, None, ["0/130"])


def test_keepalives_between_transactions_become_one_empty_batch() -> None:
    source = orders()
    (batch,) = source.feed([keepalive(0x300), keepalive(0x400, reply=True)])
    assert (len(batch), lsns([batch])) == (0, ["0/400"])
    assert source.feed([keepalive(0x400)]) == []
    assert source.feed([keepalive(0x3FF)]) == []
    assert source.received == 0x400


def test_a_keepalive_inside_a_transaction_says_nothing() -> None:
    source = orders()
    assert source.feed([begin(0x100), keepalive(0x5000)]) == []
    assert lsns(source.feed([commit(0x100)])) == ["0/130"]
    assert source.received == 0x5000


def test_received_grows_with_commits_and_the_last_payload() -> None:
    source = orders()
    source.feed([begin(0x100), insert(ORDERS, b"1", b"a", None), commit(0x100, 0x180)])
    assert source.received == 0x180
    source.feed([xlog(begin(0x300)[25:], lsn=0x2F0)])
    assert source.received == 0x2F0


def test_received_does_not_grow_with_the_first_row_after_a_relation() -> None:
    source = orders()
    shape = relation(ORDERS, "orders", ORDERS_COLUMNS)
    row = xlog(insert(ORDERS, b"1", b"a", None)[25:], lsn=0x9999)
    source.feed([begin(0x100), shape, row, commit(0x100, 0x180)])
    source.describe(ORDERS_FACTS)
    source.feed([])
    assert source.received == 0x180


# -- size


def test_a_batch_is_cut_at_a_commit_rather_than_inside_a_transaction() -> None:
    row = insert(ORDERS, b"1", b"x" * 100, None)
    source = orders(max_bytes=5 * len(row))
    batches = source.feed([begin(0x100), row, row, row, commit(0x100), begin(0x200), row, row, row])
    assert [len(changes([b])) for b in batches] == [3]
    assert lsns(batches) == ["0/130"]


def test_a_large_transaction_is_cut_inside_and_keeps_its_ordinals() -> None:
    row = insert(ORDERS, b"1", b"x" * 100, None)
    source = orders(max_bytes=3 * len(row))
    batches = source.feed([begin(0x100), *[row] * 8, commit(0x100)])
    assert [len(changes([b])) for b in batches] == [3, 3, 2]
    assert lsns(batches) == [None, None, "0/130"]
    assert [c.ordinal for c in changes(batches)] == list(range(8))
    assert batches[0].last == Mark("0/100", 2)
    assert [b.size for b in batches] == [3 * len(row), 3 * len(row), 2 * len(row)]
    end = list(batches[-1])[-1]
    assert isinstance(end, TransactionEnd)
    assert end.counts == {"public.orders": 8}


def test_one_row_larger_than_a_batch_is_a_batch() -> None:
    row = insert(ORDERS, b"1", b"x" * 5000, None)
    batches = orders(max_bytes=1000).feed([begin(0x100), row, row, commit(0x100)])
    assert [len(changes([b])) for b in batches] == [1, 1, 0]
    assert changes(batches)[0].values_after == [b"1", b"x" * 5000, None]


# -- tables


def test_a_new_table_needs_facts_and_its_batch_begins_with_the_news() -> None:
    source = decoder()
    first = source.feed(
        [
            begin(0x100),
            relation(ORDERS, "orders", ORDERS_COLUMNS),
            insert(ORDERS, b"1", b"new", None),
            commit(0x100),
        ]
    )
    assert first == []
    assert source.needs is not None
    assert (source.needs.schema, source.needs.name, source.needs.identity) == (
        "public",
        "orders",
        "d",
    )
    assert source.feed([begin(0x200), insert(ORDERS, b"2", b"new", None), commit(0x200)]) == []
    source.describe(ORDERS_FACTS)
    assert source.needs is None
    (batch,) = source.feed([])
    news = next(iter(batch))
    assert isinstance(news, SchemaChange)
    assert news.before is None
    assert news.after.text == "public.orders"
    assert news.after.key_columns == ("id",)
    assert news.after.as_of == "0/99"
    assert [type(e).__name__ for e in batch] == [
        "SchemaChange",
        *["TransactionBegin", "Change", "TransactionEnd"] * 2,
    ]
    assert [c.id for c in changes([batch])] == ["0/100:0", "0/200:0"]


def test_a_change_of_shape_inside_a_transaction_splits_the_batch() -> None:
    source = orders()
    wider = (*ORDERS_COLUMNS, ("total", INT8))
    first = source.feed(
        [
            begin(0x100),
            insert(ORDERS, b"1", b"a", None),
            relation(ORDERS, "orders", wider),
            insert(ORDERS, b"2", b"b", None, b"7"),
            commit(0x100),
        ]
    )
    assert first == []
    source.describe(ORDERS_FACTS)
    before, after = source.feed([])
    assert [len(c.definition.columns) for c in changes([before])] == [3]
    assert before.checkpoint is None
    news = next(iter(after))
    assert isinstance(news, SchemaChange)
    assert news.before is changes([before])[0].definition
    assert [c.values_after for c in changes([after])] == [[b"2", b"b", None, b"7"]]
    assert [c.id for c in changes([before, after])] == ["0/100:0", "0/100:1"]
    assert lsns([after]) == ["0/130"]
    end = list(after)[-1]
    assert isinstance(end, TransactionEnd)
    assert end.counts == {"public.orders": 2}


def test_what_came_before_a_change_of_shape_keeps_its_checkpoint() -> None:
    source = orders()
    done = source.feed(
        [
            begin(0x100),
            insert(ORDERS, b"1", b"a", None),
            commit(0x100),
            begin(0x200),
            relation(ORDERS, "orders", ORDERS_COLUMNS[:2]),
            insert(ORDERS, b"2", b"b"),
        ]
    )
    assert lsns(done) == ["0/130"]
    source.describe(ORDERS_FACTS)
    (batch,) = source.feed([commit(0x200)])
    assert isinstance(next(iter(batch)), SchemaChange)


def test_a_relation_without_rows_is_not_asked_for() -> None:
    source = orders()
    (batch,) = source.feed(
        [
            begin(0x100),
            relation(OTHER, "leaf", (("id", INT8),)),
            insert(ORDERS, b"1", b"a", None),
            relation(ORDERS, "orders", ORDERS_COLUMNS[:2]),
            commit(0x100),
        ]
    )
    assert source.needs is None
    assert len(changes([batch])) == 1
    source.feed([begin(0x200), relation(ORDERS, "orders", ORDERS_COLUMNS)])
    assert source.needs is None
    source.feed([insert(ORDERS, b"1", b"a", None)])
    assert source.needs is not None, "its default or its nullability may be another one"


def test_a_relation_sent_again_without_a_change_is_no_news() -> None:
    source = orders()
    assert not source.feed(
        [
            begin(0x100),
            relation(ORDERS, "orders", ORDERS_COLUMNS),
            insert(ORDERS, b"1", b"a", None),
            commit(0x100),
        ]
    )
    source.describe(ORDERS_FACTS)
    (batch,) = source.feed([])
    assert not any(isinstance(event, SchemaChange) for event in batch)


def test_a_default_that_changed_is_news() -> None:
    source = orders()
    source.feed([begin(0x100), relation(ORDERS, "orders", ORDERS_COLUMNS)])
    source.feed([insert(ORDERS, b"1", b"a", None), commit(0x100)])
    source.describe(replace(ORDERS_FACTS, columns={"note": ColumnFacts(True, expression="'x'")}))
    (batch,) = source.feed([])
    news = next(iter(batch))
    assert isinstance(news, SchemaChange)
    assert [column.expression for column in news.after.columns] == [None, None, "'x'"]


def test_a_table_known_from_before_needs_no_facts_but_is_announced() -> None:
    table = next(e.after for b in first_batches() for e in b if isinstance(e, SchemaChange))
    source = decoder(known=[table])
    (batch,) = source.feed(
        [
            begin(0x100),
            relation(ORDERS, "orders", ORDERS_COLUMNS),
            insert(ORDERS, b"1", b"a", None),
            commit(0x100),
        ]
    )
    assert next(iter(batch)) == SchemaChange(table, table)
    assert changes([batch])[0].definition is table


def first_batches(identity: str = "d", facts: RelationFacts = ORDERS_FACTS) -> list[Batch]:
    source = decoder()
    row = insert(ORDERS, b"1", b"a", None)
    source.feed([begin(1), orders_again(ORDERS, identity), row])
    source.describe(facts)
    return source.feed([commit(1, 9)])


def test_a_table_made_anew_has_another_oid_and_follows_the_old() -> None:
    source = orders()
    shape = relation(17000, "orders", (("id", INT8),))
    source.feed([begin(0x100), shape, insert(17000, b"1")])
    source.describe(ORDERS_FACTS)
    (batch,) = source.feed([commit(0x100)])
    news = next(iter(batch))
    assert isinstance(news, SchemaChange)
    assert news.before is not None
    assert (news.before.oid, news.after.oid) == (ORDERS, 17000)


def test_a_table_made_anew_with_the_same_columns() -> None:
    source = orders()
    source.feed([begin(0x100), orders_again(17000), insert(17000, b"1", b"a", None)])
    source.describe(ORDERS_FACTS)
    (batch,) = source.feed([commit(0x100)])
    assert [change.definition.oid for change in changes([batch])] == [17000]


def orders_again(oid: int, identity: str = "d") -> bytes:
    return relation(oid, "orders", ORDERS_COLUMNS, identity=identity)


def test_under_full_identity_a_new_primary_key_is_asked_for() -> None:
    """The log flags every column, before and after: only the catalog knows."""
    source = orders_with("f", primary_key=())
    row = insert(ORDERS, b"1", b"a", None)
    source.feed([begin(0x100), orders_again(ORDERS, "f"), row])
    source.describe(RelationFacts("0/9"))
    (same,) = source.feed([commit(0x100)])
    assert not any(isinstance(event, SchemaChange) for event in same)
    source.feed([begin(0x200), orders_again(ORDERS, "f"), row])
    source.describe(ORDERS_FACTS)
    (keyed,) = source.feed([commit(0x200)])
    (old,), (new,) = changes([same]), changes([keyed])
    assert (old.key_values, new.key_values) == (None, (b"1",))
    assert next(iter(keyed)) == SchemaChange(old.definition, new.definition)


def test_under_full_identity_the_key_is_asked_for_in_each_session() -> None:
    batches = first_batches("f", RelationFacts("0/99"))
    known = next(e.after for b in batches for e in b if isinstance(e, SchemaChange))
    source = decoder(known=[known])
    source.feed([begin(0x100), orders_again(ORDERS, "f"), insert(ORDERS, b"1", b"a", None)])
    source.describe(ORDERS_FACTS)
    (batch,) = source.feed([commit(0x100)])
    assert changes([batch])[0].key_values == (b"1",)


def test_rows_of_unwanted_tables_are_skipped_but_counted() -> None:
    source = orders(wanted=lambda schema, name: name == "orders")
    (batch,) = source.feed(
        [
            begin(0x100),
            relation(OTHER, "audit", (("id", INT8),)),
            insert(OTHER, b"1"),
            insert(ORDERS, b"1", b"a", None),
            truncate(OTHER, ORDERS),
            delete(OTHER, key=[b"1"]),
            insert(ORDERS, b"2", b"a", None),
            commit(0x100),
        ]
    )
    assert source.needs is None
    assert [(c.table, c.ordinal) for c in changes([batch])] == [
        ("public.orders", 1),
        ("public.orders", 3),
        ("public.orders", 5),
    ]
    end = list(batch)[-1]
    assert isinstance(end, TransactionEnd)
    assert end.counts == {"public.orders": 3}


def test_a_transaction_of_unwanted_rows_only_is_an_empty_one() -> None:
    source = orders(wanted=lambda schema, name: name == "orders")
    (batch,) = source.feed(
        [
            begin(0x100),
            relation(OTHER, "audit", (("id", INT8),)),
            insert(OTHER, b"1"),
            commit(0x100),
        ]
    )
    assert (len(batch), lsns([batch])) == (0, ["0/130"])


def test_a_table_renamed_to_an_unwanted_name_is_no_longer_read() -> None:
    source = orders(wanted=lambda schema, name: name == "orders")
    row = insert(ORDERS, b"1", b"a", None)
    (batch,) = source.feed(
        [begin(0x100), row, row, relation(ORDERS, "archive", ORDERS_COLUMNS), row, commit(0x100)]
    )
    assert [c.ordinal for c in changes([batch])] == [0, 1]


def test_unwanted_rows_are_not_decoded() -> None:
    source = orders(wanted=lambda schema, name: name == "orders")
    source.feed(
        [
            begin(0x100),
            relation(OTHER, "audit", (("id", INT8),)),
            xlog(b"I" + OTHER.to_bytes(4, "big") + b"nobody looks here"),
            commit(0x100),
        ]
    )


# -- other messages


def test_truncate_is_a_change_for_each_table() -> None:
    source = orders()
    shape = relation(OTHER, "lines", (("id", INT8),))
    assert source.feed([begin(0x100), shape, truncate(ORDERS, OTHER, flags=3)]) == []
    assert source.needs is not None
    source.describe(ORDERS_FACTS)
    (batch,) = source.feed([commit(0x100)])
    one, two = changes([batch])
    assert (one.operation, one.table, one.id) == ("truncate", "public.orders", "0/100:0")
    assert (two.operation, two.table, two.id) == ("truncate", "public.lines", "0/100:1")
    assert one.values_before is None
    assert one.values_after is None
    assert one.key is None
    assert one.headers == {"cascade": "true", "restart_identity": "true"}


def test_a_transactional_message_is_an_event_of_its_transaction() -> None:
    (batch,) = orders(messages=["audit"]).feed(
        [
            begin(0x100),
            message("audit", b"who"),
            message("other", b"x"),
            insert(ORDERS, b"1", b"a", None),
            commit(0x100),
        ]
    )
    first, event, change, last = batch
    assert isinstance(first, TransactionBegin)
    assert isinstance(last, TransactionEnd)
    assert isinstance(event, Message)
    assert isinstance(change, Change)
    assert (event.prefix, event.content, event.id) == ("audit", b"who", "0/100:0")
    assert event.transaction == change.transaction
    assert change.id == "0/100:2"


def test_a_message_outside_transactions_stands_alone() -> None:
    (batch,) = orders(messages=None).feed(
        [keepalive(0x60), message("beat", b"1", lsn=0x70, transactional=False)]
    )
    (event,) = batch
    assert isinstance(event, Message)
    assert (event.transaction, event.content) == (None, b"1")
    assert batch.last == event.mark
    assert lsns([batch]) == ["0/70"]


def test_a_message_and_the_commit_at_its_end_have_marks_of_their_own() -> None:
    """A message's position is its end, and a commit may stand right there."""
    batches = orders(messages=None).feed(
        [
            message("beat", b"1", lsn=0x100, transactional=False),
            begin(0x100),
            insert(ORDERS, b"1", b"a", None),
            commit(0x100),
        ]
    )
    ids = [event.id for batch in batches for event in batch if isinstance(event, Change | Message)]
    assert len(set(ids)) == 2


def test_the_checkpoint_of_a_message_covers_it() -> None:
    """Else a sink that stores checkpoints seems to be behind what it has."""
    (batch,) = orders(messages=None).feed(
        [keepalive(0x60), message("beat", b"1", lsn=0x70, transactional=False)]
    )
    assert batch.checkpoint is not None
    assert batch.last is not None
    assert covers(batch.checkpoint, batch.last)
    assert not covers(batch.checkpoint, Mark("0/70", 0))


def test_messages_are_not_told_unless_asked_for() -> None:
    (batch,) = orders().feed([begin(0x100), message("audit", b"who"), commit(0x100)])
    assert len(batch) == 0


def test_origins_and_types_are_read_and_left() -> None:
    (batch,) = orders().feed([begin(0x100), origin(), type_(99, "mood"), commit(0x100)])
    assert len(batch) == 0


# -- what the protocol does not allow

WRONG = {
    "begin inside a transaction": [begin(0x100), begin(0x200)],
    "a commit that goes back": [begin(0x100), commit(0x100), begin(0x80)],
    "a commit that stands still": [begin(0x100), commit(0x100), begin(0x100)],
    "a commit of another transaction": [begin(0x100), commit(0x200)],
    "a transaction that ends before its commit": [begin(0x100), commit(0x100, 0x100)],
    "a commit outside": [commit(0x100)],
    "a row outside": [insert(ORDERS, b"1", b"a", None)],
    "a truncate outside": [truncate(ORDERS)],
    "a transactional message outside": [message("a", b"")],
    "a message at no position": [begin(0x100), message("a", b"", lsn=0)],
    "flags of commit": [begin(0x100), commit(0x100, flags=1)],
    "flags of truncate": [begin(0x100), truncate(ORDERS, flags=4)],
    "a row of an undescribed relation": [begin(0x100), insert(99, b"1")],
    "a truncate of an undescribed relation": [begin(0x100), truncate(99)],
    "too few columns": [begin(0x100), insert(ORDERS, b"1", b"a")],
    "too many columns": [begin(0x100), insert(ORDERS, b"1", b"a", b"b", b"c")],
    "an unknown message": [xlog(b"S")],
    "an unknown frame": [b"x" + begin(0x100)[1:]],
    "an unknown frame around a row": [
        begin(0x100),
        insert(ORDERS, b"1", b"a", None),
        b"x" + insert(ORDERS, b"1", b"a", None)[1:],
    ],
    "an empty payload": [b""],
    "a frame without a message": [xlog(b"")],
    "a short keepalive": [keepalive(1)[:-1]],
    "a long keepalive": [keepalive(1) + b"\0"],
    "bytes after begin": [begin(0x100) + b"\0"],
    "bytes after a row": [begin(0x100), insert(ORDERS, b"1", b"a", None) + b"n"],
    "an insert with an old tuple": [
        begin(0x100),
        xlog(b"I" + update(ORDERS, b"1", b"a", None, key=[b"1", None, None])[26:]),
    ],
    "a delete with a new tuple": [
        begin(0x100),
        xlog(b"D" + insert(ORDERS, b"1", b"a", None)[26:]),
    ],
    "a name that is not UTF-8": [
        begin(0x100),
        xlog(b"R" + OTHER.to_bytes(4, "big") + b"public\0\xff\xfe\0d\0\0"),
    ],
    "an unknown replica identity": [begin(0x100), relation(OTHER, "x", (), identity="x")],
}


@pytest.mark.parametrize("payloads", WRONG.values(), ids=WRONG.keys())
def test_what_the_protocol_does_not_allow_is_an_error(payloads: list[bytes]) -> None:
    with pytest.raises(ProtocolError) as wrong:
        orders().feed(payloads)
    assert wrong.value.hint


def test_binary_values_are_refused_in_clear_words() -> None:
    row = insert(ORDERS, b"1", b"a", None).replace(b"t\0\0\0\x01a", b"b\0\0\0\x01a")
    with pytest.raises(ProtocolError, match="binary form"):
        orders().feed([begin(0x100), row])


def test_an_error_says_at_which_byte() -> None:
    row = insert(ORDERS, b"1", b"abc", None)
    with pytest.raises(ProtocolError, match="announces 3 bytes, 2 left") as error:
        orders().feed([begin(0x100), row[:-2]])
    assert error.value.offset == 40


def test_a_length_is_never_believed() -> None:
    row = insert(ORDERS, b"1", b"abc", None).replace(b"\0\0\0\x03abc", b"\xff\xff\xff\xffabc")
    with pytest.raises(ProtocolError, match="announces 4294967295 bytes"):
        orders().feed([begin(0x100), row])


def test_a_message_shorter_than_announced() -> None:
    with pytest.raises(ProtocolError, match="5 bytes announced, 4 left"):
        orders().feed([begin(0x100), message("audit", b"12345")[:-1]])


def test_describe_without_a_need_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no relation"):
        decoder().describe(RelationFacts("0/1"))


def test_a_relation_may_have_any_name() -> None:
    source = decoder()
    shape = relation(OTHER, 'a."b"🐘', (('%s"', TEXT),), key=())
    source.feed([begin(0x100), shape, insert(OTHER, b"x")])
    source.describe(RelationFacts("0/1"))
    (batch,) = source.feed([commit(0x100)])
    (change,) = changes([batch])
    assert change.table == 'public."a.""b""🐘"'
    assert change.after == {'%s"': "x"}


def test_a_table_announced_again_is_one_table_in_its_batch() -> None:
    source = orders_with("f")
    again, row = orders_again(ORDERS, "f"), insert(ORDERS, b"1", b"a", None)
    batches = source.feed([begin(0x100), row, again, row])
    for _ in range(2):
        source.describe(RelationFacts("0/99", primary_key=("id",)))
        batches += source.feed([again, row])
    source.describe(RelationFacts("0/99", primary_key=("id",)))
    (batch,) = batches + source.feed([commit(0x100)])
    (arrow,) = batch.to_arrow()
    assert arrow.num_rows == 4


def test_tables_that_come_and_go_keep_their_rows_apart() -> None:
    """More versions than a decoder remembers; those before the last are read by nobody any more."""
    source = decoder()
    seen = []
    for number in range(1, 600):
        columns = (("id", INT8), (f"c{number}", TEXT))
        shape = relation(number % 3 + 1, f"t{number % 3}", columns)
        rows = [insert(number % 3 + 1, b"1", str(number).encode())] * 2
        source.feed([begin(number * 0x100), shape, *rows])
        source.describe(ORDERS_FACTS)
        seen += changes(source.feed([commit(number * 0x100)]))
    assert [(c.definition.names[1], c.values_after) for c in seen[::2]] == [
        (f"c{number}", [b"1", str(number).encode()]) for number in range(1, 600)
    ]
