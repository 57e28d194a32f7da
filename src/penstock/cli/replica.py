"""Whether a SQLite replica equals its source: every row, every column, as exact text."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Rows(Protocol):
    """Has the source's rows: the demo's shop."""

    def rows(self, table: str) -> tuple[list[str], list[tuple[str | None, ...]]]:
        """A table's columns, and all its rows as exact texts."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out for one table; ``difference`` is empty when it is equal."""

    table: str
    source: int
    replica: int
    difference: str

    @property
    def equal(self) -> bool:
        """Whether all rows are the same."""
        return not self.difference


def compare(source: Rows, replica: Path, table: str) -> Comparison:
    """Read both and compare row by row."""
    names, theirs = source.rows(table)
    with sqlite3.connect(f"file:{replica}?mode=ro", uri=True) as connection:
        columns = ", ".join(f'CAST("{name}" AS TEXT)' for name in names)
        found = connection.execute(f'SELECT {columns} FROM "{table}"').fetchall()
    connection.close()
    return Comparison(table, len(theirs), len(found), _difference(Counter(theirs), Counter(found)))


def _difference(
    source: Counter[tuple[str | None, ...]], replica: Counter[tuple[str | None, ...]]
) -> str:
    missing, extra = (source - replica).total(), (replica - source).total()
    if not missing and not extra:
        return ""
    return f"{missing} rows are not in the replica, {extra} not in the source"
