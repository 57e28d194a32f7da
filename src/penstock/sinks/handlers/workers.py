"""Threads for handlers that are plain functions."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Workers:
    """Runs functions in threads of their own, each with the caller's context variables."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run a function and wait for its end; what it gives to be awaited is awaited here.

        A thread cannot be cancelled: who cancels waits until the function has returned, so that
        nothing is rolled back or called again under its feet.
        """
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, context.run, _call, function)
        try:
            result = await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.done():
                await asyncio.wait([future])
            raise
        return await result if inspect.isawaitable(result) else result

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False)


def _call(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except StopIteration as error:
        # A future cannot carry it.
        raise RuntimeError(f"{function!r} raised {error!r}") from error
