"""What tests of handlers, sinks, sources and stores need: changes, scripts, clocks, contracts."""

from penstock.testing.builders import delete, insert, message, read, table_of, truncate, update
from penstock.testing.clock import DeadlockError, VirtualClock, VirtualLoop, run_virtual
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

__all__ = [
    "DeadlockError",
    "Fault",
    "FlakySink",
    "Pause",
    "ScriptedSource",
    "VirtualClock",
    "VirtualLoop",
    "batch",
    "checkpoint",
    "delete",
    "insert",
    "keepalive",
    "message",
    "read",
    "run_virtual",
    "snapshot",
    "table_of",
    "truncate",
    "update",
]
