"""What the server's catalog says: tables behind patterns, facts of a relation, types.

The log tells names, types and order of columns at the time of each row; the catalog is asked only
for what the log leaves out (:class:`~penstock.sources.postgres.wire.relations.RelationFacts`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from penstock.errors import ConfigError
from penstock.model import Table, Type, qualified
from penstock.model.pattern import matches
from penstock.sources.postgres.connection import Connection, quote, rows
from penstock.sources.postgres.wire.messages import Relation, RelationColumn
from penstock.sources.postgres.wire.relations import ColumnFacts, RelationFacts, make_table
from penstock.sources.postgres.wire.types import builtin, make_type, unknown

FIRST_USER_OID: Final = 16384
_COLUMN_LISTS_SINCE: Final = 150000
_GENERATED_SENT_SINCE: Final = 180000


@dataclass(frozen=True, slots=True)
class Relkind:
    """A table that can be captured.

    Parameters
    ----------
    partitioned: whether it is the root of partitions, which are then captured with it.
    identity: ``relreplident``.
    identified: whether old rows can be identified: a primary key, an index, or the whole row.
    unlogged: whether its rows never reach the log.
    """

    oid: int
    schema: str
    name: str
    partitioned: bool
    identity: str
    identified: bool
    unlogged: bool

    @property
    def text(self) -> str:
        """``schema.name``."""
        return qualified(self.schema, self.name)

    @property
    def sql(self) -> str:
        """The quoted name; ONLY keeps a plain table's inheritance children out."""
        name = f"{quote(self.schema)}.{quote(self.name)}"
        return name if self.partitioned else f"ONLY {name}"


def wanted(patterns: Sequence[str], schema: str, name: str) -> bool:
    """Whether one of the patterns names a table."""
    table = qualified(schema, name)
    return any(matches(pattern, table) for pattern in patterns)


def user_tables(connection: Connection) -> list[Relkind]:
    """All tables that could be captured: permanent or unlogged, partitions by their root."""
    found = rows(
        connection,
        """
        SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', c.relreplident::text,
               CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false
               ELSE EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND
                    CASE c.relreplident WHEN 'i' THEN i.indisreplident
                    ELSE i.indisprimary AND i.indisvalid AND i.indimmediate END) END,
               c.relpersistence = 'u'
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence IN ('p', 'u')
          AND c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        ORDER BY n.nspname, c.relname
        """,
    )
    return [Relkind(*row) for row in found]


def captured(
    connection: Connection, patterns: Sequence[str], before: Collection[str] = ()
) -> list[Relkind]:
    """The tables behind the patterns, without unlogged ones that only a ``*`` names.

    Parameters
    ----------
    before: tables that were captured by the last run. One that was dropped since may still have
        changes in the log, and is no error.

    Raises ConfigError for a pattern without ``*`` that names no table (or an unlogged one, or a
    partition), and when there is no table at all.
    """
    known = user_tables(connection)
    for pattern in patterns:
        if "*" in pattern:
            continue
        table = next((table for table in known if table.text == pattern), None)
        if table is None and pattern in before:
            continue
        if table is None:
            raise _no_such_table(connection, pattern, known)
        if table.unlogged:
            raise ConfigError(
                f"{pattern} is unlogged: its changes are never in the log",
                hint=f"ALTER TABLE {pattern} SET LOGGED",
                table=pattern,
            )
    chosen = [t for t in known if not t.unlogged and wanted(patterns, t.schema, t.name)]
    if not chosen and not before:
        raise ConfigError(
            f"no table matches {', '.join(patterns)}",
            hint="tables are named schema.table, with * for any characters"
            + (f"; there are {', '.join(t.text for t in known[:5])}" if known else ""),
        )
    return chosen


def _no_such_table(connection: Connection, pattern: str, known: Iterable[Relkind]) -> ConfigError:
    roots = rows(
        connection,
        """
        SELECT rn.nspname, r.relname
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_class r ON r.oid = pg_partition_root(c.oid)
        JOIN pg_namespace rn ON rn.oid = r.relnamespace
        WHERE c.relispartition AND n.nspname || '.' || c.relname = %s
        """,
        pattern,
    )
    if roots:
        root = qualified(*roots[0])
        return ConfigError(
            f"{pattern} is a partition of {root}: partitions are captured by their root",
            hint=f"name {root}",
            table=pattern,
        )
    near = get_close_matches(pattern, [table.text for table in known], 1)
    hint = f"did you mean {near[0]}?" if near else "tables are named schema.table; case matters"
    return ConfigError(f"there is no table {pattern}", hint=hint, table=pattern)


def relation_facts(connection: Connection, relation: Relation) -> RelationFacts:
    """What the catalog says now about a relation of the log: nothing, if it is gone.

    A column that was added later has the default of that moment, which its old rows show, whatever
    became of the default since. Of a partitioned table the leaves keep it. Where the catalog does
    not tell what they show (nothing, if the default came later), today's default is given as an
    expression in parentheses: nobody is to take it for the value of old rows.
    """
    as_of = rows(connection, "SELECT pg_current_wal_lsn()::text")[0][0]
    columns = rows(
        connection,
        """
        WITH family AS MATERIALIZED (
            SELECT %s::oid AS oid UNION SELECT relid FROM pg_partition_tree(%s::oid::regclass)
        ), added AS (
            SELECT attname, min((attmissingval::text::text[])[1]) AS shown
            FROM pg_attribute
            WHERE atthasmissing AND attrelid IN (SELECT oid FROM family)
            GROUP BY attname HAVING count(DISTINCT attmissingval::text) = 1
        )
        SELECT a.attname, NOT a.attnotnull,
               coalesce(quote_literal(added.shown),
                        '((' || pg_get_expr(d.adbin, d.adrelid) || '))'),
               a.attgenerated <> '', pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a
        LEFT JOIN added USING (attname)
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
        """,
        relation.oid,
        relation.oid,
        relation.oid,
    )
    return RelationFacts(
        as_of=as_of,
        primary_key=_index_columns(connection, relation.oid, primary=True),
        identity_index=_index_columns(connection, relation.oid, primary=False),
        unique_index=_unique_columns(connection, relation.oid),
        columns={
            name: ColumnFacts(
                nullable,
                None if generated else default,
                generated,
                None if generated else expression,
            )
            for name, nullable, default, generated, expression in columns
        },
        types=types(connection, {column.type_oid for column in relation.columns}),
        deferrable=rows(
            connection,
            "SELECT NOT indimmediate FROM pg_index WHERE indrelid = %s AND indisprimary",
            relation.oid,
        )
        == [(True,)],
    )


def _index_columns(connection: Connection, oid: int, *, primary: bool) -> tuple[str, ...]:
    found = rows(
        connection,
        """
        SELECT a.attname
        FROM pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = %s AND k.place <= i.indnkeyatts
          AND CASE WHEN %s THEN i.indisprimary ELSE i.indisreplident END
        ORDER BY k.place
        """,
        oid,
        primary,
    )
    return tuple(name for (name,) in found)


def _unique_columns(connection: Connection, oid: int) -> tuple[str, ...]:
    """Of the first index by name that has no expression, those that it includes among them."""
    found = rows(
        connection,
        """
        SELECT a.attname
        FROM (
            SELECT i.indrelid, i.indkey FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = %s AND i.indisunique AND 0 <> ALL (i.indkey::int2[])
              AND NOT EXISTS (SELECT FROM pg_index p WHERE p.indrelid = i.indrelid AND indisprimary)
            ORDER BY NOT i.indisclustered, c.relname LIMIT 1
        ) i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        ORDER BY k.place
        """,
        oid,
    )
    return tuple(name for (name,) in found)


def types(connection: Connection, oids: Iterable[int]) -> dict[int, Type]:
    """The types among ``oids`` that are not built in and still exist."""
    made: dict[int, Type] = {}
    for oid in oids:
        if oid >= FIRST_USER_OID:
            _type(connection, oid, -1, made)
    return made


def _type(connection: Connection, oid: int, modifier: int, made: dict[int, Type]) -> Type | None:
    found = builtin(oid, modifier) or made.get(oid)
    if found is not None:
        return found
    facts = rows(
        connection,
        """
        SELECT n.nspname, t.typname, format_type(t.oid, NULL), t.typtype::text,
               t.typcategory::text, t.typbasetype, t.typtypmod,
               CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END,
               coalesce((SELECT e.typdelim FROM pg_type e WHERE e.oid = t.typelem), ',')::text,
               ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid
                     ORDER BY e.enumsortorder)
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = %s
        """,
        oid,
    )
    if not facts:
        return None
    schema, name, sql, typtype, category, base, basemod, element, delimiter, labels = facts[0]
    made[oid] = made_type = make_type(
        oid,
        qualified(schema, name),
        sql,
        typtype=typtype,
        category=category,
        labels=tuple(labels),
        base=_type(connection, base, basemod, made) if base else None,
        element=_type(connection, element, -1, made) if element else None,
        delimiter=delimiter,
    )
    return made_type


def column_types(connection: Connection, tables: Collection[int]) -> list[tuple[str, Type]]:
    """The types of the tables' columns, each once: with the name of a column that has it."""
    found = rows(
        connection,
        """
        SELECT DISTINCT ON (a.atttypid) n.nspname, c.relname, a.attname, a.atttypid
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.atttypid, n.nspname, c.relname, a.attnum
        """,
        list(tables),
    )
    made: dict[int, Type] = {}
    return [
        (f"{qualified(schema, table)}.{column}", _type(connection, oid, -1, made) or unknown(oid))
        for schema, table, column, oid in found
    ]


@dataclass(frozen=True, slots=True)
class Published:
    """A table as its publication sends it.

    Parameters
    ----------
    table: its shape, the same as the log would give it.
    where: the publication's row filter; empty when there is none.
    estimate: the planner's idea of the number of rows; None when it has none.
    """

    table: Table
    where: str
    estimate: int | None


def published(connection: Connection, relkind: Relkind, publication: str) -> Published:
    """The shape of a table in a publication, as the log would tell it now."""
    columns = rows(
        connection,
        """
        SELECT a.attname, a.atttypid, a.atttypmod, a.attgenerated <> '',
               c.relreplident = 'f'
               OR coalesce(a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]), false)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_index i ON i.indrelid = c.oid AND
             CASE c.relreplident WHEN 'd' THEN i.indisprimary AND i.indimmediate
                                 WHEN 'i' THEN i.indisreplident ELSE false END
        WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum
        """,
        relkind.oid,
    )
    names = {name for name, _, _, generated, _ in columns if not generated}
    where = ""
    if publication and connection.info.server_version >= _COLUMN_LISTS_SINCE:
        member = rows(
            connection,
            "SELECT attnames::text[], coalesce(rowfilter, '') FROM pg_publication_tables"
            " WHERE pubname = %s AND schemaname = %s AND tablename = %s",
            publication,
            relkind.schema,
            relkind.name,
        )
        if member:
            listed, where = set(member[0][0]), member[0][1]
            # Before 18 the view may list generated columns, which are never sent.
            generated_too = connection.info.server_version >= _GENERATED_SENT_SINCE
            names = listed if generated_too else names & listed
    relation = Relation(
        relkind.oid,
        relkind.schema,
        relkind.name,
        relkind.identity,
        tuple(
            RelationColumn(key, name, oid, modifier)
            for name, oid, modifier, _, key in columns
            if name in names
        ),
    )
    table = make_table(relation, relation_facts(connection, relation), None)
    return Published(table, where, _estimate(connection, relkind))


def described(connection: Connection, patterns: Sequence[str], publication: str) -> list[Table]:
    """The tables behind the patterns as the log would tell them now, and which of their columns
    may be stored out of line. Raises as :func:`captured`."""
    tables = []
    for relkind in captured(connection, patterns):
        table = published(connection, relkind, publication).table
        # A partitioned table stores nothing itself; a table too narrow for it has no TOAST.
        external = rows(
            connection,
            """
            SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE c.oid = %s AND a.attstorage <> 'p' AND (c.reltoastrelid <> 0 OR c.relkind = 'p')
            """,
            relkind.oid,
        )
        names = {name for (name,) in external}
        columns = tuple(replace(c, external=c.name in names) for c in table.columns)
        tables.append(replace(table, columns=columns))
    return tables


def _estimate(connection: Connection, relkind: Relkind) -> int | None:
    # A table that was never analysed has -1; its leaves count for a partitioned one.
    found = rows(
        connection,
        """
        SELECT CASE WHEN bool_and(reltuples >= 0) THEN sum(reltuples)::bigint END
        FROM pg_class WHERE relkind = 'r' AND
             oid IN (SELECT %s::oid UNION SELECT relid FROM pg_partition_tree(%s::oid::regclass))
        """,
        relkind.oid,
        relkind.oid,
    )
    estimate: int | None = found[0][0]
    return estimate
