"""The App: functions that are called for changes."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from penstock import registry
from penstock.component import Component
from penstock.errors import ConfigError
from penstock.model import Operation
from penstock.pipeline.chain import AnyTransform
from penstock.pipeline.observe import Report, Status
from penstock.pipeline.pipeline import Pipeline
from penstock.ports import Finding, Source, Store
from penstock.sinks.handlers import HandlersSink, Policy
from penstock.sinks.handlers.handler import Handler, bind, bind_message
from penstock.sinks.handlers.policy import OnFailure
from penstock.sourcing import Snapshot, configured

Function = TypeVar("Function", bound=Callable[..., Any])


class App:
    """Calls your functions for the changes of a database: a pipeline whose sink is Python.

    Parameters
    ----------
    name: ``[a-z0-9_]{1,54}``; names the state, and the slot on the server.
    source: a URL, a source's configuration (``Postgres(dsn=…)``), or any object with the methods
        of :class:`penstock.ports.Source`.
    store: where state survives, as in :class:`penstock.Pipeline`. Handlers that take a connection
        or session write into this store's database.
    tables: names or patterns; by default those that the handlers name.
    snapshot: whether existing rows come first, as ``read`` changes.
    concurrency: how many changes of different keys may be in handlers at a time.
    on_failure: what follows when a handler has failed on a change for good: ``park`` sets it and
        the later ones of its key aside, ``stop`` stops the pipeline. By default park, but stop
        where handlers write in the checkpoint's transaction.
    max_parked: how many changes may be set aside before the pipeline is stuck.
    retries: how often a failing handler is called again.
    retry_for: seconds over which those retries are spread.
    drain_timeout: seconds that a stop waits for the handlers.
    transforms: applied before the handlers, in order, as in :class:`penstock.Pipeline`.

    Example
    -------
    ::

        app = App("order_mail", source=os.environ["DATABASE_URL"])

        @app.on("public.orders", "insert", "update")
        async def announce(change: Change[Order]) -> None:
            await mailer.send(change.row.id, change.row.status, dedupe=change.id)
    """

    def __init__(
        self,
        name: str,
        source: str | Component | Source,
        *,
        store: Store | str | Path | None = None,
        tables: Sequence[str] | None = None,
        snapshot: Snapshot = "never",
        concurrency: int = 1,
        on_failure: OnFailure | None = None,
        max_parked: int = 1000,
        retries: int = 5,
        retry_for: float = 30.0,
        drain_timeout: float = 25.0,
        transforms: Iterable[AnyTransform] = (),
    ) -> None:
        self.name = name
        self._source = source
        self._store = store
        self._tables = tables
        self._snapshot = snapshot
        self._policy = Policy(concurrency, on_failure, max_parked, retries, retry_for)
        self._drain_timeout = drain_timeout
        self.transforms = tuple(transforms)
        self._handlers: list[Handler] = []
        self._messages: list[Handler] = []

    # -- registration

    def on(
        self,
        table: str,
        *operations: Operation,
        max_rows: int = 1000,
        max_wait: float = 1.0,
    ) -> Callable[[Function], Function]:
        """Register a handler; the function itself stays as it is.

        Its first parameter is a ``Change``, a ``Change[T]`` whose ``row`` is a T, or a
        ``list[Change[T]]``. A parameter that is an SQLAlchemy or psycopg session or connection
        gets the transaction that saves the checkpoint: never commit it.

        Parameters
        ----------
        table: ``schema.name``, or a pattern with ``*``.
        operations: what it is called for; all but ``read`` (rows of a snapshot) when none is
            named.
        max_rows: the longest list of a handler that takes lists.
        max_wait: seconds after which a list that is not full is handed over. It is handed over
            earlier where progress is saved, which is at every pause of the log.

        Raises
        ------
        ConfigError: the signature cannot be filled; names the parameter and the place.
        """
        names = _names_around(sys._getframe(1))

        def register(function: Function) -> Function:
            handler = bind(
                function, table, operations, names=names, max_rows=max_rows, max_wait=max_wait
            )
            self._register(self._handlers, handler)
            return function

        return register

    def on_message(self, prefix: str = "*") -> Callable[[Function], Function]:
        """Register a handler of log messages (``pg_logical_emit_message``).

        Its first parameter is a ``Message``. A message has no key to park it by, so a handler
        that keeps failing on one stops the pipeline.

        Parameters
        ----------
        prefix: the messages' prefix; ``*`` for all.
        """
        names = _names_around(sys._getframe(1))

        def register(function: Function) -> Function:
            self._register(self._messages, bind_message(function, prefix, names=names))
            return function

        return register

    def _register(self, handlers: list[Handler], handler: Handler) -> None:
        if "pipeline" in self.__dict__:
            raise ConfigError(
                f"handler {handler} is registered after App {self.name!r} was started",
                hint="register handlers where the App is made",
            )
        handlers.append(handler)

    # -- the pipeline

    def sink(self) -> HandlersSink:
        """A sink that calls the handlers.

        Raises ConfigError when there is no handler, or when they do not go together.
        """
        if not self._handlers and not self._messages:
            raise ConfigError(
                f"App {self.name!r} has no handler", hint='decorate one with @app.on("schema.name")'
            )
        return HandlersSink(self._handlers, self._messages, self._policy)

    def open_store(self, store: Store | str | Path | None) -> Store:
        """The store that a ``store=`` argument means to this App."""
        transactional = any(h.connection for h in (*self._handlers, *self._messages))
        made: Store = registry.resolve("penstock.stores:store_for")(
            store, transactional=transactional
        )
        return made

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline behind the App, made when first asked for. Raises ConfigError."""
        sink = self.sink()
        pipeline = Pipeline(
            self.name,
            self._made_source(),
            [sink],
            self.transforms,
            None if self._store is None else self.open_store(self._store),
            drain_timeout=self._drain_timeout,
        )
        sink.describe = pipeline.tables
        return pipeline

    def _made_source(self) -> Any:
        chosen: dict[str, Any] = {}
        if self._tables is not None:
            chosen["tables"] = tuple(self._tables)
        if self._snapshot != "never":
            chosen["snapshot"] = self._snapshot
        defaults: dict[str, Any] = {}
        if self._handlers:
            defaults["tables"] = tuple(dict.fromkeys(h.tables for h in self._handlers))
        if self._messages:
            defaults["messages"] = tuple(dict.fromkeys(h.tables for h in self._messages))
        source = configured(self._source, chosen, defaults)
        if getattr(source, "snapshot", "never") != "never" and not any(
            "read" in handler.operations for handler in self._handlers
        ):
            raise ConfigError(
                f"App {self.name!r} takes a snapshot, but no handler takes its rows",
                hint='add one: @app.on("schema.name", "read", "insert"), or snapshot="never"',
            )
        return source.build() if isinstance(source, Component) else source

    def run(self, *, until_caught_up: bool = False) -> Report:
        """Run, and block until stopped; see :meth:`penstock.Pipeline.run`."""
        return self.pipeline.run(until_caught_up=until_caught_up)

    async def serve(self, *, until_caught_up: bool = False) -> Report:
        """Run inside a running event loop; see :meth:`penstock.Pipeline.serve`."""
        return await self.pipeline.serve(until_caught_up=until_caught_up)

    def stop(self) -> None:
        """Read no more, let the handlers finish, save, leave. Safe from any thread."""
        self.pipeline.stop()

    def check(self) -> list[Finding]:
        """Look for what would go wrong, without starting."""
        return self.pipeline.check()

    def status(self) -> Status:
        """State, checkpoint, lag and counts."""
        return self.pipeline.status()

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncIterator[None]:
        """Run beside a web application: ``FastAPI(lifespan=app.lifespan)``.

        The pipeline starts with the application and is drained when that shuts down. When it fails
        in between, this is logged at once as critical, and raised at shutdown, so that the server
        process ends with an error.
        """
        serving = asyncio.create_task(self.pipeline.serve(), name=f"penstock-{self.name}")
        serving.add_done_callback(self._tell_failure)
        try:
            yield
        finally:
            if not serving.done():
                self.pipeline.stop()
            await serving

    def _tell_failure(self, serving: asyncio.Task[Report]) -> None:
        error = None if serving.cancelled() else serving.exception()
        if error is not None:
            logging.getLogger("penstock").critical(
                "App %s stopped: %s", self.name, error, exc_info=error
            )


def _names_around(frame: FrameType) -> dict[str, Any]:
    """The local names at a place and in the functions around it.

    Annotations that are strings may name classes that were made there.
    """
    module, names = frame.f_globals, dict[str, Any]()
    around: FrameType | None = frame
    while around is not None and around.f_globals is module:
        names = {**around.f_locals, **names}
        around = around.f_back
    return names
