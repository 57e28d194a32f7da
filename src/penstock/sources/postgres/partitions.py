"""Partitions that come or go with the rows they hold: the log says nothing of those rows.

A partition that is attached brings rows which no sink has; one that is detached or dropped leaves
its rows in the sinks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from penstock.sources.postgres.connection import Connection, rows
from penstock.sources.postgres.facts import Facts

_COPY: Final = "run once with snapshot = 'always', which copies the table anew"


def compare(connection: Connection, facts: Facts, *, copied: Collection[str] | None) -> list[str]:
    """Note the captured tables' partitions in ``facts``; a warning for each that came or went with
    rows since they were noted last.

    Parameters
    ----------
    copied: the tables that are about to be copied, so that nothing of them is missing; None where
        rows that were there before are not wanted.
    """
    oids = {was.oid: name for name, was in facts.captured.items() if was.oid}
    found: dict[int, dict[int, bool]] = {}
    for root, leaf, born in _leaves(connection, list(oids)):
        found.setdefault(root, {})[leaf] = born
    warnings: list[str] = []
    for oid, name in oids.items():
        captured, now = facts.captured[name], found.get(oid, {})
        before, captured.partitions = captured.partitions, sorted(now)
        if before is None or name in (copied or ()):
            continue
        gone = set(before) - now.keys()
        came = [leaf for leaf, born in now.items() if leaf not in before and not born]
        if gone:
            warnings.append(
                f"{_names(connection, gone)} is no partition of {name} any more: the rows that it "
                f"held stay in the targets; delete them there, or {_COPY}"
            )
        if copied is not None and (full := _not_empty(connection, came)):
            warnings.append(
                f"{_names(connection, full)} was attached to {name} with rows that are not in the "
                f"log: the targets lack them; {_COPY}"
            )
    return warnings


def _leaves(connection: Connection, roots: list[int]) -> Iterator[tuple[int, int, bool]]:
    """Root, leaf, and whether the leaf was made as a partition, which is then empty.

    CREATE TABLE … PARTITION OF makes a table's type and its inheritance within one command, three
    steps apart; ATTACH PARTITION comes later, be it in the same transaction.
    """
    yield from rows(
        connection,
        """
        SELECT r.oid::int8, l.relid::oid::int8,
               (SELECT bool_and(i.xmin = t.xmin AND i.cmin::text::int8 - t.cmin::text::int8 <= 3)
                FROM pg_partition_ancestors(l.relid) a
                JOIN pg_inherits i ON i.inhrelid = a.relid
                JOIN pg_class c ON c.oid = a.relid JOIN pg_type t ON t.oid = c.reltype)
        FROM pg_class r, pg_partition_tree(r.oid) l
        WHERE r.oid = ANY (%s) AND r.relkind = 'p' AND l.isleaf AND l.relid <> r.oid
        """,
        roots,
    )


def _not_empty(connection: Connection, tables: Collection[int]) -> list[int]:
    found = rows(
        connection,
        "SELECT oid::int8 FROM pg_class WHERE oid = ANY (%s) AND pg_relation_size(oid) > 0",
        list(tables),
    )
    return [oid for (oid,) in found]


def _names(connection: Connection, tables: Collection[int]) -> str:
    found = rows(
        connection,
        "SELECT coalesce(c.oid::regclass::text, 'a dropped table')"
        " FROM unnest(%s::int8[]) o LEFT JOIN pg_class c ON c.oid = o ORDER BY 1",
        list(tables),
    )
    return ", ".join(dict.fromkeys(name for (name,) in found))
