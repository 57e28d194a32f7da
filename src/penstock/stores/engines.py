"""How a store's engines connect: by which driver, verified, and with commits that last."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

PATIENCE: Final = 30
"""Seconds to wait for another writer of an SQLite file."""
_SYNC: Final = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+asyncpg": "postgresql+psycopg",
    "sqlite+aiosqlite": "sqlite",
}
_ASYNC: Final = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+pysqlite": "sqlite+aiosqlite",
}
_LIBPQ: Final = ("postgresql+psycopg", "postgresql+psycopg_async", "postgresql+psycopg2")
_ASYNCPG: Final = "postgresql+asyncpg"


def sync_url(url: URL) -> URL:
    """The URL for calls that block, verified (see :func:`verified`)."""
    made = url.set(drivername=_SYNC.get(url.drivername, url.drivername))
    if url.drivername == _ASYNCPG and "ssl" in made.query:  # libpq has another word for it
        rest = {name: value for name, value in made.query.items() if name != "ssl"}
        made = made.set(query={**rest, "sslmode": made.query["ssl"]})
    return verified(made)[0]


def async_url(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL for calls that are awaited, and what else its driver is to be told."""
    return verified(url.set(drivername=_ASYNC.get(url.drivername, url.drivername)))


def verified(url: URL) -> tuple[URL, dict[str, Any]]:
    """Have the driver verify a PostgreSQL that is not on this machine, unless the URL says how;
    the URL, and further arguments of the driver.

    Raises ConfigError for a driver that cannot be told.
    """
    given = url.query
    if not url.drivername.startswith("postgresql"):
        return url, {}
    if {"sslmode", "ssl", "service"} & given.keys() or os.environ.get("PGSSLMODE"):
        return url, {}
    host = url.host or given.get("host") or os.environ.get("PGHOST") or ""
    if host in ("", "localhost", "127.0.0.1", "::1") or str(host).startswith("/"):
        return url, {}
    if url.drivername in _LIBPQ:
        return url.set(query={"sslrootcert": "system", **given, "sslmode": "verify-full"}), {}
    if url.drivername == _ASYNCPG:
        return url, {"ssl": True}  # the certificate and the host's name, by the system's roots
    raise ConfigError(
        f"the store is on {host}, and {url.drivername} cannot be told to verify it",
        hint="use postgresql+psycopg://, or postgresql+asyncpg://",
    )


def set_up(engine: Engine) -> None:
    """Make what the engine commits durable, and its transactions real."""
    if engine.dialect.name == "postgresql":
        _commit_durably(engine)
    if engine.dialect.name == "sqlite":
        _one_writer_at_a_time(engine)


def _commit_durably(engine: Engine) -> None:
    """A save that has returned must outlive the server's crash, whatever the database's default.
    A setting that waits for a standby as well is left as it is."""
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        cursor.close()
        connection.commit()


def _one_writer_at_a_time(engine: Engine) -> None:
    """SQLite's driver would begin transactions late, and not for savepoints.

    https://docs.sqlalchemy.org/en/20/dialects/sqlite.html, "Serializable isolation, savepoints".
    """
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = EXTRA")
        cursor.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("penstock_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
