"""A failover in which the dsn's host is a standby for a while."""

from __future__ import annotations

import pytest

from penstock.errors import ConnectionLostError, SourceError
from tests.conftest import OwnServer
from tests.support.follow import Follower, Remembered, run
from tests.support.postgres import execute

pytestmark = pytest.mark.server


def test_a_primary_is_awaited_where_there_was_one(own_server: OwnServer) -> None:
    server = own_server("16").start()
    dsn = server.dsn()
    execute(dsn, "CREATE TABLE t (id int PRIMARY KEY)")

    async def read() -> None:
        async with Follower(dsn, Remembered()) as follower:
            execute(dsn, "INSERT INTO t VALUES (1)")
            assert len(await follower.changes()) == 1
            await follower.close()
            server.stop()
            (server.data / "standby.signal").touch()
            server.start()
            with pytest.raises(ConnectionLostError, match="standby"):
                await follower.open()
            with pytest.raises(SourceError, match="standby"):
                await Follower(dsn, follower.memory).open()
            execute(dsn, "SELECT pg_promote()", "INSERT INTO t VALUES (2)")
            await follower.open()
            assert [change.row["id"] for change in await follower.changes()] == [2]

    run(read())
