"""A virtual-time event loop: hours of backoff pass in milliseconds, the same way every time.

Time stands still while anything can run and jumps to the next timer when nothing can. With a seed,
callbacks that are ready at the same moment run in an order drawn from it, so that one number
replays one interleaving.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, MutableSequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""What :class:`VirtualClock` shows when the loop begins."""


class DeadlockError(AssertionError):
    """Every task waits, and no timer is set that could end it."""


class _TimeLeap(selectors.DefaultSelector):
    """A selector that never blocks: it tells the loop how long it would have waited."""

    waited: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            self.waited(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is virtual.

    Functions given to an executor run in the loop itself: with real threads no run would repeat.
    So they may block, but must not wait for something that only the loop can do.

    Parameters
    ----------
    seed: draws the order of callbacks that are ready together; None keeps asyncio's order.
    """

    def __init__(self, seed: int | None = None) -> None:
        selector = _TimeLeap()
        selector.waited = self._leap
        self._now = 0.0
        self._order = None if seed is None else Random(seed)
        super().__init__(selector)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def _leap(self, timeout: float | None) -> None:
        if timeout is None:
            raise DeadlockError("every task waits and no timer is set: nothing can happen any more")
        self._now += max(timeout, 0.0)
        if self._order is not None:
            # asyncio keeps what is ready to run in this deque; it has no public name.
            self._order.shuffle(cast("MutableSequence[Any]", self._ready))  # type: ignore[attr-defined]

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run ``func`` in the loop, at the next turn."""
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except StopIteration as error:
                future.set_exception(RuntimeError(f"{func!r} raised {error!r}"))
            except Exception as error:  # noqa: BLE001  (the future carries it to who awaits)
                future.set_exception(error)

        self.call_soon(run)
        return future


class VirtualClock:
    """The clock of the running :class:`VirtualLoop`, for a Context."""

    def monotonic(self) -> float:
        """Virtual seconds since the loop was made."""
        return asyncio.get_running_loop().time()

    def now(self) -> datetime:
        """:data:`START` plus the virtual seconds."""
        return START + timedelta(seconds=self.monotonic())

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)


def run_virtual(coroutine: Coroutine[Any, Any, T], seed: int | None = None) -> T:
    """Run a coroutine to its end on a :class:`VirtualLoop`, and return its result.

    Raises DeadlockError when all that is left is waiting for ever.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed)) as runner:
        return runner.run(coroutine)
