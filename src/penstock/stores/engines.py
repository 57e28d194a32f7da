"""How a store's engines connect: by which driver, verified, and with commits that last."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import ConfigError
from penstock.tls import OPTIONS, driver_arguments, is_local

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

PATIENCE: Final = 30
"""Seconds to wait for another writer of an SQLite file."""
_SYNC: Final = {
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "mysql": "mysql+pymysql",
    "mysql+aiomysql": "mysql+pymysql",
    "mysql+asyncmy": "mysql+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+asyncpg": "postgresql+psycopg",
    "sqlite+aiosqlite": "sqlite",
}
_ASYNC: Final = {
    "mariadb": "mysql+aiomysql",
    "mariadb+pymysql": "mysql+aiomysql",
    "mysql": "mysql+aiomysql",
    "mysql+pymysql": "mysql+aiomysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+pysqlite": "sqlite+aiosqlite",
}
_LIBPQ: Final = ("postgresql+psycopg", "postgresql+psycopg_async", "postgresql+psycopg2")
_ASYNCPG: Final = "postgresql+asyncpg"
_MYSQL: Final = ("mysql+pymysql", "mysql+aiomysql", "mysql+asyncmy")


def sync_url(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL for calls that block, and what else its driver is to be told, verified."""
    made = url.set(drivername=_SYNC.get(url.drivername, url.drivername))
    if url.drivername == _ASYNCPG and "ssl" in made.query:  # libpq has another word for it
        rest = {name: value for name, value in made.query.items() if name != "ssl"}
        made = made.set(query={**rest, "sslmode": made.query["ssl"]})
    return verified(made)


def async_url(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL for calls that are awaited, and what else its driver is to be told."""
    return verified(url.set(drivername=_ASYNC.get(url.drivername, url.drivername)))


def verified(url: URL) -> tuple[URL, dict[str, Any]]:
    """Have the driver verify a server that is not on this machine, unless the URL says how.

    Returns the URL, and further arguments of the driver.

    Raises ConfigError for a driver that cannot be told.
    """
    given = url.query
    if url.drivername.startswith(("mysql", "mariadb")):
        return _verified_mysql(url)
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


def _verified_mysql(url: URL) -> tuple[URL, dict[str, Any]]:
    local = "unix_socket" in url.query or is_local(url.host)
    if url.drivername in _MYSQL:
        arguments = driver_arguments(url.query, local=local)
        if url.drivername != "mysql+pymysql":
            arguments.pop("ssl_disabled", None)
        rest = {name: value for name, value in url.query.items() if name not in OPTIONS}
        return url.set(query={"charset": "utf8mb4", **rest}), arguments
    if local or any(name.startswith("ssl") for name in url.query):
        return url, {}
    raise ConfigError(
        f"the store is on {url.host}, and {url.drivername} cannot be told to verify it",
        hint="use mysql+pymysql://",
    )


def set_up(engine: Engine) -> None:
    """Make what the engine commits durable, and its transactions real."""
    if engine.dialect.name == "postgresql":
        _commit_durably(engine)
    if engine.dialect.name == "mysql":
        _lock_rows_only(engine)
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


def _lock_rows_only(engine: Engine) -> None:
    """What does not fit is refused, and no save locks the gap between two others' rows."""
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
        cursor.close()


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
