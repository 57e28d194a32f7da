"""Preflight: what keeps a source from running, what it will not capture, and what mends it.

``open`` raises the first of the same errors that ``check`` lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import PenstockError, PrivilegeError, SourceError
from penstock.model.table import qualified
from penstock.ports import Finding
from penstock.sources.mysql import catalog, fence
from penstock.sources.mysql.connection import Connection, Server, one, rows
from penstock.sources.mysql.history import executed, flavor_of, nameless
from penstock.sources.mysql.position import Flavor

if TYPE_CHECKING:
    from penstock.sources.mysql.config import MySQL

_OLDEST: Final = {"mysql": (8, 0, 1), "mariadb": (10, 5, 0)}
"""The first whose logs can tell the columns' names."""
_SHORT: Final = 86400
"""Seconds of log that are few for a pipeline that may stand still."""
_CASCADES_LOGGED: Final = (9, 6, 0)
"""The first MySQL that logs the rows which foreign keys change."""

_SETTINGS: Final = {"binlog_format": "ROW", "binlog_row_image": "FULL"}

Tables = Sequence[tuple[str, str]]


def require(connection: Connection, flavor: Flavor, config: MySQL, tables: Tables) -> None:
    """Raises the first error that would keep the source from running."""
    for error in _errors(connection, flavor, config, tables):
        raise error


def check(server: Server, config: MySQL) -> list[Finding]:
    """All findings. Nothing is changed on the server."""
    found: list[Finding] = []
    try:
        with server.connect() as connection:
            flavor = flavor_of(connection)
            tables: Tables = ()
            try:
                tables = catalog.captured(connection, config.tables)
            except PenstockError as error:
                found.append(_finding(error))
            found += map(_finding, _errors(connection, flavor, config, tables))
            found += _warnings(connection, flavor, tables)
    except PenstockError as error:
        found.append(_finding(error))
    found.append(Finding("info", "the Python kernel decodes, whichever else runs here"))
    return found


def status(server: Server) -> dict[str, Any]:
    """What the server says of its log now."""
    with server.connect() as connection:
        flavor = flavor_of(connection)
        files = rows(connection, "SHOW BINARY LOGS")
        return {
            "server": str(server),
            "flavor": flavor,
            "version": one(connection, "SELECT VERSION()"),
            "gtids": executed(connection, flavor, by_place=nameless(connection, flavor)),
            "log_files": len(files),
            "log_bytes": sum(int(row[1]) for row in files),
            "sslmode": server.sslmode,
        }


def _finding(error: PenstockError) -> Finding:
    return Finding("error", error.message, error.hint, error.code)


def version_of(connection: Connection) -> tuple[int, ...]:
    """The server's version in numbers."""
    text = one(connection, "SELECT VERSION()").partition("-")[0]
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _errors(
    connection: Connection, flavor: Flavor, config: MySQL, tables: Tables
) -> Iterator[PenstockError]:
    version, oldest = version_of(connection), _OLDEST[flavor]
    if version < oldest:
        yield SourceError(
            f"{flavor} {'.'.join(map(str, version))} is too old: its log does not tell columns' "
            f"names; {'.'.join(map(str, oldest))} is the oldest that works"
        )
        return
    if config.snapshot == "only":
        return
    if not one(connection, "SELECT @@GLOBAL.log_bin"):
        yield SourceError("the binlog is off", hint="start the server with log_bin = binlog")
    for name in ("binlog_format", "binlog_row_image"):
        found, value = one(connection, f"SELECT @@GLOBAL.{name}"), _SETTINGS[name]
        if found.upper() != value:
            yield SourceError(
                f"{name} is {found}: the log lacks what we need", hint=_set(flavor, name, value)
            )
    yield from _privileges(connection, flavor, config)
    if not tables and all("*" not in pattern for pattern in config.tables):
        yield SourceError("no table is captured", hint="check the patterns in tables")


def _set(flavor: Flavor, name: str, value: str) -> str:
    if flavor == "mysql":
        return f"SET PERSIST {name} = {value}"
    return f"SET GLOBAL {name} = {value}, and {name} = {value} in the server's file"


def _privileges(connection: Connection, flavor: Flavor, config: MySQL) -> Iterator[PenstockError]:
    grants = " ".join(str(row[0]).upper() for row in rows(connection, "SHOW GRANTS"))
    if "ALL PRIVILEGES ON *.*" in grants:
        return
    needed: list[tuple[str, tuple[str, ...]]] = [
        ("REPLICATION SLAVE", ("REPLICATION SLAVE", "REPLICATION_SLAVE"))
    ]
    if flavor == "mysql":
        needed.append(("REPLICATION CLIENT", ("REPLICATION CLIENT",)))
        if config.snapshot != "never":
            needed.append(("RELOAD", ("RELOAD", "FLUSH_TABLES")))
    else:
        needed.append(("BINLOG MONITOR", ("BINLOG MONITOR", "REPLICATION CLIENT")))
    lacking = [name for name, words in needed if not any(word in grants for word in words)]
    if lacking:
        user = one(connection, "SELECT CURRENT_USER()")
        yield PrivilegeError(
            f"{user} lacks {', '.join(lacking)}",
            hint=f"GRANT {', '.join(lacking)} ON *.* TO {user}",
        )


def _warnings(connection: Connection, flavor: Flavor, tables: Tables) -> Iterator[Finding]:
    if not fence.told_by_log(connection):
        yield Finding(
            "warning",
            "the log does not tell tables' columns: they are remembered, and read anew from the "
            "catalog when a statement may have altered them; where two do so while nobody reads, "
            "the rows between them cannot be read",
            _set(flavor, "binlog_row_metadata", "FULL"),
        )
    names = {qualified(schema, name) for schema, name in tables}
    found = rows(
        connection,
        "SELECT t.table_schema, t.table_name, t.engine,"
        " EXISTS (SELECT 1 FROM information_schema.statistics s WHERE"
        " s.table_schema = t.table_schema AND s.table_name = t.table_name"
        " AND s.index_name = 'PRIMARY') FROM information_schema.tables t"
        " WHERE t.table_type = 'BASE TABLE'",
    )
    for schema, name, engine, keyed in found:
        text = qualified(schema, name)
        if text not in names:
            continue
        if not keyed:
            yield Finding("warning", f"{text} has no primary key: its changes have no key")
        if engine != "InnoDB":
            yield Finding(
                "warning",
                f"{text} is of the engine {engine}, which has no transactions: a snapshot may show "
                "its rows later than where the log goes on, so that they come twice",
                f"ALTER TABLE {text} ENGINE = InnoDB",
            )
    if flavor == "mariadb" or version_of(connection) < _CASCADES_LOGGED:
        for schema, name, constraint in rows(
            connection,
            "SELECT constraint_schema, table_name, constraint_name"
            " FROM information_schema.referential_constraints"
            " WHERE delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT')"
            " OR update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT')",
        ):
            if qualified(schema, name) in names:
                yield Finding(
                    "warning",
                    f"{qualified(schema, name)}: what the foreign key {constraint} changes or "
                    "deletes by itself is not in the log",
                    "delete and update by statements of your own",
                )
    if nameless(connection, flavor):
        yield Finding(
            "warning",
            "transactions have no GTIDs: reading goes on by the log's files and positions, on this "
            "server alone; after a failover the pipeline stops as diverged",
            "SET PERSIST enforce_gtid_consistency = ON; then SET PERSIST gtid_mode = "
            "OFF_PERMISSIVE, ON_PERMISSIVE and ON, one after the other",
        )
    expires = int(float(one(connection, "SELECT @@GLOBAL.binlog_expire_logs_seconds")))
    if 0 < expires < _SHORT:
        yield Finding(
            "warning",
            f"the log is kept for {expires} s: who stands still for longer loses changes",
            f"SET GLOBAL binlog_expire_logs_seconds = {7 * _SHORT}",
        )
    yield Finding(
        "info",
        "not captured: sessions with sql_log_bin = 0, sequences, temporary tables, and dropped "
        "partitions' rows",
    )
