import asyncio
import threading
import time

import pytest

from penstock.testing.clock import START, DeadlockError, VirtualClock, run_virtual


def test_an_hour_passes_at_once_and_exactly() -> None:
    async def sleep() -> tuple[float, float]:
        clock = VirtualClock()
        before = clock.monotonic()
        await clock.sleep(3600)
        return clock.monotonic() - before, (clock.now() - START).total_seconds()

    begun = time.monotonic()
    assert run_virtual(sleep()) == (3600.0, 3600.0)
    assert time.monotonic() - begun < 60


def test_timers_fire_in_order_of_time() -> None:
    async def race() -> list[float]:
        fired: list[float] = []

        async def one(seconds: float) -> None:
            await asyncio.sleep(seconds)
            fired.append(seconds)

        async with asyncio.TaskGroup() as group:
            for seconds in (3.0, 0.1, 2.0, 1e-6):
                group.create_task(one(seconds))
        return fired

    assert run_virtual(race()) == [1e-6, 0.1, 2.0, 3.0]
    assert run_virtual(race(), seed=7) == [1e-6, 0.1, 2.0, 3.0]


def interleaving(seed: int | None) -> list[int]:
    async def main() -> list[int]:
        steps: list[int] = []

        async def one(name: int) -> None:
            for _ in range(3):
                steps.append(name)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for name in range(4):
                group.create_task(one(name))
        return steps

    return run_virtual(main(), seed)


def test_a_seed_gives_one_order_and_seeds_give_many() -> None:
    assert interleaving(None) == [0, 1, 2, 3] * 3
    assert interleaving(5) == interleaving(5)
    assert len({tuple(interleaving(seed)) for seed in range(20)}) > 10


def test_a_deadlock_is_told() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="no timer is set"):
        run_virtual(wait())


def test_threads_run_in_the_loop_so_that_runs_repeat() -> None:
    async def main() -> tuple[bool, str]:
        def fail() -> None:
            raise ValueError("from the thread")

        here = await asyncio.to_thread(threading.get_ident) == threading.get_ident()
        try:
            await asyncio.to_thread(fail)
        except ValueError as error:
            return here, str(error)
        return here, ""

    assert run_virtual(main()) == (True, "from the thread")


def test_a_timeout_is_virtual_too() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 30.0
