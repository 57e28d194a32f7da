"""State in any database that SQLAlchemy reaches, and transactions that handlers share.

Four tables, made when they are missing, serve any number of pipelines. What handlers' transactions
move stands in a table of its own, so that a save does not wait for a handler's row lock.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from penstock.errors import ConfigError, MissingExtraError, StoreError
from penstock.model import Checkpoint
from penstock.ports import Context, Parked, Saved, StoreTransaction, StreamState
from penstock.registry import driver
from penstock.stores import engines
from penstock.stores.encoding import canonical, dump_parked, load_json, load_parked, load_stream
from penstock.stores.engines import PATIENCE
from penstock.stores.tables import VERSION, Tables, load, read_facts

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from penstock.stores.transaction import SqlTransaction

T = TypeVar("T")

_EXTRA: Final = "sql"


def read_url(url: str) -> URL:
    """Parse a database URL. Raises ConfigError, without showing the URL, when it is none."""
    sqlalchemy = driver("sqlalchemy", _EXTRA)
    try:
        parsed: URL = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigError(
            "the store's URL cannot be read",
            hint="write driver://user:password@host:port/database, special characters as %XX",
        ) from None
    return parsed


class SqlStore:
    """A store in a database, which handlers' transactions can share.

    Parameters
    ----------
    url: an SQLAlchemy URL; ``postgresql://`` means the driver psycopg. On SQLite, which has one
        writer at a time, a save waits for the handlers' transaction.
    schema: where the tables lie; by default the connection's own.

    Raises ConfigError when the URL cannot be read, or its driver cannot verify a distant server.
    """

    def __init__(self, url: str | URL, *, schema: str | None = None) -> None:
        parsed = read_url(url) if isinstance(url, str) else url
        self._url, self._arguments = engines.sync_url(parsed)
        self._async_url, self._async_arguments = engines.async_url(parsed)
        self.where = "the store at " + parsed.set(query={}).render_as_string(hide_password=True)
        self.tables = Tables(schema)
        self.pipeline = ""
        self.engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._writer = asyncio.Lock()
        self._shared: tuple[asyncio.Task[Any] | None, SqlTransaction] | None = None

    def __repr__(self) -> str:
        return f"<SqlStore: {self.where}>"

    @property
    def backend(self) -> str:
        """The database's kind: ``postgresql``, ``sqlite``, …"""
        return self._url.get_backend_name()

    @property
    def _one_writer(self) -> bool:
        return self.backend == "sqlite"

    # -- Store

    async def open(self, context: Context) -> None:
        """Connect, and make the tables when they are missing.

        Raises StoreError when the database cannot be reached or the tables are damaged or of
        another version.
        """
        await self.close()
        self.pipeline = context.pipeline
        self._writer = asyncio.Lock()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="penstock-store")
        try:
            await self.run(self._open)
        except BaseException:
            await self.close()
            raise

    def _open(self) -> None:
        with self.told("cannot be opened"):
            self.engine = self._make_engine()
            with self.engine.begin() as connection:
                if not self.tables.exist(connection, self.where):
                    self.tables.create(connection)
                read_facts(connection, self.tables, self.pipeline, self.where)

    def _make_engine(self) -> Engine:
        sqlalchemy = driver("sqlalchemy", _EXTRA)
        engine: Engine = self._driven(
            lambda: sqlalchemy.create_engine(
                self._url,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args=self._arguments,
            )
        )
        engines.set_up(engine)
        return engine

    def _driven(self, make: Callable[[], T]) -> T:
        from sqlalchemy.exc import InvalidRequestError, NoSuchModuleError

        try:
            return make()
        except ModuleNotFoundError as missing:
            raise MissingExtraError(
                f"{self.where}: {missing.name} is not installed",
                hint=f"pip install {missing.name}",
            ) from missing
        except (InvalidRequestError, NoSuchModuleError) as error:
            raise ConfigError(f"{self.where}: {error}") from error

    async def peek(self, context: Context) -> Saved | None:
        """What ``load`` would give, without ``open``; makes no tables."""
        name = context.pipeline
        return await self._peek(lambda c: load(c, self.tables, name, self.where))

    async def peek_parked(self, context: Context) -> list[Parked]:
        """What ``parked`` would give, in the same way."""
        return await self._peek(lambda c: self._parked(c, context.pipeline, None)) or []

    async def _peek(self, look: Callable[[Connection], T]) -> T | None:
        def peek() -> T | None:
            if self._one_writer and not os.path.exists(self._url.database or ""):
                return None  # to connect would make the file
            with self.told("cannot be read"):
                engine = self._make_engine()
                try:
                    with engine.connect().execution_options(penstock_reads=True) as connection:
                        if not self.tables.exist(connection, self.where):
                            return None
                        return look(connection)
                finally:
                    engine.dispose()

        return await asyncio.to_thread(peek)

    async def load(self) -> Saved | None:
        """All that is saved of the pipeline; None when it was never saved."""
        return await self._read(lambda c: load(c, self.tables, self.pipeline, self.where))

    async def save(
        self,
        streams: Mapping[tuple[str, str], StreamState] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge the streams and replace the facts, where given; durable on return."""
        text = None if facts is None else canonical(facts)
        rows = [
            (sink, stream, str(s.data) if s.data else None, s.safe.text if s.safe else None)
            for (sink, stream), s in (streams or {}).items()
        ]

        def work(connection: Connection) -> None:
            table = self.tables.facts
            values = {} if text is None else {"facts": text}
            mine = table.c.pipeline == self.pipeline
            update = table.update().where(mine).values(version=VERSION, **values)
            if not connection.execute(update).rowcount:
                connection.execute(
                    table.insert().values(
                        pipeline=self.pipeline, version=VERSION, facts=text or "{}"
                    )
                )
            for sink, stream, data, safe in rows:
                key = {"pipeline": self.pipeline, "sink": sink, "stream": stream}
                table = self.tables.streams
                change = table.update().filter_by(**key).values(data=data, safe=safe)
                if not connection.execute(change).rowcount:
                    connection.execute(table.insert().values(**key, data=data, safe=safe))

        await self._write(work)

    async def park(self, parked: Sequence[Parked]) -> None:
        """Set changes aside, durable on return. Parking the same id again changes nothing."""
        rows = [
            {
                "pipeline": self.pipeline,
                "sink": one.sink,
                "id": one.id,
                "record": canonical(dump_parked(one)),
            }
            for one in parked
        ]

        def work(connection: Connection) -> None:
            from sqlalchemy import select

            table = self.tables.parked
            for row in rows:
                key = {name: row[name] for name in ("pipeline", "sink", "id")}
                if connection.execute(select(table.c.number).filter_by(**key)).first() is None:
                    connection.execute(table.insert().values(**row))

        await self._write(work, joins=True)

    async def parked(self, sink: str | None = None) -> list[Parked]:
        """What is set aside, in the order in which it was parked."""
        return await self._read(lambda c: self._parked(c, self.pipeline, sink))

    def _parked(self, connection: Connection, pipeline: str, sink: str | None) -> list[Parked]:
        from sqlalchemy import select

        table = self.tables.parked
        found = select(table.c.record).where(table.c.pipeline == pipeline)
        if sink is not None:
            found = found.where(table.c.sink == sink)
        records = connection.execute(found.order_by(table.c.number)).scalars().all()
        return [load_parked(load_json(record, self.where), self.where) for record in records]

    async def unpark(self, sink: str, ids: Sequence[str]) -> None:
        """Forget parked changes."""

        def work(connection: Connection) -> None:
            for id in ids:
                key = {"pipeline": self.pipeline, "sink": sink, "id": id}
                connection.execute(self.tables.parked.delete().filter_by(**key))

        await self._write(work, joins=True)

    async def clear(self) -> None:
        """Forget the pipeline; its tables stay, for others."""

        def work(connection: Connection) -> None:
            for table in self.tables.metadata.sorted_tables:
                connection.execute(table.delete().where(table.c.pipeline == self.pipeline))

        await self._write(work)

    async def close(self) -> None:
        """Let go of all connections."""
        executor, self._executor = self._executor, None
        engine, self.engine = self.engine, None
        asynchronous, self._async_engine = self._async_engine, None
        if asynchronous is not None:
            await asynchronous.dispose()
        if executor is not None:
            if engine is not None:
                await asyncio.get_running_loop().run_in_executor(executor, engine.dispose)
            executor.shutdown(wait=False)

    # -- TransactionalStore

    def transaction(self, kind: type) -> AbstractAsyncContextManager[StoreTransaction]:
        """One transaction: commits on exit, rolls back on an exception.

        Parameters
        ----------
        kind: what the handler asked for: SQLAlchemy's ``Connection``, ``Session``,
            ``AsyncConnection`` or ``AsyncSession``, psycopg's ``Connection`` or
            ``AsyncConnection``.
        """
        return self._transaction(kind)

    @asynccontextmanager
    async def _transaction(self, kind: type) -> AsyncIterator[StoreTransaction]:
        from penstock.stores.transaction import begin

        async with self._turn(), begin(self, kind) as transaction:
            self._shared = (asyncio.current_task(), transaction)
            try:
                yield transaction
            finally:
                self._shared = None

    async def checkpoint(self, sink: str, stream: str) -> Checkpoint | None:
        """The checkpoint that the transactions moved last."""

        def work(connection: Connection) -> str | None:
            from sqlalchemy import select

            key = {"pipeline": self.pipeline, "sink": sink, "stream": stream}
            found = select(self.tables.checkpoints.c.safe).filter_by(**key)
            text: str | None = connection.execute(found).scalar()
            return text

        text = await self._read(work)
        if text is None:
            return None
        return load_stream(stream, None, text, self.where).safe

    # -- what both share

    def async_engine(self) -> AsyncEngine:
        """The engine of transactions that are awaited, made when first asked for."""
        if self._async_engine is None:
            from sqlalchemy.ext.asyncio import create_async_engine

            engine = self._driven(
                lambda: create_async_engine(
                    self._async_url,
                    pool_pre_ping=True,
                    hide_parameters=True,
                    connect_args=self._async_arguments,
                )
            )
            engines.set_up(engine.sync_engine)
            self._async_engine = engine
        return self._async_engine

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work in the store's own thread."""
        if self._executor is None:
            raise StoreError(f"{self.where} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until nobody else writes, where the database takes one writer at a time."""
        if not self._one_writer:
            yield
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._writer.acquire()
        except TimeoutError:
            raise StoreError(
                f"{self.where}: a handler's transaction was open for {PATIENCE} s",
                hint="SQLite has one writer at a time: make the handlers faster, or use PostgreSQL",
            ) from None
        try:
            yield
        finally:
            self._writer.release()

    async def _read(self, work: Callable[[Connection], T]) -> T:
        def read() -> T:
            with (
                self.told("cannot be read"),
                self.opened().connect().execution_options(penstock_reads=True) as connection,
            ):
                return work(connection)

        return await self.run(read)

    async def _write(self, work: Callable[[Connection], None], *, joins: bool = False) -> None:
        """Do ``work`` in a transaction of its own; one that ``joins`` is part of the handlers'
        transaction where that holds the only place to write."""
        shared = self._shared
        if joins and self._one_writer and shared and shared[0] is asyncio.current_task():
            await shared[1].run(work)
            return

        def write() -> None:
            with self.told("cannot be written"), self.opened().begin() as connection:
                work(connection)

        async with self._turn():
            await self.run(write)

    def opened(self) -> Engine:
        """The engine. Raises StoreError when the store is not open."""
        if self.engine is None:
            raise StoreError(f"{self.where} is not open")
        return self.engine

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Turn the errors of SQLAlchemy and its driver into StoreErrors."""
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            denied = getattr(cause, "sqlstate", None) == "42501"
            raise StoreError(
                f"{self.where} {what}: {cause}",
                hint="GRANT CREATE ON SCHEMA <schema> TO <role>" if denied else "",
            ) from error
