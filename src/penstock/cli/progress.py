"""A snapshot's progress on the terminal: rows, rate, time left."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline

_EVERY = 1.0
_BAR = 20


async def show_progress(pipeline: Pipeline) -> None:
    """Draw a bar on stderr while the source copies rows; nothing where stderr is no terminal."""
    drawn = False
    while sys.stderr.isatty() and pipeline.state in ("starting", "snapshot"):
        if pipeline.state == "snapshot":
            progress = (await pipeline.astatus()).source.get("snapshot")
            if progress:
                sys.stderr.write(f"\r\x1b[K{line(progress)}")
                sys.stderr.flush()
                drawn = True
        await asyncio.sleep(_EVERY if drawn else _EVERY / 10)
    if drawn:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def line(progress: Mapping[str, Any]) -> str:
    """The bar as text; its total and the time left are estimates, and may be missing."""
    rows, total, left = progress["rows"], progress["rows_total"], progress["seconds_left"]
    text = f"{rows:,} rows, {progress['rows_per_second']:,} rows/s"
    if not total:
        return f"snapshot  {text}"
    share = min(1.0, rows / total)
    filled = round(_BAR * share)
    bar = "█" * filled + "░" * (_BAR - filled)
    return f"snapshot {bar} {share:4.0%}  {text}" + (f", {_duration(left)} left" if left else "")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
