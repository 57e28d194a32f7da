"""COPY TO STDOUT, read off the connection's own socket where nothing encrypts it.

Of every row libpq makes a piece of memory, and psycopg three objects: more work than all that the
native kernel does with the row. So between two of libpq's commands the query is sent and its whole
answer read here, up to ReadyForQuery, many rows at a time. libpq, which sees nothing of it, finds
the connection as it was.

Facts: PostgreSQL manual, *Message Flow* and *Message Formats*.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from penstock.errors import ConnectionLostError, ProtocolError
from penstock.registry import driver
from penstock.sources.postgres.connection import Connection, rows

_CHUNK: Final = 1 << 17
_REST: Final = 0.001
"""Seconds to let a socket fill that was emptied. The server writes 8 kB at a time: to be woken for
each would cost as much as all else."""
_GSS_ENCRYPTS_SINCE: Final = 120000
_EXPECTED: Final = frozenset(b"HcC")
"""CopyOutResponse, CopyDone, CommandComplete."""
_ANY_TIME: Final = frozenset(b"NSA")
"""Notices, settings, notifications."""
_ERROR, _READY = b"EZ"


class Messages(Protocol):
    """The native kernel's view of a stream."""

    @property
    def size(self) -> int: ...
    @property
    def whole(self) -> bool: ...
    def push(self, bytes: bytes, /) -> None: ...
    def take(self) -> bytes: ...
    def control(self) -> tuple[int, bytes] | None: ...


def is_plain(connection: Connection) -> bool:
    """Whether the connection's socket carries the protocol itself."""
    if connection.pgconn.ssl_in_use:
        return False
    if connection.info.server_version < _GSS_ENCRYPTS_SINCE:
        return True
    sql = "SELECT count(*) FROM pg_stat_gssapi WHERE pid = pg_backend_pid() AND encrypted"
    return rows(connection, sql) == [(0,)]


class DirectCopy:
    """Reads one COPY after the other; between two, libpq may use the connection.

    Parameters
    ----------
    messages: makes what takes a stream apart.
    look_up: called when the socket has nothing, and may raise to end it.
    patience: milliseconds to wait for the socket until then.
    """

    def __init__(
        self,
        connection: Connection,
        messages: Callable[[], Messages],
        look_up: Callable[[], None],
        patience: int,
    ) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        self._socket.setblocking(False)
        self._messages = messages
        self._look_up = look_up
        self._patience = patience

    def read(self, sql: str, block: int) -> Iterator[bytes]:
        """The CopyData messages of the answer, as they stand in the stream, in pieces of about
        ``block`` bytes.

        Raises
        ------
        psycopg.Error: the server's own.
        ConnectionLostError: the connection broke.
        ProtocolError: the server answers with something else.
        """
        self._send(sql)
        messages = self._messages()
        error: Exception | None = None
        ready = False
        while not (ready and messages.whole):
            messages.push(self._receive(error))
            while (control := messages.control()) is not None:
                kind, body = control
                if kind == _ERROR:
                    error = _error(body)
                elif kind == _READY:
                    ready = True
                elif kind not in _EXPECTED and kind not in _ANY_TIME:
                    raise ProtocolError(f"the server answers COPY with a message {chr(kind)!r}")
            if messages.size >= block:
                yield messages.take()
        if error is not None:
            raise error
        if messages.size:
            yield messages.take()

    def _send(self, sql: str) -> None:
        text = sql.encode() + b"\0"
        left = b"Q" + (len(text) + 4).to_bytes(4) + text
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise _broken(error) from error

    def _receive(self, last: Exception | None) -> bytes:
        """What the socket has; ``last`` is the error after which it may end."""
        rested = False
        while True:
            try:
                received = self._socket.recv(_CHUNK)
            except BlockingIOError:
                if rested:
                    self._wait(select.POLLIN)
                else:
                    time.sleep(_REST)
                rested = True
                continue
            except OSError as error:
                raise _broken(error) from error
            if not received:
                raise last or _broken("the server closed it")
            return received

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        poll.poll(self._patience)
        self._look_up()

    def close(self) -> None:
        """Let the socket go; the connection stays."""
        self._socket.close()


def _broken(why: object) -> ConnectionLostError:
    return ConnectionLostError(f"the snapshot's connection broke: {why}")


def _error(body: bytes) -> Exception:
    """The psycopg error of an ErrorResponse."""
    psycopg = driver("psycopg", "postgres")
    fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0")}
    sqlstate, message = fields.get(b"C", ""), fields.get(b"M", "an error without words")
    try:
        known: Any = psycopg.errors.lookup(sqlstate)
    except KeyError:
        known = psycopg.DatabaseError
    error: Exception = known(message)
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    return error
