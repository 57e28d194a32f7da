"""Which transactions the server has had, and still has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from penstock.errors import DivergedError, GapError, SourceError
from penstock.registry import driver
from penstock.sources.mysql.connection import one, rows
from penstock.sources.mysql.position import Flavor, gtids_of
from penstock.sources.mysql.wire.place import Place, split_file

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection

_FILES: Final = "SHOW BINARY LOGS"


def flavor_of(connection: Connection) -> Flavor:
    """Whose server it is."""
    return "mariadb" if "mariadb" in one(connection, "SELECT VERSION()").lower() else "mysql"


def nameless(connection: Connection, flavor: Flavor) -> bool:
    """Whether the server writes, or may write, transactions without GTIDs."""
    return flavor == "mysql" and one(connection, "SELECT @@GLOBAL.gtid_mode") != "ON"


def place(connection: Connection) -> tuple[str, int]:
    """Where MySQL writes its log now."""
    pymysql = driver("pymysql", "mysql")
    try:
        [(file, position, *_)] = rows(connection, "SHOW BINARY LOG STATUS")
    except pymysql.ProgrammingError:  # before MySQL 8.2
        [(file, position, *_)] = rows(connection, "SHOW MASTER STATUS")
    return file, int(position)


def executed(connection: Connection, flavor: Flavor, *, by_place: bool) -> str:
    """The transactions that the server's log has had until now.

    Parameters
    ----------
    by_place: tell them by the place where it ends.
    """
    if by_place:
        return str(Place(_uuid(connection), *place(connection)))
    name = "gtid_executed" if flavor == "mysql" else "gtid_binlog_pos"
    return "".join(str(one(connection, f"SELECT @@GLOBAL.{name}")).split())


def compare(connection: Connection, flavor: Flavor, text: str, reached: Iterable[str] = ()) -> None:
    """Compare what we have read with what the server has.

    Parameters
    ----------
    text: what need not be read again.
    reached: what each of the sinks has.

    Raises
    ------
    GapError: it has removed what we have not read.
    DivergedError: it does not know what we have read.
    """
    ours = gtids_of(flavor, text)
    if isinstance(ours, Place):
        for read in (text, *reached):
            _compare_place(connection, Place.parse(read))
        return
    if nameless(connection, flavor):
        raise SourceError(
            "the server's transactions have no GTIDs any more, by which this pipeline reads",
            hint="SET PERSIST gtid_mode = ON again; or `penstock teardown` and a new snapshot",
        )
    had = gtids_of(flavor, executed(connection, flavor, by_place=False))
    for read in (text, *reached):
        if not gtids_of(flavor, read) <= had:
            raise DivergedError(
                f"the server does not know transactions that we have read: we are at {read}, and "
                f"it is at {had}",
                hint="it was promoted without them, was restored, or is another server; compare, "
                "then `penstock teardown` and a new snapshot",
            )
    if flavor == "mysql":
        purged = "".join(str(one(connection, "SELECT @@GLOBAL.gtid_purged")).split())
        if not gtids_of(flavor, purged) <= ours:
            raise GapError(
                f"the server has removed {purged} from its log, and we have read {text or 'none'}",
                hint="`penstock teardown` and a new snapshot; keep the log longer than a pipeline "
                "may stand still (binlog_expire_logs_seconds)",
            )


def _uuid(connection: Connection) -> str:
    return str(one(connection, "SELECT @@GLOBAL.server_uuid"))


def _compare_place(connection: Connection, ours: Place) -> None:
    """Compare a place with the server's files. Raises as :func:`compare`."""
    another = DivergedError(
        f"we are at {ours}, and this server's log does not lead there",
        hint="without GTIDs only the server that a pipeline began on can be read on: bring it "
        "back, or `penstock teardown` and a new snapshot",
    )
    if ours.server != _uuid(connection):
        raise another
    base, number = split_file(ours.file)
    sizes = {split_file(str(file)): int(size) for file, size, *_ in rows(connection, _FILES)}
    if (base, number) in sizes:
        if ours.position > sizes[base, number]:
            raise another
        return
    if all(theirs != base or last < number for theirs, last in sizes):
        raise another
    raise GapError(
        f"the server has removed {ours.file}, which we have not read to its end",
        hint="`penstock teardown` and a new snapshot; keep the log longer than a pipeline "
        "may stand still (binlog_expire_logs_seconds)",
    )
