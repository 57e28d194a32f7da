"""The Pipeline: a name, a source, sinks, transforms and a store."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from penstock import registry
from penstock.errors import ConfigError, SourceError, StoreError
from penstock.model import Checkpoint, Mark, Table
from penstock.model.stream import MAIN
from penstock.pipeline.chain import AnyTransform, Chain
from penstock.pipeline.observe import Report, SinkMeter, SinkStatus, State, Status
from penstock.pipeline.runner import Runner
from penstock.pipeline.state import Start, known_columns
from penstock.ports import Context, Finding, Format, Parked, Saved, Sink, Source, Store

_NAME: Final = re.compile("[a-z0-9_]{1,54}")


class Pipeline:
    """Leads the changes of one source to its sinks.

    Parameters
    ----------
    name: ``[a-z0-9_]{1,54}``; names the state, and the slot on the server.
    source: a source's configuration (``Postgres(dsn=…)``), a URL, or any object with the methods
        of :class:`penstock.ports.Source`.
    sinks: configurations (``Jsonl(path=…)``) or objects with the methods of
        :class:`penstock.ports.Sink`.
    transforms: applied in order: configurations (``Mask(columns=…)``), functions that get a
        Change and give one, several, or None, or any :class:`penstock.ports.Transform`.
    store: where state survives: None for the source's own, or else a SQLite file in the user's
        state folder; a path or URL, or any :class:`penstock.ports.Store`.
    context: clock, random numbers and failpoints, for tests.
    drain_timeout: seconds that a stop waits for the sinks.

    Raises
    ------
    ConfigError: a part is missing, unknown or named twice.
    """

    def __init__(
        self,
        name: str,
        source: Any,
        sinks: Sequence[Any],
        transforms: Iterable[AnyTransform] = (),
        store: Any = None,
        *,
        context: Context | None = None,
        drain_timeout: float = 25.0,
    ) -> None:
        _check_name(name)
        self.name = name
        self.source: Source = _source(source)
        own = getattr(self.source, "store", None)
        self.store = _store(own() if store is None and own is not None else store)
        self.context = replace(context or Context(name), pipeline=name)
        self.drain_timeout = drain_timeout
        self.transforms = tuple(transforms)
        self._chain = Chain(self.transforms)
        self.sinks: dict[str, tuple[Sink, Context]] = {}
        self._starts: dict[str, Start | None] = {}
        for sink in sinks:
            self._add_sink(sink)
        if not self.sinks:
            raise ConfigError(f"pipeline {name!r} has no sink", hint="add at least one to sinks=")
        self._runner: Runner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_early = threading.Event()
        self._ran = False

    def _add_sink(self, sink: Any) -> None:
        config, sink = sink, _build(sink, "open", "write", "flush")
        name = getattr(config, "name", None) or getattr(config, "type", None)
        name = name or type(sink).__name__.lower()
        if name in self.sinks:
            raise ConfigError(f"two sinks are called {name!r}", hint="give one a name= of its own")
        format: Format | None = None
        if getattr(config, "format", None):
            format = registry.format_of(config.format, self.name)
        context = replace(self.context, component=name, format=format, store=self.store)
        self.sinks[name] = (sink, context)
        self._starts[name] = getattr(config, "start", None)

    @classmethod
    def from_file(cls, path: str | Path) -> Pipeline:
        """The pipeline that a TOML file describes. Raises ConfigError."""
        pipeline: Pipeline = registry.resolve("penstock.assembly:from_file")(path)
        return pipeline

    @property
    def state(self) -> State:
        """What the pipeline does now."""
        runner = self._runner
        if runner is None:
            return "stopped"
        stalled = any(meter.unavailable for meter in runner.meter.sinks.values())
        return "stalled" if stalled and runner.state == "running" else runner.state

    # -- running

    def run(self, *, until_caught_up: bool = False) -> Report:
        """Run, and block until it ends. SIGINT and SIGTERM drain; a second one raises
        KeyboardInterrupt at once.

        Parameters
        ----------
        until_caught_up: end once everything committed before the start is durable in every sink.

        Raises
        ------
        PenstockError: what stopped it; GapError, DivergedError and StuckError are the states in
            which going on would be wrong.
        """
        return asyncio.run(self._run_with_signals(until_caught_up))

    async def _run_with_signals(self, until_caught_up: bool) -> Report:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(self.serve(until_caught_up=until_caught_up))
        signals = [signal.SIGINT, signal.SIGTERM]
        if threading.current_thread() is not threading.main_thread():
            signals = []

        def on_signal() -> None:
            if self.state == "stopping":
                task.cancel()
            else:
                self.stop()

        for number in signals:
            loop.add_signal_handler(number, on_signal)
        try:
            return await task
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def serve(self, *, until_caught_up: bool = False) -> Report:
        """Like :meth:`run`, inside a running event loop and without touching signals."""
        if self._runner is not None:
            raise ConfigError(f"pipeline {self.name!r} runs already")
        clock = self.context.clock
        begun = clock.monotonic()
        self._loop = asyncio.get_running_loop()
        runner = self._runner = Runner(
            self.source,
            self.sinks,
            self._starts,
            self._chain,
            self.store,
            self.context,
            until_caught_up=until_caught_up,
            drain_timeout=self.drain_timeout,
        )
        try:
            if self._stop_early.is_set():
                runner.stop()
            await runner.run()
        finally:
            self._runner = None
            self._loop = None
            self._ran = True
            self._stop_early.clear()
        counts = {name: meter.changes for name, meter in runner.meter.sinks.items()}
        return Report(
            pipeline=self.name,
            state=runner.state,
            changes=min(counts.values()),
            seconds=clock.monotonic() - begun,
            sinks=counts,
            checkpoint=_lowest(
                self.source, [runner.ledger.state(sink, MAIN).safe for sink in self.sinks]
            ),
            drained=runner.drained,
            caught_up=runner.caught_up,
        )

    def stop(self) -> None:
        """Read no more, deliver what is complete, save, leave. Safe from any thread.

        A stop that comes before the first run has begun ends that run at once; one that comes
        after a run has ended does nothing.
        """
        runner, loop = self._runner, self._loop
        if runner is None or loop is None:
            if not self._ran:
                self._stop_early.set()
            return
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(runner.stop)

    # -- looking

    def check(self) -> list[Finding]:
        """Preflight: what would keep this pipeline from running, or from capturing everything.

        Nothing is changed on the server, in the sinks or in the store.
        """
        return asyncio.run(self.acheck())

    async def acheck(self) -> list[Finding]:
        """Like :meth:`check`, inside a running event loop."""
        findings: list[Finding] = []
        for part, context in self._parts():
            ask = getattr(part, "check", None)
            if ask is not None:
                findings.extend(await ask(context))
            ask = getattr(context.format, "check", None)
            if ask is not None:
                findings.extend(await asyncio.to_thread(ask))
        if self.transforms:
            chain = await self._remembered_chain()
            findings += await chain.findings(self.source, self.context)
        return findings

    async def tables(self, context: Context) -> list[Table]:
        """The source's tables of today as they are behind the rules among the transforms that
        come first; none where the source cannot tell."""
        return await (await self._remembered_chain()).tables(self.source, context)

    async def _remembered_chain(self) -> Chain:
        """The transforms with what the store knows of tables, apart from those that may run."""
        chain = Chain(self.transforms)
        saved = await self.store.peek(replace(self.context, component="store"))
        chain.remember(known_columns(saved))
        return chain

    def status(self) -> Status:
        """State, lag, retained log, and how far each sink is; also while another process runs."""
        return asyncio.run(self.astatus())

    async def astatus(self) -> Status:
        """Like :meth:`status`, inside a running event loop."""
        runner = self._runner
        ask = getattr(self.source, "status", None)
        source: dict[str, Any] = {}
        error = ""
        try:
            if ask is not None:
                source = await ask(replace(self.context, component="source"))
        except SourceError as failure:
            error = str(failure)
        if runner is not None:
            parked = Counter(one.sink for one in await self._parked_now())
            return self._live_status(runner, source, parked, error)
        store_context = replace(self.context, component="store")
        saved = await self.store.peek(store_context)
        parked = Counter(one.sink for one in await self.store.peek_parked(store_context))
        state: State = "unknown" if error else "stopped"
        return Status(self.name, state, self._saved_sinks(saved, parked), source, error=error)

    async def _parked_now(self) -> list[Parked]:
        try:
            return await self.store.parked()
        except StoreError:  # not open yet, or not any more; what else it has, stops the pipeline
            return []

    def _live_status(
        self, runner: Runner, source: dict[str, Any], parked: Counter[str], error: str
    ) -> Status:
        sinks: dict[str, SinkStatus] = {}
        for name, meter in runner.meter.sinks.items():
            state = runner.ledger.state(name, MAIN)
            sinks[name] = SinkStatus(
                "stalled" if meter.unavailable else "running",
                _text(state.data),
                state.safe.text if state.safe else None,
                meter.changes,
                meter.failures,
                meter.unavailable,
                self._lag(meter, waits=runner.ledger.waits_for(name)),
                parked[name],
                getattr(self.sinks[name][0], "counters", {}),
            )
        return Status(self.name, self.state, sinks, source, runner.meter.reconnects, error)

    def _lag(self, meter: SinkMeter, *, waits: bool) -> float | None:
        if not waits:
            return 0.0
        if meter.committed_us is None:
            return None
        return max(0.0, self.context.clock.now().timestamp() - meter.committed_us / 1e6)

    def _saved_sinks(self, saved: Saved | None, parked: Counter[str]) -> dict[str, SinkStatus]:
        streams = saved.streams if saved is not None else {}
        sinks: dict[str, SinkStatus] = {}
        for name in self.sinks:
            state = streams.get((name, MAIN))
            sinks[name] = SinkStatus(
                "stopped",
                _text(state.data) if state else None,
                state.safe.text if state and state.safe else None,
                parked=parked[name],
            )
        return sinks

    def teardown(self) -> list[str]:
        """Remove the slot, the publication and the saved state; what was removed, in words.

        The sinks' data stays. Raises SlotInUseError while the pipeline runs.
        """
        return asyncio.run(self.ateardown())

    async def ateardown(self) -> list[str]:
        """Like :meth:`teardown`, inside a running event loop."""
        removed: list[str] = []
        await self.store.open(replace(self.context, component="store"))
        try:
            for part, context in self._parts():
                remove = getattr(part, "teardown", None)
                if remove is not None:
                    removed.extend(await remove(context))
            await self.store.clear()
            removed.append(f"the saved state of {self.name}")
        finally:
            await self.store.close()
        return removed

    def _parts(self) -> list[tuple[Any, Context]]:
        parts: list[tuple[Any, Context]] = [
            (self.source, replace(self.context, component="source")),
            (self.store, replace(self.context, component="store")),
        ]
        return parts + list(self.sinks.values())


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a pipeline",
            hint="use 1 to 54 lower-case letters, digits and underscores",
        )


def _source(source: Any) -> Source:
    if isinstance(source, str):
        source = registry.source_of(source)
    built: Source = _build(source, "open", "batches", "acknowledge")
    return built


def _store(store: Any) -> Store:
    if hasattr(store, "load") and hasattr(store, "park"):
        return cast("Store", store)
    made: Store = registry.resolve("penstock.stores:store_for")(store)
    return made


def _build(part: Any, *methods: str) -> Any:
    """The working object of a configuration, or the object itself."""
    build = getattr(part, "build", None)
    made = build() if build is not None else part
    missing = [method for method in methods if not hasattr(made, method)]
    if missing:
        raise ConfigError(
            f"{made!r} cannot be used here: it has no {', '.join(missing)}()",
            hint="penstock.ports says what a source, a sink and a store have",
        )
    return made


def _text(mark: Mark | None) -> str | None:
    return None if mark is None else str(mark)


def _lowest(source: Source, safes: Sequence[Checkpoint | None]) -> Checkpoint | None:
    lowest: Checkpoint | None = None
    for safe in safes:
        if safe is None:
            return None
        lowest = safe if lowest is None else source.meet(lowest, safe)
    return lowest
