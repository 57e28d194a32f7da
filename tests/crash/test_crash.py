"""The pipeline dies anywhere, and nothing is lost, invented, reordered or altered.

``make crash`` runs the same with many more kills and writes docs/explanation/crash-test.md.
"""

from __future__ import annotations

from collections import Counter

import pytest

from penstock.embedded.server import Server
from tests.crash.harness import RUNNING, STARTING, Episode, Plan, Sabotage
from tests.crash.plans import AT_RANDOM, EVERYWHERE, REPLICA, SERVER


def test_killed_at_every_failpoint(victim: Server) -> None:
    figures = Episode(victim, 1, EVERYWHERE).run()
    assert figures.kills.keys() >= {point.value for point in (*STARTING, *RUNNING)}
    assert figures.transactions > 100


def test_killed_at_random_moments(victim: Server) -> None:
    figures = Episode(victim, 2, AT_RANDOM).run()
    assert figures.kills == Counter({"random": AT_RANDOM.kills})
    assert figures.aborted > 10, "the workload rolled nothing back"


def test_killed_beside_a_postgres_replica(victim: Server) -> None:
    assert Episode(victim, 3, REPLICA).run().killed == REPLICA.kills


def test_the_server_and_its_walsenders_are_killed(victim: Server) -> None:
    figures = Episode(victim, 4, SERVER).run()
    assert figures.faults


@pytest.mark.parametrize("sabotage", ["drop", "advance", "recreate"])
def test_a_gap_is_declared(victim: Server, sabotage: Sabotage) -> None:
    """The only other way to keep the promise: a slot that lost our place stops the pipeline."""
    assert Episode(victim, 5, Plan(1, sabotage=sabotage)).run().gaps == 1
