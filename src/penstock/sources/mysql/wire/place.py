"""A place in the log of one server, for servers whose transactions have no GTIDs.

Files are numbered, and compared by their numbers: as text ``binlog.1000000`` comes before
``binlog.999999``. Places on two servers, or in files of two base names, have no order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

_FILE: Final = re.compile(r"(.+)\.([0-9]+)")
_TEXT: Final = re.compile(r"([0-9a-f-]{36})/(.+)/([0-9]+)")
_MARK: Final = re.compile(r"(.+)/([0-9]+)")


def split_file(file: str) -> tuple[str, int]:
    """Base name and number of a file of the log. Raises ValueError for anything else."""
    found = _FILE.fullmatch(file)
    if found is None:
        raise ValueError(f"not a file of a binlog: {file!r}")
    return found[1], int(found[2])


@dataclass(slots=True)
class Place:
    """All transactions before a place of a server's log (:class:`~.gtid.Gtids`).

    Parameters
    ----------
    server: the ``server_uuid``; empty for a place that is nowhere, where no two meet.
    """

    server: str
    file: str
    position: int

    gaps: ClassVar[bool] = False
    named: ClassVar[bool] = False

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read what ``str`` wrote. Raises ValueError for anything else."""
        if not text:
            return cls("", "", 0)
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"not a place in a binlog: {text!r}")
        split_file(found[2])
        return cls(found[1], found[2], int(found[3]))

    def __str__(self) -> str:
        return f"{self.server}/{self.file}/{self.position}" if self.server else ""

    def __contains__(self, transaction: object) -> bool:
        """Whether a transaction, which its file and position name, is before this place."""
        found = _MARK.fullmatch(str(transaction))
        return found is not None and self._has(found[1], int(found[2]) + 1)

    def __le__(self, other: Place) -> bool:
        return self == other or (
            self.server == other.server and other._has(self.file, self.position)
        )

    def __and__(self, other: Place) -> Place:
        if self <= other:
            return self
        return other if other <= self else Place("", "", 0)

    def add(self, gtid: str) -> None:
        """Nothing: a place moves on whatever transactions are called."""

    def add_run(self, source: str, first: int, last: int) -> None:
        """Nothing, as :meth:`add`."""

    def reach(self, file: str, position: int) -> None:
        """All before that place has been read."""
        self.file, self.position = file, position

    def copy(self) -> Place:
        """The same, to be changed alone."""
        return Place(self.server, self.file, self.position)

    def _has(self, file: str, position: int) -> bool:
        """Whether what ends there is before this place."""
        if not self.server or not file:
            return False
        (base, number), (theirs, other) = split_file(self.file), split_file(file)
        return base == theirs and (other, position) <= (number, self.position)
