"""What is remembered at start-up: reconciled once, before anything flows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal

from penstock.errors import ConfigError, GapError, StateMismatchError
from penstock.model import Checkpoint
from penstock.model.stream import MAIN, snapshot_table
from penstock.pipeline.ledger import Key
from penstock.ports import Saved, Source, Store, StreamState

Start = Literal["snapshot", "now"]

Begin = Callable[
    [Mapping[str, Checkpoint], Mapping[Key, StreamState]], Awaitable[Mapping[str, Checkpoint]]
]
"""What :meth:`penstock.ports.SourceState.begin` does."""

_KNOWN: Final = "known_columns"


class Memory:
    """What the store and the sinks remember of a pipeline (:class:`penstock.ports.SourceState`).

    Parameters
    ----------
    positions: per (sink, stream) where that sink stands.
    begin: starts the streams that a shared source is given.

    Attributes
    ----------
    known: what the rules know of tables (:class:`penstock.pipeline.projector.Projector`).
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        sinks: Sequence[str],
        facts: Mapping[str, Any],
        positions: Mapping[Key, Checkpoint],
        begin: Begin | None = None,
    ) -> None:
        self.facts = {name: fact for name, fact in facts.items() if name != _KNOWN}
        self.known: Sequence[Mapping[str, Sequence[str]]] = facts.get(_KNOWN, ())
        self._source = source
        self._store = store
        self._sinks = sinks
        self._positions = dict(positions)
        self._begin = begin

    @property
    def fresh(self) -> bool:
        """True when neither the store nor a sink remembers anything of this pipeline."""
        return not self.facts and not self._positions

    @property
    def start(self) -> Mapping[str, Checkpoint]:
        """Per stream the meet over all sinks; streams that some sink lacks are left out."""
        return _meet(self._source, self._positions, self._sinks)

    @property
    def reached(self) -> Mapping[str, Sequence[Checkpoint]]:
        """Per stream where the sinks stand that have begun it."""
        found: dict[str, list[Checkpoint]] = {}
        for (sink, stream), at in self._positions.items():
            if sink in self._sinks and at not in found.setdefault(stream, []):
                found[stream].append(at)
        return found

    async def save(self, facts: Mapping[str, Any]) -> None:
        """Replace the source's own state, durably."""
        await self._save(facts, self.known)
        self.facts = dict(facts)

    async def begin(
        self, streams: Mapping[str, Checkpoint], states: Mapping[Key, StreamState]
    ) -> Mapping[str, Checkpoint]:
        """Where streams open that a shared source was given."""
        assert self._begin is not None, "the source is not a SharedSource"
        return await self._begin(streams, states)

    async def save_known(self, known: Sequence[Mapping[str, Sequence[str]]]) -> None:
        """Replace what the rules know of tables, one entry a projector, durably."""
        await self._save(self.facts, known)
        self.known = known

    async def _save(self, facts: Mapping[str, Any], known: Sequence[Any]) -> None:
        await self._store.save(facts={**facts, _KNOWN: list(known)} if known else facts)

    def advance(self, states: Mapping[Key, StreamState]) -> None:
        """Take over how far the ledger has come."""
        for key, state in states.items():
            if state.safe is not None:
                self._positions[key] = _later(self._source, self._positions.get(key), state.safe)

    def of(self, sink: str) -> dict[str, Checkpoint]:
        """One sink's position per stream."""
        return {stream: at for (name, stream), at in self._positions.items() if name == sink}

    def finished(self, sink: str) -> frozenset[str]:
        """The snapshots that this sink has and another lacks: it is not to get them again."""
        start = self.start
        return frozenset(
            stream
            for stream in self.of(sink)
            if snapshot_table(stream) is not None and stream not in start
        )


def known_columns(saved: Saved | None) -> Sequence[Mapping[str, Sequence[str]]]:
    """What :meth:`Memory.save_known` saved."""
    known: Sequence[Mapping[str, Sequence[str]]] = saved.facts.get(_KNOWN, ()) if saved else ()
    return known


def reconcile(
    source: Source,
    store: Store,
    saved: Saved | None,
    sinks: Mapping[str, Start | None],
    own: Mapping[Key, Checkpoint],
    keepers: Collection[str] = (),
) -> tuple[Memory, dict[Key, StreamState]]:
    """Decide where every sink stands; the memory, and the states that the ledger starts with.

    Parameters
    ----------
    sinks: each sink's ``start`` option by its name.
    own: the checkpoints that sinks hold themselves.
    keepers: the sinks that store checkpoints with their data.

    Raises
    ------
    StateMismatchError: a sink remembers a pipeline that the store does not know.
    GapError: a sink is behind what it once had (restored from a backup).
    ConfigError: a sink is new to a running pipeline and does not say where it begins.
    """
    saved = saved or Saved()
    fresh = not saved.streams and not saved.facts
    if fresh and own:
        sink, stream = next(iter(own))
        raise StateMismatchError(
            f"sink {sink!r} holds a checkpoint of this pipeline ({stream}), but the store is empty",
            hint="bring the store back, or run `penstock teardown` and empty the target "
            "to begin again",
        )
    states = {key: state for key, state in saved.streams.items() if key[0] in sinks}
    _check_not_behind(source, states, own, keepers)
    positions = {key: state.safe for key, state in states.items() if state.safe is not None}
    for key, checkpoint in own.items():
        positions[key] = _later(source, positions.get(key), checkpoint)
        data = states[key].data if key in states else None
        states[key] = StreamState(data, positions[key])
    known = {sink for sink, _ in states} | {sink for sink, _ in own}
    newcomers = [sink for sink in sinks if sink not in known]
    if newcomers and (known or saved.streams):
        old = _meet(source, positions, [sink for sink in sinks if sink in known])
        if not known:  # all of today's sinks replace those of yesterday
            gone = {key: state.safe for key, state in saved.streams.items() if state.safe}
            old = _meet(source, gone, sorted({sink for sink, _ in saved.streams}))
        if old:  # else nothing has begun: a newcomer begins with the others
            _place_newcomers(newcomers, sinks, old, positions, states)
    return Memory(source, store, list(sinks), saved.facts, positions), states


def _check_not_behind(
    source: Source,
    states: Mapping[Key, StreamState],
    own: Mapping[Key, Checkpoint],
    keepers: Collection[str],
) -> None:
    for key, state in states.items():
        checkpoint = own.get(key)
        if state.data is None or (checkpoint is None and key[0] not in keepers):
            continue
        if checkpoint is None or not source.covers(checkpoint, state.data):
            at = "holds no checkpoint" if checkpoint is None else f"is at {checkpoint.text}"
            raise GapError(
                f"sink {key[0]!r} {at}, but it once had {state.data}: "
                "it was emptied, or restored from a backup",
                hint="begin again with a new snapshot: `penstock teardown`, empty the target, run",
                mark=state.data,
            )


def _later(source: Source, a: Checkpoint | None, b: Checkpoint) -> Checkpoint:
    if a is None:
        return b
    return a if source.meet(a, b) == b else b


def _place_newcomers(
    newcomers: Sequence[str],
    sinks: Mapping[str, Start | None],
    old: Mapping[str, Checkpoint],
    positions: dict[Key, Checkpoint],
    states: dict[Key, StreamState],
) -> None:
    for sink in newcomers:
        start = sinks[sink]
        if start is None:
            raise ConfigError(
                f"sink {sink!r} is new to this pipeline: where does it begin?",
                hint="say start = 'snapshot' (a copy of the tables first) or start = 'now'",
            )
        if start == "snapshot" and MAIN in old and not any(map(snapshot_table, old)):
            # Snapshots come before the log: here none was ever taken, nor will one be now.
            raise ConfigError(
                f"sink {sink!r} is to begin with a snapshot, but this pipeline was begun without",
                hint="say start = 'now', or give the sink a pipeline of its own with a snapshot",
            )
        for stream, checkpoint in old.items():
            if stream == MAIN or start == "now":
                positions[sink, stream] = checkpoint
                states[sink, stream] = StreamState(None, checkpoint)


def _meet(
    source: Source, positions: Mapping[Key, Checkpoint], sinks: Sequence[str]
) -> dict[str, Checkpoint]:
    """Per stream the meet over the sinks; streams that some sink lacks are left out."""
    start: dict[str, Checkpoint] = {}
    for stream in {stream for _, stream in positions}:
        found = [positions[sink, stream] for sink in sinks if (sink, stream) in positions]
        if len(found) == len(sinks):
            lowest = found[0]
            for checkpoint in found[1:]:
                lowest = source.meet(lowest, checkpoint)
            start[stream] = lowest
    return start
