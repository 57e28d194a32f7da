"""The socket to the walsender, in a thread of its own.

Handlers may block the event loop for as long as they like: the thread goes on reporting, so the
server neither gives us up nor waits for us. It hands whole lists of CopyData payloads over, and
stops reading while the loop has enough to do.

What is reported decides what the server may forget and whether it can shut down. ``write`` is all
that was received. ``flush`` is what was acknowledged, but only when nothing received is still
unacknowledged, or once right after an acknowledgement; else it is 0/0, which neither moves the
slot nor makes a server that shuts down wait for a position that we cannot reach.

Facts: PostgreSQL manual, *Streaming Replication Protocol*.
"""

from __future__ import annotations

import asyncio
import select
import threading
import time
from struct import Struct
from typing import TYPE_CHECKING, Final

from penstock.errors import ConnectionLostError, PenstockError
from penstock.inlet import Inlet
from penstock.registry import driver
from penstock.sources.postgres.probe import Hold, Probe
from penstock.sources.postgres.wire.copies import joined
from penstock.sources.postgres.wire.messages import EPOCH_US

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock.sources.postgres.replication import Replication
    from penstock.sources.postgres.wire.copies import Payloads

CHUNK: Final = 1 << 20
"""Bytes of one list that is handed over, about."""
BUDGET: Final = 4 << 20
"""Bytes received and not taken at which reading stops."""
PACE: Final = 0.001
"""Seconds from one look at the socket to the next while data flows, so that what is handed over is
worth the event loop's waking; the first after a silence is taken at once."""
BULK: Final = 1 << 15
"""Bytes of one look that show that much more is to come..."""
BULK_PACE: Final = 0.01
"""... so that the next look waits so many seconds. While the socket is full, the server's messages
wait in its own buffer and are carried over many at a time; one by one they cost it twice as much.
"""
LONGEST_INTERVAL: Final = 10.0
LONGEST_PROBE: Final = 3.0
LEAVE_WITHIN: Final = 2.0
LAST_WORDS: Final = 1.0
"""Seconds to wait for the server's own reason, when it is known to have let us go."""
MESSAGE: Final = 10
"""Deadlines of the server's silence in which a message must be whole, however large it is: a
damaged length announces one that never ends."""

_REPORT: Final = Struct(">cQQQQB")
_POSITION: Final = Struct(">Q")


class Link:
    """Reads one replication stream and reports on it.

    Parameters
    ----------
    replication: the stream, started; the link owns it from here on.
    start: where the stream was told to start.
    timeout: the server's ``wal_sender_timeout`` in seconds, 0 for none.
    skew: the server's clock less our monotonic one, in seconds.
    probe: asks the server by another way, when the stream is silent or not read.
    explain: makes our error of the server's.
    """

    def __init__(
        self,
        replication: Replication,
        *,
        start: int,
        timeout: float,
        skew: float,
        probe: Probe,
        explain: Callable[[Exception], PenstockError],
    ) -> None:
        self._replication = replication
        self._timeout = timeout
        self._interval = min(timeout / 3, LONGEST_INTERVAL) if timeout else LONGEST_INTERVAL
        self._deadline = timeout or 6 * LONGEST_INTERVAL
        self._probe = probe
        self._explain = explain
        self._inlet: Inlet[Payloads] = Inlet(BUDGET, joined, CHUNK)
        self._lock = threading.Lock()
        self._received = start
        self._acknowledged = start
        self._report_flush = self._report_now = False
        self._pace = PACE
        self._closing = False
        now = time.monotonic()
        self._asked = self._heard = self._whole = self._proven = self._probed = now
        self._more = False  # messages may wait of which the socket knows nothing
        self._skew = skew
        self._thread = threading.Thread(target=self._run, name="penstock-link", daemon=True)
        self._thread.start()

    # -- for the event loop --------------------------------------------------------------------

    async def receive(self) -> tuple[Payloads, int]:
        """The next payloads, and their size in bytes.

        Raises what ended the stream, once all that arrived before was taken.
        """
        return await self._inlet.take()

    def acknowledge(self, lsn: int) -> None:
        """The server may forget all before ``lsn``; told at once."""
        with self._lock:
            if lsn <= self._acknowledged:
                return
            self._acknowledged = lsn
            self._report_flush = self._report_now = True
        self._inlet.wake()

    def ask(self) -> None:
        """Make the server speak."""
        self._report_now = True
        self._inlet.wake()

    @property
    def received(self) -> int:
        """The last position that arrived."""
        return self._received

    @property
    def queued(self) -> int:
        """Bytes that arrived and were not taken."""
        return self._inlet.size

    @property
    def authority(self) -> float:
        """Seconds for which the server still holds the slot for us, whatever happens to us.

        The server drops us when it has had no report for ``wal_sender_timeout``. A report may
        have been one interval old when the server last spoke.
        """
        if not self._timeout:
            return float("inf")
        return self._proven + self._timeout - self._interval - time.monotonic()

    async def close(self) -> None:
        """Say what is acknowledged, end the stream, disconnect. Safe to call twice."""
        self._closing = True
        if self._thread.is_alive():
            self._inlet.wake()
            await asyncio.to_thread(self._thread.join, 2 * LEAVE_WITHIN)

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        end: BaseException = ConnectionLostError("the link was closed")
        try:
            self._pump()
            self._leave()
        except BaseException as error:  # noqa: BLE001 - handed to the event loop
            psycopg = driver("psycopg", "postgres")
            end = self._explain(error) if isinstance(error, psycopg.Error) else error
        finally:
            self._replication.close()
            self._probe.close()
            self._inlet.end(end)

    def _pump(self) -> None:
        socket = self._replication.fileno()
        report_at = self._heard
        unsent = False
        was_reading = True
        while not self._closing:
            now = time.monotonic()
            reading = self._inlet.has_room
            if reading and not was_reading:
                self._heard = self._whole = now
            was_reading = reading
            if self._report_now or now >= report_at:
                if now >= report_at:
                    report_at = now + self._interval
                unsent = self._report(now)
            if reading:
                self._judge(now)
            self._watch(now, reading)
            poll = select.poll()
            poll.register(self._inlet, select.POLLIN)
            events = (select.POLLIN if reading else 0) | (select.POLLOUT if unsent else 0)
            if events:
                poll.register(socket, events)
            ready = reading and self._more
            wait = 0.0 if ready else report_at - now
            if not reading:
                wait = min(wait, LONGEST_PROBE)
            for fd, event in poll.poll(max(wait, 0) * 1000):
                if fd == self._inlet.fileno():
                    self._inlet.woken()
                    continue
                if event & select.POLLOUT:
                    unsent = self._replication.flush()
                ready |= event & ~select.POLLOUT != 0
            if ready:
                pause = self._heard + self._pace - time.monotonic()
                if pause > 0 and not self._more:
                    time.sleep(pause)
                if self._drain():
                    report_at = 0.0

    def _judge(self, now: float) -> None:
        """Raise where what we read, or do not, shows that the connection is of no more use."""
        if (silent := now - self._heard) > self._deadline:
            raise ConnectionLostError(f"the server has been silent for {silent:.0f} s")
        if (cut := now - self._whole) > MESSAGE * max(self._deadline, LONGEST_INTERVAL):
            raise ConnectionLostError(
                f"the server has sent bytes, but no whole message, for {cut:.0f} s",
                hint="its length was damaged on the way, which TLS would tell at once; if values "
                "are so large and the network so slow, raise wal_sender_timeout",
            )

    def _drain(self) -> bool:
        """Take what the socket has, up to a chunk; whether the server asked for a report.

        What ended the stream is raised once all that came before is handed over.
        """
        received = self._replication.read(CHUNK)
        size = received.size
        self._heard = time.monotonic()
        self._more = received.more
        self._pace = BULK_PACE if size >= BULK else PACE
        asked = False
        for keepalive in received.keepalives:
            asked |= self._hear(keepalive)
        if size:
            self._whole = self._heard
            self._received = max(self._received, received.position)
            self._inlet.put(received.payloads, size)
        if received.end is not None:
            raise received.end
        return asked

    def _hear(self, keepalive: bytes) -> bool:
        """Note the server's word: it held the slot for us when it wrote this.

        A process that was frozen finds old words in its socket: the server's time stamp tells
        them from an answer. Our own last question bounds it, should the server's clock jump.
        """
        sent = (_POSITION.unpack_from(keepalive, 9)[0] + EPOCH_US) / 1e6
        self._proven = max(self._proven, min(sent - self._skew, self._asked))
        return keepalive[17] != 0

    def _report(self, now: float, *, last: bool = False) -> bool:
        with self._lock:
            acknowledged = self._acknowledged
            flush = acknowledged if self._report_flush or acknowledged >= self._received else 0
            self._report_flush = self._report_now = False
        clock = int(time.time() * 1e6) - EPOCH_US
        ask = not last
        self._asked = now
        return self._replication.send(
            _REPORT.pack(b"r", max(self._received, acknowledged), flush, flush, clock, ask)
        )

    def _watch(self, now: float, reading: bool) -> None:
        """Ask by another way while the stream cannot tell: it is not read, or behind."""
        hold, at = self._probe.answer()
        if hold is Hold.LEAVING:
            raise ConnectionLostError("the server is shutting down")
        if hold is Hold.LOST:
            self._hear_out()
            raise ConnectionLostError("the server does not hold the slot for us any more")
        if hold is Hold.OURS:
            self._proven = max(self._proven, at)
        patience = min(self._interval, LONGEST_PROBE)
        late = now - self._proven > 1.5 * self._interval
        if (not reading or late) and now - self._probed >= patience:
            self._probed = now
            self._probe.ask()

    def _hear_out(self) -> None:
        """Raise the server's own reason for letting us go: it is sent before the slot is free, but
        may stand behind much that was not read."""
        until = time.monotonic() + LAST_WORDS
        most = self._inlet.size + 4 * BUDGET
        poll = select.poll()
        poll.register(self._replication.fileno(), select.POLLIN)
        while self._inlet.size < most and (left := until - time.monotonic()) > 0:
            if self._more or poll.poll(left * 1000):
                self._drain()

    def _leave(self) -> None:
        """The last report, and the stream's end."""
        self._report_flush = True
        self._report(time.monotonic(), last=True)
        self._replication.leave(LEAVE_WITHIN)
