"""The SQL sink into MySQL and MariaDB."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pymysql
import pytest

from penstock.errors import FencedError, SchemaError, SinkError, SinkUnavailableError
from penstock.failpoints import Failpoint
from penstock.model import UNCHANGED, Checkpoint, SchemaChange
from penstock.ports import Context
from penstock.sinks.sql import Sql
from tests.support.feed import Feed, change, column, feeding, table
from tests.support.mysql import Database
from tests.support.waiting import eventually

pytestmark = pytest.mark.server

T = table("t", column("id", "integer"), column("v"), column("big"))
WIDER = table("t", column("id", "bigint"), column("v"), column("big"), column("n", "integer"))
KEYLESS = table("log", column("line"), key=())
MANY = 500


def test_rows_follow_the_source(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(
            1, change("insert", T, "1", "a", "A"), change("insert", T, "2", "b", None)
        )
        await feed.commit(2, change("update", T, "1", "c", UNCHANGED), change("delete", T, "2"))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT * FROM t") == [(1, "c", "A")]
    assert binlogs.fetch("SELECT * FROM penstock_checkpoint") == [
        ("orders", "replica", "main", '{"at":2}', "0/2:2")
    ]


def test_keys_swap_in_one_transaction(mysql: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(
            1, change("insert", T, "1", "a", "BIG1"), change("insert", T, "2", "b", "BIG2")
        )
        await feed.commit(
            2,
            change("update", T, "0", "a", UNCHANGED, old=["1"]),
            change("update", T, "1", "b", UNCHANGED, old=["2"]),
            change("update", T, "2", "a2", UNCHANGED, old=["0"]),
        )

    feeding(mysql.dsn, work)
    assert mysql.fetch("SELECT * FROM t ORDER BY id") == [(1, "b", "BIG2"), (2, "a2", "BIG1")]


def test_many_rows_at_once_end_as_one_by_one(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        rows = range(MANY)
        await feed.commit(1, *(change("insert", T, str(i), "a", "A") for i in rows))
        await feed.write(2, *(change("update", T, str(i), "b", UNCHANGED) for i in rows))
        moves = (change("update", T, str(i + MANY), "c", "C", old=[str(i)]) for i in rows)
        await feed.write(3, *moves)
        await feed.write(4, *(change("delete", T, str(i + MANY)) for i in rows if i % 2))
        await feed.write(5, *(change("insert", T, str(i), None, "%s\\'\t") for i in rows))
        await feed.commit(6)

    feeding(binlogs.dsn, work)
    expected: list[Any] = [(i, None, "%s\\'\t") for i in range(MANY)]
    expected += [(i + MANY, "c", "C") for i in range(0, MANY, 2)]
    assert binlogs.fetch("SELECT * FROM t ORDER BY id") == expected


def test_nothing_of_an_open_transaction_is_seen_whatever_it_creates(binlogs: Database) -> None:
    other = table("other", column("id", "integer"), column("v"))

    async def work(feed: Feed) -> None:
        await feed.write(1, change("insert", T, "1", "a", None), whole=False)
        await feed.write(1, change("insert", other, "1", "a"), whole=False)
        assert binlogs.fetch("SELECT * FROM t") == []
        assert binlogs.fetch("SELECT * FROM other") == []
        await feed.commit(1, change("truncate", T), change("insert", T, "2", "b", None))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT id FROM t") == [(2,)]
    assert binlogs.fetch("SELECT id FROM other") == [(1,)]


def test_a_table_is_altered_between_transactions_only(binlogs: Database) -> None:
    async def work(feed: Feed) -> None:
        await feed.commit(1, change("insert", T, "1", "a", None))
        await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        for added in ("id", "n"):  # one at a time; both are there, and no row of the transaction
            with pytest.raises(SinkUnavailableError, match="altered"):
                await feed.write(2, SchemaChange(T, WIDER), whole=False)
            assert binlogs.fetch("SELECT id FROM t") == [(1,)], added
            await feed.reopen()
            assert await feed.sink.resume("main") == Checkpoint.of("main", at=1)
            await feed.write(2, change("insert", T, "2", "b", None), whole=False)
        row = change("insert", WIDER, str(2**40), "c", None, "3")
        await feed.write(2, SchemaChange(T, WIDER), row, whole=False)
        assert binlogs.fetch("SELECT id FROM t") == [(1,)]
        await feed.commit(2)
        # a version older than the target alters nothing
        await feed.commit(3, change("insert", T, "3", "d", None))

    feeding(binlogs.dsn, work)
    assert binlogs.fetch("SELECT id, n FROM t ORDER BY id") == [
        (1, None),
        (2, None),
        (3, None),
        (2**40, 3),
    ]
