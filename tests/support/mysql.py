"""What tests do to a MySQL or MariaDB server besides capturing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

import pymysql

from tools.mysql import MySQL

_numbers: Final = count(1)


class Database:
    """A database of a server, for one test."""

    def __init__(self, server: MySQL, name: str) -> None:
        self.server = server
        self.name = name

    @property
    def dsn(self) -> str:
        """Its URL."""
        return self.server.dsn(self.name)

    def connect(self, **options: Any) -> pymysql.Connection[Any]:
        """A connection, in autocommit mode unless told otherwise."""
        parameters = {**self.server.parameters, "charset": "utf8mb4", "autocommit": True}
        return pymysql.connect(**{**parameters, "database": self.name, **options})

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def transact(self, *statements: str) -> None:
        """Run statements in one transaction."""
        self.execute("BEGIN", *statements, "COMMIT")

    def fetch(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(query, parameters or None)
            return list(cursor.fetchall())


def replicate(source: MySQL, replica: MySQL) -> None:
    """Let a server follow another, by GTIDs."""
    if replica.flavor == "mysql":
        Database(replica, "").execute(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_USER = 'root',"
            f" SOURCE_PORT = {source.port}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
            "START REPLICA",
        )
    else:
        Database(replica, "").execute(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_USER = 'root',"
            f" MASTER_PORT = {source.port}, MASTER_USE_GTID = slave_pos",
            "START SLAVE",
        )


def promote(replica: MySQL) -> None:
    """Make a server a primary of its own."""
    if replica.flavor == "mysql":
        Database(replica, "").execute("STOP REPLICA", "RESET REPLICA ALL")
    else:
        Database(replica, "").execute("STOP SLAVE", "RESET SLAVE ALL")


def gtids(server: MySQL) -> str:
    """The transactions in its log."""
    name = "gtid_executed" if server.flavor == "mysql" else "gtid_binlog_pos"
    [(found,)] = Database(server, "").fetch(f"SELECT @@GLOBAL.{name}")
    return str(found)


@contextmanager
def fresh_database(server: MySQL) -> Iterator[Database]:
    """An empty database, which goes when the test is over."""
    name = f"test_{next(_numbers)}"
    everywhere = Database(server, "")
    everywhere.execute(f"CREATE DATABASE {name}")
    try:
        yield Database(server, name)
    finally:
        if server.running:
            everywhere.execute(f"DROP DATABASE {name}")
