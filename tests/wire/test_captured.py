"""What real servers sent, replayed: the changes, applied, give the tables of the server.

The workload is captured/workload.sql; `python tools/capture_wire.py` records it anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.formats.change import ChangeFormat
from penstock.formats.row import RowFormat
from penstock.model import (
    UNCHANGED,
    Batch,
    Change,
    Event,
    Message,
    Raw,
    SchemaChange,
    TransactionBegin,
    TransactionEnd,
)
from penstock.sources.postgres.wire import RelationFacts, make_decoder
from tools.capture_wire import CAPTURED, Captured, capture, load, statements

STORED = sorted(CAPTURED.glob("*.bin.gz"))
assert len(STORED) == 3


@pytest.fixture(params=STORED, ids=lambda path: path.name.partition(".")[0])
def captured(request: pytest.FixtureRequest) -> Captured:
    path: Path = request.param
    return load(path)


def decode(captured: Captured, chunk: int = 10_000, max_bytes: int = 1 << 20) -> list[Batch]:
    decoder = make_decoder(database="d", system="1", timeline=1, messages=None, max_bytes=max_bytes)
    batches: list[Batch] = []
    for i in range(0, len(captured.payloads), chunk):
        batches += decoder.feed(captured.payloads[i : i + chunk])
        while decoder.needs is not None:
            table = captured.tables[f"{decoder.needs.schema}.{decoder.needs.name}"]
            decoder.describe(
                RelationFacts("0/1", tuple(table.primary_key), tuple(table.identity_index))
            )
            batches += decoder.feed([])
    assert not decoder.in_transaction
    return batches


def events(batches: Sequence[Batch]) -> Iterator[Event]:
    for batch in batches:
        yield from batch


class Replica:
    """Tables as dicts of rows, kept by applying changes; rows without a key are a bag."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Raw]]] = {}

    def apply(self, change: Change[Any]) -> None:
        rows = self.rows.setdefault(change.table, [])
        if change.operation == "truncate":
            rows.clear()
            return
        old: dict[str, Raw] = {}
        if change.operation != "insert":
            old = rows.pop(self._find(rows, change))
        if change.operation != "delete":
            assert change.values_after is not None
            named = zip(change.definition.names, change.values_after, strict=True)
            rows.append({n: old[n] if raw is UNCHANGED else raw for n, raw in named})

    def _find(self, rows: list[dict[str, Raw]], change: Change[Any]) -> int:
        if change.key_values is None:
            assert change.values_before is not None
            sought = dict(zip(change.definition.names, change.values_before, strict=True))
        else:
            key = change.key_old if change.key_old is not None else change.key_values
            sought = dict(zip(change.definition.key_columns, key, strict=True))
        found = [i for i, row in enumerate(rows) if all(row[n] == v for n, v in sought.items())]
        assert found, (change, sought)
        if change.key_values is not None and change.table != "public.swap":
            assert len(found) == 1, (change, "the key names one row")
        return found[0]


def check(captured: Captured) -> None:
    replica = Replica()
    for event in events(decode(captured)):
        if isinstance(event, SchemaChange):
            _reshape(replica, event)
        elif isinstance(event, Change):
            replica.apply(event)
    for name, table in captured.tables.items():
        rows = replica.rows.get(name.replace('we"ird.🐘', '"we""ird.🐘"'), [])
        texts = [[_text(row[column]) for column in table.columns] for row in rows]
        assert sorted(texts, key=repr) == table.rows, name


def _reshape(replica: Replica, event: SchemaChange) -> None:
    """Follow a rename or a column that is gone, by position, as a sink would."""
    if event.before is None:
        return
    old, new = event.before.names, event.after.names
    renamed = dict(zip(old, new, strict=False)) if len(old) == len(new) else {n: n for n in old}
    for row in replica.rows.get(event.after.text, []):
        values = {renamed.get(n, n): v for n, v in row.items()}
        row.clear()
        row.update({n: values.get(n, b"new") for n in new})


def _text(raw: Raw) -> str | None:
    assert raw is not UNCHANGED
    return None if raw is None else raw.decode()


def test_the_replica_equals_the_server(captured: Captured) -> None:
    check(captured)


@pytest.mark.server
def test_the_replica_equals_a_live_server(databases: str) -> None:
    check(capture(databases, statements(CAPTURED / "workload.sql")))


def test_what_was_rolled_back_is_not_there(captured: Captured) -> None:
    rows = [e.values_after for e in events(decode(captured)) if isinstance(e, Change)]
    assert [b"7", b"kept"] in rows
    assert [b"9", b"kept"] in rows
    assert [b"8", b"undone"] not in rows


def test_large_values_that_were_not_repeated(captured: Captured) -> None:
    updates = [
        e
        for e in events(decode(captured))
        if isinstance(e, Change) and e.table == "public.big" and e.operation == "update"
    ]
    by_identity = {"default": updates[:6], "full": updates[6:]}
    assert [e.definition.identity for e in updates] == ["default"] * 6 + ["full"] * 5
    for change in by_identity["default"]:
        assert change.values_after is not None
        assert change.values_after[1] is UNCHANGED
        assert change.before is None
    assert by_identity["default"][5].old_key == {"id": 3}
    for change in by_identity["full"]:
        assert change.values_after is not None
        assert change.values_before is not None
        assert change.values_after[1] == change.values_before[1]
        assert isinstance(change.values_after[1], bytes)
        assert change.changed == frozenset({"n"})


def test_a_table_has_the_columns_of_its_time(captured: Captured) -> None:
    shapes = [
        (e.values_after, e.definition.names)
        for e in events(decode(captured))
        if isinstance(e, Change) and e.table == "public.swap" and e.operation == "insert"
    ]
    assert shapes[2:] == [
        ([b"10", b"before"], ("k", "v")),
        ([b"11", b"after", b"x"], ("k", "v", "extra")),
        ([b"12", b"wide", b"y"], ("k", "w", "extra")),
    ]


def test_truncated_tables_in_one_statement(captured: Captured) -> None:
    truncates = [
        e for e in events(decode(captured)) if isinstance(e, Change) and e.operation == "truncate"
    ]
    assert {e.table for e in truncates} == {"public.gone", "public.emptied"}
    assert {e.origin.mark for e in truncates} == {truncates[0].origin.mark}
    assert [e.ordinal for e in truncates] == [0, 1]
    assert truncates[0].headers == {"cascade": "true", "restart_identity": "true"}


def test_messages(captured: Captured) -> None:
    audit, beat = (e for e in events(decode(captured)) if isinstance(e, Message))
    assert (audit.prefix, audit.content) == ("audit", b"who did it")
    assert audit.transaction is not None
    assert (beat.prefix, beat.content, beat.transaction) == ("beat", b"alive", None)


def test_partitions_are_their_root_and_generated_columns_are_not_sent(captured: Captured) -> None:
    changes = [e for e in events(decode(captured)) if isinstance(e, Change)]
    moved = [e.operation for e in changes if e.table == "public.parts"]
    assert moved == ["insert", "insert", "delete", "insert"]
    assert not [e for e in changes if e.table.startswith("public.parts_")]
    (computed,) = (e for e in changes if e.table == "public.computed")
    assert computed.definition.names == ("id", "a")


def test_keys_in_the_order_of_the_catalog(captured: Captured) -> None:
    keys = [
        e.definition.key_columns
        for e in events(decode(captured))
        if isinstance(e, Change) and e.table == "public.twofold"
    ]
    assert keys == [("n", "b")] * 8 + [("u", "a")] * 4


def test_every_value_can_be_parsed_and_every_change_be_json(captured: Captured) -> None:
    change_format, row_format = ChangeFormat(), RowFormat()
    for batch in decode(captured):
        for event in batch:
            if isinstance(event, Change):
                for row in (event.before, event.after, event.key, event.old_key):
                    assert row is None or len(dict(row)) == len(row)
        for record in batch.records(change_format):
            assert b"\n" not in (record.value or b"")
            assert json.loads(record.value or b"")["op"]
        for record in batch.records(row_format):
            json.loads(record.value or b"null")


@pytest.mark.parametrize(("chunk", "max_bytes"), [(1, 1 << 20), (7, 1 << 20), (50, 3000), (1, 1)])
def test_events_do_not_depend_on_feeds_and_sizes(
    captured: Captured, chunk: int, max_bytes: int
) -> None:
    whole = [repr(event) for event in events(decode(captured))]
    batches = decode(captured, chunk, max_bytes)
    assert [repr(event) for event in events(batches)] == whole
    for batch in batches:
        inside = [type(e) for e in batch]
        assert SchemaChange not in inside[1:]
        if batch.checkpoint is not None and Change in inside:
            assert inside[-1] in (TransactionEnd, Message)


def test_begins_and_ends_match_and_count(captured: Captured) -> None:
    open_: TransactionBegin | None = None
    counts: Counter[str] = Counter()
    for event in events(decode(captured)):
        if isinstance(event, TransactionBegin):
            assert open_ is None
            open_, counts = event, Counter()
        elif isinstance(event, Change):
            assert open_ is not None
            assert event.origin.mark == open_.origin.mark
            counts[event.table] += 1
        elif isinstance(event, TransactionEnd):
            assert open_ is not None
            assert event.counts == counts
            open_ = None
    assert open_ is None
