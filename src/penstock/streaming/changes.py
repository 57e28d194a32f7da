"""stream(): changes in a loop, in plain and in async code."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from penstock.component import Component
from penstock.errors import ConfigError
from penstock.model import OPERATIONS, Batch, Change, Operation
from penstock.pipeline.chain import AnyTransform
from penstock.ports import Source, Store
from penstock.sourcing import Snapshot, configured
from penstock.streaming.portal import Portal
from penstock.streaming.session import Session


def stream(
    source: str | Component | Source,
    *,
    tables: Sequence[str] | None = None,
    name: str | None = None,
    snapshot: Snapshot = "never",
    operations: Collection[Operation] | None = None,
    autocommit: bool = True,
    store: Store | str | Path | None = None,
    until_caught_up: bool = False,
    transforms: Iterable[AnyTransform] = (),
) -> Stream:
    """Changes, to loop over: ``with`` and ``for``, or ``async with`` and ``async for``.

    Parameters
    ----------
    source: a URL, a source's configuration, or any :class:`penstock.ports.Source`.
    tables: names or patterns ``schema.table``; all tables by default.
    name: makes the stream durable: it goes on where the last one of this name was done. A change
        is done when the loop asks for the next one, or leaves ``with`` without an exception.
        Without a name nothing is remembered and nothing stays on the server.
    snapshot: whether existing rows come first, as ``read`` changes.
    operations: only these; all by default.
    autocommit: False leaves it to ``commit()`` to say what is done.
    store: where a durable stream's state survives, as in :class:`penstock.Pipeline`.
    until_caught_up: end after what was committed before the start, instead of waiting for more.
    transforms: applied before the loop, in order, as in :class:`penstock.Pipeline`.

    Raises
    ------
    ConfigError: the arguments do not go together. What stops the stream later is raised in the
        loop.

    Example
    -------
    ::

        with penstock.stream(dsn, tables=["public.orders"]) as changes:
            for change in changes:
                print(change.operation, change.table, change.key, change.after)
    """
    if name is None and (store is not None or not autocommit):
        raise ConfigError(
            "a stream without a name remembers nothing",
            hint="give it a name, or leave store and autocommit out",
        )
    unknown = sorted(set(operations or ()) - set(OPERATIONS))
    if unknown:
        raise ConfigError(
            f"there is no operation {unknown[0]!r}", hint="known: " + ", ".join(OPERATIONS)
        )
    chosen: dict[str, Any] = {}
    if tables is not None:
        chosen["tables"] = tuple(tables)
    if snapshot != "never":
        chosen["snapshot"] = snapshot
    config = configured(source, chosen, {} if name else {"temporary": True})
    session = Session(
        name or f"stream_{os.getpid()}_{secrets.token_hex(4)}",
        config.build() if isinstance(config, Component) else config,
        "memory" if name is None else store,
        operations=frozenset(operations or OPERATIONS),
        autocommit=autocommit,
        until_caught_up=until_caught_up,
        transforms=transforms,
    )
    return Stream(session)


class Stream:
    """What :func:`stream` returns; enter it by ``with`` or by ``async with``, once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._portal: Portal | None = None

    def __enter__(self) -> Changes:
        portal = self._portal = Portal("penstock-stream")
        try:
            portal.call(self._session.start())
        except BaseException:
            portal.close()
            raise
        return Changes(self._session, portal)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        portal, self._portal = self._portal, None
        if portal is not None:
            try:
                portal.call(self._session.finish(error))
            finally:
                portal.close()

    async def __aenter__(self) -> AsyncChanges:
        await self._session.start()
        return AsyncChanges(self._session)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.finish(error)


class Changes(Iterator[Change]):
    """A stream in plain code: the pipeline runs in a thread of its own."""

    def __init__(self, session: Session, portal: Portal) -> None:
        self._session = session
        self._portal = portal

    def __next__(self) -> Change:
        while (change := self._session.next()) is None:
            if not self._portal.call(self._session.advance()):
                raise StopIteration
        return change

    def batches(self) -> Iterator[Batch]:
        """The same changes, a batch at a time.

        A batch is done when the loop asks for the next one, or leaves ``with`` without an
        exception.
        """
        while (batch := self._portal.call(self._session.advance_to_batch())) is not None:
            yield batch

    def commit(self) -> None:
        """All changes that the loop has got are done; durable on return.

        Raises what stopped the stream, when this was not saved before.
        """
        self._portal.call(self._session.commit())


class AsyncChanges(AsyncIterator[Change]):
    """A stream in async code."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def __anext__(self) -> Change:
        while (change := self._session.next()) is None:
            if not await self._session.advance():
                raise StopAsyncIteration
        return change

    async def batches(self) -> AsyncIterator[Batch]:
        """The same changes, a batch at a time; as :meth:`Changes.batches`."""
        while (batch := await self._session.advance_to_batch()) is not None:
            yield batch

    async def commit(self) -> None:
        """All changes that the loop has got are done; durable on return.

        Raises what stopped the stream, when this was not saved before.
        """
        await self._session.commit()
