"""The same binlog, read by python-mysql-replication: the same rows.

Its known defects, which the rows of this test keep away from:

* FLOAT is the number of 32 bits as a double, and so has digits that nobody wrote;
* zero and partial dates are None, a zero TIMESTAMP is 1970, the year 0000 is 1900;
* an empty value of bytes is an empty text; BIT is a text of ones and zeros, SET a set;
* JSON is read into Python's values, and partial updates are not applied;
* VECTOR, and MariaDB's compressed columns, end the stream;
* rows of a table that was not described are dropped without a word; columns without names get
  those of today's catalog.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import pytest
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from penstock.model import Change
from tests.support.binlog import changes, decode, events, make_decoder
from tests.support.mysql import Database

STATEMENTS: Final = (
    "CREATE TABLE numbers (id int PRIMARY KEY, a tinyint unsigned, b smallint, c mediumint,"
    " d bigint unsigned, e decimal(20,6), f double, g year)",
    "INSERT INTO numbers VALUES (1, 255, -32768, -8388608, 18446744073709551615, -12.5, 1.1, 2024),"
    " (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (3, 0, 0, 8388607, 0, 0, -1e300, 1901)",
    "UPDATE numbers SET b = b + 1, e = e * 3 WHERE id <> 2",
    "UPDATE numbers SET id = 20 WHERE id = 2",
    "DELETE FROM numbers WHERE id = 3",
    "CREATE TABLE texts (id int PRIMARY KEY, a varchar(300), b text, c mediumblob, d varbinary(9),"
    " e enum('x', 'y'), f char(5), g longtext)",
    "INSERT INTO texts VALUES (1, 'ä😀', REPEAT('b', 400), x'00ff', x'01', 'y', 'abc', '')",
    "INSERT INTO texts VALUES (2, NULL, '', x'02', x'03', 'x', NULL, NULL)",
    "UPDATE texts SET b = NULL, e = 'x'",
    "CREATE TABLE times (id int PRIMARY KEY, a date, b datetime, c datetime(6), d time, e time(3))",
    "INSERT INTO times VALUES (1, '2024-02-29', '1999-12-31 23:59:59',"
    " '2024-01-01 00:00:00.000001', '838:59:59', '12:34:56.789'),"
    " (2, '1000-01-01', '9999-12-31 23:59:59', NULL, '-10:00:01', NULL)",
    "DELETE FROM times WHERE id = 2",
)
Seen = tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]


def theirs(database: Database, file: str) -> Iterator[Seen]:
    reader = BinLogStreamReader(
        connection_settings=database.server.parameters,
        server_id=4711,
        log_file=file,
        log_pos=4,
        resume_stream=True,
        only_schemas=[database.name],
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        is_mariadb=False,
    )
    try:
        for event in reader:
            for row in event.rows:
                if isinstance(event, WriteRowsEvent):
                    yield "insert", event.table, None, row["values"]
                elif isinstance(event, DeleteRowsEvent):
                    yield "delete", event.table, row["values"], None
                else:
                    yield "update", event.table, row["before_values"], row["after_values"]
    finally:
        reader.close()


def ours(change: Change[Any]) -> Seen:
    before = None if change.before is None else dict(change.before)
    after = None if change.after is None else dict(change.after)
    return change.operation, change.definition.name, before, after


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_both_see_the_same_rows(binlogs: Database) -> None:
    binlogs.execute("FLUSH BINARY LOGS")
    [*_, (file, *_)] = binlogs.fetch("SHOW BINARY LOGS")
    binlogs.execute(*STATEMENTS, "FLUSH BINARY LOGS")
    log = (binlogs.server.data / file).read_bytes()
    decoder = make_decoder(
        binlogs.server.flavor, wanted=lambda schema, name: schema == binlogs.name
    )
    seen = [ours(change) for change in changes(decode(decoder, events(log)))]
    assert seen == list(theirs(binlogs, file))
    assert len(seen) == 14
    kinds = {type(value) for _, _, _, after in seen for value in (after or {}).values()}
    assert kinds > {int, float, str, bytes, Decimal, datetime.date, datetime.timedelta}
