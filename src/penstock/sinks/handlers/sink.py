"""The sink that calls handlers: in order, with retries, and with parking for what keeps failing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from penstock.errors import (
    ConfigError,
    DecodeError,
    FencedError,
    SinkError,
    SinkUnavailableError,
)
from penstock.model import Batch, Change, Checkpoint, Event, Mark, Message, SchemaChange, Table
from penstock.model.archive import load_change
from penstock.parking import Parking
from penstock.ports import Context, Finding, Parked
from penstock.sinks.handlers.handler import Handler
from penstock.sinks.handlers.order import steps
from penstock.sinks.handlers.policy import Park, Policy, Retry
from penstock.sinks.handlers.transaction import Unit
from penstock.sinks.handlers.workers import Workers

_WHOLE_TRANSACTION: Final = (FencedError, SinkUnavailableError)
"""Failures after which no single call can be tried again."""

Describe: TypeAlias = Callable[[Context], Awaitable[Iterable[Table]]]


@dataclass(slots=True)
class Tally:
    """What became of one handler's changes since the sink was made."""

    handled: int = 0
    retried: int = 0
    parked: int = 0


@dataclass(slots=True)
class _List:
    """The changes that a batch handler gets next."""

    changes: list[Change[Any]] = field(default_factory=list)
    since: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class HandlersSink:
    """Calls handlers for the changes that they asked for.

    Parameters
    ----------
    handlers: of changes; messages: of log messages.
    policy: concurrency, retries and what follows them.

    Attributes
    ----------
    describe: gives the source's tables of today, for a check.

    Raises
    ------
    ConfigError: the handlers' parameters and the policy do not go together.
    """

    name = "handlers"

    def __init__(
        self, handlers: Sequence[Handler], messages: Sequence[Handler], policy: Policy
    ) -> None:
        self._handlers = list(handlers)
        self._messages = list(messages)
        self._policy = policy
        self._kind = _connection_kind((*handlers, *messages), policy)
        self.tallies = {id(h): Tally() for h in (*handlers, *messages)}
        self.describe: Describe | None = None
        self._routes: dict[tuple[str, str], list[Handler]] = {}
        self._lists: dict[int, _List] = {}
        self._last: Mark | None = None
        self._unit: Unit | None = None
        self._workers: Workers | None = None

    @property
    def stores_checkpoints(self) -> bool:
        """Whether the handlers' own transactions move the checkpoint."""
        return self._kind is not None

    async def open(self, context: Context) -> None:
        """Start the worker threads and read which keys are parked."""
        self._context = context
        self._parking = Parking(context, self._policy.max_parked)
        self._lists = {id(h): _List() for h in self._handlers if h.batch}
        self._last = None
        self._workers = Workers(self._policy.concurrency, f"penstock-{context.pipeline}")
        if self._kind is not None:
            self._unit = Unit(context, self._kind, self._workers)
        await self._parking.load()

    async def resume(self, stream: str) -> Checkpoint | None:
        """The checkpoint that handlers' own transactions moved last; None without them."""
        return None if self._unit is None else await self._unit.resume(stream)

    async def write(self, batch: Batch) -> None:
        """Call the handlers for a batch's events.

        Raises
        ------
        SchemaError: a row type does not fit its table.
        SinkError: a handler failed for good, and ``on_failure`` says stop.
        StuckError: more changes would be parked than allowed.
        """
        if self._unit is not None:
            await self._unit.begin(batch)
        if self._policy.concurrency == 1:
            for event in batch:
                await self._take(event)
        else:
            for step in steps(batch):
                await (self._side_by_side(step) if isinstance(step, list) else self._take(step))
        self._last = batch.last or self._last
        if self._unit is not None:
            self._unit.end(batch)

    async def flush(self) -> Mark | None:
        """Hand over what batch handlers still wait for; make parking durable; commit."""
        for handler in self._handlers:
            if handler.batch:
                await self._hand_over(handler)
        await self._parking.flush()
        if self._unit is not None:
            await self._unit.commit()
        last, self._last = self._last, None
        return last

    async def close(self) -> None:
        """Roll back what was not committed, and let the threads end."""
        if self._workers is None:
            return
        unit, self._unit = self._unit, None
        workers, self._workers = self._workers, None
        try:
            if unit is not None:
                await unit.rollback()
        finally:
            workers.close()

    # -- dispatch

    async def _take(self, event: Event) -> None:
        if isinstance(event, Change):
            await self._take_change(event)
        elif isinstance(event, Message):
            await self._take_message(event)
        elif isinstance(event, SchemaChange):
            self._check_rows(event.after)

    def _check_rows(self, table: Table) -> None:
        for handler in self._handlers:
            if handler.rows is not None and handler.matches(table.text):
                handler.rows.maker(table)

    def _route(self, change: Change[Any]) -> list[Handler]:
        place = (change.table, change.operation)
        route = self._routes.get(place)
        if route is None:
            table, operation = place
            route = self._routes[place] = [
                h for h in self._handlers if operation in h.operations and h.matches(table)
            ]
        return route

    async def _take_change(self, change: Change[Any]) -> None:
        if change.operation == "truncate":
            self._supersede(change)
        handlers = self._route(change)
        if not handlers:
            return
        ahead = await self._parking.ahead(change)
        if ahead is not None:
            self._park(handlers[0], change, f"waits behind {ahead}")
            return
        for handler in handlers:
            if handler.batch:
                await self._collect(handler, change)
                continue
            failure = await self._deliver(handler, [change])
            if failure is not None:
                # The other handlers see it when it is replayed, in the same order.
                self._fail(handler, change, failure)
                return

    def _supersede(self, change: Change[Any]) -> None:
        gone = self._parking.supersede(change.table)
        if gone:
            self._context.logger.warning(
                "%s was truncated: %d parked changes of it are forgotten (%s)",
                change.table,
                len(gone),
                ", ".join(gone),
            )

    async def _take_message(self, message: Message) -> None:
        for handler in self._messages:
            if handler.tables not in ("*", message.prefix):
                continue
            failure = await self._attempt(handler, lambda: message, [message.id])
            if failure is not None:
                raise SinkError(
                    f"handler {handler} failed on the message {message.prefix!r}: {failure}",
                    hint="a message has no key to park it by",
                    mark=message.mark,
                ) from failure

    async def _side_by_side(self, chains: list[list[Change[Any]]]) -> None:
        """Work through chains, several at a time, each in its own order."""
        rest = iter(chains)

        async def work() -> None:
            for chain in rest:
                for change in chain:
                    await self._take_change(change)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._policy.concurrency, len(chains))):
                    group.create_task(work())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    # -- lists

    async def _collect(self, handler: Handler, change: Change[Any]) -> None:
        pending = self._lists[id(handler)]
        now = self._context.clock.monotonic()
        if not pending.changes:
            pending.since = now
        pending.changes.append(change)
        if len(pending.changes) >= handler.max_rows or now - pending.since >= handler.max_wait:
            await self._hand_over(handler)

    async def _hand_over(self, handler: Handler) -> None:
        """Call a batch handler with its list. Where that fails for good, each change is tried
        alone, once, so that only the faulty ones are parked."""
        pending = self._lists[id(handler)]
        async with pending.turn:
            changes, pending.changes = pending.changes, []
            changes = [change for change in changes if not await self._waits(handler, change)]
            if not changes:
                return
            failure = await self._deliver(handler, changes)
            if failure is None:
                return
            if len(changes) == 1 or self._stops(failure):
                self._fail(handler, changes[0], failure)
                changes = []
            for change in changes:
                if await self._waits(handler, change):
                    continue
                failure = await self._deliver(handler, [change], retry=False)
                if failure is not None:
                    self._fail(handler, change, failure)

    async def _waits(self, handler: Handler, change: Change[Any]) -> bool:
        """Park a change whose key was parked since it was taken."""
        ahead = await self._parking.ahead(change)
        if ahead is not None:
            self._park(handler, change, f"waits behind {ahead}")
        return ahead is not None

    # -- calls and their failures

    async def _deliver(
        self, handler: Handler, changes: list[Change[Any]], *, retry: bool = True
    ) -> Exception | None:
        """Call a handler; the exception with which it failed for good."""
        try:
            typed = changes
            if handler.rows is not None:
                typed = [handler.rows.typed(change) for change in changes]
        except DecodeError as error:
            return error  # the same row gives the same error: a retry is of no use
        return await self._attempt(
            handler,
            lambda: typed if handler.batch else typed[0],
            [change.id for change in changes],
            retry=retry,
        )

    async def _attempt(
        self,
        handler: Handler,
        argument: Callable[[], object],
        ids: list[str],
        *,
        retry: bool = True,
    ) -> Exception | None:
        tally, logger = self.tallies[id(handler)], self._context.logger
        waits = self._policy.waits(self._context.random)
        while True:
            try:
                await self._call(handler, argument())
            except Retry as asked:
                wait: float | None = asked.after
                logger.info("handler %s %s, on %s", handler.name, asked, _told(ids))
            except Park as verdict:
                return verdict
            except Exception as error:
                if self._unit is not None and isinstance(error, _WHOLE_TRANSACTION):
                    raise
                wait = next(waits, None) if retry else None
                if wait is None:
                    return error
                logger.warning(
                    "handler %s failed on %s, next try in %.1f s: %s: %s",
                    handler.name,
                    _told(ids),
                    wait,
                    type(error).__name__,
                    error,
                )
            else:
                tally.handled += len(ids)
                return None
            tally.retried += 1
            await self._context.clock.sleep(cast("float", wait))

    async def _call(self, handler: Handler, argument: object) -> None:
        try:
            await self._call_once(handler, argument)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: the handler awaited something that was cancelled.
            raise RuntimeError("what the handler awaited was cancelled") from error

    async def _call_once(self, handler: Handler, argument: object) -> None:
        unit, workers = self._unit, self._workers
        assert workers is not None
        function = handler.function
        if handler.connection is not None and unit is not None:
            extra = handler.arguments(unit.connection)
            await unit.call(lambda: function(argument, **extra), is_async=handler.is_async)
        elif handler.is_async:
            await function(argument)
        else:
            await workers.run(lambda: function(argument))

    def _stops(self, failure: Exception) -> bool:
        if isinstance(failure, Park):
            return False
        return self._policy.stops(transactional=self._kind is not None)

    def _fail(self, handler: Handler, change: Change[Any], failure: Exception) -> None:
        what = str(failure) if isinstance(failure, Park) else f"{type(failure).__name__}: {failure}"
        if self._stops(failure):
            raise SinkError(
                f"handler {handler} failed on {change!r}: {what}",
                hint="mend the handler and start again: nothing is lost; "
                "on_failure='park' would set such changes aside",
                table=change.table,
                mark=change.mark,
            ) from failure
        self._context.logger.error("handler %s: %r is parked: %s", handler.name, change, what)
        self._park(handler, change, f"{handler.name}: {what}")

    def _park(self, handler: Handler, change: Change[Any], reason: str) -> None:
        self._parking.add(change, reason)
        self.tallies[id(handler)].parked += 1

    # -- operation

    async def replay(self, parked: Iterable[Parked]) -> list[str]:
        """Call the handlers again for parked changes, in order; the ids of those that passed.

        Each is unparked as it passes, so that a replay that is killed repeats one at most. A change
        whose key has one that failed again is left alone.
        """
        store = self._context.store
        assert store is not None
        passed: list[str] = []
        failed: set[str] = set()
        for one in parked:
            free = failed.isdisjoint(one.keys) and one.table not in failed
            if free and await self._replay(load_change(dict(one.change))):
                await store.unpark(self._context.component, [one.id])
                passed.append(one.id)
            else:
                failed.update(one.keys)
        return passed

    async def _replay(self, change: Change[Any]) -> bool:
        if self._unit is not None:
            await self._unit.begin()
        for handler in self._route(change):
            failure = await self._deliver(handler, [change], retry=False)
            if failure is not None:
                self._context.logger.error("%s failed again: %s", change.id, failure)
                if self._unit is not None:
                    await self._unit.rollback()
                return False
        if self._unit is not None:
            await self._unit.commit()
        return True

    async def check(self, context: Context) -> list[Finding]:
        """Whether the handlers' row types fit the source's tables of today."""
        if self.describe is None:
            return []
        return [
            finding
            for table in await self.describe(context)
            for handler in self._handlers
            if handler.rows is not None and handler.matches(table.text)
            for finding in handler.rows.findings(table)
        ]

    @property
    def counters(self) -> dict[str, dict[str, int]]:
        """Per function how many changes were handled, retried and parked since the start."""
        counters: dict[str, dict[str, int]] = {}
        for handler in (*self._handlers, *self._messages):
            counts = counters.setdefault(handler.name, {"handled": 0, "retried": 0, "parked": 0})
            tally = self.tallies[id(handler)]
            counts["handled"] += tally.handled
            counts["retried"] += tally.retried
            counts["parked"] += tally.parked
        return counters


def _told(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{len(ids)} changes from {ids[0]} on"


def _connection_kind(handlers: Sequence[Handler], policy: Policy) -> type | None:
    """The one connection type that the handlers ask for. Raises ConfigError for two."""
    asking = [handler for handler in handlers if handler.connection is not None]
    if not asking:
        return None
    first = asking[0]
    assert first.connection is not None
    kind = first.connection[1]
    for handler in asking[1:]:
        if handler.connection is not None and handler.connection[1] is not kind:
            raise ConfigError(
                f"handler {first} asks for a {kind.__name__}, handler {handler} for a "
                f"{handler.connection[1].__name__}",
                hint="one App has one transaction: use one type, or two Apps",
            )
    if policy.concurrency != 1:
        raise ConfigError(
            f"handler {first} writes in the checkpoint's transaction: concurrency is 1 there",
            hint="leave concurrency out",
        )
    return kind
