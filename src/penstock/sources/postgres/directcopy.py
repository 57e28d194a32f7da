"""COPY TO STDOUT, read off the connection's own socket where nothing encrypts it.

Of every row libpq makes a piece of memory, and psycopg three objects: more than all that the native
kernel does with the row. So between two of libpq's commands the query is sent and its whole answer
read here, up to ReadyForQuery, a megabyte of rows at a time. libpq, which sees nothing of it, finds
the connection as it was.

Facts: PostgreSQL manual, *Message Flow* and *Message Formats*.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from penstock.errors import ConnectionLostError, ProtocolError
from penstock.registry import driver
from penstock.sources.postgres.connection import Connection, rows

if TYPE_CHECKING:
    import psycopg

Whole = Callable[[bytearray, int, int], int]
"""Where the whole CopyData messages end that begin at a place of a buffer, which is filled so far."""

_ROOM: Final = 1 << 16
_GSS_ENCRYPTS_SINCE: Final = 120000
_HEAD: Final = 5  # a letter, and a length that counts itself
_COPY_DATA: Final = ord("d")
_QUIET: Final = frozenset(b"HcCNSA")
"""CopyOutResponse, CopyDone, CommandComplete; and what a server may say at any time: notices,
settings, notifications."""
_ERROR, _READY = b"EZ"


def is_plain(connection: Connection) -> bool:
    """Whether the connection's socket carries the protocol itself."""
    if connection.pgconn.ssl_in_use:
        return False
    if connection.info.server_version < _GSS_ENCRYPTS_SINCE:
        return True
    sql = "SELECT coalesce(bool_or(encrypted), false) FROM pg_stat_gssapi WHERE pid = pg_backend_pid()"
    return not rows(connection, sql)[0][0]


class DirectCopy:
    """Reads one COPY after the other; between two, libpq may use the connection.

    Parameters
    ----------
    whole: the native kernel's.
    look_up: called when the server is silent, and now and then; may raise to end it.
    patience: milliseconds of silence until ``look_up`` is called.
    """

    def __init__(
        self, connection: Connection, whole: Whole, look_up: Callable[[], None], patience: int
    ) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        self._socket.setblocking(False)
        self._whole = whole
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
        buffer = bytearray(block + _ROOM)
        begin = end = 0  # of what was not looked at
        error: psycopg.Error | None = None
        ready = False
        while not ready or end:
            begin = self._whole(buffer, begin, end)
            control = self._control(buffer, begin, end)
            if begin and (begin >= block or control is not None):
                yield bytes(memoryview(buffer)[:begin])
                buffer[: end - begin] = buffer[begin:end]
                begin, end = 0, end - begin
            if control is None:
                if end == len(buffer):
                    buffer.extend(bytes(len(buffer)))
                end += self._receive(buffer, end, error)
                continue
            kind, body = control
            if kind == _ERROR:
                error = _error(body)
            elif kind == _READY:
                ready = True
            elif kind not in _QUIET:
                raise ProtocolError(f"the server answers COPY with a message {chr(kind)!r}")
            size = _HEAD + len(body)
            buffer[: end - size] = buffer[size:end]
            end -= size
        if error is not None:
            raise error

    def _control(self, buffer: bytearray, at: int, end: int) -> tuple[int, bytes] | None:
        """The whole message at ``at`` that is not CopyData, if one is there."""
        if end - at < _HEAD or buffer[at] == _COPY_DATA:
            return None
        length = int.from_bytes(buffer[at + 1 : at + _HEAD])
        if length < _HEAD - 1:
            raise ProtocolError(f"a message of {length} bytes", offset=at)
        beyond = at + 1 + length
        return (buffer[at], bytes(buffer[at + _HEAD : beyond])) if beyond <= end else None

    def _send(self, sql: str) -> None:
        text = sql.encode() + b"\0"
        left = memoryview(b"Q" + (len(text) + 4).to_bytes(4) + text)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise ConnectionLostError(f"the snapshot's connection broke: {error}") from error

    def _receive(self, buffer: bytearray, at: int, last: Exception | None) -> int:
        while True:
            try:
                with memoryview(buffer) as view:
                    size = self._socket.recv_into(view[at:])
            except BlockingIOError:
                self._wait(select.POLLIN)
                continue
            except OSError as error:
                raise ConnectionLostError(f"the snapshot's connection broke: {error}") from error
            if not size:
                raise last or ConnectionLostError("the server closed the snapshot's connection")
            return size

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        poll.poll(self._patience)
        self._look_up()

    def close(self) -> None:
        """Let the socket go; the connection stays."""
        self._socket.close()


def _error(body: bytes) -> psycopg.Error:
    """The psycopg error of an ErrorResponse."""
    psycopg = driver("psycopg", "postgres")
    fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0")}
    sqlstate, message = fields.get(b"C", ""), fields.get(b"M", "an error without words")
    try:
        known = psycopg.errors.lookup(sqlstate)
    except KeyError:
        known = psycopg.DatabaseError
    error: psycopg.Error = known(message)
    error.sqlstate = sqlstate
    return error
