"""One connection that reads tables through a snapshot."""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import ConnectionLostError, PrivilegeError, SourceError
from penstock.kernel import kernel, native
from penstock.registry import driver
from penstock.sources.postgres.catalog import Published, Relkind, published
from penstock.sources.postgres.connection import (
    Connection,
    literal,
    quote,
    quotes_rows,
    rows,
    words,
)
from penstock.sources.postgres.directcopy import DirectCopy
from penstock.sources.postgres.parts import Part, Parts, cut
from penstock.sources.postgres.plain import is_plain
from penstock.sources.postgres.wire.copies import Payloads

if TYPE_CHECKING:
    from psycopg import pq

BLOCK: Final = 1 << 20
"""Bytes of rows that are read at once, about."""
_LOOK_UP: Final = 200  # milliseconds


@dataclass(frozen=True, slots=True)
class Task:
    """One part of one table, for one reader; ``binary`` is the format of its rows."""

    table: Relkind
    shape: Published
    binary: bool
    part: Part


class SnapshotReader:
    """A connection that holds the tables' locks and then one snapshot, until closed.

    One thread at a time uses it; only :meth:`give_up` is for others.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._direct: DirectCopy | None = None
        self._given_up = False

    def lock(self, tables: Sequence[Relkind], timeout: float | None) -> None:
        """Lock the tables against being rewritten or dropped; their rows stay writable.

        Parameters
        ----------
        timeout: seconds to wait for a lock; None to wait for none.

        Raises
        ------
        PrivilegeError: a table may not be read.
        SourceError: a lock was not to be had in time.
        """
        psycopg = driver("psycopg", "postgres")
        connection = self.connection
        if kernel() == "native" and is_plain(connection, connection):
            self._direct = DirectCopy(connection, native().Messages, self._look_up, _LOOK_UP)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        if timeout is not None:
            _execute(connection, f"SET LOCAL lock_timeout = {int(timeout * 1000)}")
        wait = "" if timeout is not None else " NOWAIT"
        for table in tables:
            try:
                _execute(connection, f"LOCK TABLE {table.sql} IN ACCESS SHARE MODE{wait}")
            except psycopg.errors.LockNotAvailable:
                raise SourceError(
                    f"{table.text} could not be locked for reading within {timeout or 0:g} s",
                    hint="a statement that changes the table holds it; see SELECT * FROM "
                    "pg_locks WHERE mode = 'AccessExclusiveLock'",
                    table=table.text,
                ) from None
            except psycopg.errors.InsufficientPrivilege:
                raise may_not_read(table) from None

    def adopt(self, snapshot: str) -> None:
        """See what that exported snapshot sees; it may then end."""
        _execute(self.connection, f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")

    def export(self) -> str:
        """Take a snapshot, for this reader and for others to adopt."""
        name: str = rows(self.connection, "SELECT pg_export_snapshot()")[0][0]
        return name

    def describe(self, table: Relkind, publication: str) -> Published:
        """The table's shape in the snapshot."""
        return published(self.connection, table, publication)

    def cut(self, table: Relkind) -> Parts:
        """The table in parts, for the readers of this snapshot."""
        return cut(self.connection, table)

    def blocks(self, task: Task) -> Iterator[Payloads]:
        """A part's rows as COPY writes them, about :data:`BLOCK` bytes at a time.

        Raises ConnectionLostError when the connection breaks or is given up.
        """
        psycopg = driver("psycopg", "postgres")
        columns = ", ".join(quote(name) for name in task.shape.table.names)
        conditions = [f"({one})" for one in (task.shape.where, task.part.condition) if one]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        form = " (FORMAT binary)" if task.binary else ""
        sql = f"COPY (SELECT {columns} FROM {task.part.relation}{where}) TO STDOUT{form}"
        try:
            if self._direct is not None:
                yield from self._direct.read(sql, BLOCK)
            else:
                yield from self._read(sql)
        except psycopg.Error as error:
            raise _explain(error, task.table) from (None if quotes_rows(error) else error)

    def _read(self, sql: str) -> Iterator[list[bytes]]:
        status = driver("psycopg", "postgres").pq.ExecStatus
        pgconn = self.connection.pgconn
        pgconn.send_query(sql.encode())
        self._expect(status.COPY_OUT)
        get = pgconn.get_copy_data
        lines: list[bytes] = []
        size = 0
        while True:
            length, data = get(1)
            if length > 0:
                lines.append(bytes(data))
                size += length
                if size >= BLOCK:
                    yield lines
                    lines, size = [], 0
            elif length == 0:
                self._wait()
            else:
                break
        if lines:
            yield lines
        self._expect(status.COMMAND_OK)
        self._expect(None)

    def _expect(self, status: pq.ExecStatus | None) -> None:
        """The command's next result; None for no more. Raises the psycopg error of any other."""
        psycopg = driver("psycopg", "postgres")
        pgconn = self.connection.pgconn
        while pgconn.is_busy():
            self._wait()
        result = pgconn.get_result()
        found = None if result is None else result.status
        if result is not None and found != status:
            raise psycopg.errors.error_from_result(result, encoding="utf-8")

    def _wait(self) -> None:
        """Send what is to be sent, and read what the socket has, when it has something."""
        pgconn = self.connection.pgconn
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if pgconn.flush() else 0))
        poll.poll(_LOOK_UP)
        self._look_up()
        pgconn.consume_input()

    def _look_up(self) -> None:
        if self._given_up:
            raise ConnectionLostError("the snapshot was given up")

    def give_up(self) -> None:
        """End what another thread reads, soon."""
        self._given_up = True

    def close(self) -> None:
        """Let the locks and the snapshot go."""
        if self._direct is not None:
            self._direct.close()
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


def _explain(error: Exception, table: Relkind) -> Exception:
    psycopg = driver("psycopg", "postgres")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return may_not_read(table, str(error).strip())
    sqlstate: Any = getattr(error, "sqlstate", None)
    if sqlstate is None or sqlstate.startswith(("08", "57P")):
        return ConnectionLostError(f"the snapshot's connection broke: {error}")
    return SourceError(f"{table.text} cannot be read: {words(error)}", table=table.text)


def _execute(connection: Connection, sql: str) -> None:
    connection.execute(sql.encode())  # all names in it are quoted
