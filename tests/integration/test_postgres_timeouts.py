"""Timeouts that an administrator set for others must not end our sessions."""

from __future__ import annotations

import pytest

from penstock.sources.postgres.config import Postgres
from penstock.sources.postgres.connection import Server, command
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.server

TIMEOUTS = (
    "idle_session_timeout",
    "statement_timeout",
    "transaction_timeout",
)


def test_timeouts_of_the_database_do_not_hold_for_us(databases: str) -> None:
    query = "SELECT name FROM pg_settings WHERE name = ANY (string_to_array('{}', ','))"
    known = [name for (name,) in fetch(databases, query.format(",".join(TIMEOUTS)))]
    (database,) = fetch(databases, "SELECT current_database()")[0]
    for name in known:
        execute(databases, f"ALTER DATABASE \"{database}\" SET {name} = '5s'")
    server = Server(Postgres(dsn=databases).dsn)
    for connect in (server.connect, server.walsender):
        connection = connect()
        try:
            for name in known:
                assert command(connection.pgconn, f"SHOW {name}") == [["0"]], name
        finally:
            connection.close()
