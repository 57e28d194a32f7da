"""COPY TO STDOUT, read off the connection's own socket (:mod:`.plain`)."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from typing import Final

from penstock.errors import ProtocolError
from penstock.sources.postgres.connection import Connection
from penstock.sources.postgres.plain import (
    ANY_TIME,
    ERROR,
    READY,
    Messages,
    PlainSocket,
    broken,
    error_of,
    query,
)
from penstock.sources.postgres.wire.copies import Frames

_REST: Final = 0.001
"""Seconds to let a socket fill that was emptied. The server writes 8 kB at a time: to be woken for
each would cost as much as all else."""
_EXPECTED: Final = frozenset(b"HcC")
"""CopyOutResponse, CopyDone, CommandComplete."""


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
        self._socket = PlainSocket(connection)
        self._messages = messages
        self._look_up = look_up
        self._patience = patience

    def read(self, sql: str, block: int) -> Iterator[Frames]:
        """The CopyData messages of the answer, as they stand in the stream, in pieces of about
        ``block`` bytes.

        Raises
        ------
        psycopg.Error: the server's own.
        ConnectionLostError: the connection broke.
        ProtocolError: the server answers with something else.
        """
        left = query(sql)
        while left := self._socket.send(left):
            self._wait(select.POLLOUT)
        messages = self._messages()
        error: Exception | None = None
        ready = False
        while not (ready and messages.whole):
            self._receive(messages, block, error)
            while (control := messages.control()) is not None:
                kind, body = control
                if kind == ERROR:
                    error = error_of(body)
                elif kind == READY:
                    ready = True
                elif kind not in _EXPECTED and kind not in ANY_TIME:
                    raise ProtocolError(f"the server answers COPY with a message {chr(kind)!r}")
            if messages.size >= block:
                yield messages.take()
        if error is not None:
            raise error
        if messages.size:
            yield messages.take()

    def _receive(self, messages: Messages, block: int, last: Exception | None) -> None:
        """Take what the socket has; ``last`` is the error after which it may end."""
        rested = False
        while (received := self._socket.receive(messages, block)) is None:
            if rested:
                self._wait(select.POLLIN)
            else:
                time.sleep(_REST)
            rested = True
        if not received:
            raise last or broken("the server closed it")

    def _wait(self, event: int) -> None:
        self._socket.wait(event, self._patience)
        self._look_up()

    def close(self) -> None:
        """Let the socket go; the connection stays."""
        self._socket.close()
