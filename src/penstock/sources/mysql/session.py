"""The connections of one opening of the source, for the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from penstock.ports import Context
from penstock.sources.mysql.connection import Server
from penstock.sources.mysql.dump import Replica
from penstock.sources.mysql.lease import Lease
from penstock.sources.mysql.readers import Readers

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")


class Session:
    """An ordinary connection, a snapshot's readers while there is one, and our lease.

    Blocking calls run in threads, one at a time.

    Parameters
    ----------
    replica: what we are to the server.
    """

    def __init__(self, server: Server, context: Context, replica: Replica) -> None:
        self.server = server
        self.context = context
        self.replica = replica
        self.readers: Readers | None = None
        self.lease: Lease | None = None
        self._control: Connection | None = None
        self._using = threading.Lock()

    async def connect(self) -> None:
        """Open the ordinary connection."""
        self._control = await self.blocking(self.server.connect)

    @property
    def control(self) -> Connection:
        """The ordinary connection."""
        assert self._control is not None
        return self._control

    async def take_lease(self) -> None:
        """Be the only reader of this pipeline. Raises SlotInUseError."""
        self.lease = lease = Lease(self.server, self.context.pipeline)
        await self.blocking(lease.take)

    async def blocking(self, call: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
        """Run in a thread, after what runs now."""

        def alone() -> _T:
            with self._using:
                return call(*arguments)

        return await asyncio.to_thread(alone)

    async def close_readers(self) -> None:
        """Let the snapshot go."""
        readers, self.readers = self.readers, None
        if readers is not None:
            await asyncio.to_thread(readers.close)

    async def close(self) -> None:
        """Disconnect. Safe to call twice."""
        await self.close_readers()
        if self.lease is not None:
            await asyncio.to_thread(self.lease.close)
            self.lease = None
        control, self._control = self._control, None
        if control is not None:
            await asyncio.to_thread(_end, control)


def _end(connection: Connection) -> None:
    # A farewell would wait for a thread that reads, or was never asked for.
    with suppress(Exception):
        connection._force_close()  # type: ignore[attr-defined] # not in its stubs
