"""The catalog behind a fence: which shapes tables have, and up to which place in the log.

While an open transaction has looked at a table, no statement alters it. So all that altered it is
in the log before the place that is read then, and nothing that will alter it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import ConnectionLostError, SourceError
from penstock.model import Checkpoint
from penstock.model.stream import MAIN
from penstock.registry import driver
from penstock.sources.mysql import catalog
from penstock.sources.mysql.connection import Server, error_number, one, quote, rows
from penstock.sources.mysql.history import place
from penstock.sources.mysql.wire.alterations import Name, altered, renamed
from penstock.sources.mysql.wire.decoder import Decoder
from penstock.sources.mysql.wire.gtid import Gtids
from penstock.sources.mysql.wire.packets import Packets
from penstock.sources.mysql.wire.place import split_file
from penstock.sources.mysql.wire.shapes import Statement, Statements
from penstock.sources.mysql.wire.tablemap import TableMap

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection

_GONE: Final = (1146, 1049)
_LOCK_WAIT: Final = 1205
_READ: Final = 1 << 18
HEARTBEAT: Final = 1.0
"""Seconds of silence after which the server tells how far its log is."""
PATIENCE: Final = 60
"""Seconds without a word after which it is lost."""

Place = tuple[int, int]
"""A file of the log, by its number, and a position in it."""


@contextmanager
def held(server: Server, tables: Iterable[Name], patience: float) -> Iterator[Connection]:
    """A connection that keeps statements from altering the tables; their rows stay writable.

    Raises SourceError when a statement alters one of them for so many seconds.
    """
    pymysql = driver("pymysql", "mysql")
    with server.connect(autocommit=False) as connection:
        rows(connection, f"SET SESSION lock_wait_timeout = {max(int(patience), 1)}")
        rows(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        rows(connection, "START TRANSACTION")
        for schema, name in tables:
            try:
                rows(connection, f"SELECT 1 FROM {quote(schema)}.{quote(name)} LIMIT 0")
            except pymysql.Error as error:
                if error_number(error) == _LOCK_WAIT:
                    raise SourceError(
                        f"{schema}.{name} could not be looked at within {patience:g} s",
                        hint="a statement that alters it runs or waits; see SHOW PROCESSLIST",
                        table=f"{schema}.{name}",
                    ) from None
                if error_number(error) not in _GONE:
                    raise
        yield connection


def shapes(connection: Connection, tables: Iterable[Name]) -> dict[Name, TableMap | None]:
    """What the tables are like now; None for those that are not there."""
    numbers = catalog.collations(connection)
    found = {name: catalog.mapped(connection, *name, numbers) for name in tables}
    return {name: shape if shape.columns else None for name, shape in found.items()}


def told_by_log(connection: Connection) -> bool:
    """Whether the log that is written now tells tables' columns."""
    return str(one(connection, "SELECT @@GLOBAL.binlog_row_metadata")).upper() == "FULL"


def _end(connection: Connection) -> Place:
    """Where the log ends now."""
    file, position = place(connection)
    return _number(file), position


def _number(file: str) -> int:
    return split_file(file)[1] if file else 0


def read(
    server: Server,
    needed: Iterable[Name],
    scan: Callable[[Place], list[Statement]],
    known: Iterable[Name],
    wanted: Callable[[str, str], bool],
    patience: float,
) -> tuple[list[Statement], dict[Name, TableMap | None]]:
    """The shapes of the needed tables, and the statements of the log until then.

    Also the shapes of all other wanted tables that those statements may have altered. Blocks.

    Parameters
    ----------
    scan: all statements of the log up to a place.
    known: further tables, which are followed already.
    """
    tables = set(needed)
    while True:
        with held(server, sorted(tables), patience) as connection:
            end, found = _end(connection), shapes(connection, sorted(tables))
        statements = scan(end)
        among = {*tables, *known}
        for statement in statements:
            for pair in renamed(statement.text, statement.database):
                among |= {name for name in pair if wanted(*name)}
        concerned = {
            name
            for statement in statements
            for name in altered(statement.text, statement.database, among)
        }
        if concerned <= tables:
            return statements, found
        tables |= concerned


def scan(connection: Any, gtids: Gtids, end: Place, *, checksums: bool) -> list[Statement]:
    """The statements of a stream of the log up to a place; closes the connection. Blocks.

    Raises ConnectionLostError, and StreamError for what the server says.

    Parameters
    ----------
    connection: asked for the log behind these transactions.
    checksums: whether events end in a checksum until a format description says so.
    """
    statements = Statements()
    decoder = Decoder(
        gtids=gtids,
        checkpoint=lambda *_: Checkpoint.of(MAIN),
        source={},
        wanted=lambda *_: False,
        checksums=checksums,
        schemas=statements,
    )
    packets, found = Packets(), statements.found
    try:
        while packets.end is None:
            data = connection._sock.recv(_READ)
            if not data:
                raise ConnectionLostError("the server closed the connection to the log")
            for event in packets.feed(data):
                before = len(found)
                for _ in decoder.feed([event]):
                    pass
                reached = (_number(decoder.file), decoder.position)
                if reached > end:
                    del found[before:]
                if reached >= end:
                    return found
        raise packets.end
    finally:
        connection._force_close()
