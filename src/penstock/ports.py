"""The contracts between the parts: Source, Sink, Store, Format, Transform.

An object with these methods is one; nothing needs to inherit. Whatever a part needs of the world
(clock, random numbers, failpoints, logger) it takes from its :class:`Context`, so that a whole
pipeline can run under a virtual clock with a seed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal, Protocol, runtime_checkable

from penstock.failpoints import Failpoints
from penstock.model import Barrier, Batch, Change, Checkpoint, Mark, Record
from penstock.model.pattern import ColumnPattern
from penstock.model.projection import Projection


class Clock(Protocol):
    """Time, as a part may know it."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def now(self) -> datetime:
        """The wall clock, with zone: data only, never for durations."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        return time.monotonic()

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Context:
    """What a part gets when it is opened.

    Parameters
    ----------
    pipeline: the pipeline's name.
    component: the part's own name in the pipeline (a sink's ``name``; ``source``; ``store``).
    format: how a sink turns changes into records; None for parts that make none.
    store: the pipeline's store, for sinks that park changes or share its transactions.
    """

    pipeline: str
    component: str = ""
    format: Format | None = None
    store: Store | None = None
    clock: Clock = field(default_factory=SystemClock)
    random: Random = field(default_factory=Random)
    failpoints: Failpoints = field(default_factory=Failpoints)
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("penstock"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a preflight check; ``fix`` is what to run or write, ready to paste."""

    severity: Literal["error", "warning", "info"]
    message: str
    fix: str = ""
    code: str = ""


class SourceState(Protocol):
    """What is remembered of a source, and where it has to start."""

    @property
    def fresh(self) -> bool:
        """True when neither the store nor a sink remembers anything of this pipeline."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The source's own saved state (slot intent and identity, table facts); may be empty."""

    @property
    def start(self) -> Mapping[str, Checkpoint]:
        """Where each stream opens: the meet over all sinks. A stream that some sink has not
        finished, or has never seen, is absent."""

    @property
    def reached(self) -> Mapping[str, Sequence[Checkpoint]]:
        """Where the sinks stand in each stream: a server that does not know all of it is on another
        history, even if it knows the start."""

    async def save(self, facts: Mapping[str, Any]) -> None:
        """Replace the source's own state, durably, before anything depends on it."""

    async def begin(
        self,
        streams: Mapping[str, Checkpoint],
        states: Mapping[tuple[str, str], StreamState],
    ) -> Mapping[str, Checkpoint]:
        """A shared source (:class:`SharedSource`) was given streams, in place of all that it had.

        Those before were given up by a Barrier, or are lost. Nothing of the new ones may come out
        of ``batches`` before this has returned.

        Parameters
        ----------
        streams: and where each begins of which nothing was kept.
        states: what was kept, by (sink, stream).

        Returns where each stream opens, the meet over all sinks; one of which some sink wants all
        is absent.

        Raises
        ------
        GapError: a sink is behind what it once had.
        ConfigError: a sink is new and does not say where it begins.
        """


class Source(Protocol):
    """Where changes come from.

    ``covers`` and ``meet`` are pure and work before ``open``. Optional: ``authority()``, the
    seconds for which our hold on the source is still certain; ``waiting()``, whether it has data
    that we have not received; ``check(context)``, ``status(context)``, ``teardown(context)``,
    which work without ``open`` and give findings, figures, and what was removed;
    ``describe(context)``, the captured tables as they are today, none where ``check`` tells why;
    ``project(projection_of)``, told before ``open``: the rows of a table leave the source as its
    :class:`~penstock.model.projection.Projection` says, which is made for each of its versions
    before that version's first row (None: as they are). A source without it is projected later.
    """

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        """Whether reading from ``checkpoint`` on would not show ``mark`` again.

        The checkpoint of a finished snapshot covers the snapshot's rows and, of the main stream,
        what its rows already show.
        """

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        """The latest checkpoint of that stream that is not after ``a`` and not after ``b``.

        Where ``a`` is of a finished snapshot and ``b`` of the main stream: ``a`` when ``b`` has
        all that the snapshot's rows show of the main stream, else anything else.
        """

    async def open(self, context: Context, state: SourceState) -> None:
        """Connect and decide where to start. Called again after ConnectionLostError."""

    def batches(self) -> AsyncIterator[Batch | Barrier]:
        """What the source has, for ever. Raises ConnectionLostError when it is worth retrying."""

    async def acknowledge(self, checkpoint: Checkpoint) -> None:
        """All before ``checkpoint`` is durable in every sink, and saved: it may be forgotten."""

    async def head(self) -> Checkpoint | None:
        """A checkpoint after everything committed by now; the source then reaches it promptly,
        even when nothing more is written. None when it has no more to come."""

    async def close(self) -> None:
        """Let go of everything. Safe to call twice, and after a failed ``open``."""


@runtime_checkable
class SharedSource(Protocol):
    """What a source has besides, whose streams are shared out among workers while they run.

    It is given streams, and tells :meth:`SourceState.begin`; they are taken away, and it gives a
    Barrier first. Of streams that it lost without one ``authority`` is 0 from then on, until it
    was opened again. Whoever has a stream next must find how far it is: so the source keeps that,
    not the worker's store.
    """

    async def keep(self, states: Mapping[tuple[str, str], StreamState]) -> None:
        """States by (sink, stream), to be stored with the checkpoints acknowledged next."""

    def store(self) -> Store:
        """The store of a pipeline that names none: one that all its workers reach."""


class Sink(Protocol):
    """Where changes go.

    A sink that commits checkpoints with its data says so by an attribute ``stores_checkpoints``
    that is true. Raises SinkUnavailableError when a write is worth trying again: it is then
    closed, opened and fed again all that no flush covered. Optional: ``release()``, told after
    ``close`` where streams are shared out anew: other workers may have moved any checkpoint since,
    which fences nobody.
    """

    async def open(self, context: Context) -> None:
        """Connect. Called again after a failure."""

    async def resume(self, stream: str) -> Checkpoint | None:
        """The checkpoint that a sink stores with its data; None for others."""

    async def write(self, batch: Batch) -> None:
        """Take a batch; may buffer."""

    async def flush(self) -> Mark | None:
        """Make all that was written durable; the last mark, or None when nothing was written."""

    async def close(self) -> None:
        """Let go of everything, without a flush. Safe to call twice."""


class Format(Protocol):
    """Makes records of changes. Pure.

    Optional: ``native``, which a class says of itself alone: the name of the same format in the
    native kernel, which then makes the same bytes without asking this one, or the kernel's encoder
    for it, None where it has none; ``binary``, true where keys and values are something else than
    JSON; ``idle``, true where batches without events may have records too; ``check()``, which gives
    findings, as a source's; ``close()``, after its sink was closed, to let go of connections: it
    may be asked for records again.
    """

    @property
    def name(self) -> str:
        """The name in the pipeline file."""

    def records(self, batch: Batch) -> Iterable[Record]:
        """The records of a batch's changes, in order."""

    def record(self, change: Change[Any]) -> Record:
        """The record of one change."""


class Transform(Protocol):
    """Changes a batch on its way. Pure; keeps order, marks and checkpoint."""

    def apply(self, batch: Batch) -> Batch:
        """The batch that goes on."""


class Rule(Protocol):
    """A transform that is data: what it does to a row depends on the table alone.

    Rules that stand before all other transforms are applied where rows are decoded.
    """

    @property
    def patterns(self) -> Sequence[ColumnPattern]:
        """The columns that it names, as they are called at its place."""

    def project(self, projection: Projection) -> Projection:
        """What this rule makes of what the rules before it leave of a table.

        Raises SchemaError where it does not fit the table.
        """


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far one sink is in one stream.

    Parameters
    ----------
    data: the last mark that is durable in the sink.
    safe: where reading may start again; keepalives may move it ahead of ``data``.
    """

    data: Mark | None
    safe: Checkpoint | None


@dataclass(frozen=True, slots=True)
class Saved:
    """Everything that a store knows of a pipeline.

    ``streams`` is keyed by (sink name, stream).
    """

    streams: Mapping[tuple[str, str], StreamState] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parked:
    """A change set aside, with its reason (a dead letter).

    Parameters
    ----------
    sink: the sink's name.
    id: the change's id.
    table: ``schema.name``.
    keys: the canonical texts of the keys that wait behind it (two where the key changed).
    reason: why; a person reads this.
    parked_at: when.
    change: the change in a form that can be restored and replayed.
    """

    sink: str
    id: str
    table: str
    keys: tuple[str, ...]
    reason: str
    parked_at: datetime
    change: Mapping[str, Any]


class Store(Protocol):
    """Where a pipeline's state survives. Raises StoreError; never takes damage for emptiness."""

    async def open(self, context: Context) -> None:
        """Open or create, for the pipeline that the context names."""

    async def load(self) -> Saved | None:
        """All that is saved of the pipeline; None when it was never saved."""

    async def peek(self, context: Context) -> Saved | None:
        """What :meth:`load` would give, without ``open``: nothing is locked, created or changed,
        so it works while another process runs the pipeline."""

    async def peek_parked(self, context: Context) -> list[Parked]:
        """What :meth:`parked` would give, as :meth:`peek` does it."""

    async def save(
        self,
        streams: Mapping[tuple[str, str], StreamState] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge the streams and replace the facts (where given) in one atomic transaction,
        durable on return."""

    async def park(self, parked: Sequence[Parked]) -> None:
        """Set changes aside, durable on return. Parking the same id again changes nothing."""

    async def parked(self, sink: str | None = None) -> list[Parked]:
        """What is set aside, in the order in which it was parked."""

    async def unpark(self, sink: str, ids: Sequence[str]) -> None:
        """Forget parked changes, after a replay or by decision."""

    async def clear(self) -> None:
        """Forget the pipeline."""

    async def close(self) -> None:
        """Let go of everything. Safe to call twice."""


class StoreTransaction(Protocol):
    """A database transaction that a handler writes in and that moves the checkpoint."""

    @property
    def connection(self) -> Any:
        """A connection or session of the kind that was asked for."""

    async def move(
        self, sink: str, stream: str, seen: Checkpoint | None, data: Mark, safe: Checkpoint
    ) -> None:
        """Move the sink's checkpoint from ``seen``. Raises FencedError when it is not there."""


@runtime_checkable
class TransactionalStore(Protocol):
    """A store in a database that can share a transaction with handlers."""

    def transaction(self, kind: type) -> AbstractAsyncContextManager[StoreTransaction]:
        """One transaction: commits on exit, rolls back on an exception."""

    async def checkpoint(self, sink: str, stream: str) -> Checkpoint | None:
        """The checkpoint that the transactions moved last."""
