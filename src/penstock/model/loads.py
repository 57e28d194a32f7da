"""Runs of new rows as the text that PostgreSQL's COPY reads.

https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias

from penstock.model.batch import Event, TransactionBegin, TransactionEnd
from penstock.model.change import Change, Message
from penstock.model.table import UNCHANGED, Raw, Table

_ESCAPES: Final = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))
# Bytes that UTF-8 never uses stand for COPY's own signs until the values are escaped.
_COLUMN, _ROW, _NULL = b"\xfe", b"\xff", b"\xfd"
_SIGNS: Final = ((_COLUMN, b"\t"), (_ROW, b"\n"), (_NULL, b"\\N"))


def copy_text(rows: Sequence[Sequence[Raw]]) -> bytes:
    """Rows in COPY's text format, each with its line end. Raises TypeError for UNCHANGED values."""
    lines = [_COLUMN.join([_NULL if raw is None else raw for raw in row]) for row in rows]  # type: ignore[misc] # join refuses UNCHANGED
    text = _ROW.join(chain(lines, (b"",)))
    signs = [
        (_ROW, len(rows)),
        (_COLUMN, sum(len(row) - 1 for row in rows)),
        (_NULL, sum(row.count(None) for row in rows)),
    ]
    if any(text.count(sign) != count for sign, count in signs):  # some value is not UTF-8
        return b"".join(b"\t".join(map(_escaped, row)) + b"\n" for row in rows)
    for sign, escaped in (*_ESCAPES, *_SIGNS):
        text = text.replace(sign, escaped)
    return text


def _escaped(raw: Raw) -> bytes:
    if not isinstance(raw, bytes):
        return b"\\N"
    for sign, escaped in _ESCAPES:
        raw = raw.replace(sign, escaped)
    return raw


@dataclass(frozen=True, slots=True)
class Load:
    """New rows of one table in order, inserted or read by a snapshot.

    Parameters
    ----------
    read: whether a snapshot read them.
    rows: how many.
    text: all their columns, in the table's order, in COPY's text format.
    changes: gives the same as objects.
    """

    definition: Table
    read: bool
    rows: int
    text: bytes
    changes: Callable[[], Sequence[Change[Any]]]


_Run: TypeAlias = list[Change[Any]]


def loads(events: Iterable[Event], least: int) -> Iterator[Event | Load]:
    """What :meth:`penstock.model.Batch.loads` gives, of events that are objects."""
    runs: dict[str, _Run] = {}
    objects = False  # whether a change was given as one since the last end of a transaction
    for event in events:
        if isinstance(event, Change):
            name, is_new = event.definition.text, event.operation in ("insert", "read")
            run = runs.get(name)
            if run is not None:
                if is_new and _continues(run, event):
                    run.append(event)
                    continue
                given = _packed(runs.pop(name), least)
                objects |= given is run
                yield from given
            if is_new:
                runs[name] = [event]
            else:
                objects = True
                yield event
        elif isinstance(event, TransactionEnd):
            if objects:
                yield event
            objects = False
        elif not isinstance(event, TransactionBegin | Message):
            for run in runs.values():
                given = _packed(run, least)
                objects |= given is run
                yield from given
            runs.clear()
            yield event
    for run in runs.values():
        yield from _packed(run, least)


def _continues(run: _Run, change: Change[Any]) -> bool:
    first = run[0]
    return change.operation == first.operation and change.definition is first.definition


def _packed(run: _Run, least: int) -> Sequence[Change[Any] | Load]:
    if len(run) < least:
        return run
    rows = [change.values_after for change in run]
    if any(row is None or UNCHANGED in row for row in rows):
        return run
    first = run[0]
    text = copy_text(rows)  # type: ignore[arg-type] # none is UNCHANGED
    return (Load(first.definition, first.operation == "read", len(run), text, lambda: run),)
