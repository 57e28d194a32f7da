"""The episodes that the tests and the long run are made of.

With ``PENSTOCK_CRASH=full`` (``make crash``) the tests take their time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Final

from penstock.failpoints import Failpoint
from tests.crash.harness import RUNNING, STARTING, Fault, Plan

FULL: Final = os.environ.get("PENSTOCK_CRASH") == "full"


def _size(kills: int) -> int:
    return 4 * kills if FULL else kills


ALL_FAILPOINTS: Final = (*STARTING, *RUNNING)
EVERYWHERE: Final = Plan(len(ALL_FAILPOINTS), ALL_FAILPOINTS, frozenset({"flaky", "tail", "power"}))
"""Every failpoint once."""
AT_RANDOM: Final = Plan(_size(10), (), frozenset({"flaky", "freeze", "tail", "power"}))
SERVER: Final = Plan(_size(6), (), frozenset({"server", "walsender", "terminate"}))
REPLICA: Final = Plan(
    _size(5), (Failpoint.SNAPSHOT_READ, Failpoint.SINK_COMMIT), frozenset({"flaky"}), "postgres"
)
KAFKA: Final = Plan(
    _size(8),
    (
        Failpoint.SNAPSHOT_READ,
        Failpoint.AFTER_WRITE,
        Failpoint.BEFORE_FLUSH,
        Failpoint.SINK_COMMIT,
        Failpoint.AFTER_FLUSH,
        Failpoint.AFTER_SAVE,
    ),
    frozenset({"flaky", "freeze", "broker"}),
)
NETWORK: Final = Plan(_size(6), (), frozenset({"network"}))

_SNAPSHOTS: Final = Plan(
    8,
    (
        Failpoint.SNAPSHOT_READ,
        Failpoint.SNAPSHOT_BLOCK,
        Failpoint.SNAPSHOT_READ,
        Failpoint.SNAPSHOT_READ,
    ),
)
_RUNNING: Final = Plan(14)
_SLOT: Final = Plan(4)

PROVOKING: Final[Mapping[str, Plan]] = {
    "swallow_a_sink_failure": replace(_RUNNING, faults=frozenset({"flaky"})),
    "recreate_the_slot_silently": replace(_SLOT, sabotage="drop"),
    "trust_the_servers_position": replace(_SLOT, sabotage="advance"),
    "repeat_what_a_snapshot_shows": _SNAPSHOTS,
    "log_from_the_second_snapshot": _SNAPSHOTS,
    "checkpoint_after_the_commit": replace(_RUNNING, failpoints=(Failpoint.SINK_COMMIT,) * 4),
    "checkpoint_before_the_commit": replace(_RUNNING, failpoints=(Failpoint.SINK_COMMIT,) * 4),
    "keep_a_torn_line": replace(_RUNNING, faults=frozenset({"tail"})),
}
"""For mutants that only some faults bring to light."""


def plan_for(mutant: str) -> Plan:
    """An episode in which a mutant should be caught."""
    return replace(PROVOKING.get(mutant, _RUNNING), mutant=mutant)


def plan_of(seed: int, kills: int) -> Plan:
    """An episode of the long run: another mixture for every seed."""
    random = Random(f"plan {seed}")
    replica = "postgres" if seed % 4 == 3 else "sqlite"
    always: set[Fault] = {"flaky", "tail", "power"}
    sometimes: list[Fault] = ["server", "walsender", "terminate", "freeze", "network"]
    faults = always | set(random.sample(sometimes, random.randint(0, 3)))
    failpoints = list(STARTING)
    random.shuffle(failpoints)
    rest = list(RUNNING)
    random.shuffle(rest)
    starting = sorted(failpoints[: kills // 6], key=STARTING.index)
    chosen = (*starting, *rest[: kills // 2])
    return Plan(kills, chosen, frozenset(faults), replica)  # type: ignore[arg-type]
