"""Checkpoints in the log: which mark a checkpoint covers, and which of two comes first. Pure.

A transaction is known by its commit LSN and reading goes on at its end LSN. The end of one may
equal the commit of the next, hence "before" is always strict.
"""

from __future__ import annotations

from functools import lru_cache

from penstock.model import Checkpoint, Mark
from penstock.model.stream import MAIN, snapshot_stream, snapshot_table
from penstock.sources.postgres.wire.lsn import format_lsn, parse_lsn


def main_checkpoint(lsn: int, system: str, timeline: int) -> Checkpoint:
    """The checkpoint of the log at ``lsn``."""
    return Checkpoint.of(MAIN, lsn=format_lsn(lsn), system=system, timeline=timeline)


def snapshot_checkpoint(table: str, attempt: int, at: int) -> Checkpoint:
    """The checkpoint of a table's finished snapshot, which shows all commits before ``at``."""
    return Checkpoint.of(snapshot_stream(table), attempt=attempt, at=format_lsn(at))


@lru_cache(maxsize=256)
def checkpoint_lsn(checkpoint: Checkpoint) -> int:
    """Where a checkpoint of the log, or of a snapshot, stands in the log."""
    value = checkpoint.value
    return parse_lsn(value["lsn"] if checkpoint.stream == MAIN else value["at"])


@lru_cache(maxsize=256)
def _attempt(checkpoint: Checkpoint) -> int:
    return int(checkpoint.value["attempt"])


@lru_cache(maxsize=4096)
def _commit(transaction: str) -> int:
    return parse_lsn(transaction)


def covers(checkpoint: Checkpoint, mark: Mark) -> bool:
    """Whether reading from ``checkpoint`` on would not show ``mark`` again."""
    if snapshot_table(mark.transaction) is None:
        return _commit(mark.transaction) < checkpoint_lsn(checkpoint)
    stream, _, attempt = mark.transaction.rpartition("@")
    return stream == checkpoint.stream and int(attempt) <= _attempt(checkpoint)


def meet(a: Checkpoint, b: Checkpoint) -> Checkpoint:
    """The one of two checkpoints of a stream that comes first; of a finished snapshot and ``main``,
    the one that shows less of the log."""
    if MAIN in (a.stream, b.stream):
        return min(a, b, key=checkpoint_lsn)
    return min(a, b, key=lambda c: (_attempt(c), checkpoint_lsn(c)))
