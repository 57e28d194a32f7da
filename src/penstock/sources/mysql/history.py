"""Which transactions the server has had, and still has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from penstock.errors import DivergedError, GapError
from penstock.sources.mysql.connection import one
from penstock.sources.mysql.position import Flavor, gtids_of

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection


def flavor_of(connection: Connection) -> Flavor:
    """Whose server it is."""
    return "mariadb" if "mariadb" in one(connection, "SELECT VERSION()").lower() else "mysql"


def executed(connection: Connection, flavor: Flavor) -> str:
    """The transactions that the server's log has had until now."""
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
    had = gtids_of(flavor, executed(connection, flavor))
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
