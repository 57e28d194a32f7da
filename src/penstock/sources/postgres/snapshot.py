"""The copy of a table's rows, through the snapshot that a slot exported.

The locks are taken before the slot is made: a rewriting ALTER in between would show the reader no
rows at all. One connection takes the locks, then adopts the snapshot, then reads.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from penstock.errors import ConnectionLostError, PrivilegeError, SourceError
from penstock.registry import driver
from penstock.sources.postgres.catalog import Published, Relkind, published
from penstock.sources.postgres.connection import Connection, literal, quote

BLOCK: Final = 1 << 20
"""Bytes of rows that are read at once, about."""
_LOOK_UP: Final = 200  # milliseconds


@dataclass(slots=True)
class Progress:
    """How far a snapshot is, for people who wait.

    Parameters
    ----------
    table: the table that is read now.
    rows: rows read of all tables.
    total: the planner's idea of how many there are; None when it has none.
    tables_done, tables: how many tables are finished, and how many there are.
    started: on the monotonic clock.
    """

    tables: int
    table: str = ""
    rows: int = 0
    total: int | None = None
    tables_done: int = 0
    started: float = 0.0

    @classmethod
    def of(cls, shapes: Sequence[Published]) -> Progress:
        """Before the first row."""
        estimates = [shape.estimate for shape in shapes]
        total = None if None in estimates else sum(filter(None, estimates))
        return cls(len(shapes), total=total, started=time.monotonic())

    def status(self, now: float) -> dict[str, Any]:
        """For ``status()``: with the rate, and the seconds left where they can be guessed."""
        seconds = max(now - self.started, 1e-9)
        rate = self.rows / seconds
        left = None
        if self.total is not None and rate > 0:
            left = max(self.total - self.rows, 0) / rate
        return {
            "table": self.table,
            "rows": self.rows,
            "rows_total": self.total,
            "rows_per_second": round(rate),
            "seconds_left": left,
            "tables_done": self.tables_done,
            "tables": self.tables,
        }


@dataclass(frozen=True, slots=True)
class Due:
    """A table to copy, and the number of this attempt."""

    table: Relkind
    attempt: int


class SnapshotReader:
    """A connection that holds the tables' locks and then one snapshot, until closed."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._using = threading.Lock()
        self._closed = False

    def lock(self, tables: Sequence[Relkind], timeout: float) -> None:
        """Lock the tables against being rewritten or dropped; their rows stay writable.

        Raises
        ------
        PrivilegeError: a table may not be read.
        SourceError: a lock was not to be had within ``timeout`` seconds.
        """
        psycopg = driver("psycopg", "postgres")
        connection = self.connection
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        _execute(connection, f"SET LOCAL lock_timeout = {int(timeout * 1000)}")
        for table in tables:
            try:
                _execute(connection, f"LOCK TABLE {table.sql} IN ACCESS SHARE MODE")
            except psycopg.errors.LockNotAvailable:
                raise SourceError(
                    f"{table.text} could not be locked for reading within {timeout:g} s",
                    hint="a statement that changes the table holds it; see SELECT * FROM "
                    "pg_locks WHERE mode = 'AccessExclusiveLock'",
                    table=table.text,
                ) from None
            except psycopg.errors.InsufficientPrivilege:
                raise may_not_read(table) from None

    def adopt(self, snapshot: str) -> None:
        """See what that exported snapshot sees; it may then end."""
        _execute(self.connection, f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")

    def describe(self, table: Relkind, publication: str) -> Published:
        """The table's shape in the snapshot."""
        return published(self.connection, table, publication)

    def next(self, blocks: Iterator[list[bytes]]) -> list[bytes]:
        """The next of :meth:`blocks`, empty after the last. Blocks the thread."""
        with self._using:
            return next(blocks, [])

    def blocks(self, table: Relkind, shape: Published) -> Iterator[list[bytes]]:
        """The table's rows as lines of COPY's text, in lists of about :data:`BLOCK` bytes.

        Raises ConnectionLostError when the connection breaks or is closed.
        """
        psycopg = driver("psycopg", "postgres")
        pgconn = self.connection.pgconn
        columns = ", ".join(quote(name) for name in shape.table.names)
        where = f" WHERE {shape.where}" if shape.where else ""
        sql = f"COPY (SELECT {columns} FROM {table.sql}{where}) TO STDOUT"
        result = pgconn.exec_(sql.encode())
        if result.status != psycopg.pq.ExecStatus.COPY_OUT:
            raise self._explain(psycopg.errors.error_from_result(result, encoding="utf-8"), table)
        lines: list[bytes] = []
        size = 0
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN)
        try:
            while True:
                length, data = pgconn.get_copy_data(1)
                if length > 0:
                    lines.append(bytes(data))
                    size += length
                    if size >= BLOCK:
                        yield lines
                        lines, size = [], 0
                elif length == 0:
                    if not poll.poll(_LOOK_UP) and self._closed:
                        raise ConnectionLostError("the snapshot was given up")
                    pgconn.consume_input()
                else:
                    break
        except psycopg.Error as error:
            raise self._explain(error, table) from error
        while (end := pgconn.get_result()) is not None:
            if end.status != psycopg.pq.ExecStatus.COMMAND_OK:
                raise self._explain(psycopg.errors.error_from_result(end, encoding="utf-8"), table)
        if lines:
            yield lines

    def _explain(self, error: Exception, table: Relkind) -> Exception:
        psycopg = driver("psycopg", "postgres")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return may_not_read(table, str(error).strip())
        sqlstate = getattr(error, "sqlstate", None)
        if sqlstate is None or sqlstate.startswith(("08", "57P")):
            return ConnectionLostError(f"the snapshot's connection broke: {error}")
        return SourceError(f"{table.text} cannot be read: {error}", table=table.text)

    def close(self) -> None:
        """Let the locks and the snapshot go, once no thread reads any more."""
        self._closed = True
        with self._using:
            self.connection.close()


def may_not_read(table: Relkind, why: str = "") -> PrivilegeError:
    """The error of a table that our role may not read."""
    name = f"{quote(table.schema)}.{quote(table.name)}"
    hint = (
        f"GRANT USAGE ON SCHEMA {quote(table.schema)} TO <role>; GRANT SELECT ON {name} TO <role>"
    )
    if "row-level security" in why:
        hint = "ALTER ROLE <role> BYPASSRLS; a snapshot without the hidden rows would be wrong"
    return PrivilegeError(
        f"our role may not read {table.text}{': ' + why if why else ''}",
        hint=hint,
        table=table.text,
    )


def _execute(connection: Connection, sql: str) -> None:
    connection.execute(sql.encode())  # all names in it are quoted
