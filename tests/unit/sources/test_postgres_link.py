"""The link's thread, with a libpq and a server that are made up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus

from penstock.errors import ConnectionLostError, SourceError
from penstock.sources.postgres import link as module
from penstock.sources.postgres.link import CHUNK, Link
from penstock.sources.postgres.probe import Hold
from penstock.sources.postgres.replication import LibpqReplication
from penstock.sources.postgres.wire.copies import Payloads

WITHIN = 60.0
TIMEOUT = 30.0


def data(size: int) -> bytes:
    """A payload of that size."""
    return b"w" + struct.pack(">Q", 1) + bytes(size - 9)


class Libpq:
    """What libpq has of the stream, and its socket."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.nonblocking = 0
        self.buffer: deque[bytes] = deque()
        self.ends = False
        self.consumed: Callable[[], None] = lambda: None

    @property
    def pgconn(self) -> Libpq:
        return self

    @property
    def socket(self) -> int:
        return self.ours.fileno()

    def speak(self) -> None:
        """The socket has something to read."""
        self.theirs.send(b"!")

    def consume_input(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.ours.recv(1000, socket.MSG_DONTWAIT)
        self.consumed()

    def get_copy_data(self, _: int) -> tuple[int, bytes]:
        if self.buffer:
            payload = self.buffer.popleft()
            return len(payload), payload
        return (-1 if self.ends else 0), b""

    def get_result(self) -> Any:
        fields = {"C": b"XX000", "M": b"the server's own reason"}
        return SimpleNamespace(
            status=ExecStatus.FATAL_ERROR,
            error_message=b"the server's own reason",
            get_error_message=lambda encoding="utf-8": "the server's own reason",
            error_field=lambda field: fields.get(chr(field)),
        )

    def put_copy_data(self, _: bytes) -> None: ...
    def put_copy_end(self, _: bytes | None) -> None: ...
    def flush(self) -> int:
        return 0

    def is_busy(self) -> bool:
        return False

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


class Asked:
    """A probe whose answer is given."""

    def __init__(self) -> None:
        self.hold = Hold.UNKNOWN

    def answer(self) -> tuple[Hold, float]:
        return self.hold, 0.0

    def ask(self) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def libpq() -> Iterator[Libpq]:
    libpq = Libpq()
    yield libpq
    libpq.close()


def begin(libpq: Libpq, probe: Asked | None = None) -> Link:
    connection: Any = libpq
    asked: Any = probe or Asked()
    stream = LibpqReplication(connection)
    return Link(
        stream,
        start=0,
        timeout=TIMEOUT,
        skew=0.0,
        probe=asked,
        explain=lambda error: SourceError(str(error)),
    )


async def sizes(link: Link, total: int) -> int:
    taken = 0
    while taken < total:
        taken += (await link.receive())[1]
    return taken


async def end(link: Link) -> BaseException:
    """What ended it."""
    with pytest.raises((ConnectionLostError, SourceError)) as ended:
        await sizes(link, 1 << 40)
    return ended.value


def test_what_libpq_holds_is_taken_though_the_socket_is_empty(libpq: Libpq) -> None:
    """A chunk is full, and the rest of what was read waits for no further byte."""
    libpq.buffer.extend([data(CHUNK), data(1000)])

    async def test() -> None:
        link = begin(libpq)
        libpq.speak()
        async with asyncio.timeout(WITHIN):
            assert await sizes(link, CHUNK + 1000) == CHUNK + 1000
        await link.close()

    asyncio.run(test())


def test_what_libpq_holds_is_taken_before_the_sockets_end(libpq: Libpq) -> None:
    libpq.buffer.append(data(CHUNK))
    read = False

    def consumed() -> None:
        nonlocal read
        if read:
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        read = True
        libpq.buffer.append(data(1000))

    libpq.consumed = consumed

    async def test() -> None:
        link = begin(libpq)
        libpq.speak()
        async with asyncio.timeout(WITHIN):
            assert await sizes(link, CHUNK + 1000) == CHUNK + 1000
            assert "unexpectedly" in str(await end(link))

    asyncio.run(test())


class Clock:
    """The link's ``time``; it goes on by what was slept and as told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.time = time.time

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("whole_every", [0, 7], ids=["damaged", "slow"])
def test_bytes_that_never_become_a_message(
    libpq: Libpq, monkeypatch: pytest.MonkeyPatch, whole_every: int
) -> None:
    """No TLS, and a bit of a length was flipped: the keepalives go into a message without end."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    looks = 0
    many = threading.Event()

    def consumed() -> None:
        nonlocal looks
        looks += 1
        clock.now += TIMEOUT / 2  # never silent for so long as the deadline
        if whole_every and looks % whole_every == 0:
            libpq.buffer.append(data(100))
        if looks > 100:
            many.set()
        else:
            libpq.speak()

    libpq.consumed = consumed

    async def test() -> None:
        link = begin(libpq)
        libpq.speak()
        async with asyncio.timeout(WITHIN):
            if whole_every:
                assert await asyncio.to_thread(many.wait, WITHIN)
                assert await sizes(link, 1400) == 1400
                await link.close()
            else:
                error = await end(link)
                assert "no whole message, for 3" in str(error)
                assert looks < 30

    asyncio.run(test())


def test_the_servers_own_reason_wins_over_what_a_probe_finds(
    libpq: Libpq, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands behind rows that were not read since nobody took those before."""
    monkeypatch.setattr(module, "BUDGET", 1000)
    probe = Asked()
    libpq.buffer.append(data(1000))
    read = threading.Event()

    async def test() -> None:
        link = begin(libpq, probe)
        put = link._inlet.put

        def tell_us(payloads: Payloads, size: int) -> None:
            put(payloads, size)
            read.set()

        monkeypatch.setattr(link._inlet, "put", tell_us)
        libpq.speak()
        async with asyncio.timeout(WITHIN):
            assert await asyncio.to_thread(read.wait, WITHIN)
            libpq.buffer.append(data(500))
            libpq.ends = True
            libpq.speak()
            probe.hold = Hold.LOST
            link.ask()
            error = await end(link)
        assert isinstance(error, SourceError)
        assert "the server's own reason" in error.message

    asyncio.run(test())


def test_a_server_that_let_us_go_and_says_nothing(
    libpq: Libpq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_WORDS", 0.01)
    probe = Asked()
    probe.hold = Hold.LOST

    async def test() -> None:
        async with asyncio.timeout(WITHIN):
            error = await end(begin(libpq, probe))
        assert isinstance(error, ConnectionLostError)
        assert "does not hold the slot" in error.message

    asyncio.run(test())
