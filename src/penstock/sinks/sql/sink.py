"""The ``sql`` sink's asynchronous face; the work is done in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from penstock.errors import SinkUnavailableError
from penstock.model import Batch, Checkpoint, Mark, Table
from penstock.ports import Context, Finding
from penstock.sinks.sql import preflight
from penstock.sinks.sql.checkpoints import Checkpoints
from penstock.sinks.sql.dialect import Dialect
from penstock.sinks.sql.session import Session

T = TypeVar("T")


class SqlSink:
    """Replicates tables into one target database.

    Whole source transactions are applied in target transactions that end, with the checkpoint
    in them, at a :meth:`flush` after a batch with a checkpoint. Nothing else commits, so a crash
    leaves a state that the source really had.

    When the connection breaks in a commit, nobody knows whether it was done. The sink then
    remembers what it tried to store, and the next :meth:`open` looks: :meth:`resume` says what
    is there, and the runner feeds again only what that does not cover.
    """

    stores_checkpoints = True

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._checkpoints: Checkpoints | None = None
        self._session: Session | None = None
        self._thread: ThreadPoolExecutor | None = None

    def target_name(self, table: Table) -> str:
        """A source table's name in the target, quoted for SQL."""
        return self._dialect.plain_name(table)

    async def open(self, context: Context) -> None:
        """Connect and read the stored checkpoints.

        Raises SinkUnavailableError when the target cannot be reached, SinkError when it refuses
        us, FencedError when another copy wrote since this sink last did.
        """
        await self.close()
        if self._checkpoints is None:
            self._checkpoints = Checkpoints(context.pipeline, context.component)
        checkpoints = self._checkpoints
        self._thread = ThreadPoolExecutor(1, f"penstock-{context.component or 'sql'}")

        def connect() -> None:
            self._session = Session(self._dialect, checkpoints, context.failpoints, context.logger)

        await self._do(connect)

    async def resume(self, stream: str) -> Checkpoint | None:
        """The checkpoint that committed with the stream's data."""
        return self._checkpoints.get(stream) if self._checkpoints is not None else None

    async def write(self, batch: Batch) -> None:
        """Apply a batch in the open target transaction.

        Raises SchemaError where a table's shape does not fit, SinkError where a row does not.
        """
        session = self._opened()
        await self._do(lambda: session.write(batch))

    async def flush(self) -> Mark | None:
        """Commit what was written, with the checkpoint; the last mark.

        Nothing is committed, and None returned, while a source transaction is incomplete.
        """
        session = self._opened()
        return await self._do(session.commit)

    async def close(self) -> None:
        """Roll back what was not flushed and disconnect."""
        thread, self._thread = self._thread, None
        if thread is None:
            return

        def disconnect() -> None:
            session, self._session = self._session, None
            if session is not None:
                session.close()

        try:
            await asyncio.get_running_loop().run_in_executor(thread, disconnect)
        finally:
            thread.shutdown(wait=False)

    def release(self) -> None:
        """Forget the checkpoints: other workers move them from now on."""
        self._checkpoints = None

    async def check(self, context: Context) -> list[Finding]:
        """Whether the target lets us in and lets us create tables."""
        checkpoints = Checkpoints(context.pipeline, context.component)
        return await asyncio.to_thread(preflight.check, self._dialect, checkpoints)

    async def teardown(self, context: Context) -> list[str]:
        """Forget the checkpoints; the tables stay."""
        checkpoints = Checkpoints(context.pipeline, context.component)
        return await asyncio.to_thread(preflight.forget, self._dialect, checkpoints)

    def _opened(self) -> Session:
        if self._session is None:
            raise SinkUnavailableError("the sql sink is not open")
        return self._session

    async def _do(self, work: Callable[[], T]) -> T:
        assert self._thread is not None
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except asyncio.CancelledError:
            # The statement may wait for a lock for long; nobody waits for it any more.
            if self._session is not None:
                await asyncio.to_thread(self._session.interrupt)
            raise
