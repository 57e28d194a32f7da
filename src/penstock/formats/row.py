"""The format ``row``: the row after the change, alone.

The value is the row as a JSON object (:mod:`penstock.formats.json`), without its UNCHANGED
columns; a delete's is null. A truncate has neither key nor value: its header ``op`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.formats import json
from penstock.model import Batch, Change, Record, Table


class RowFormat:
    """Makes ``row`` records. Keeps what it compiled per table, and nothing of the changes."""

    name = "row"

    def __init__(self) -> None:
        self._compiled: dict[int, tuple[Table, json.Encode]] = {}

    def records(self, batch: Batch) -> Iterator[Record]:
        """The records of a batch's changes, in order."""
        return (self.record(event) for event in batch if isinstance(event, Change))

    def record(self, change: Change[Any]) -> Record:
        """The record of one change. Raises DecodeError for a value that cannot be JSON."""
        table = change.definition
        topic = change.route or table.text
        if change.operation == "truncate":
            return Record(topic, None, None, {**change.headers, "op": "truncate"})
        key = json.key(table, change.key_values)
        value = None if change.values_after is None else self._row(table, change.values_after)
        return Record(topic, key, value, change.headers)

    def _row(self, table: Table, values: Any) -> bytes:
        known = self._compiled.get(id(table))
        if known is None:
            known = self._compiled[id(table)] = (table, json.compile_row(table))
        try:
            return known[1](values)
        except (TypeError, AttributeError, ValueError):
            return json.row(table, values)[0]
