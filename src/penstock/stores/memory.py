"""State that lives as long as the store object: for tests and for streams that remember nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import StoreError
from penstock.ports import Context, Parked, Saved, StreamState
from penstock.stores.encoding import canonical, dump_parked, load_parked

_WHERE = "the store in memory"


@dataclass(slots=True)
class _State:
    streams: dict[tuple[str, str], StreamState] = field(default_factory=dict)
    facts: str = "{}"
    saved: bool = False
    parked: dict[tuple[str, str], str] = field(default_factory=dict)


class MemoryStore:
    """A store in memory. It keeps its state over ``close`` and ``open``, one per pipeline."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._pipeline: str | None = None

    def __repr__(self) -> str:
        return "MemoryStore()"

    @property
    def _state(self) -> _State:
        if self._pipeline is None:
            raise StoreError(f"{_WHERE} is not open")
        return self._states.setdefault(self._pipeline, _State())

    async def open(self, context: Context) -> None:
        """Choose the pipeline."""
        self._pipeline = context.pipeline

    async def load(self) -> Saved | None:
        """All that is saved of the pipeline; None when it was never saved."""
        _ = self._state
        return self._saved(self._pipeline or "")

    async def peek(self, context: Context) -> Saved | None:
        """What ``load`` would give, without ``open``."""
        return self._saved(context.pipeline)

    def _saved(self, pipeline: str) -> Saved | None:
        state = self._states.get(pipeline)
        if state is None or not state.saved:
            return None
        return Saved(dict(state.streams), json.loads(state.facts))

    async def save(
        self,
        streams: Mapping[tuple[str, str], StreamState] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge the streams and replace the facts, where given."""
        state = self._state
        text = state.facts if facts is None else canonical(facts)
        state.streams.update(streams or {})
        state.facts, state.saved = text, True

    async def park(self, parked: Sequence[Parked]) -> None:
        """Set changes aside. Parking the same id again changes nothing."""
        state = self._state
        for one in parked:
            state.parked.setdefault((one.sink, one.id), canonical(dump_parked(one)))

    async def parked(self, sink: str | None = None) -> list[Parked]:
        """What is set aside, in the order in which it was parked."""
        return _parked(self._state, sink)

    async def peek_parked(self, context: Context) -> list[Parked]:
        """What ``parked`` would give, without ``open``."""
        return _parked(self._states.get(context.pipeline, _State()), None)

    async def unpark(self, sink: str, ids: Sequence[str]) -> None:
        """Forget parked changes."""
        for id in ids:
            self._state.parked.pop((sink, id), None)

    async def clear(self) -> None:
        """Forget the pipeline."""
        _ = self._state
        self._states.pop(self._pipeline or "", None)

    async def close(self) -> None:
        """Nothing to let go of; the state stays."""
        self._pipeline = None


def _parked(state: _State, sink: str | None) -> list[Parked]:
    return [
        load_parked(json.loads(text), _WHERE)
        for (owner, _), text in state.parked.items()
        if sink is None or owner == sink
    ]
