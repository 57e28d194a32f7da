"""A snapshot's progress on the terminal: rows, rate, time left."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline

_EVERY = 0.25
_BAR = 20


async def show_progress(pipeline: Pipeline) -> None:
    """Draw a bar on stderr while the source copies rows; nothing where stderr is no terminal."""
    progress = getattr(pipeline.source, "progress", None)
    if progress is None or not sys.stderr.isatty():
        return
    begun: float | None = None
    while True:
        found = progress()
        if found is not None:
            rows, expected = found.rows, found.expected
            begun = begun or time.monotonic()
            text = line(rows, expected, time.monotonic() - begun)
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        elif begun is not None:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            begun = None
        await asyncio.sleep(_EVERY)


def line(rows: int, expected: int, seconds: float) -> str:
    """The bar as text; ``expected`` is an estimate, 0 for unknown."""
    rate = rows / seconds if seconds > 0 else 0.0
    text = f"snapshot {rows:,} rows, {rate:,.0f} rows/s"
    if expected <= 0:
        return text
    share = min(1.0, rows / expected)
    filled = round(_BAR * share)
    bar = "█" * filled + "░" * (_BAR - filled)
    left = max(0, expected - rows) / rate if rate else 0.0
    return f"{bar} {share:4.0%}  {text}, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
