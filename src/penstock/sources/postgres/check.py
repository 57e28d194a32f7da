"""Preflight: what keeps a source from running, what it will not capture, and the SQL that mends it.

``open`` raises the first of the same errors that ``check`` lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, LiteralString

from penstock import kernel
from penstock.errors import PenstockError, PrivilegeError, SchemaError, SourceError
from penstock.ports import Finding
from penstock.sources.postgres import catalog, publication, slot
from penstock.sources.postgres.catalog import Relkind
from penstock.sources.postgres.connection import Connection, Server, quote, rows

if TYPE_CHECKING:
    from penstock.sources.postgres.config import Postgres

_MENDED_MINORS: Final = {15: 19, 16: 15, 17: 11, 18: 6}
"""Before these releases a replication role could load any library as output plugin."""
_OLDEST: Final = 130000


def require(
    connection: Connection, server: Server, config: Postgres, tables: Sequence[Relkind]
) -> None:
    """Raises the first error that would keep the source from running."""
    for error in _errors(connection, server, config, tables):
        raise error


def check(server: Server, config: Postgres, slot_name: str, publication_name: str) -> list[Finding]:
    """All findings. Nothing is changed on the server."""
    try:
        with server.connect() as connection:
            found = list(_findings(connection, server, config, slot_name, publication_name))
    except PenstockError as error:
        found = [_finding(error)]
    return [*found, kernel_finding()]


def kernel_finding() -> Finding:
    """Which kernel decodes what this source reads, and how to have the native one.

    Raises ConfigError where ``PENSTOCK_KERNEL`` names a kernel that cannot be had.
    """
    chosen = kernel.choice()
    if chosen.module is not None:
        version = chosen.module.VERSION
        return Finding("info", f"the native kernel decodes, penstock-native {version}")
    if chosen.problem:
        return Finding("warning", f"the Python kernel decodes: {chosen.problem}", chosen.cure)
    return Finding("info", "the Python kernel decodes", chosen.cure)


def status(server: Server, slot_name: str, publication_name: str) -> dict[str, Any]:
    """What the server says of the slot now.

    ``lag_seconds`` is how old the log was when it was last acknowledged (``flush_lag`` of the
    walsender that serves the slot); 0 when all is, None when nobody reads or the server has no
    figure.
    """
    with server.connect() as connection:
        found = rows(
            connection,
            """
            SELECT s.active, s.confirmed_flush_lsn::text, s.wal_status,
                   pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::int8,
                   pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn)::int8,
                   CASE WHEN s.confirmed_flush_lsn >= pg_current_wal_flush_lsn() THEN 0
                        ELSE extract(epoch FROM r.flush_lag) END::float8,
                   pg_current_wal_lsn()::text
            FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
            WHERE s.slot_name = %s
            """,
            slot_name,
        )
        published = publication.find(connection, publication_name) is not None
        tls = connection.pgconn.ssl_in_use
    state: dict[str, Any] = {
        "server": str(server),
        "slot": slot_name,
        "publication": publication_name,
        "published": published,
        "tls": tls,
        "sslmode": server.sslmode or ("verify-full" if server.verifies_by_default else "default"),
        "kernel": kernel.kernel(),
    }
    if not found:
        return {**state, "active": False, "exists": False}
    names = (
        *("active", "confirmed", "wal_status", "retained_bytes"),
        *("lag_bytes", "lag_seconds", "server_lsn"),
    )
    return {**state, "exists": True, **dict(zip(names, found[0], strict=True))}


def _finding(error: PenstockError) -> Finding:
    return Finding("error", error.message, error.hint, error.code)


def _errors(
    connection: Connection, server: Server, config: Postgres, tables: Sequence[Relkind]
) -> Iterator[PenstockError]:
    version = connection.info.server_version
    if version < _OLDEST:
        yield SourceError(f"PostgreSQL {version // 10000} is too old: 13 is the oldest that works")
    wal_level, encoding, standby = rows(
        connection,
        "SELECT current_setting('wal_level'), current_setting('server_encoding'),"
        " pg_is_in_recovery()",
    )[0]
    if config.snapshot != "only" and wal_level != "logical":
        yield SourceError(
            f"wal_level is {wal_level}: the log lacks what logical decoding needs",
            hint="ALTER SYSTEM SET wal_level = logical; then restart the server",
        )
    if encoding == "SQL_ASCII":
        yield SourceError(
            "the database is SQL_ASCII: nobody knows which characters its bytes are",
            hint="move it into a database with an encoding: createdb -E UTF8, pg_dump, pg_restore",
        )
    if standby:
        yield SourceError(
            "the server is a standby", hint="name the primary in the dsn, or list both hosts"
        )
    yield from _unreadable(connection, config, tables)
    if config.snapshot != "only":
        yield from _unidentified(connection, config, tables)


def _unreadable(
    connection: Connection, config: Postgres, tables: Sequence[Relkind]
) -> Iterator[PenstockError]:
    if config.snapshot == "never":
        return
    oids = [table.oid for table in tables]
    role = rows(connection, "SELECT current_user")[0][0]
    found = rows(
        connection,
        """
        SELECT c.oid::int8, has_schema_privilege(c.relnamespace, 'USAGE')
               AND has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid)
        FROM pg_class c WHERE c.oid = ANY (%s)
        """,
        oids,
    )
    refused = {oid for oid, readable, _ in found if not readable}
    hidden = {oid for oid, _, policies in found if policies}
    closed = [table for table in tables if table.oid in refused]
    if closed:
        schemas = sorted({table.schema for table in closed})
        grants = [f"GRANT USAGE ON SCHEMA {quote(s)} TO {quote(role)};" for s in schemas]
        grants += [
            f"GRANT SELECT ON {quote(t.schema)}.{quote(t.name)} TO {quote(role)};" for t in closed
        ]
        yield PrivilegeError(
            f"role {role} may not read {', '.join(t.text for t in closed)}, which a snapshot needs",
            hint=" ".join(grants),
            table=closed[0].text,
        )
    veiled = [table.text for table in tables if table.oid in hidden]
    if veiled:
        yield PrivilegeError(
            f"row-level security hides rows of {', '.join(veiled)} from role {role}",
            hint=f"ALTER ROLE {quote(role)} BYPASSRLS; or snapshot = 'never'",
            table=veiled[0],
        )


def _unidentified(
    connection: Connection, config: Postgres, tables: Sequence[Relkind]
) -> Iterator[PenstockError]:
    lacking = [table for table in tables if not table.identified]
    if lacking and config.publication:
        # What is published already fails without us, or sends inserts only.
        found = publication.find(connection, config.publication)
        if found is not None and not found.ours:
            lacking = [t for t in lacking if t.oid not in found.members]
    if lacking:
        names = ", ".join(table.text for table in lacking)
        fixes = " ".join(
            f"ALTER TABLE {quote(t.schema)}.{quote(t.name)} REPLICA IDENTITY FULL;" for t in lacking
        )
        yield SchemaError(
            f"{names} has no primary key or other replica identity: were it published, the "
            "application's own UPDATE and DELETE would fail",
            hint=f"add a primary key; or {fixes} or leave it out of tables",
            table=lacking[0].text,
        )


def _findings(
    connection: Connection,
    server: Server,
    config: Postgres,
    slot_name: str,
    publication_name: str,
) -> Iterator[Finding]:
    tables: Sequence[Relkind] = ()
    try:
        tables = catalog.captured(connection, config.tables)
    except PenstockError as error:
        yield _finding(error)
    yield from map(_finding, _errors(connection, server, config, tables))
    try:
        server.walsender().close()
    except PenstockError as error:
        yield _finding(error)
    yield from _objects(connection, config, tables, slot_name, publication_name)
    yield from _settings(connection, server)
    yield from _uncaptured(connection, config, tables)


def _objects(
    connection: Connection,
    config: Postgres,
    tables: Sequence[Relkind],
    slot_name: str,
    publication_name: str,
) -> Iterator[Finding]:
    """Slot and publication: there, or makeable."""
    found = publication.find(connection, publication_name)
    exists = slot.find(connection, slot_name)
    if found is None and exists is not None:
        yield _finding(publication.gone(publication_name))
    if found is not None:
        missing = [table for table in tables if table.oid not in found.members]
        if missing and not found.ours:
            yield Finding(
                "error",
                f"the publication {publication_name} lacks {', '.join(t.text for t in missing)}",
                publication.extend_sql(publication_name, missing),
                "config",
            )
    elif tables:
        may, owns = rows(
            connection,
            """
            SELECT has_database_privilege(current_database(), 'CREATE'),
                   bool_and(pg_has_role(c.relowner, 'USAGE'))
            FROM pg_class c WHERE c.oid = ANY (%s)
            """,
            [table.oid for table in tables],
        )[0]
        if not (may and owns):
            yield Finding(
                "error",
                "our role may not make the publication (it takes CREATE on the database and "
                "ownership of the tables); let their owner make it",
                publication.create_sql(publication_name, tables),
                "privilege",
            )
    if exists is not None and exists.lost:
        yield Finding("error", f"the slot {slot_name} is lost ({exists.lost})", "", "gap")
    slots, senders = rows(
        connection,
        """
        SELECT current_setting('max_replication_slots')::int
                   - (SELECT count(*) FROM pg_replication_slots),
               current_setting('max_wal_senders')::int
                   - (SELECT count(*) FROM pg_stat_replication)
        """,
    )[0]
    for free, name in ((slots, "max_replication_slots"), (senders, "max_wal_senders")):
        if free <= 0 and exists is None:
            yield Finding(
                "error",
                f"no room for another slot and walsender: {name} is used up",
                f"ALTER SYSTEM SET {name} = 20; -- then restart the server",
                "source",
            )


def _settings(connection: Connection, server: Server) -> Iterator[Finding]:
    version = connection.info.server_version
    major, minor = divmod(version, 10000)
    if minor < _MENDED_MINORS.get(major, 0):
        yield Finding(
            "warning",
            f"PostgreSQL {major}.{minor} lets a replication role load any library",
            f"upgrade to {major}.{_MENDED_MINORS[major]} or later",
        )
    settings = dict(
        rows(
            connection,
            "SELECT name, setting FROM pg_settings WHERE name IN ('max_slot_wal_keep_size',"
            " 'idle_replication_slot_timeout', 'wal_sender_timeout')",
        )
    )
    keep = settings.get("max_slot_wal_keep_size", "-1")
    if keep == "-1":
        yield Finding(
            "info",
            "a pipeline that stands still keeps WAL without bound",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); "
            "-- beyond it the slot is given up, and penstock reports a gap",
        )
    if settings.get("idle_replication_slot_timeout", "0") != "0":
        yield Finding(
            "warning",
            "the server gives idle slots up (idle_replication_slot_timeout): a pipeline that is "
            "stopped for longer has a gap",
        )
    if server.weak:
        yield Finding("warning", server.weak, "sslmode=verify-full sslrootcert=/path/to/ca.pem")


_NOT_IN_THE_LOG: Final[tuple[tuple[str, LiteralString], ...]] = (
    (
        "sequences are not captured",
        "SELECT schemaname || '.' || sequencename FROM pg_sequences ORDER BY 1",
    ),
    (
        "materialized views are not captured",
        "SELECT schemaname || '.' || matviewname FROM pg_matviews ORDER BY 1",
    ),
    (
        "large objects are not captured",
        "SELECT count(*) || ' of them' FROM pg_largeobject_metadata HAVING count(*) > 0",
    ),
)


def _uncaptured(
    connection: Connection, config: Postgres, tables: Sequence[Relkind]
) -> Iterator[Finding]:
    """What users may take for captured and is not."""
    for message, sql in _NOT_IN_THE_LOG:
        found = [name for (name,) in rows(connection, sql)]
        if found:
            yield Finding("info", f"{message}: {_some(found)}")
    unlogged = [
        table
        for table in catalog.user_tables(connection)
        if table.unlogged and catalog.wanted(config.tables, table.schema, table.name)
    ]
    if unlogged:
        yield Finding(
            "warning",
            f"unlogged tables are not captured: {_some([t.text for t in unlogged])}",
            " ".join(
                f"ALTER TABLE {quote(t.schema)}.{quote(t.name)} SET LOGGED;" for t in unlogged
            ),
        )
    roots = [table.text for table in tables if table.partitioned]
    if roots:
        yield Finding(
            "info",
            "rows that a partition holds when it is attached are not in the log, nor that they "
            f"leave when it is detached or dropped: {_some(roots)}",
            "penstock run warns of each; snapshot = 'always' for one run copies the table anew",
        )
    children = rows(
        connection,
        """
        SELECT DISTINCT c.conrelid::regclass::text, c.confrelid::regclass::text
        FROM pg_constraint c WHERE c.contype = 'f' AND c.conparentid = 0
          AND c.confrelid = ANY (%s) AND c.conrelid <> ALL (%s)
        ORDER BY 1, 2
        """,
        *([table.oid for table in tables],) * 2,
    )
    for child, parent in children:
        yield Finding(
            "warning",
            f"TRUNCATE {parent} CASCADE empties {child}, which is not captured, without a trace",
            f"add {child} to tables",
        )


def _some(names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
