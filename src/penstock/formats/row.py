"""The format ``row``: the row after the change, alone.

The value is the row as a JSON object (:mod:`penstock.formats.json`), without its UNCHANGED
columns; a delete's is null. A truncate has neither key nor value: its header ``op`` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.formats import json
from penstock.model import Batch, Change, Record


class RowFormat:
    """Makes ``row`` records. Keeps what it compiled per table, and nothing of the changes."""

    name = "row"
    native = "row"

    def __init__(self) -> None:
        self._compiled = json.Compiled()

    def records(self, batch: Batch) -> Iterator[Record]:
        """The records of a batch's changes, in order."""
        return (self.record(event) for event in batch if isinstance(event, Change))

    def record(self, change: Change[Any]) -> Record:
        """The record of one change. Raises DecodeError for a value that cannot be JSON."""
        topic = change.route or change.table
        if change.operation == "truncate":
            return Record(topic, None, None, {**change.headers, "op": "truncate"})
        compiled = self._compiled.of(change.definition)
        value = None
        if change.values_after is not None:
            value, _ = compiled.any_row(change.values_after)
        return Record(topic, compiled.key_of(change), value, change.headers)
