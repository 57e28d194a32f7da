"""A pipeline running in the foreground: signals, and what goes on beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from penstock.cli.console import note

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline
    from penstock.pipeline.observe import Report

Companion = Callable[[], Coroutine[Any, Any, None]]


def serve(
    pipeline: Pipeline,
    *,
    until_caught_up: bool = False,
    companion: Companion | None = None,
    stop: Callable[[], None] | None = None,
    farewell: str = "draining",
) -> Report:
    """Run a pipeline until it ends, with ``companion`` beside it until then.

    The first SIGINT or SIGTERM calls ``stop`` (by default the pipeline's own, which drains); a
    second leaves at once, which loses nothing: what was not saved is delivered again by the next
    run. A companion that fails stops the pipeline, and its error is raised.
    """
    beside = companion or _nothing
    return asyncio.run(_serve(pipeline, until_caught_up, beside, stop or pipeline.stop, farewell))


async def _nothing() -> None:
    """No companion."""


async def _serve(
    pipeline: Pipeline,
    until_caught_up: bool,
    companion: Companion,
    stop: Callable[[], None],
    farewell: str,
) -> Report:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    stopping = False

    def on_signal() -> None:
        nonlocal stopping
        if stopping:
            note("left at once; what was not saved will be delivered again")
            sys.stdout.flush()
            os._exit(130)
        stopping = True
        note(f"{farewell}, press again to stop now")
        stop()

    def on_companion(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and done.exception() is not None:
            pipeline.stop()

    for number in signals:
        loop.add_signal_handler(number, on_signal)
    beside = asyncio.create_task(companion())
    beside.add_done_callback(on_companion)
    try:
        report = await pipeline.serve(until_caught_up=until_caught_up)
    finally:
        beside.cancel()
        await asyncio.wait({beside})
        for number in signals:
            loop.remove_signal_handler(number)
    if not beside.cancelled():
        beside.result()
    return report
