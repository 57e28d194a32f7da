"""The crash tests can fail: planted bugs turn them red.

A few are tried in every run of the tests; with ``PENSTOCK_CRASH=full`` (``make crash``) all are.
"""

from __future__ import annotations

from typing import Final

import pytest

from penstock.embedded.server import Server
from tests.crash.harness import Episode, Violated
from tests.crash.mutants import MUTANTS
from tests.crash.plans import FULL, plan_for

QUICK: Final = (
    "acknowledge_before_flush",
    "deduplicate_by_row_position",
    "key_change_as_upsert",
    "log_from_the_second_snapshot",
)
SEEDS: Final = 20


@pytest.mark.parametrize("mutant", MUTANTS if FULL else QUICK)
def test_a_planted_bug_is_caught(victim: Server, mutant: str) -> None:
    for seed in range(1, SEEDS + 1):
        try:
            Episode(victim, 100 + seed, plan_for(mutant)).run()
        except Violated as violated:
            violated.discard()
            return
    pytest.fail(f"{mutant} survived {SEEDS} episodes")
