"""Names of a source's streams."""

from __future__ import annotations

from typing import Final

MAIN: Final = "main"
"""The log."""

_SNAPSHOT: Final = "snapshot:"


def snapshot_stream(table: str) -> str:
    """The stream of one table's snapshot."""
    return _SNAPSHOT + table


def snapshot_table(stream: str) -> str | None:
    """The table whose snapshot a stream is; None for other streams."""
    return stream.removeprefix(_SNAPSHOT) if stream.startswith(_SNAPSHOT) else None


def snapshot_mark(table: str, attempt: int) -> str:
    """The transaction part of the marks of a snapshot's rows."""
    return f"{_SNAPSHOT}{table}@{attempt}"
