"""What a running pipeline does now, on stderr: its states, and a snapshot's progress."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline

_CLEAR = "\r\x1b[K"
_LOOK_EVERY = 0.2
_ASK_EVERY = 1.0
_BAR = 20

_logger = logging.getLogger("penstock.cli")


async def watch(pipeline: Pipeline) -> None:
    """Log each state that the pipeline comes to, and draw a bar while the source copies rows.

    The bar is on stderr, and only where that is a terminal.
    """
    state = ""
    while True:
        if pipeline.state != state:
            state = pipeline.state
            _clear()
            _logger.info("%s: %s", pipeline.name, "copying rows" if state == "snapshot" else state)
        if state == "snapshot" and sys.stderr.isatty():
            progress = (await pipeline.astatus()).source.get("snapshot")
            if progress:
                sys.stderr.write(f"{_CLEAR}{line(progress)}")
                sys.stderr.flush()
            await asyncio.sleep(_ASK_EVERY)
        else:
            await asyncio.sleep(_LOOK_EVERY)


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write(_CLEAR)
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
