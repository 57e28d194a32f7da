"""Connections to the server: session settings, TLS, and errors that say what to do."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias

from penstock.component import Secret
from penstock.errors import (
    ConfigError,
    ConnectionLostError,
    PenstockError,
    PrivilegeError,
    SourceError,
)
from penstock.registry import driver

if TYPE_CHECKING:
    import psycopg
    from psycopg import pq

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

_SETTINGS: Final = (
    # What walsender, COPY and ordinary queries write is then the same text everywhere.
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex"
    " -c extra_float_digits=1 -c lc_monetary=C"
    # Rows that a policy would hide must be an error, not a smaller copy.
    " -c row_security=off"
    " -c statement_timeout=0"
)
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
_TIMEOUTS: Final = (("idle_session_timeout", 140000), ("transaction_timeout", 170000))
"""Settings that would end our sessions, and since which version of the server."""
_SYSTEM_ROOTS_SINCE: Final = 160000  # libpq's


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    escape = " E" if "\\" in text else ""
    return f"{escape}'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


class Server:
    """The server that a dsn names.

    Parameters
    ----------
    dsn: a libpq connection string or URL.

    Raises
    ------
    ConfigError: the dsn cannot be read.
    MissingExtraError: psycopg is not installed.
    """

    def __init__(self, dsn: Secret) -> None:
        psycopg = driver("psycopg", "postgres")
        text = dsn.get_secret_value()
        given: dict[str, Any] | None = None
        # libpq's own message quotes the dsn, password included: not even a context to ours.
        with contextlib.suppress(psycopg.Error):
            given = psycopg.conninfo.conninfo_to_dict(text)
        if given is None or ("://" in text and _is_misread(given)):
            raise ConfigError(
                "the dsn is neither a PostgreSQL URL nor key=value pairs",
                hint="postgresql://user:password@host:5432/database; "
                "characters like @ / : ? # % in the password must be percent-encoded",
            )
        known = {**_service(text, given), **given}
        self._password = str(known.get("password") or os.environ.get("PGPASSWORD") or "")
        self._parameters: dict[str, Any] = {
            **{name: known.get(name, value) for name, value in _DEFAULTS.items()},
            **given,
        }
        self._parameters["options"] = f"{known.get('options') or ''} {_SETTINGS}".strip()
        self._parameters["client_encoding"] = "UTF8"
        host = known.get("hostaddr") or known.get("host") or os.environ.get("PGHOST") or ""
        self.hosts = str(host).split(",")
        self._port = str(known.get("port") or os.environ.get("PGPORT") or "5432")
        self._database = str(known.get("dbname") or os.environ.get("PGDATABASE") or "")
        if len(self.hosts) > 1 and known.get("target_session_attrs", "any") == "any":
            # Only a primary has our slot.
            self._parameters["target_session_attrs"] = "primary"
        self.sslmode = str(known.get("sslmode") or os.environ.get("PGSSLMODE") or "")
        self.local = all(map(_is_local, self.hosts))
        self.verifies_by_default = not (self.sslmode or self.local)
        if self.verifies_by_default:
            self._parameters["sslmode"] = "verify-full"
            roots = known.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
            own = Path.home() / ".postgresql" / "root.crt"
            if not roots and not own.exists() and psycopg.pq.version() >= _SYSTEM_ROOTS_SINCE:
                self._parameters["sslrootcert"] = "system"
        self._reached = False

    @property
    def weak(self) -> str:
        """What the dsn's sslmode leaves open; empty for nothing."""
        if self.local or self.sslmode in ("", "verify-full"):
            return ""
        return f"sslmode={self.sslmode}: the server's identity is not verified"

    def name_sessions(self, pipeline: str) -> None:
        """Show the pipeline in ``pg_stat_activity``."""
        self._parameters["application_name"] = f"penstock-{pipeline}"

    def __str__(self) -> str:
        """Host, port and database, without secrets."""
        host = ",".join(self.hosts) or "the local socket"
        return f"{host}:{self._port}/{self._database}"

    def connect(self) -> Connection:
        """An ordinary connection, in autocommit.

        Raises
        ------
        ConnectionLostError: the server, which was there before, cannot be reached.
        PrivilegeError: it does not let us in.
        SourceError: it cannot be reached, or refuses us.
        """
        return self._connect()

    def walsender(self) -> Connection:
        """A replication connection. Raises as :meth:`connect`, and the same."""
        return self._connect(replication="database")

    def _connect(self, **more: str) -> Connection:
        psycopg = driver("psycopg", "postgres")
        try:
            connection: Connection = psycopg.Connection.connect(
                **{**self._parameters, **more}, autocommit=True
            )
        except (psycopg.Error, OSError) as error:
            raise self._refused(str(error)) from None
        self._reached = True
        for setting, since in _TIMEOUTS:
            if connection.info.server_version >= since:
                command(connection.pgconn, f"SET {setting} = 0")
        return connection

    def _refused(self, text: str) -> PenstockError:
        reason = _essence(self.scrub(text))
        for sign, kind, hint in self._refusals():
            if sign in reason:
                return kind(f"cannot connect to {self}: {reason}", hint=hint)
        kind = ConnectionLostError if self._reached else SourceError
        return kind(
            f"cannot connect to {self}: {reason}",
            hint="" if self._reached else "is the server running, and host and port right?",
        )

    def _refusals(self) -> list[tuple[str, type[PenstockError], str]]:
        """Words of a refusal, what it is, and what to do. Messages in other languages than
        English get the general answer: libpq gives no SQLSTATE before the session exists."""
        user = self._parameters.get("user") or os.environ.get("PGUSER") or "the operating system's"
        tls = (
            "penstock verifies the server's certificate off loopback: add sslrootcert=/path/to/"
            "ca.pem to the dsn; or sslmode=require (encrypted, not verified); "
            "or sslmode=disable (in clear, only on a network that you trust)"
        )
        again: type[PenstockError] = ConnectionLostError
        return [
            ("password authentication failed", SourceError, f"check user {user} and its password"),
            ("no password supplied", SourceError, "add the password to the dsn or to ~/.pgpass"),
            (
                "no pg_hba.conf entry",
                PrivilegeError,
                f"add to pg_hba.conf: hostssl all {user} <our address>/32 scram-sha-256 "
                "(replication by slots uses the database's own lines)",
            ),
            ("must be superuser or replication role", PrivilegeError, self.grant_replication),
            ("must be replication role", PrivilegeError, self.grant_replication),
            ("permission denied to start WAL sender", PrivilegeError, self.grant_replication),
            ("permission denied for database", PrivilegeError, "GRANT CONNECT ON DATABASE …"),
            ("does not exist", SourceError, "check the names of user and database in the dsn"),
            ("certificate", SourceError, tls),
            ("does not support SSL", SourceError, tls),
            ("SSL", SourceError, tls),
            ("is starting up", again, ""),
            ("is shutting down", again, ""),
            ("in recovery mode", again, ""),
            ("not yet accepting connections", again, ""),
            ("too many", again, "raise max_connections or max_wal_senders"),
            (
                "exceeds max_wal_senders",
                again,
                "ALTER SYSTEM SET max_wal_senders = 20; then restart the server",
            ),
        ]

    @property
    def grant_replication(self) -> str:
        """The SQL that lets our role replicate."""
        return f"ALTER ROLE {quote(str(self._parameters.get('user') or 'your_role'))} REPLICATION"

    def scrub(self, text: str) -> str:
        """The text without the password."""
        return text.replace(self._password, "***") if self._password else text


_QUOTING: Final = ("22", "38", "39", "P0")
"""Classes of errors about data, and of functions that a row passes."""


def quotes_rows(error: Exception) -> bool:
    """Whether what the server says may hold a row's values."""
    return (getattr(error, "sqlstate", None) or "").startswith(_QUOTING)


def words(error: Exception) -> str:
    """What the server says, unless it may hold a row's values."""
    if quotes_rows(error):
        name, sqlstate = type(error).__name__, getattr(error, "sqlstate", "")
        return f"{name} (SQLSTATE {sqlstate}); the server's log says more, and may quote the row"
    return str(error).strip()


def _essence(text: str) -> str:
    """A refusal as one line, without what our own words around it say already."""
    text = " ".join(text.split())
    text = re.sub("^connection (failed|is bad): ", "", text)
    text = re.sub(r'^connection to server (at|on socket) "[^"]*"(, port \d+)? failed: ', "", text)
    return text.partition(" Is the server running ")[0]


def _service(dsn: str, given: Mapping[str, Any]) -> dict[str, str]:
    """What a connection service file (``service=``, PGSERVICE) makes of the dsn; empty for none.

    libpq reads the file when it connects; a value that it refuses ends that before it reaches out.
    Its default sslmode, which accepts any server, is not told from one that was written down.
    """
    if not (given.get("service") or os.environ.get("PGSERVICE")):
        return {}
    psycopg = driver("psycopg", "postgres")
    refused = psycopg.conninfo.make_conninfo(dsn, channel_binding="resolve-only")
    pgconn = psycopg.pq.PGconn.connect_start(refused.encode())
    found = {option.keyword.decode(): option.val.decode() for option in pgconn.info if option.val}
    pgconn.finish()
    for name in ("channel_binding", "sslmode"):
        if found.get(name) in ("resolve-only", "prefer"):
            del found[name]
    return found


def _is_misread(given: Mapping[str, Any]) -> bool:
    """Whether parts of a password that was not percent-encoded became port or database, which
    messages name."""
    port, name = str(given.get("port") or ""), str(given.get("dbname") or "")
    return bool(port.replace(",", "").strip("0123456789")) or "@" in name


def _is_local(host: str) -> bool:
    return (
        not host
        or host.startswith(("/", "@"))
        or (host.startswith("127.") and host.replace(".", "").isdigit())
        or host.lower() in ("localhost", "::1", "[::1]")
    )


def command(pgconn: pq.abc.PGconn, sql: str) -> list[list[str]]:
    """Run one command on a replication connection, by the simple protocol; its rows.

    Raises the psycopg error of the server's SQLSTATE.
    """
    psycopg = driver("psycopg", "postgres")
    result = pgconn.exec_(sql.encode())
    status = psycopg.pq.ExecStatus
    if result.status not in (status.TUPLES_OK, status.COMMAND_OK, status.COPY_BOTH):
        raise psycopg.errors.error_from_result(result, encoding="utf-8")
    return [
        [(result.get_value(row, i) or b"").decode() for i in range(result.nfields)]
        for row in range(result.ntuples)
    ]


def rows(connection: Connection, sql: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a query.

    Raises ConnectionLostError when the connection is gone.
    """
    psycopg = driver("psycopg", "postgres")
    try:
        return connection.execute(sql, parameters or None).fetchall()
    except psycopg.OperationalError as error:
        if connection.closed or connection.broken:
            raise ConnectionLostError(f"the server closed the connection: {error}") from error
        raise
