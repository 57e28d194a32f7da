"""The connections of one opening of the source, for the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

from penstock.errors import PenstockError, SlotInUseError
from penstock.ports import Context
from penstock.registry import driver
from penstock.sources.postgres import publication, slot
from penstock.sources.postgres.connection import Connection, Server
from penstock.sources.postgres.readers import Readers
from penstock.sources.postgres.replication import Replication, replication

TAKEOVER_PATIENCE: Final = 5.0
"""Seconds beyond ``wal_sender_timeout`` to wait for another client's slot to come free."""
_RETRY: Final = 0.5

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")


class Session:
    """An ordinary connection, a walsender's, and a snapshot's readers while there is one.

    Blocking calls run in threads, one at a time: ``close`` cancels what the server is doing for
    us, and must not pull a connection away from a thread that uses it.

    Attributes
    ----------
    made_publication: a publication that goes when the session is closed; empty for none.
    """

    def __init__(self, server: Server, context: Context) -> None:
        self.server = server
        self.context = context
        self.readers: Readers | None = None
        self.made_publication = ""
        self._connections: list[Connection] = []
        self._control: Connection | None = None
        self._walsender: Connection | None = None
        self._stream: Replication | None = None
        self._using = threading.Lock()

    async def connect(self, connect: Callable[[], Connection]) -> Connection:
        """A connection that goes with the session."""

        def connected() -> Connection:
            connection = connect()
            self._connections.append(connection)
            return connection

        return await self.blocking(connected)

    async def connect_control(self) -> None:
        """Open the ordinary connection."""
        self._control = await self.connect(self.server.connect)

    async def connect_walsender(self) -> None:
        """Open the walsender's."""
        self._walsender = await self.connect(self.server.walsender)

    @property
    def control(self) -> Connection:
        """The ordinary connection."""
        assert self._control is not None
        return self._control

    @property
    def walsender(self) -> Connection:
        """The walsender's connection, until it is taken."""
        assert self._walsender is not None
        return self._walsender

    async def connect_stream(self) -> Replication:
        """The stream of the walsender's connection, not started; it goes with the session, until
        it is taken."""

        def connected() -> Replication:
            self._stream = replication(self.walsender, self.control)
            return self._stream

        return await self.blocking(connected)

    def release_stream(self) -> None:
        """The stream and the walsender's connection are the caller's own from here on."""
        self._connections.remove(self.walsender)
        self._walsender = self._stream = None

    async def blocking(self, call: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
        """Run in a thread, after what runs now."""

        def alone() -> _T:
            with self._using:
                return call(*arguments)

        return await asyncio.to_thread(alone)

    async def when_free(
        self,
        name: str,
        call: Callable[[*_Arguments], _T],
        *arguments: *_Arguments,
        patience: float = 60.0,
    ) -> _T:
        """Do what needs a slot for itself; wait for a client that is about to lose it.

        Raises SlotInUseError, with who has it, after ``patience`` seconds and some more.
        """
        psycopg = driver("psycopg", "postgres")
        clock = self.context.clock
        until = clock.monotonic() + patience + TAKEOVER_PATIENCE
        told = False
        while True:
            try:
                return await self.blocking(call, *arguments)
            except (psycopg.errors.ObjectInUse, SlotInUseError) as error:
                if clock.monotonic() >= until:
                    raise await self.blocking(slot.in_use, self.control, name) from error
                if not told:
                    told = True
                    reader = await self.blocking(slot.in_use, self.control, name)
                    self.context.logger.warning(
                        "%s; waiting up to %.0f s for it to end",
                        reader.message,
                        until - clock.monotonic(),
                    )
            await clock.sleep(_RETRY)

    async def close_readers(self) -> None:
        """Let the snapshot go, once no thread asks its first reader for anything."""
        if self.readers is not None:
            await self.blocking(self.readers.close)
            self.readers = None

    async def close(self) -> None:
        """Disconnect. Safe to call twice."""
        if self._using.locked():
            for connection in self._connections:
                if not connection.closed:
                    await asyncio.to_thread(connection.cancel)
        await self.close_readers()
        await self.blocking(self._disconnect)

    def _disconnect(self) -> None:
        psycopg = driver("psycopg", "postgres")
        if self.made_publication:
            try:
                publication.drop(self.control, self.made_publication)
            except (psycopg.Error, PenstockError) as error:
                self.context.logger.warning(
                    "the publication %s stays on the server: %s", self.made_publication, error
                )
        self.made_publication = ""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        for connection in self._connections:
            connection.close()
        self._connections.clear()
