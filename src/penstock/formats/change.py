"""The format ``change``: all that is known of a change, as one JSON object.

``{"id": …, "op": …, "table": …, "key": {…}, "old_key": …, "before": …, "after": {…},
"unchanged": […], "mark": …, "transaction": {…}, "source": {…}}``. Values are as
:mod:`penstock.formats.json` says; an UNCHANGED column is absent and listed. The topic is the
change's route, or its table's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import orjson

from penstock.formats import json
from penstock.formats.json import NULL, string
from penstock.model import OPERATIONS, Batch, Change, Event, Origin, Record, Table

_make_record: Final[Callable[..., Record]] = tuple.__new__


class ChangeFormat:
    """Makes ``change`` records. Keeps what it compiled per table, and nothing of the changes."""

    name = "change"
    native = "change"

    def __init__(self) -> None:
        self._compiled = json.Compiled()

    def records(self, batch: Batch) -> Iterator[Record]:
        """The records of a batch's changes, in order."""
        return self._records(batch)

    def record(self, change: Change[Any]) -> Record:
        """The record of one change. Raises DecodeError for a value that cannot be JSON."""
        return next(self._records((change,)))

    def _records(self, events: Iterable[Event]) -> Iterator[Record]:
        join = b"".join
        origin: Origin | None = None
        table: Table | None = None
        for event in events:
            if not isinstance(event, Change):
                continue
            if event.origin is not origin:
                origin = event.origin
                frame = _frame(origin)
                start, middle, end = frame
            if event.definition is not table:
                table = event.definition
                compiled = self._compiled.of(table)
                _, encode_row, encode_key, name = compiled
                topic = table.text
            after = event.values_after
            if (
                after is None
                or event.values_before is not None
                or event.key_new is not None
                or event.key_old is not None
                or event.part
                or event.own_id
            ):
                yield _general(event, compiled, frame)
                continue
            try:
                key = encode_key(after)
                row = encode_row(after)
            except json.IRREGULAR:
                yield _general(event, compiled, frame)
                continue
            ordinal = f"{event.ordinal}".encode()  # faster than %
            head = _OPERATION[event.operation]
            value = join(
                (start, ordinal, head, name, _KEY, key or NULL, _AFTER, row, middle, ordinal, end)
            )
            yield _make_record(Record, (event.route or topic, key, value, event.headers))


class _Frame(NamedTuple):
    """The pieces of a value that all changes of an origin share, around what differs."""

    start: bytes
    middle: bytes
    end: bytes


_OPERATION: Final = {op: b'","op":%b,"table":' % string(op) for op in OPERATIONS}
_KEY: Final = b',"key":'
_AFTER: Final = b',"old_key":null,"before":null,"after":'


def _frame(origin: Origin) -> _Frame:
    mark = string(origin.mark)[1:-1]
    transaction = None
    if origin.transaction is not None:
        moment = origin.transaction.committed_at.isoformat(timespec="microseconds")
        transaction = {"id": origin.transaction.id, "committed_at": moment}
    return _Frame(
        b'{"id":"%b:' % mark,
        b',"unchanged":[],"mark":"%b:' % mark,
        b'","transaction":%b,"source":%b}'
        % (orjson.dumps(transaction), orjson.dumps(dict(origin.source))),
    )


def _general(change: Change[Any], compiled: json.TableJson, frame: _Frame) -> Record:
    """The record of any change at all."""
    table = compiled.table
    key = compiled.key_of(change)
    old_key = json.key(table, change.key_old) or NULL
    before = after = NULL
    unchanged: list[str] = []
    if change.values_before is not None:
        before, _ = compiled.any_row(change.values_before)
    if change.values_after is not None:
        after, unchanged = compiled.any_row(change.values_after)
    ordinal = b"%d" % change.ordinal + (b".%d" % change.part if change.part else b"")
    middle = frame.middle.replace(b"[]", orjson.dumps(unchanged), 1)
    start = frame.start + ordinal
    if change.own_id:
        start = b'{"id":' + string(change.id)[:-1]
    value = b"".join(
        (
            start,
            _OPERATION[change.operation],
            compiled.name,
            _KEY,
            key or NULL,
            b',"old_key":%b,"before":%b,"after":%b' % (old_key, before, after),
            middle,
            ordinal,
            frame.end,
        )
    )
    return Record(change.route or table.text, key, value, change.headers)
