"""In which form the log's values are sent: as text, or in binary.

Binary costs the server less, and a value may be twice as large. It is asked for only where every
column of every captured table has a binary form that we turn into the server's own text
(:mod:`~penstock.sources.postgres.wire.binary`), so that nobody can tell the difference. Should the
log show another column, reading goes on in text from the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from penstock.kernel import kernel
from penstock.model import Table
from penstock.sources.postgres import catalog
from penstock.sources.postgres.connection import Connection
from penstock.sources.postgres.facts import Facts
from penstock.sources.postgres.wire.binary import inexact, is_exact

_SINCE: Final = 140000


class Form:
    """Decides at each opening of a source, and keeps what the process has learned.

    Parameters
    ----------
    allowed: whether binary may be used at all.
    temporary: whether the slot goes with its connection, so that nothing can be read again.

    Attributes
    ----------
    binary: the server's version where the session that is open sends binary; 0 where it is text.
    objection: why not, where binary is out of the question; empty where it is possible.
    """

    def __init__(self, *, allowed: bool, temporary: bool) -> None:
        self.binary = 0
        self.objection = ""
        self._fixed = ""
        if temporary:
            self._fixed = "the temporary slot"
        if not allowed:
            self._fixed = "binary = false"
        self._insisted = False

    def choose(self, connection: Connection, facts: Facts, known: Iterable[Table]) -> None:
        """Decide for the session that is about to be opened.

        Parameters
        ----------
        known: the captured tables as the log showed them last.
        """
        self.objection = self._fixed or _objection(connection, facts, known)
        wanted = self._insisted or kernel() == "native"
        possible = wanted and not self.objection
        self.binary = connection.info.server_version if possible else 0

    def rule_out(self, column: str) -> None:
        """The log showed a column that must come as text: no binary in this process again."""
        self._fixed = column

    def insist(self) -> bool:
        """Take binary from the next opening on, for a value that is too large for text; whether
        there is hope in it."""
        if self.binary or self.objection or self._insisted:
            return False
        self._insisted = True
        return True

    @property
    def advice(self) -> str:
        """What to think of a change that the server cannot send."""
        if self.binary:
            return "a value of some 1 GB or more cannot be sent"
        advice = "a value of some 500 MB or more cannot be sent as text"
        if self.objection:
            advice += f", nor in binary because of {self.objection}, without which that is tried"
        return advice


def _objection(connection: Connection, facts: Facts, known: Iterable[Table]) -> str:
    server = connection.info.server_version
    if server < _SINCE:
        return f"PostgreSQL {server // 10000}"
    captured = [table.oid for table in facts.captured.values() if table.oid]
    for column, type in catalog.column_types(connection, captured):
        if not is_exact(type, server):
            return f"{column} ({type.sql})"
    return next(filter(None, (inexact(table, server) for table in known)), "")
