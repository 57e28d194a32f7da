"""A network that cuts, tears, delays, swallows and refuses; the same process must go on."""

from __future__ import annotations

from penstock.embedded.server import Server
from tests.crash.harness import Episode
from tests.crash.plans import NETWORK


def test_the_network_fails(victim: Server) -> None:
    figures = Episode(victim, 6, NETWORK).run()
    assert figures.faults["network"]
    assert figures.liveness, "no life was seen to go on"
