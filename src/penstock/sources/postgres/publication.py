"""The publication: which tables' changes the server sends.

It is made before the slot: what is written while a slot exists and the publication does not is
lost (PostgreSQL 18), or stops the slot for good (15). One that was there before is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from penstock.errors import ConfigError, GapError, PrivilegeError
from penstock.registry import driver
from penstock.sources.postgres.connection import Connection, literal, quote, rows

if TYPE_CHECKING:
    from penstock.sources.postgres.catalog import Relkind
    from penstock.sources.postgres.facts import Facts

_TAKE_A_NEW_COPY: Final = (
    "run `penstock teardown`, empty the targets, and start again with a snapshot; "
    "while a slot needs it, a publication must not be dropped, renamed or shortened"
)
TEMPORARY: Final = "penstock_tmp_"
"""How the names of temporary slots and publications begin."""
_OURS: Final = "Made by penstock; removed by `penstock teardown`."


@dataclass(frozen=True, slots=True)
class Publication:
    """What the server says of a publication.

    Parameters
    ----------
    oid: tells it from one that was made anew under its name.
    ours: whether penstock made it (its comment says so).
    via_root: ``publish_via_partition_root``.
    operations: which it sends: insert, update, delete, truncate.
    members: by the OIDs of its tables (a partitioned table by its root) the OIDs of the entries
        that name them; 0 for a table that is there by its schema, or with all tables. An entry
        that was made anew, or whose row filter or column list was changed, has another one.
    """

    name: str
    oid: int
    ours: bool
    via_root: bool
    operations: frozenset[str]
    members: Mapping[int, int]


def find(connection: Connection, name: str) -> Publication | None:
    """The publication of that name, if there is one."""
    found = rows(
        connection,
        """
        SELECT p.oid::int8, obj_description(p.oid, 'pg_publication') = %s, p.pubviaroot,
               array_remove(ARRAY[CASE WHEN p.pubinsert THEN 'insert' END,
                                  CASE WHEN p.pubupdate THEN 'update' END,
                                  CASE WHEN p.pubdelete THEN 'delete' END,
                                  CASE WHEN p.pubtruncate THEN 'truncate' END], NULL),
               ARRAY(SELECT ARRAY[c.oid::int8, coalesce(r.oid::int8, 0)]
                     FROM pg_publication_tables t
                     JOIN pg_namespace n ON n.nspname = t.schemaname
                     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
                     LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
                     WHERE t.pubname = p.pubname)
        FROM pg_publication p WHERE p.pubname = %s
        """,
        _OURS,
        name,
    )
    if not found:
        return None
    oid, ours, via_root, operations, members = found[0]
    return Publication(
        name, oid, bool(ours), via_root, frozenset(operations), dict(map(tuple, members))
    )


def create_sql(name: str, tables: Sequence[Relkind]) -> str:
    """The statement that makes the publication."""
    members = ", ".join(table.sql for table in tables)
    return (
        f"CREATE PUBLICATION {quote(name)} FOR TABLE {members}"
        " WITH (publish_via_partition_root = true)"
    )


def extend_sql(name: str, tables: Sequence[Relkind]) -> str:
    """The statement that adds tables."""
    return f"ALTER PUBLICATION {quote(name)} ADD TABLE {', '.join(table.sql for table in tables)}"


def create(connection: Connection, name: str, tables: Sequence[Relkind]) -> Publication:
    """Make the publication. Raises PrivilegeError with the statement for somebody who may."""
    with connection.transaction():
        _execute(connection, create_sql(name, tables))
        _execute(connection, f"COMMENT ON PUBLICATION {quote(name)} IS {literal(_OURS)}")
    made = find(connection, name)
    assert made is not None
    return made


def gone(name: str) -> GapError:
    """The error that tells of a publication which is missing, or is not the one that was."""
    return GapError(
        f"the publication {name} was dropped: what was written since is lost to us",
        hint=_TAKE_A_NEW_COPY,
    )


def check(connection: Connection, facts: Facts, tables: Sequence[Relkind]) -> None:
    """Whether the publication still is what it was when its tables were captured.

    A server may skip what a missing publication does not cover without a word (PostgreSQL 18).

    Parameters
    ----------
    tables: those that existed a moment ago; a dropped one is not missed.

    Raises GapError when the publication is gone, was made anew or for fewer operations, lacks a
    captured table, or has it on other terms: since when, nobody knows.
    """
    found = find(connection, facts.publication)
    if found is None or found.oid != facts.publication_oid:
        raise gone(facts.publication)
    if withheld := set(facts.operations) - found.operations:
        raise GapError(
            f"the publication {facts.publication} does not send {', '.join(sorted(withheld))} any "
            "more: what was written since is lost to us",
            hint=_TAKE_A_NEW_COPY,
        )
    captured = {was.oid: was.entry for was in facts.captured.values() if was.oid}
    for table in tables:
        if table.oid not in captured:
            continue
        before, now = captured[table.oid], found.members.get(table.oid)
        if now is None and not rows(connection, "SELECT 1 FROM pg_class WHERE oid = %s", table.oid):
            continue  # dropped since the tables were listed
        if now is None or (before and now and before != now):
            what = "taken out of" if now is None else "made anew, or with another row filter, in"
            raise GapError(
                f"{table.text} was {what} the publication {facts.publication}: "
                "what was written since is lost to us",
                hint=_TAKE_A_NEW_COPY,
                table=table.text,
            )


def cover(
    connection: Connection, publication: Publication, tables: Sequence[Relkind]
) -> Publication:
    """Make the publication hold all tables, and say what it is then; only one that is ours is
    changed.

    Raises ConfigError when somebody else's publication lacks a table, or sends partitions by
    their leaves.
    """
    missing = [table for table in tables if table.oid not in publication.members]
    if not publication.via_root and any(table.partitioned for table in tables):
        raise ConfigError(
            f"the publication {publication.name} sends partitions as tables of their own, and "
            "rows that move between them out of order",
            hint=f"ALTER PUBLICATION {quote(publication.name)} "
            "SET (publish_via_partition_root = true)",
        )
    if not missing:
        return publication
    sql = extend_sql(publication.name, missing)
    if not publication.ours:
        raise ConfigError(
            f"the publication {publication.name} lacks {', '.join(t.text for t in missing)}",
            hint=f"{sql}; or name only tables that it has",
            table=missing[0].text,
        )
    _execute(connection, sql)
    extended = find(connection, publication.name)
    assert extended is not None
    return extended


def claim_temporary(connection: Connection, name: str) -> None:
    """Hold a temporary publication's name for as long as the connection lasts, and drop those
    whose holders were killed before they could."""
    rows(connection, "SELECT pg_advisory_lock(hashtext(%s))", name)
    found = rows(
        connection,
        "SELECT pubname FROM pg_publication WHERE starts_with(pubname, %s)"
        " AND obj_description(oid, 'pg_publication') = %s AND pg_has_role(pubowner, 'USAGE')",
        TEMPORARY,
        _OURS,
    )
    for (left,) in found:
        if rows(connection, "SELECT pg_try_advisory_lock(hashtext(%s))", left)[0][0]:
            drop(connection, left)
            rows(connection, "SELECT pg_advisory_unlock(hashtext(%s))", left)


def drop(connection: Connection, name: str) -> bool:
    """Drop the publication if it is ours; whether it was."""
    publication = find(connection, name)
    if publication is None or not publication.ours:
        return False
    _execute(connection, f"DROP PUBLICATION IF EXISTS {quote(name)}")
    return True


def _execute(connection: Connection, sql: str) -> None:
    psycopg = driver("psycopg", "postgres")
    try:
        connection.execute(sql.encode())  # all names in it are quoted
    except psycopg.errors.InsufficientPrivilege as error:
        role, database = quote(connection.info.user), quote(connection.info.dbname)
        grants = (
            f"GRANT CREATE ON DATABASE {database} TO {role}; "
            f"GRANT the role that owns the tables TO {role}"
        )
        raise PrivilegeError(
            f"our role may not publish these tables: {str(error).strip()}",
            hint=grants if TEMPORARY in sql else f"let their owner run: {sql}; or {grants}",
        ) from None
