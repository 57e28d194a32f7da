"""One moment for all readers of a snapshot, and its place in the log.

MariaDB tells a consistent read's place in the log without a lock: readers begin until all have the
same. MySQL does not tell: there commits are held up by a global lock while the readers begin.
https://mariadb.com/kb/en/enhancements-for-start-transaction-with-consistent-snapshot/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from penstock.registry import driver
from penstock.sources.mysql.connection import Server, error_number, one, rows
from penstock.sources.mysql.history import executed, place
from penstock.sources.mysql.position import Flavor
from penstock.sources.mysql.reader import SnapshotReader

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection

PATIENCE: Final = 3
"""Seconds for which the lock is waited for at once: writers wait behind who waits for it."""
TRIES: Final = 100
"""How often readers begin anew, on MariaDB, before the lock is taken."""
_LOCK_WAIT: Final = (1205, 3024)
_DENIED: Final = frozenset({1044, 1045, 1142, 1227})


class BusyError(Exception):
    """The lock was not to be had."""


class Begun(NamedTuple):
    """How many readers, of the first, began together; the transactions that they show, and the end
    of those in the log: a file and a position."""

    together: int
    at: str
    place: tuple[str, int]


def begin(
    server: Server, readers: Sequence[SnapshotReader], flavor: Flavor, *, by_place: bool
) -> Begun:
    """Let the readers begin.

    Parameters
    ----------
    by_place: tell what they show by a place in the log.

    Raises BusyError where the lock is not to be had at once.
    """
    if flavor == "mysql":
        with _locked(server) as connection:
            for reader in readers:
                reader.begin()
            return Begun(
                len(readers), executed(connection, flavor, by_place=by_place), place(connection)
            )
    return _begin_mariadb(server, readers)


def _begin_mariadb(server: Server, readers: Sequence[SnapshotReader]) -> Begun:
    for _ in range(TRIES):
        places = _begin_all(readers)
        if len(places) == 1:
            break
    together = len(readers)
    if len(places) > 1:
        try:
            with _locked(server):
                places = _begin_all(readers)
        except PermissionError:
            places, together = _begin_all(readers[:1]), 1
    [(file, position)] = places
    gtids: bytes = one(readers[0].connection, f"SELECT BINLOG_GTID_POS('{file}', {position})")
    return Begun(together, gtids.decode(), (file, int(position)))


def _begin_all(readers: Sequence[SnapshotReader]) -> set[tuple[str, str]]:
    """The places in the log at which the readers have begun: one, if nothing was committed since
    the first did."""
    for reader in readers:
        reader.begin()
    return {_place(reader) for reader in readers}


def _place(reader: SnapshotReader) -> tuple[str, str]:
    status = rows(reader.connection, "SHOW STATUS LIKE 'binlog_snapshot_%'")
    found = {name.decode().lower(): value.decode() for name, value in status}
    return found["binlog_snapshot_file"], found["binlog_snapshot_position"]


@contextmanager
def _locked(server: Server) -> Iterator[Connection]:
    """Nothing is committed meanwhile. Raises BusyError, and PermissionError who may not."""
    pymysql = driver("pymysql", "mysql")
    with server.connect() as connection:
        rows(connection, f"SET SESSION lock_wait_timeout = {PATIENCE}")
        try:
            rows(connection, "FLUSH TABLES WITH READ LOCK")
        except pymysql.Error as error:
            if error_number(error) in _LOCK_WAIT:
                raise BusyError from None
            if error_number(error) in _DENIED:
                raise PermissionError from error
            raise
        try:
            yield connection
        finally:
            rows(connection, "UNLOCK TABLES")
