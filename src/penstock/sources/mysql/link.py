"""The socket from which the log comes, in a thread of its own.

It drains large reads, and hands whole lists of events over; it stops reading while the event loop
has enough to do. The server, which is told to wait, then keeps the rest in its files.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import ConnectionLostError, PenstockError
from penstock.inlet import Inlet
from penstock.sources.mysql.wire.packets import Packets, StreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.sources.mysql.connection import Connection

READ: Final = 1 << 18
"""Bytes of one read at most."""
BUDGET: Final = 8 << 20
"""Bytes received and not taken at which reading stops."""
PACE: Final = 0.001
"""Seconds from one look at the socket to the next while data flows."""
SILENCE: Final = 4.0
"""Heartbeats that may be missed."""


class Link:
    """Reads one stream of the log.

    Parameters
    ----------
    connection: the stream, asked for; the link owns it from here on.
    heartbeat: seconds of silence after which the server says that it lives.
    explain: makes our error of the server's.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        heartbeat: float,
        explain: Callable[[StreamError], PenstockError],
    ) -> None:
        self._connection = connection
        self._socket: Any = connection._sock  # type: ignore[attr-defined] # PyMySQL has no other way
        self._deadline = SILENCE * max(heartbeat, 1.0)
        self._explain = explain
        self._packets = Packets()
        self._inlet: Inlet[list[bytes]] = Inlet(BUDGET)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="penstock-link", daemon=True)
        self._thread.start()

    # -- for the event loop

    async def receive(self) -> list[bytes]:
        """The next events. Raises what ended the stream, once all before was taken."""
        events, _ = await self._inlet.take()
        return events

    def nudge(self) -> None:
        """Let :meth:`receive` return, with no events where none are there."""
        self._inlet.put([], 0)

    @property
    def queued(self) -> int:
        """Bytes that arrived and were not taken."""
        return self._inlet.size

    async def close(self) -> None:
        """End the stream, disconnect. Safe to call twice."""
        self._closing = True
        if self._thread.is_alive():
            self._inlet.wake()
            await asyncio.to_thread(self._thread.join)

    # -- the thread

    def _run(self) -> None:
        error: BaseException = ConnectionLostError("the link was closed")
        try:
            self._pump()
        except OSError as lost:
            error = ConnectionLostError(f"the connection to the log broke: {lost}")
        except BaseException as other:  # noqa: BLE001 - handed to the event loop
            error = other
        with contextlib.suppress(Exception):
            self._connection._force_close()  # type: ignore[attr-defined] # no farewell is awaited
        self._inlet.end(error)

    def _pump(self) -> None:
        self._socket.settimeout(0)
        file = self._socket.fileno()
        heard = time.monotonic()
        was_reading = True
        while not self._closing:
            now = time.monotonic()
            reading = self._inlet.has_room
            if reading and not was_reading:
                heard = now
            was_reading = reading
            if reading and now - heard > self._deadline:
                raise ConnectionLostError(f"the server has been silent for {now - heard:.0f} s")
            poll = select.poll()
            poll.register(self._inlet, select.POLLIN)
            if reading:
                poll.register(file, select.POLLIN)
            ready = False
            for fd, _ in poll.poll(max(heard + self._deadline - now, 0) * 1000 + 1):
                if fd == self._inlet.fileno():
                    self._inlet.woken()
                else:
                    ready = True
            if ready:
                pause = heard + PACE - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                heard = time.monotonic()
                self._drain()

    def _drain(self) -> None:
        """Take what the socket has, up to the budget."""
        while self._inlet.has_room and self._packets.end is None:
            try:
                data = self._socket.recv(READ)
            except (BlockingIOError, TimeoutError):
                return
            except OSError as error:
                # TLS says by an error of its own that there is nothing to read.
                if type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError"):
                    return
                raise
            if not data:
                raise ConnectionLostError("the server closed the connection to the log")
            self._inlet.put(self._packets.feed(data), len(data))
        end = self._packets.end
        if isinstance(end, StreamError):
            raise self._explain(end)
        if end is not None:
            raise end
