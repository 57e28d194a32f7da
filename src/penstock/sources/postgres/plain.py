"""A connection's own socket, for who reads the protocol beside libpq where nothing encrypts it.

Of every CopyData message libpq makes a piece of memory, and psycopg three objects: more work than
all that the native kernel does with a row. So between two of libpq's commands a query is sent and
its whole answer read here, many rows at a time. libpq sees nothing of it, and finds the connection
as it was.

Facts: PostgreSQL manual, *Message Flow* and *Message Formats*.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Any, Final, Protocol

from penstock.errors import ConnectionLostError
from penstock.registry import driver
from penstock.sources.postgres.connection import Connection, rows
from penstock.sources.postgres.wire.copies import Frames

ERROR, READY = b"EZ"
ANY_TIME: Final = frozenset(b"NSA")
"""Notices, settings, notifications."""

_GSS_ENCRYPTS_SINCE: Final = 120000
_DETAILS: Final = {b"D": "DETAIL:  ", b"H": "HINT:  ", b"W": "CONTEXT:  "}


class Messages(Protocol):
    """The native kernel's view of a stream."""

    @property
    def size(self) -> int: ...
    @property
    def whole(self) -> bool: ...
    def receive(self, socket: socket.socket, enough: int, /) -> int | None: ...
    def take(self) -> Frames: ...
    def control(self) -> tuple[int, bytes] | None: ...
    def heard(self) -> tuple[int, list[bytes]]: ...


def is_plain(connection: Connection, asking: Connection) -> bool:
    """Whether a connection's socket carries the protocol itself; ``asking`` asks the server."""
    if connection.pgconn.ssl_in_use:
        return False
    if connection.info.server_version < _GSS_ENCRYPTS_SINCE:
        return True
    sql = "SELECT count(*) FROM pg_stat_gssapi WHERE pid = %s AND encrypted"
    return rows(asking, sql, connection.info.backend_pid) == [(0,)]


class PlainSocket:
    """Sends and receives on a connection's socket, and never blocks but in :meth:`wait`.

    Raises ConnectionLostError when the connection breaks.
    """

    def __init__(self, connection: Connection) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """For poll."""
        return self._socket.fileno()

    def send(self, data: bytes) -> bytes:
        """Send what the socket takes; the rest."""
        try:
            return data[self._socket.send(data) :]
        except BlockingIOError:
            return data
        except OSError as error:
            raise broken(error) from error

    def receive(self, into: Messages, enough: int) -> int | None:
        """Add what the socket has, until about ``enough`` bytes are there: how many there were,
        None for nothing, and 0 at its end. Raises ProtocolError."""
        try:
            return into.receive(self._socket, enough)
        except OSError as error:
            raise broken(error) from error

    def wait(self, event: int, milliseconds: float | None) -> bool:
        """Wait for a poll event; whether it came."""
        poll = select.poll()
        poll.register(self._socket, event)
        return bool(poll.poll(milliseconds))

    def close(self) -> None:
        """Let the socket go; the connection stays."""
        self._socket.close()


def query(sql: str) -> bytes:
    """The Query message."""
    text = sql.encode() + b"\0"
    return b"Q" + (len(text) + 4).to_bytes(4) + text


def broken(why: object) -> ConnectionLostError:
    """The error of a socket that is of no more use."""
    return ConnectionLostError(f"the connection to the server broke: {why}")


def error_of(body: bytes) -> Exception:
    """The psycopg error of an ErrorResponse, in the words that libpq gives it."""
    psycopg = driver("psycopg", "postgres")
    fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0")}
    sqlstate, message = fields.get(b"C", ""), fields.get(b"M", "an error without words")
    details = [word + fields[field] for field, word in _DETAILS.items() if field in fields]
    try:
        known: Any = psycopg.errors.lookup(sqlstate)
    except KeyError:
        known = psycopg.DatabaseError
    error: Exception = known("\n".join((message, *details)))
    error.sqlstate = sqlstate  # type: ignore[attr-defined] # as psycopg's own has it
    return error
