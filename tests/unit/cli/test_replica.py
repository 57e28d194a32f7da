"""The demo's proof finds every kind of difference."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from penstock.cli.replica import compare

ROWS: list[tuple[str | None, ...]] = [("1", "a"), ("2", None)]


class Source:
    """A shop with two rows."""

    def rows(self, table: str) -> tuple[list[str], list[tuple[str | None, ...]]]:
        return ["id", "name"], ROWS


@pytest.mark.parametrize(
    ("rows", "equal"),
    [
        ([(2, None), (1, "a")], True),
        ([(1, "a")], False),
        ([(1, "a"), (2, "")], False),
        ([(1, "a"), (2, None), (3, None)], False),
        ([(1, "a"), (1, "a"), (2, None)], False),
        ([(1, "b"), (2, None)], False),
    ],
)
def test_compare(tmp_path: Path, rows: list[tuple[object, ...]], equal: bool) -> None:
    path = tmp_path / "replica.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER, name TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    connection.commit()
    connection.close()
    found = compare(Source(), path, "t")
    assert found.equal == equal
    assert (found.source, found.replica) == (2, len(rows))
