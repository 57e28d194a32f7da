"""What each failure means for the pipeline: the one table, and the waits between tries."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from random import Random
from typing import Final

from penstock.errors import (
    BackpressureError,
    ConnectionLostError,
    PenstockError,
    SinkUnavailableError,
)


class Policy(Enum):
    """What to do about a failure."""

    REFEED_SINK = "close the sink, wait, open it, feed it again all that no flush covered"
    REOPEN_SOURCE = "settle the sinks, wait, open the source where the ledger says"
    STOP = "stop the pipeline and say why"


POLICIES: Final[tuple[tuple[type[BaseException], Policy], ...]] = (
    (SinkUnavailableError, Policy.REFEED_SINK),
    (ConnectionLostError, Policy.REOPEN_SOURCE),
    (PenstockError, Policy.STOP),
    (Exception, Policy.STOP),
)
"""First match wins. Records that a sink rejects are parked by the sink that can park them."""


def policy(error: BaseException) -> Policy:
    """What to do about ``error``."""
    for kind, chosen in POLICIES:
        if isinstance(error, kind):
            return chosen
    return Policy.STOP


FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 30.0


def waits(random: Random) -> Iterator[float]:
    """Seconds to wait before each further try: jittered, doubling to a cap, without end."""
    wait = FIRST_WAIT
    while True:
        yield wait * random.uniform(0.5, 1.0)
        wait = min(wait * 2, LONGEST_WAIT)


def pause(error: BaseException, wait: float) -> float:
    """The wait for this error: what the sink asked for, where it asked for more."""
    if isinstance(error, BackpressureError):
        return max(wait, error.retry_after)
    return wait
