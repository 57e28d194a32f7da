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
