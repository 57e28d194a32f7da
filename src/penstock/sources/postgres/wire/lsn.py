"""Log sequence numbers: positions in PostgreSQL's write-ahead log."""

from __future__ import annotations


def format_lsn(lsn: int) -> str:
    """The server's text of a position, e.g. ``0/1543558``."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """Read the server's text of a position. Raises ValueError for anything else."""
    high, separator, low = text.partition("/")
    if not separator or not 0 < len(high) <= 8 or not 0 < len(low) <= 8:
        raise ValueError(f"not a log sequence number: {text!r}")
    return int(high, 16) << 32 | int(low, 16)
