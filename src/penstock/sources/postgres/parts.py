"""How a table is cut, so that several connections can read it at once.

Ranges of ctid name the same rows only for as long as nobody rewrites the table: they belong to one
snapshot, whose readers hold the table's lock, and are never remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from penstock.sources.postgres.catalog import Relkind
from penstock.sources.postgres.connection import Connection, quote, rows

PART: Final = 16 << 20
"""Bytes on disk of one part, about."""
_RANGE_SCANS_SINCE: Final = 140000


@dataclass(frozen=True, slots=True)
class Part:
    """What one COPY reads.

    Parameters
    ----------
    relation: in SQL: the table, or one of its partitions.
    condition: the range of ctid; empty for all rows.
    """

    relation: str
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """A table in parts.

    Parameters
    ----------
    size: bytes on disk, those of large values included.
    """

    size: int
    parts: tuple[Part, ...]


def cut(connection: Connection, table: Relkind) -> Parts:
    """The parts of a table as it is now, for the snapshot that the connection reads.

    The rows that a snapshot shows lie where they lay when it was taken, and what is added later is
    not shown. So the size of this moment is enough; the last range has no end all the same.
    """
    found = rows(
        connection,
        """
        SELECT n.nspname, c.relname, coalesce(am.amname = 'heap', false),
               coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int8,
               coalesce(pg_table_size(c.oid), 0),
               has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
               AND NOT row_security_active(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_am am ON am.oid = c.relam
        WHERE c.oid IN (SELECT %s::oid UNION SELECT relid FROM pg_partition_tree(%s::oid::regclass))
          AND c.relkind <> 'p'
        ORDER BY c.oid
        """,
        table.oid,
        table.oid,
    )
    size = sum(row[4] for row in found)
    whole = Parts(size, (Part(table.sql),))
    if table.partitioned and not _may_read_leaves(connection, table, [row[5] for row in found]):
        return whole
    ranges = connection.info.server_version >= _RANGE_SCANS_SINCE
    parts = [
        part
        for schema, name, heap, pages, bytes_, _ in found
        for part in _ranges(
            f"ONLY {quote(schema)}.{quote(name)}", pages, bytes_ if ranges and heap else 0
        )
    ]
    return Parts(size, tuple(parts)) if parts else whole


def _may_read_leaves(connection: Connection, table: Relkind, readable: list[bool]) -> bool:
    """Rights and policies of a partitioned table are its own where it is read by its name, and
    its partitions' where they are."""
    veiled = rows(connection, "SELECT row_security_active(%s::oid)", table.oid)[0][0]
    return all(readable) and not veiled


def _ranges(relation: str, pages: int, size: int) -> list[Part]:
    count = max(min(size // PART, pages), 1)
    cuts = [f"'({pages * i // count},0)'" for i in range(1, count)]
    begins = ["", *(f"ctid >= {cut}" for cut in cuts)]
    ends = [*(f"ctid < {cut}" for cut in cuts), ""]
    return [
        Part(relation, " AND ".join(filter(None, bounds)))
        for bounds in zip(begins, ends, strict=True)
    ]
