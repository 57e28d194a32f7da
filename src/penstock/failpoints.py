"""Named places where a test can make a pipeline crash, fail or wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum


class Failpoint(Enum):
    """The places, in the order in which one change passes them."""

    INTENT_SAVED = "intent_saved"
    PUBLICATION_CREATED = "publication_created"
    SLOT_CREATED = "slot_created"
    SNAPSHOT_BEGUN = "snapshot_begun"
    SNAPSHOT_BLOCK = "snapshot_block"
    SNAPSHOT_READ = "snapshot_read"
    LINK_RECEIVED = "link_received"
    BATCH_DECODED = "batch_decoded"
    BEFORE_WRITE = "before_write"
    AFTER_WRITE = "after_write"
    BEFORE_FLUSH = "before_flush"
    SINK_COMMIT = "sink_commit"
    AFTER_FLUSH = "after_flush"
    BEFORE_PARK = "before_park"
    AFTER_PARK = "after_park"
    BEFORE_SAVE = "before_save"
    AFTER_SAVE = "after_save"
    BEFORE_ACKNOWLEDGE = "before_acknowledge"
    AFTER_ACKNOWLEDGE = "after_acknowledge"


class Failpoints:
    """Counts each place passed and runs what a test armed there.

    An armed action gets the number of times the place was passed (from 1) and may raise, sleep or
    kill the process. Without actions a pass costs a dictionary look-up.
    """

    def __init__(self) -> None:
        self.passed: Counter[Failpoint] = Counter()
        self._actions: dict[Failpoint, Callable[[int], None]] = {}

    def arm(self, point: Failpoint, action: Callable[[int], None]) -> None:
        """Run ``action`` at every pass of ``point``."""
        self._actions[point] = action

    def hit(self, point: Failpoint) -> None:
        """Pass a place."""
        self.passed[point] += 1
        action = self._actions.get(point)
        if action is not None:
            action(self.passed[point])
