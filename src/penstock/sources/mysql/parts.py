"""How a table is cut, so that several connections can read it at once.

The cuts are values of the primary key's first column, compared by the server, in the column's own
collation: values that it takes for equal are in the same part. They are found one after the other
while rows are read, and good for one snapshot only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from penstock.errors import SourceError
from penstock.model import Table
from penstock.sources.mysql.connection import Connection, quote, rows

PART: Final = 16 << 20
"""Bytes of one part, about."""
LEAST: Final = 1000  # rows
_NUMBER: Final = re.compile(rb"-?[0-9.]+")
_TIME: Final = re.compile(rb"[0-9-]+( [0-9:.]+)?")
_NUMBERS: Final = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"})
_TIMES: Final = frozenset({"date", "datetime", "timestamp"})
_TEXTS: Final = frozenset({"char", "varchar"})
_BYTES: Final = frozenset({"binary", "varbinary"})


@dataclass(frozen=True, slots=True)
class Whole:
    """A table that is to be read, as far as it has not been given to a reader.

    Parameters
    ----------
    table: as it was when the snapshot began.
    key: the column that it is cut by; empty where it is read in one part.
    kind: that column's type; charset, collation: of a text.
    rows: of a part.
    after: the key that the part before ends with, in SQL.
    """

    table: Table
    key: str = ""
    kind: str = ""
    charset: str = ""
    collation: str = ""
    rows: int = 0
    after: str = ""

    @property
    def sql(self) -> str:
        """The table in SQL, to be read in the order of its key where it is cut."""
        name = f"{quote(self.table.schema)}.{quote(self.table.name)}"
        return f"{name} FORCE INDEX (PRIMARY)" if self.key else name

    @property
    def behind(self) -> str:
        """The condition of what has not been given."""
        return f"{quote(self.key)} > {self.after}" if self.after else ""

    @property
    def next_cut(self) -> str:
        """The query of the key that ends the next part."""
        where = f" WHERE {self.behind}" if self.after else ""
        return (
            f"SELECT {quote(self.key)} FROM {self.sql}{where} ORDER BY 1 LIMIT 1 OFFSET {self.rows}"
        )

    def literal(self, raw: bytes) -> str:
        """A key in SQL."""
        if self.kind in _TEXTS:
            text = f"_utf8mb4 x'{raw.hex()}'"
            return f"CONVERT({text} USING {self.charset}) COLLATE {self.collation}"
        if self.kind in _BYTES:
            return f"x'{raw.hex()}'"
        if self.kind in _TIMES and _TIME.fullmatch(raw):
            return f"'{raw.decode()}'"
        if self.kind in _NUMBERS and _NUMBER.fullmatch(raw):
            return raw.decode()
        raise SourceError(f"a key of {self.table.text} cannot be compared", table=self.table.text)


@dataclass(frozen=True, slots=True)
class Part:
    """What one query reads: rows of a table, by a condition; all where it is empty."""

    whole: Whole
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the server thinks of a table: its rows, and bytes of them."""

    rows: int
    size: int


def whole(connection: Connection, table: Table) -> tuple[Whole, Estimate]:
    """A table, before any of it is read."""
    [(engine, count, size, length)] = rows(
        connection,
        "SELECT engine, table_rows, data_length, avg_row_length FROM information_schema.tables"
        " WHERE table_schema = %s AND table_name = %s",
        table.schema,
        table.name,
    ) or [("", 0, 0, 0)]
    estimate = Estimate(count or 0, size or 0)
    if engine != "InnoDB" or not table.key_columns or estimate.size < 2 * PART:
        return Whole(table), estimate
    [(key, kind, charset, collation, prefix)] = rows(
        connection,
        "SELECT c.column_name, c.data_type, c.character_set_name, c.collation_name, s.sub_part"
        " FROM information_schema.columns c JOIN information_schema.statistics s"
        " ON s.table_schema = c.table_schema AND s.table_name = c.table_name"
        " AND s.column_name = c.column_name WHERE c.table_schema = %s AND c.table_name = %s"
        " AND s.index_name = 'PRIMARY' AND s.seq_in_index = 1",
        table.schema,
        table.name,
    )
    if prefix is not None or kind not in _NUMBERS | _TIMES | _TEXTS | _BYTES:
        return Whole(table), estimate
    part = max(PART // max(length or 0, 1), LEAST)
    return Whole(table, key, kind, charset or "", collation or "", part), estimate
