"""Chunks from a thread to the event loop."""

from __future__ import annotations

import asyncio
import gc
import operator
import select
import threading

import pytest

from penstock.errors import ConnectionLostError
from penstock.inlet import Inlet

WITHIN = 60.0


def test_chunks_come_in_order_and_then_the_reason_of_their_end() -> None:
    async def scenario() -> list[bytes]:
        inlet: Inlet[bytes] = Inlet(1 << 20)

        def feed() -> None:
            for i in range(200):
                inlet.put(b"%d" % i, 1)
            inlet.end(ConnectionLostError("enough"))

        thread = threading.Thread(target=feed)
        thread.start()
        taken = []
        async with asyncio.timeout(WITHIN):
            for _ in range(200):
                taken.append((await inlet.take())[0])
            with pytest.raises(ConnectionLostError, match="enough"):
                await inlet.take()
        thread.join()
        return taken

    assert asyncio.run(scenario()) == [b"%d" % i for i in range(200)]


def test_small_chunks_are_joined_up_to_a_size() -> None:
    async def scenario() -> None:
        inlet: Inlet[bytes] = Inlet(1 << 20, operator.add, 4)
        for _ in range(3):
            inlet.put(b"ab", 2)
        assert inlet.size == 6
        assert await inlet.take() == (b"abab", 4)
        assert await inlet.take() == (b"ab", 2)
        assert inlet.size == 0
        inlet.end(ConnectionLostError("enough"))

    asyncio.run(scenario())


def test_the_thread_is_woken_when_there_is_room_again() -> None:
    async def scenario() -> None:
        inlet: Inlet[bytes] = Inlet(4)
        poll = select.poll()
        poll.register(inlet, select.POLLIN)
        for size in (3, 3):
            assert inlet.has_room
            inlet.put(b"", size)
        assert not inlet.has_room
        assert not poll.poll(0)
        await inlet.take()
        assert inlet.has_room
        assert poll.poll(0)
        inlet.woken()
        await inlet.take()  # there was room before
        assert not poll.poll(0)
        inlet.end(ConnectionLostError("enough"))
        inlet.wake()  # nobody is there
        gc.collect()

    asyncio.run(scenario())
