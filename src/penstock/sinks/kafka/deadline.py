"""How long the brokers may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from penstock.errors import SinkUnavailableError

SLICE: Final = 0.2
"""Seconds of one wait inside librdkafka; between two, we look whether anybody waits for us."""


class Deadline:
    """Ends a wait.

    Parameters
    ----------
    seconds: from now, or from the last :meth:`renew`.
    stopping: whether nobody waits for the work any more.
    """

    def __init__(self, seconds: float, stopping: Callable[[], bool]) -> None:
        self.seconds = seconds
        self._stopping = stopping
        self.renew()

    def renew(self) -> None:
        """Something moved."""
        self._at = time.monotonic() + self.seconds

    @property
    def passed(self) -> bool:
        """Whether it is time to give up. Raises SinkUnavailableError when nobody waits any more."""
        if self._stopping():
            raise SinkUnavailableError("stopped while Kafka was waited for")
        return time.monotonic() >= self._at
