"""What tests of handlers, sinks, sources and stores need: changes, scripts, clocks, contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.testing.builders import delete, insert, message, read, table_of, truncate, update
from penstock.testing.clock import DeadlockError, VirtualClock, VirtualLoop, run_virtual
from penstock.testing.play import Played, aplay, play
from penstock.testing.scripted import (
    Fault,
    FlakySink,
    Pause,
    ScriptedSource,
    batch,
    checkpoint,
    keepalive,
    snapshot,
)

if TYPE_CHECKING:
    from penstock.testing.contracts import SinkContract, SourceContract, StoreContract

__all__ = [
    "DeadlockError",
    "Fault",
    "FlakySink",
    "Pause",
    "Played",
    "ScriptedSource",
    "SinkContract",
    "SourceContract",
    "StoreContract",
    "VirtualClock",
    "VirtualLoop",
    "aplay",
    "batch",
    "checkpoint",
    "delete",
    "insert",
    "keepalive",
    "message",
    "play",
    "read",
    "run_virtual",
    "snapshot",
    "table_of",
    "truncate",
    "update",
]


def __getattr__(name: str) -> Any:
    """The contracts need pytest, which users of the rest may not have."""
    if name in ("SinkContract", "SourceContract", "StoreContract"):
        from penstock.testing import contracts

        return getattr(contracts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
