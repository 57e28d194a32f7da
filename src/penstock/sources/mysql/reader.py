"""One connection that reads tables through a consistent snapshot."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import ConnectionLostError, SourceError
from penstock.registry import driver
from penstock.sources.mysql.connection import Server, error_number, quote, rows
from penstock.sources.mysql.parts import Part, Whole
from penstock.sources.mysql.wire.packets import StreamError
from penstock.sources.mysql.wire.resultrows import ResultRows, Row, selected

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection

READ: Final = 1 << 18
"""Bytes of one read at most."""
_COM_QUERY: Final = 3
_ZEROFILL: Final = 64
_DENIED: Final = frozenset({1044, 1227})
_ALTERED: Final = frozenset({1054, 1146, 1176, 1412})  # no such column, table or index; another


class SnapshotReader:
    """A connection whose reads all show one moment, until closed.

    One thread at a time uses it; only :meth:`give_up` is for others.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.connection: Connection = server.connect(use_unicode=False, autocommit=False)
        self.connection.decoders = {}  # values stay what the server wrote
        rows(self.connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        pymysql = driver("pymysql", "mysql")
        try:  # who writes nothing need not log: else MariaDB keeps all tables that were read
            rows(self.connection, "SET SESSION sql_log_bin = 0")
        except pymysql.Error as error:
            if error_number(error) not in _DENIED:
                self.close()
                raise

    def begin(self) -> None:
        """Let all reads from here on show this moment."""
        rows(self.connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def begun(self) -> None:
        """Keep the moment, and no table: statements may alter those that are not being read."""
        rows(self.connection, "SAVEPOINT penstock")

    def cut(self, whole: Whole) -> tuple[Part, Whole | None]:
        """The next part of a table, and what is left of it."""
        if not whole.key:
            return Part(whole), None
        with self._explained(whole):
            found = rows(self.connection, whole.next_cut)
        if not found:
            return Part(whole, whole.behind), None
        end = whole.literal(found[0][0])
        upto = f"{quote(whole.key)} <= {end}"
        condition = f"{whole.behind} AND {upto}" if whole.after else upto
        return Part(whole, condition), replace(whole, after=end)

    def blocks(self, part: Part) -> Iterator[tuple[list[Row], int]]:
        """A part's rows, and their size in bytes, as much as comes at once.

        Raises
        ------
        SourceError: the table has been altered since the snapshot began.
        ConnectionLostError: the connection breaks or is given up.
        """
        table = part.whole.table
        columns = ", ".join(map(selected, table.columns))
        where = f" WHERE {part.condition}" if part.condition else ""
        with self._explained(part.whole):
            yield from self._read(f"SELECT {columns} FROM {part.whole.sql}{where}", part)
            rows(self.connection, "ROLLBACK TO SAVEPOINT penstock")

    def _read(self, sql: str, part: Part) -> Iterator[tuple[list[Row], int]]:
        """Read a query's rows off the connection in large pieces, past its driver."""
        table, connection = part.whole.table, self._raw
        connection._execute_command(_COM_QUERY, sql.encode())
        count = connection._read_packet().read_length_encoded_integer()
        described = driver("pymysql.connections", "mysql").FieldDescriptorPacket
        flags = [connection._read_packet(described).flags for _ in range(count)]
        connection._read_packet()
        result = ResultRows(table, {i for i, flag in enumerate(flags) if flag & _ZEROFILL})
        while not result.done:
            data = connection._rfile.read1(READ)
            if not data:
                raise ConnectionLostError("the server closed the snapshot's connection")
            if found := result.feed(data):
                yield found, len(data)

    @property
    def _raw(self) -> Any:
        """The connection, with what its stubs do not have."""
        return self.connection

    @contextmanager
    def _explained(self, whole: Whole) -> Iterator[None]:
        """Our errors for those of the server and the driver."""
        pymysql = driver("pymysql", "mysql")
        try:
            yield
        except (pymysql.Error, StreamError, OSError) as error:
            if error_number(error) in _ALTERED:
                raise altered(whole.table.text) from None
            raise self._server.explain(error) from None

    def give_up(self) -> None:
        """End what another thread reads."""
        with suppress(OSError, AttributeError):
            self._raw._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let the snapshot go."""
        with suppress(Exception):
            self._raw._force_close()  # no farewell is awaited


def altered(table: str) -> SourceError:
    """The error of a table that is not what it was when the snapshot began."""
    return SourceError(
        f"{table} was altered while its snapshot was to be read",
        hint="run again: the copy of this table begins anew",
        table=table,
    )
