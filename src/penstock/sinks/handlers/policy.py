"""What happens to a change whose handler fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from penstock.errors import ConfigError

OnFailure: TypeAlias = Literal["park", "stop"]


class Retry(Exception):
    """Raised by a handler: call me again with this change in ``after`` seconds.

    It does not count as a failure, so the change is never parked for it. Later changes wait.
    """

    def __init__(self, after: float = 1.0) -> None:
        super().__init__(f"asked to be called again in {after:g} s")
        self.after = after


class Park(Exception):
    """Raised by a handler: set this change aside now, for this reason, without a retry."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Policy:
    """How handlers are called and what their failures mean.

    Parameters
    ----------
    concurrency: how many changes of different keys may be in handlers at a time.
    on_failure: what follows the last retry; None parks, but stops where a handler writes in the
        transaction of the checkpoint.
    max_parked: how many changes may be set aside before the pipeline is stuck.
    retries: how often a failing change is tried again.
    retry_for: seconds over which those retries are spread, doubling from one to the next.
    """

    concurrency: int = 1
    on_failure: OnFailure | None = None
    max_parked: int = 1000
    retries: int = 5
    retry_for: float = 30.0

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("max_parked", 0), ("retries", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: it must be at least {least}")
        if self.on_failure not in ("park", "stop", None):
            raise ConfigError(f"on_failure={self.on_failure!r}: it is 'park' or 'stop'")

    def stops(self, *, transactional: bool) -> bool:
        """Whether a handler's last failure stops the pipeline."""
        return self.on_failure == "stop" or (self.on_failure is None and transactional)

    def waits(self, random: Random) -> Iterator[float]:
        """The waits before each retry: doubling, jittered by a fifth, ``retry_for`` in all."""
        first = self.retry_for / (2**self.retries - 1) if self.retries else 0.0
        for i in range(self.retries):
            yield first * 2**i * random.uniform(0.8, 1.2)
