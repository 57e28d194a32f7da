"""What a pipeline tells about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from penstock.model import Checkpoint

State: TypeAlias = Literal[
    "starting",
    "snapshot",
    "running",
    "stalled",
    "stopping",
    "stopped",
    "gap",
    "diverged",
    "stuck",
    "failed",
    "unknown",
]


@dataclass(slots=True)
class SinkMeter:
    """Counts of one sink since the start, and the commit time of the last durable transaction."""

    changes: int = 0
    batches: int = 0
    flushes: int = 0
    failures: int = 0
    unavailable: str = ""
    committed_us: int | None = None

    def count(self, changes: int) -> None:
        """Count a written batch."""
        self.batches += 1
        self.changes += changes


@dataclass(slots=True)
class Meter:
    """Counts of one run."""

    sinks: dict[str, SinkMeter] = field(default_factory=dict)
    reconnects: int = 0
    saves: int = 0


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """One sink: its state, how far it is in the main stream, and its counts.

    ``lag_seconds`` is how old the last durable transaction is while newer ones wait; 0 when none
    wait, None when that is not known. ``parked`` is how many changes are set aside.
    """

    state: Literal["running", "stalled", "stopped"]
    data: str | None
    safe: str | None
    changes: int = 0
    failures: int = 0
    error: str = ""
    lag_seconds: float | None = None
    parked: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status:
    """What ``penstock status`` shows.

    ``source`` holds the source's own figures; where it could not be asked it is empty, and
    ``error`` says why. The state of a pipeline that runs elsewhere is then unknown.
    """

    pipeline: str
    state: State
    sinks: Mapping[str, SinkStatus]
    source: Mapping[str, Any]
    reconnects: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a finished run did.

    Parameters
    ----------
    changes: what the sink that took fewest took.
    seconds: from start to end.
    checkpoint: where the next run begins, at the earliest.
    drained: all that was read and complete is durable, saved and acknowledged.
    caught_up: with ``until_caught_up``: what was committed before the start is durable.
    """

    pipeline: str
    state: State
    changes: int
    seconds: float
    sinks: Mapping[str, int]
    checkpoint: Checkpoint | None
    drained: bool = True
    caught_up: bool = False
