"""One line for one change, to be read by a person in a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any, Final

from penstock.model import UNCHANGED, Change, Event, Message, Raw, SchemaChange, SnapshotEnd, Table

Part = tuple[str, str]
"""A text and its ANSI style; an empty style is plain."""

_OPERATIONS: Final = {
    "insert": ("+ insert", "32"),
    "update": ("~ update", "33"),
    "delete": ("- delete", "31"),
    "truncate": ("x trunc.", "1;31"),
    "read": (". read", "36"),
    "upsert": ("~ upsert", "33"),
}
_DIM: Final = "2"
_LONGEST_VALUE: Final = 40
_NAME: Final = 11
"""Columns that a short table name is filled up to, so that lines can be read in columns."""


def line(event: Event, *, width: int | None = None, coloured: bool = False) -> str | None:
    """The line for an event, at most ``width`` columns wide; None for events that need none."""
    parts = _parts(event)
    if parts is None:
        return None
    return _render(parts, width, coloured)


def _parts(event: Event) -> list[Part] | None:
    if isinstance(event, Change):
        return list(_change(event))
    if isinstance(event, Message):
        text = event.content.decode("utf-8", "backslashreplace")
        return [
            *_time(event.transaction),
            ("» message ", "35"),
            (event.prefix, "1"),
            ("  " + _safe(text), ""),
        ]
    if isinstance(event, SnapshotEnd):
        rows = f"  {event.rows:,} rows"
        name = f"{_name(event.table):<{_NAME}}"
        return [(" " * 10, ""), (". copied  ", "36"), (name, "1"), (rows, "")]
    if isinstance(event, SchemaChange) and event.before is not None:
        before, after = set(event.before.names), set(event.after.names)
        told = [f"+{name}" for name in event.after.names if name not in before]
        told += [f"-{name}" for name in event.before.names if name not in after]
        return [
            (" " * 10, ""),
            ("! columns ", "35"),
            (_name(event.after), "1"),
            ("  " + _safe(" ".join(told)), ""),
        ]
    return None


def _change(change: Change[Any]) -> Iterator[Part]:
    yield from _time(change.transaction)
    label, style = _OPERATIONS[change.operation]
    yield f"{label:<10}", style
    yield f"{_name(change.definition):<{_NAME}}", "1"
    if change.operation == "truncate":
        yield "  all rows are gone", ""
        return
    key = change.key_values
    if key is not None:
        columns = zip(change.definition.key_columns, key, strict=True)
        yield "  " + " ".join(f"{_safe(name)}={_value(raw)}" for name, raw in columns), "36"
    if change.key_old is not None:
        yield " (was " + " ".join(_value(raw) for raw in change.key_old) + ")", "36"
    if change.operation != "delete" or key is None:
        yield from _columns(change)


def _columns(change: Change[Any]) -> Iterator[Part]:
    """The columns worth showing: an update's changed ones, else all that are not the key."""
    new = change.values_after if change.values_after is not None else change.values_before
    if new is None:
        return
    old = change.values_before if change.operation == "update" else None
    changed = change.changed
    separator = "  "
    for i, name in enumerate(change.definition.names):
        raw = new[i]
        if name in change.definition.key_columns or raw is UNCHANGED:
            continue
        if change.operation == "update" and changed is not None and name not in changed:
            continue
        yield f"{separator}{_safe(name)}=", _DIM
        if old is not None:
            yield _value(old[i]), _DIM
            yield "→", _DIM
        yield _value(raw), ""
        separator = " "


def _time(transaction: Any) -> list[Part]:
    if transaction is None:
        return [(" " * 10, "")]
    return [(transaction.committed_at.astimezone().strftime("%H:%M:%S  "), _DIM)]


def _name(table: Table) -> str:
    return _safe(table.text.removeprefix("public."))


def _value(raw: Raw) -> str:
    if raw is None:
        return "null"
    if raw is UNCHANGED:
        return "(unchanged)"
    text = raw.decode("utf-8", "backslashreplace")
    if len(text) > _LONGEST_VALUE:
        text = text[: _LONGEST_VALUE - 1] + "…"
    return _safe(f"'{text}'" if " " in text or not text else text)


def _safe(text: str) -> str:
    """The text without control characters: data must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _render(parts: list[Part], width: int | None, coloured: bool) -> str:
    total = sum(_columns_of(text) for text, _ in parts)
    room = None if width is None or total <= width else width - 1
    out: list[str] = []
    for text, style in parts:
        if room is not None:
            text = _cut(text, room)
            room -= _columns_of(text)
        if text:
            out.append(f"\x1b[{style}m{text}\x1b[0m" if coloured and style else text)
    if width is not None and total > width:
        out.append("…")
    return "".join(out)


def _columns_of(text: str) -> int:
    """How many terminal columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns_of_character(c) for c in text)


def _columns_of_character(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, room: int) -> str:
    if _columns_of(text) <= room:
        return text
    taken = 0
    for i, character in enumerate(text):
        taken += _columns_of_character(character)
        if taken > room:
            return text[:i]
    return text
