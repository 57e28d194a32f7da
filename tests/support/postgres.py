"""What tests do to a PostgreSQL server besides capturing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

import psycopg

from penstock.embedded.server import Server

_numbers: Final = count(1)


def execute(dsn: str, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def transact(dsn: str, *statements: str) -> None:
    """Run statements in one transaction."""
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement)


def fetch(dsn: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query, parameters or None).fetchall()


@contextmanager
def fresh_database(server: Server) -> Iterator[str]:
    """The URL of an empty database, which goes with its slots when the test is over."""
    name = f"test_{next(_numbers)}"
    execute(server.dsn(), f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield server.dsn(name)
    finally:
        if server.running:
            drop(server, name)


def drop(server: Server, database: str) -> None:
    """Drop a database with all that still uses it: sessions, walsenders, slots."""
    execute(
        server.dsn(),
        f"ALTER DATABASE {database} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        f" WHERE datname = '{database}'",
        f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        f" WHERE database = '{database}'",
        f"DROP DATABASE {database} WITH (FORCE)",
    )
