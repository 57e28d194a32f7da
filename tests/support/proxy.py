"""A TCP proxy that fails on demand: what lies between us and a real server."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from penstock.embedded.server import free_port

Direction = Literal["up", "down"]
"""``up`` is from the client to the server, ``down`` from the server to the client."""

LOOPBACK: Final = "127.0.0.1"
RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards a loopback port to a server's, until told otherwise.

    Parameters
    ----------
    server_port: where the server listens.
    """

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = free_port()
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        self._delay: dict[Direction, float] = {"up": 0.0, "down": 0.0}
        self._flowing = {"up": threading.Event(), "down": threading.Event()}
        self._corrupt_at: dict[Direction, int | None] = {"up": None, "down": None}
        self._cut_at: dict[Direction, int | None] = {"up": None, "down": None}
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    @classmethod
    def before(cls, dsn: str) -> Self:
        """A proxy before the server of a URL."""
        port = urlsplit(dsn).port
        assert port is not None
        return cls(port)

    def dsn(self, dsn: str) -> str:
        """The URL that leads through this proxy."""
        parts = urlsplit(dsn)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@{LOOPBACK}:{self.port}"))

    def __enter__(self) -> Self:
        self.heal()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.cut()

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return sum(not link.ended for link in self._links)

    def cut(self) -> None:
        """Reset every connection now; new ones are welcome."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.reset()
        for link in links:
            link.join()

    def cut_after(self, count: int, direction: Direction) -> None:
        """Reset the connection once ``count`` more bytes have passed: a torn frame."""
        self._cut_at[direction] = self.passed[direction] + count

    def corrupt(self, nth: int, direction: Direction) -> None:
        """Flip all bits of the ``nth`` byte from now, counted from 0."""
        self._corrupt_at[direction] = self.passed[direction] + nth

    def delay(self, seconds: float, direction: Direction | None = None) -> None:
        """Hold every chunk for so long, in one direction or both."""
        for way in _ways(direction):
            self._delay[way] = seconds

    def black_hole(self, direction: Direction | None = None) -> None:
        """Let nothing through, not even an end: both sides believe in a half-open connection."""
        for way in _ways(direction):
            self._flowing[way].clear()

    def refuse(self) -> None:
        """Refuse new connections; those that exist go on."""
        if self._listener is not None and self._acceptor is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join()
            self._listener.close()
            self._listener = None

    def heal(self) -> None:
        """Forward everything again; what a black hole held arrives late."""
        self.delay(0.0)
        for way in _ways(None):
            self._corrupt_at[way] = self._cut_at[way] = None
            self._flowing[way].set()
        if self._listener is None:
            self._listener = socket.create_server((LOOPBACK, self.port), backlog=64)
            self._acceptor = threading.Thread(
                target=self._accept, args=(self._listener,), name="proxy-accept", daemon=True
            )
            self._acceptor.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((LOOPBACK, self.server_port))
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(client, server)
            with self._lock:
                self._links = [old for old in self._links if not old.ended] + [link]
            link.run(
                threading.Thread(target=self._pump, args=(link, "up"), daemon=True),
                threading.Thread(target=self._pump, args=(link, "down"), daemon=True),
            )

    def _pump(self, link: _Link, direction: Direction) -> None:
        source, target = link.ends(direction)
        with suppress(OSError):
            while True:
                data = source.recv(65536)
                if self._delay[direction] and link.dead.wait(self._delay[direction]):
                    break
                while not (self._flowing[direction].wait(0.05) or link.dead.is_set()):
                    pass
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    break
                data, torn = self._spoil(data, direction)
                self.passed[direction] += len(data)  # before who receives it can ask
                target.sendall(data)
                if torn:
                    link.reset()
        link.left()

    def _spoil(self, data: bytes, direction: Direction) -> tuple[bytes, bool]:
        """What is left of a chunk, and whether the connection ends with it."""
        begin = self.passed[direction]
        corrupt, cut = self._corrupt_at[direction], self._cut_at[direction]
        if corrupt is not None and begin <= corrupt < begin + len(data):
            at = corrupt - begin
            data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
            self._corrupt_at[direction] = None
        if cut is not None and cut <= begin + len(data):
            self._cut_at[direction] = None
            return data[: cut - begin], True
        return data, False


@dataclass
class _Link:
    """One connection: two sockets, and a thread for each direction."""

    client: socket.socket
    server: socket.socket
    dead: threading.Event = field(default_factory=threading.Event)
    _threads: tuple[threading.Thread, ...] = ()
    _left: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ended(self) -> bool:
        return self._left == 2

    def ends(self, direction: Direction) -> tuple[socket.socket, socket.socket]:
        up = (self.client, self.server)
        return up if direction == "up" else (up[1], up[0])

    def run(self, *threads: threading.Thread) -> None:
        self._threads = threads
        for thread in threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def reset(self) -> None:
        """Wake both threads; the last one closes the sockets, which resets the connection."""
        self.dead.set()
        for end in (self.client, self.server):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)

    def left(self) -> None:
        """A thread leaves; an open socket has no reader left when both have."""
        with self._lock:
            self._left += 1
            last = self._left == 2
        if last:
            self.client.close()
            self.server.close()


def _ways(direction: Direction | None) -> tuple[Direction, ...]:
    return ("up", "down") if direction is None else (direction,)
