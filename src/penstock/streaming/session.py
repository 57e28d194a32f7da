"""A pipeline whose sink is a loop, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from penstock.errors import ConfigError, PenstockError
from penstock.model import OPERATIONS, Batch, Change, Event, Mark
from penstock.pipeline.chain import AnyTransform
from penstock.pipeline.observe import Report
from penstock.pipeline.pipeline import Pipeline
from penstock.ports import Source, Store
from penstock.streaming.handover import Handover


class Session:
    """Runs the pipeline in the running event loop, and keeps the loop's place in its batches.

    ``rest`` are the current batch's changes that were asked for; the loop takes them by
    :meth:`next`, which needs no waiting, and asks for more by :meth:`advance`, which does.

    Parameters
    ----------
    operations: what the loop wants.
    autocommit: whether a batch is done when the next one is asked for.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        store: Store | str | Path | None,
        *,
        operations: frozenset[str],
        autocommit: bool,
        until_caught_up: bool,
        transforms: Iterable[AnyTransform] = (),
    ) -> None:
        self._handover = Handover(source, manual=not autocommit)
        self._pipeline = Pipeline(
            name, self._handover.source, [self._handover.sink], transforms, store
        )
        self._operations = operations
        self._autocommit = autocommit
        self._until_caught_up = until_caught_up
        self._serving: asyncio.Task[Report] | None = None
        self._raised: BaseException | None = None
        self._batch: Batch | None = None
        self._rest: list[Change] = []  # what the loop takes one by one
        self._asked = 0  # how many changes of the batch are asked for, and how many the loop has
        self._place = 0
        self._finished: Mark | None = None

    async def start(self) -> None:
        """Start the pipeline, and wait until its source shows what is written from now on.

        What keeps it from starting is raised in the loop. Raises ConfigError the second time.
        """
        if self._serving is not None:
            raise ConfigError("this stream was entered before", hint="call stream() again")
        self._serving = asyncio.create_task(self._serve())
        opened = asyncio.create_task(self._handover.opened.wait())
        try:
            await asyncio.wait({self._serving, opened}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._serving.cancel()
            raise
        finally:
            opened.cancel()

    async def _serve(self) -> Report:
        error: BaseException | None = None
        try:
            return await self._pipeline.serve(until_caught_up=self._until_caught_up)
        except BaseException as caught:
            error = caught
            raise
        finally:
            await self._handover.end(error)

    def next(self) -> Change | None:
        """The current batch's next change; None when there is none."""
        if self._place >= len(self._rest):
            return None
        self._place += 1
        return self._rest[self._place - 1]

    async def advance(self) -> bool:
        """Go on to the changes of the next batch; the one before is done. False at the end.

        Raises what stopped the pipeline.
        """
        batch = await self._next_batch()
        if batch is None:
            return False
        self._rest = [event for event in batch if self._wants(event)]  # type: ignore[misc] # it wants changes only
        self._asked = len(self._rest)
        return True

    async def advance_to_batch(self) -> Batch | None:
        """The next batch that holds a change that was asked for; None at the end."""
        while (batch := await self._next_batch()) is not None:
            if len(self._operations) < len(OPERATIONS):
                batch = batch.select(lambda e: not isinstance(e, Change) or self._wants(e))
            self._asked = self._place = batch.changes
            if self._asked:
                return batch
        return None

    async def _next_batch(self) -> Batch | None:
        if self._batch is not None:
            self._finished = self._batch.last or self._finished
        self._batch, self._rest, self._asked, self._place = None, [], 0, 0
        if self._autocommit and self._finished is not None:
            await self._handover.done(self._finished)
        try:
            self._batch = await self._handover.take()
        except BaseException as error:
            self._raised = error
            raise
        return self._batch

    def _wants(self, event: Event) -> bool:
        return isinstance(event, Change) and event.operation in self._operations

    async def commit(self) -> None:
        """All that the loop has got is done, durably. Raises what kept it from being saved."""
        inside: tuple[str, Mark] | None = None
        if self._batch is not None and self._place:
            if self._place == self._asked:
                self._finished = self._batch.last or self._finished
            else:
                inside = (self._batch.stream, self._rest[self._place - 1].mark)
        if self._finished is not None:
            await self._handover.done(self._finished)
        await self._handover.durable()
        if inside is not None:
            await self._handover.remember(*inside)

    async def finish(self, error: BaseException | None) -> None:
        """Stop; what the loop has got is done, unless it was left by an exception."""
        serving = self._serving
        if serving is None:
            return
        failure: Exception | None = None
        if error is None and self._autocommit and not serving.done():
            try:
                async with asyncio.timeout(self._pipeline.drain_timeout):
                    await self.commit()
            except TimeoutError:
                failure = PenstockError(
                    "the source did not come back in time to save what is done: it will come again"
                )
            except Exception as caught:  # noqa: BLE001  (raised when all is closed)
                failure = caught
        await self._handover.close()
        self._pipeline.stop()
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            raise
        except Exception as caught:  # noqa: BLE001  (told below, unless the loop raised it)
            failure = caught
        if error is None and failure is not None and failure is not self._raised:
            raise failure
