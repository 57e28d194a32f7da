"""Patterns that name tables and columns: ``*`` stands for any characters; case matters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# A table, the last dot outside quotes, a column.
_COLUMN: Final = re.compile(r"""((?:[^"]|"[^"]*")+)\.(?:"((?:[^"]|"")+)"|([^".]+))""", re.DOTALL)


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern names this table (``schema.table``) or column."""
    return _expression(pattern).fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class ColumnPattern:
    """Columns of one table, or of all that a pattern names: ``public.orders.email``, ``*.email``.

    A column whose name holds a dot is quoted: ``public.orders."e.mail"``.
    """

    table: str
    column: str

    @classmethod
    def parse(cls, text: str) -> ColumnPattern:
        """Read what a user wrote. Raises ValueError when it is no ``table.column``."""
        match = _COLUMN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no column: write it as schema.table.column")
        table, quoted, plain = match.groups()
        return cls(table, plain or quoted.replace('""', '"'))

    def __str__(self) -> str:
        plain = "." not in self.column and '"' not in self.column
        column = self.column if plain else '"' + self.column.replace('"', '""') + '"'
        return f"{self.table}.{column}"

    @property
    def exact(self) -> bool:
        """Whether it names one column only."""
        return "*" not in self.table and "*" not in self.column

    def names(self, table: str, column: str) -> bool:
        """Whether it names this column of the table ``schema.name``."""
        return matches(self.table, table) and matches(self.column, column)
