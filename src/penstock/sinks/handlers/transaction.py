"""The database transaction that holds handlers' writes and moves the checkpoint with them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias

from penstock.errors import ConfigError, SinkUnavailableError
from penstock.failpoints import Failpoint
from penstock.model import Batch, Checkpoint, Mark
from penstock.ports import Context, StoreTransaction, TransactionalStore
from penstock.sinks.handlers.workers import Workers

Call: TypeAlias = Callable[[], Any]
InThread: TypeAlias = Callable[[Call], Awaitable[Any]]

AGAIN: Final = frozenset({"40001", "40P01"})
"""SQLSTATEs after which only the whole transaction can be tried again."""


class Unit:
    """All handler calls between two checkpoints, as one database transaction.

    Parameters
    ----------
    kind: the connection or session class that the handlers ask for.

    Raises
    ------
    ConfigError: the store cannot share a transaction.
    """

    def __init__(self, context: Context, kind: type, workers: Workers) -> None:
        store: object = context.store
        if not isinstance(store, TransactionalStore):
            raise ConfigError(
                f"handlers with a {kind.__name__} write in the transaction that saves the "
                f"checkpoint, but {store!r} has none to share",
                hint="give the App the URL of the database they write to: "
                "store='postgresql+psycopg://…'",
            )
        self._store: TransactionalStore = store
        self._sink = context.component
        self._failpoints = context.failpoints
        self._kind = kind
        self._workers = workers
        self._manager: AbstractAsyncContextManager[StoreTransaction] | None = None
        self._transaction: StoreTransaction | None = None
        self._seen: dict[str, Checkpoint | None] = {}
        self._moves: dict[str, tuple[Mark, Checkpoint]] = {}
        self._last: dict[str, Mark] = {}

    async def resume(self, stream: str) -> Checkpoint | None:
        """The checkpoint that was committed last."""
        self._seen[stream] = await self._store.checkpoint(self._sink, stream)
        return self._seen[stream]

    async def begin(self, batch: Batch | None = None) -> None:
        """Have a transaction for this batch's calls; without a batch no checkpoint moves in it."""
        if batch is not None and batch.stream not in self._seen:
            await self.resume(batch.stream)
        if self._manager is None:
            manager = self._store.transaction(self._kind)
            self._transaction = await manager.__aenter__()
            self._manager = manager

    def end(self, batch: Batch) -> None:
        """The batch's calls are made; where it has a checkpoint, the commit will move to it."""
        if batch.last is not None:
            self._last[batch.stream] = batch.last
        if batch.checkpoint is not None and batch.stream in self._last:
            self._moves[batch.stream] = (self._last[batch.stream], batch.checkpoint)

    @property
    def connection(self) -> Any:
        """What the handlers get."""
        assert self._transaction is not None
        return self._transaction.connection

    async def call(self, call: Call, *, is_async: bool) -> None:
        """Call a handler inside a savepoint.

        Raises SinkUnavailableError where the whole transaction has to be run again.
        """
        connection = self.connection
        # The savepoint stands around a session, which may commit and roll back within.
        outer = getattr(connection, "bind", connection)
        session = connection if outer is not connection else None
        savepoint = getattr(outer, "begin_nested", None) or outer.transaction
        try:
            if is_async:
                await _awaited(savepoint, call, session)
            else:
                await self._workers.run(lambda: _within(savepoint, call, session))
        except Exception as error:
            if _is_lost(connection, error):
                raise SinkUnavailableError(f"the transaction is lost: {error}") from error
            raise

    async def commit(self) -> None:
        """Move the checkpoints and commit. Raises FencedError where another copy moved them."""
        manager = self._manager
        if manager is None or self._transaction is None:
            return
        for stream, (data, safe) in self._moves.items():
            await self._transaction.move(self._sink, stream, self._seen.get(stream), data, safe)
        self._failpoints.hit(Failpoint.SINK_COMMIT)
        self._manager = self._transaction = None
        await manager.__aexit__(None, None, None)
        self._seen.update({stream: safe for stream, (_, safe) in self._moves.items()})
        self._moves.clear()

    async def rollback(self) -> None:
        """Undo all calls since the last commit."""
        self._moves.clear()
        self._last.clear()
        self._seen.clear()
        manager, self._manager, self._transaction = self._manager, None, None
        if manager is not None:
            await manager.__aexit__(_RolledBack, _RolledBack(), None)


class _RolledBack(Exception):
    """Tells the store's context manager to roll back."""


def _within(savepoint: Call, call: Call, session: Any) -> None:
    with savepoint():
        try:
            if inspect.isawaitable(call()):
                raise TypeError("a handler with a blocking connection gave something to await")
        except BaseException:
            if session is not None:
                session.rollback()
            raise
        if session is not None:
            session.commit()


async def _awaited(savepoint: Call, call: Call, session: Any) -> None:
    async with savepoint():
        try:
            await call()
        except BaseException:
            if session is not None:
                await session.rollback()
            raise
        if session is not None:
            await session.commit()


def _is_lost(connection: Any, error: Exception) -> bool:
    """Whether no savepoint can bring this transaction back."""
    original = getattr(error, "orig", error)
    if getattr(error, "connection_invalidated", False):
        return True
    if getattr(original, "sqlstate", None) in AGAIN:
        return True
    return bool(getattr(connection, "broken", False))
