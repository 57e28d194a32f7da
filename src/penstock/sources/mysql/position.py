"""Checkpoints of a MySQL source, and what is in which. Pure.

The log's checkpoint holds the transactions that have been read; the server is asked for all others.
They have no order: what two checkpoints have in common is in neither's past alone. Where a server's
transactions have no names, the checkpoint is a place in its log, which no other server knows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal

from penstock.model import Checkpoint, Mark
from penstock.model.stream import MAIN, snapshot_stream, snapshot_table
from penstock.sources.mysql.wire.gtid import GtidPosition, Gtids, GtidSet
from penstock.sources.mysql.wire.place import Place

Flavor = Literal["mysql", "mariadb"]

_PARSE: Final[dict[Flavor, Callable[[str], Gtids]]] = {
    "mysql": GtidSet.parse,
    "mariadb": GtidPosition.parse,
}


def is_place(text: str) -> bool:
    """Whether transactions are told by a place in one server's log."""
    return "/" in text


def gtids_of(flavor: Flavor, text: str) -> Gtids:
    """Transactions as the flavor writes them, or all before a place in one server's log. Raises
    ValueError for anything else."""
    return Place.parse(text) if is_place(text) else _PARSE[flavor](text)


def main_checkpoint(flavor: Flavor, gtids: Gtids) -> Checkpoint:
    """The checkpoint of the log when these transactions have been read."""
    return Checkpoint.of(MAIN, flavor=flavor, gtids=str(gtids))


def snapshot_checkpoint(table: str, attempt: int, flavor: Flavor, at: str) -> Checkpoint:
    """The checkpoint of a table's finished snapshot, which shows all transactions in ``at``."""
    return Checkpoint.of(snapshot_stream(table), attempt=attempt, flavor=flavor, gtids=at)


@lru_cache(maxsize=256)
def gtids_in(checkpoint: Checkpoint) -> Gtids:
    """The transactions that a checkpoint has; not to be changed."""
    value = checkpoint.value
    return gtids_of(value["flavor"], value["gtids"])


@lru_cache(maxsize=256)
def _attempt(checkpoint: Checkpoint) -> int:
    return int(checkpoint.value["attempt"])


def covers(checkpoint: Checkpoint, mark: Mark) -> bool:
    """Whether reading from ``checkpoint`` on would not show ``mark`` again."""
    if snapshot_table(mark.transaction) is None:
        return mark.transaction in gtids_in(checkpoint)
    stream, _, attempt = mark.transaction.rpartition("@")
    return stream == checkpoint.stream and int(attempt) <= _attempt(checkpoint)


def meet(a: Checkpoint, b: Checkpoint) -> Checkpoint:
    """The checkpoint of what two have in common: of a stream, or a copy and ``main``."""
    if MAIN not in (a.stream, b.stream) and _attempt(a) != _attempt(b):
        return min(a, b, key=_attempt)
    first, second = gtids_in(a), gtids_in(b)
    if first <= second:
        return a
    if second <= first:
        return b
    common = str(first & second)
    return Checkpoint.of(a.stream, **{**a.value, "gtids": common})
