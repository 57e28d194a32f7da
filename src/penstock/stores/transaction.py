"""Transactions that handlers write in and that move the checkpoint.

What a handler gets cannot commit by itself: a Session works inside a savepoint, psycopg's
connection inside ``transaction()``. A SQLAlchemy Connection can; the next move then fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_origin

from penstock.errors import ConfigError, FencedError, SinkUnavailableError, StoreError
from penstock.model import Checkpoint, Mark

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from penstock.stores.sql import SqlStore

T = TypeVar("T")

_SAVEPOINT: Any = {"join_transaction_mode": "create_savepoint"}


class _Run(Protocol):
    """Does something with the transaction's connection, wherever that lives."""

    def __call__(self, work: Callable[[Connection], T], /) -> Awaitable[T]: ...


class SqlTransaction:
    """One open transaction.

    Parameters
    ----------
    connection: what the handler gets.
    run: does something with the SQLAlchemy connection that is under it.
    """

    def __init__(self, store: SqlStore, connection: Any, run: _Run) -> None:
        self._store = store
        self._connection = connection
        self._run = run

    @property
    def connection(self) -> Any:
        """A connection or session of the kind that was asked for."""
        return self._connection

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do something in the transaction."""
        with _told(self._store):
            return await self._run(work)

    async def move(
        self, sink: str, stream: str, seen: Checkpoint | None, data: Mark, safe: Checkpoint
    ) -> None:
        """Move the sink's checkpoint from ``seen``.

        Raises FencedError when it is not there: another copy of the pipeline has moved it.
        """
        key = {"pipeline": self._store.pipeline, "sink": sink, "stream": stream}
        table = self._store.tables.checkpoints

        def work(connection: Connection) -> bool:
            from sqlalchemy.exc import DBAPIError, IntegrityError

            values = {"data": str(data), "safe": safe.text}
            try:
                if seen is None:
                    connection.execute(table.insert().values(**key, **values))
                    return True
                change = table.update().filter_by(**key).where(table.c.safe == seen.text)
                return connection.execute(change.values(**values)).rowcount == 1
            except IntegrityError:
                return False
            except DBAPIError as error:  # above READ COMMITTED the loser is told so
                if getattr(error.orig, "sqlstate", None) == "40001":
                    return False
                raise

        if not await self.run(work):
            raise FencedError(
                f"another copy of pipeline {self._store.pipeline!r} has moved the checkpoint "
                f"of sink {sink!r} in {stream!r}",
                hint="this copy stops; nothing of its last transaction remains",
                mark=data,
            )


@asynccontextmanager
async def begin(store: SqlStore, kind: type) -> AsyncIterator[SqlTransaction]:
    """Begin a transaction for what a handler asked for; commit on exit, else roll back.

    Raises ConfigError for a kind that is none, and SinkUnavailableError when the database cannot
    be reached, so that the same changes are tried again.
    """
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

    kind = get_origin(kind) or kind
    if issubclass(kind, Connection | Session) or _is_psycopg(kind, "Connection"):
        manager = _blocking(store, kind)
    elif issubclass(kind, AsyncConnection | AsyncSession) or _is_psycopg(kind, "AsyncConnection"):
        manager = _awaited(store, kind)
    else:
        raise ConfigError(
            f"{kind.__module__}.{kind.__qualname__} is no connection that a handler can ask for",
            hint="SQLAlchemy's Connection, Session, AsyncConnection or AsyncSession, "
            "or psycopg's Connection or AsyncConnection",
        )
    if kind.__module__.startswith("psycopg") and store.backend != "postgresql":
        raise ConfigError(
            f"a handler asks for a psycopg connection, but {store.where} is no PostgreSQL",
            hint="ask for SQLAlchemy's Connection or Session",
        )
    async with manager as transaction:
        yield transaction


def _is_psycopg(kind: type, name: str) -> bool:
    return any(
        base.__module__.partition(".")[0] == "psycopg" and base.__name__ == name
        for base in kind.__mro__
    )


@asynccontextmanager
async def _blocking(store: SqlStore, kind: type) -> AsyncIterator[SqlTransaction]:
    """All in the store's thread; entering and leaving keep their order there even if cancelled."""
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    stack = ExitStack()

    def enter() -> tuple[Connection, Any]:
        outer = stack.enter_context(store.opened().begin())
        if issubclass(kind, Session):
            return outer, stack.enter_context(_committed(kind(bind=outer, **_SAVEPOINT)))
        if issubclass(kind, Connection):
            return outer, outer
        inner: Any = outer.connection.driver_connection
        stack.enter_context(inner.transaction())
        return outer, inner

    try:
        with _told(store):
            outer, given = await store.run(enter)

        async def run(work: Callable[[Connection], T]) -> T:
            return await store.run(lambda: work(outer))

        yield SqlTransaction(store, given, run)
    except BaseException as error:
        failure = (type(error), error, error.__traceback__)
        with _rolled_back(store):
            await store.run(lambda: stack.__exit__(*failure))
        raise
    with _told(store):
        await store.run(lambda: stack.__exit__(None, None, None))


@contextmanager
def _committed(session: Any) -> Iterator[Any]:
    """A session whose work is flushed into the outer transaction at the end."""
    with session:
        yield session
        session.commit()


@asynccontextmanager
async def _awaited(store: SqlStore, kind: type) -> AsyncIterator[SqlTransaction]:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    stack = AsyncExitStack()
    try:
        with _told(store):
            outer: AsyncConnection = await stack.enter_async_context(store.async_engine().begin())
            given: Any = outer
            if issubclass(kind, AsyncSession):
                session = _committed_async(kind(bind=outer, **_SAVEPOINT))
                given = await stack.enter_async_context(session)
            elif not issubclass(kind, AsyncConnection):
                given = (await outer.get_raw_connection()).driver_connection
                await stack.enter_async_context(given.transaction())
        yield SqlTransaction(store, given, outer.run_sync)
    except BaseException as error:
        with _rolled_back(store):
            await stack.__aexit__(type(error), error, error.__traceback__)
        raise
    with _told(store):
        await stack.__aexit__(None, None, None)


@asynccontextmanager
async def _committed_async(session: Any) -> AsyncIterator[Any]:
    async with session:
        yield session
        await session.commit()


@contextmanager
def _rolled_back(store: SqlStore) -> Iterator[None]:
    """A connection that cannot even roll back is lost, and its transaction with it."""
    from sqlalchemy.exc import SQLAlchemyError

    dbapi: Any = store.opened().dialect.dbapi
    with suppress(SQLAlchemyError, dbapi.Error):
        yield


@contextmanager
def _told(store: SqlStore) -> Iterator[None]:
    """The database's own failures: those of the connection are worth trying again."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    dbapi: Any = store.opened().dialect.dbapi
    try:
        yield
    except (SQLAlchemyError, dbapi.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        text = f"{store.where}: the transaction failed: {cause}"
        if isinstance(cause, dbapi.OperationalError | dbapi.InterfaceError):
            raise SinkUnavailableError(text) from error
        raise StoreError(text, hint="handlers never commit: penstock does") from error
