"""A walsender's connection in COPY BOTH mode: payloads one way, reports the other.

Through libpq; or, where the native kernel runs and nothing encrypts the socket, beside it
(:mod:`.plain`).
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from struct import Struct
from typing import Final, Protocol

from penstock import kernel
from penstock.errors import ConnectionLostError, ProtocolError
from penstock.registry import driver
from penstock.sources.postgres.connection import Connection, command
from penstock.sources.postgres.plain import (
    ANY_TIME,
    ERROR,
    READY,
    Messages,
    PlainSocket,
    broken,
    error_of,
    is_plain,
    query,
)
from penstock.sources.postgres.wire.copies import Payloads

_POSITION: Final = Struct(">Q")
_KEEPALIVE_SIZE: Final = 18
_COPY_BOTH: Final = ord("W")
_ENDS: Final = frozenset(b"cCZ")
"""CopyDone, CommandComplete, ReadyForQuery."""
_FEW: Final = 1 << 14
"""Bytes to take at once while no rows are expected."""
_LAST_WORDS: Final = 2.0
"""Seconds that a server which ended the stream has to say why."""


@dataclass(frozen=True, slots=True)
class Received:
    """What one look at the socket gave.

    Parameters
    ----------
    size: of the payloads, in bytes.
    position: which the last payload begins with, behind its letter.
    keepalives: those among the payloads.
    more: messages may wait beside the socket, which knows nothing of them.
    end: what ended the stream, after the payloads.
    """

    payloads: Payloads
    size: int
    position: int
    keepalives: list[bytes]
    more: bool = False
    end: Exception | None = None


class Replication(Protocol):
    """One stream. Reading and sending return at once, but for the server's last words.

    Raises ConnectionLostError, or psycopg's OperationalError, when the connection breaks.
    """

    def start(self, sql: str) -> None:
        """Send START_REPLICATION. Raises the psycopg error of the server's refusal."""

    def fileno(self) -> int:
        """For poll."""

    def read(self, limit: int) -> Received:
        """All that the socket has, up to about ``limit`` bytes."""

    def send(self, payload: bytes) -> bool:
        """Send CopyData; whether a part of it is still to be sent."""

    def flush(self) -> bool:
        """Go on sending; whether a part is still to be sent."""

    def leave(self, seconds: float) -> None:
        """Say CopyDone and wait for the server's own end, for as long as it is quick: the slot is
        free when the command is complete."""

    def close(self) -> None:
        """Disconnect."""


def replication(connection: Connection, asking: Connection) -> Replication:
    """The best way for a connection, which is the stream's own from here on."""
    if kernel.kernel() == "native" and is_plain(connection, asking):
        return PlainReplication(connection, kernel.native().Messages())
    return LibpqReplication(connection)


class LibpqReplication:
    """A stream through libpq (:class:`Replication`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._more = False

    def start(self, sql: str) -> None:
        """See :meth:`Replication.start`."""
        command(self._pgconn, sql)
        self._pgconn.nonblocking = 1

    def fileno(self) -> int:
        """For poll."""
        return self._pgconn.socket

    def read(self, limit: int) -> Received:
        """See :meth:`Replication.read`.

        Each wait on the socket lets the interpreter's lock go and may cost milliseconds to get it
        back, so this reads on until the socket is empty.
        """
        pgconn = self._pgconn
        get = pgconn.get_copy_data
        lost = driver("psycopg", "postgres").Error
        payloads: list[bytes] = []
        keepalives: list[bytes] = []
        size = 0
        end: Exception | None = None
        while size < limit and end is None:
            before = size
            if not self._more:  # else first what is there: the socket may have its end only
                try:
                    pgconn.consume_input()
                except lost as error:
                    end = error
                    break
            self._more = False
            while size < limit:
                length, data = get(1)
                if length <= 0:
                    end = self._last_words() if length < 0 else None
                    break
                payload = bytes(data)
                payloads.append(payload)
                size += length
                if length == _KEEPALIVE_SIZE and payload[:1] == b"k":
                    keepalives.append(payload)
            if size == before:
                break
        self._more = size >= limit
        # Both frames begin with a letter and a position.
        position = _POSITION.unpack_from(payloads[-1], 1)[0] if payloads else 0
        return Received(payloads, size, position, keepalives, self._more, end)

    def send(self, payload: bytes) -> bool:
        """See :meth:`Replication.send`."""
        self._pgconn.put_copy_data(payload)
        return self.flush()

    def flush(self) -> bool:
        """See :meth:`Replication.flush`."""
        return bool(self._pgconn.flush())

    def _last_words(self) -> Exception:
        """Why the server ended the stream."""
        psycopg = driver("psycopg", "postgres")
        result = self._pgconn.get_result()
        if result is not None and result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
            error: Exception = psycopg.errors.error_from_result(result, encoding="utf-8")
            return error
        return ConnectionLostError("the server ended the replication stream")

    def leave(self, seconds: float) -> None:
        """See :meth:`Replication.leave`."""
        pgconn = self._pgconn
        until = time.monotonic() + seconds
        pgconn.put_copy_end(None)
        copying = True
        while copying or pgconn.is_busy():
            poll = select.poll()
            events = select.POLLIN | (select.POLLOUT if pgconn.flush() else 0)
            poll.register(pgconn.socket, events)
            left = until - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return
            pgconn.consume_input()
            while copying:
                length, _ = pgconn.get_copy_data(1)
                copying = length >= 0
                if length == 0:
                    break

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class PlainReplication:
    """A stream off the socket itself (:class:`Replication`): payloads stay together as they came,
    and none becomes an object of its own.

    Parameters
    ----------
    messages: takes the stream apart.
    """

    def __init__(self, connection: Connection, messages: Messages) -> None:
        self._connection = connection
        self._socket = PlainSocket(connection)
        self._messages = messages
        self._unsent = b""
        self._error: Exception | None = None

    def start(self, sql: str) -> None:
        """See :meth:`Replication.start`."""
        left = query(sql)
        while left := self._socket.send(left):
            self._socket.wait(select.POLLOUT, None)
        while (kind := self._answer(None)) != _COPY_BOTH:
            if kind == READY:
                error, self._error = self._error, None
                raise error or ProtocolError("the server answers START_REPLICATION with nothing")

    def _answer(self, until: float | None) -> int:
        """The kind of the next message but CopyData and what may come at any time; 0 at the
        stream's end, or when there is none until then. An error is noted."""
        messages = self._messages
        while True:
            while (control := messages.control()) is not None:
                kind, body = control
                if kind == ERROR:
                    self._error = error_of(body)
                if kind not in ANY_TIME:
                    return kind
            messages.take()
            received = self._socket.receive(messages, _FEW)
            if received is None:
                left = None if until is None else max(until - time.monotonic(), 0.0) * 1000
                if not self._socket.wait(select.POLLIN, left):
                    return 0
            elif not received:
                if until is None:
                    raise self._error or broken("the server closed it")
                return 0

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def read(self, limit: int) -> Received:
        """See :meth:`Replication.read`."""
        messages = self._messages
        end: Exception | None = None
        ended = self._control()
        while not ended and messages.size < limit:
            try:
                received = self._socket.receive(messages, limit)
            except ConnectionLostError as error:
                end = error
                break
            if received is None:
                break
            if not received:
                end = broken("the server closed it")
                break
            ended = self._control()
        size = messages.size
        position, keepalives = messages.heard()
        payloads = messages.take()
        if ended:
            end = self._last_words()
        return Received(payloads, size, position, keepalives, end=end)

    def _control(self) -> bool:
        """Whether the server ends the stream."""
        while (control := self._messages.control()) is not None:
            kind, body = control
            if kind == ERROR:
                self._error = error_of(body)
            if kind == ERROR or kind in _ENDS:
                return True
            if kind not in ANY_TIME:
                raise ProtocolError(f"the server streams a message {chr(kind)!r}")
        return False

    def send(self, payload: bytes) -> bool:
        """See :meth:`Replication.send`."""
        self._unsent += b"d" + (len(payload) + 4).to_bytes(4) + payload
        return self.flush()

    def flush(self) -> bool:
        """See :meth:`Replication.flush`."""
        if self._unsent:
            self._unsent = self._socket.send(self._unsent)
        return bool(self._unsent)

    def _last_words(self) -> Exception:
        """Why the server ended the stream."""
        until = time.monotonic() + _LAST_WORDS
        while self._error is None and self._answer(until) not in (0, READY):
            pass
        return self._error or ConnectionLostError("the server ended the replication stream")

    def leave(self, seconds: float) -> None:
        """See :meth:`Replication.leave`."""
        until = time.monotonic() + seconds
        self._unsent += b"c\0\0\0\4"
        while self.flush():
            if not self._socket.wait(select.POLLOUT, max(until - time.monotonic(), 0.0) * 1000):
                return
        while self._answer(until) not in (0, READY):
            pass

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()
        self._connection.close()
