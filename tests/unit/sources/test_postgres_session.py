"""How a session ends, without a server."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

from penstock.ports import Context
from penstock.sources.postgres.session import Session

WITHIN = 60.0


def test_readers_are_not_closed_under_a_thread_that_asks_one() -> None:
    """It is cancelled first; libpq must not lose its connection in the middle of a call."""
    asking, cancelled, closed = threading.Event(), threading.Event(), threading.Event()
    early: list[bool] = []

    def describe() -> None:
        asking.set()
        assert cancelled.wait(WITHIN)
        early.append(closed.wait(0.2))

    async def test() -> None:
        server: Any = None
        session = Session(server, Context("shop", "source"))
        readers: Any = SimpleNamespace(close=closed.set)
        session.readers = readers
        connection: Any = SimpleNamespace(closed=False, cancel=cancelled.set, close=lambda: None)
        session._connections.append(connection)
        describing = asyncio.ensure_future(session.blocking(describe))
        await asyncio.to_thread(asking.wait, WITHIN)
        await session.close()
        await describing

    asyncio.run(test())
    assert early == [False]
    assert closed.is_set()
