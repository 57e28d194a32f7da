"""The pipeline dies anywhere on its way to Kafka, and so do brokers.

Without transactions records may come again, never late; with them a reader of what is committed
sees each once.
"""

from __future__ import annotations

from penstock.embedded.server import Server
from tests.crash.harness import Episode
from tests.crash.plans import KAFKA
from tools.brokers import Kafka


def test_killed_on_the_way_to_kafka(victim: Server) -> None:
    with Kafka() as broker:
        figures = Episode(victim, 6, KAFKA, broker).run()
    assert figures.killed == KAFKA.kills
    assert min(figures.topics.values()) > 100
