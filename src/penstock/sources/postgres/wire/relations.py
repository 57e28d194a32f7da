"""A table's shape: what the stream says of it, completed by what the catalog says today.

The stream has names, types and order of the columns as they were when a row was written. The
primary key's order, nullability, defaults and the facts of types that are not built in are only
in the catalog, as they are now; where the two disagree the stream is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from penstock.errors import SchemaError
from penstock.model import Column, Table, Type, qualified
from penstock.model.table import Identity
from penstock.sources.postgres.wire.messages import Relation
from penstock.sources.postgres.wire.types import builtin, unknown

IDENTITIES: Final[Mapping[str, Identity]] = {
    "d": "default",
    "i": "index",
    "f": "full",
    "n": "nothing",
}


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What pg_attribute and pg_attrdef say of a column."""

    nullable: bool | None = None
    default: str | None = None
    generated: bool = False
    expression: str | None = None


@dataclass(frozen=True, slots=True)
class RelationFacts:
    """What the catalog says of a table today.

    Parameters
    ----------
    as_of: where in the log the catalog was read, as text.
    primary_key: the primary key's columns in key order; empty when there is none.
    identity_index: the columns of the replica identity's index in index order; empty when
        there is none.
    unique_index: of a table without a primary key, the columns of its first unique index by name.
    columns: facts by column name.
    types: types that are not built in, by OID.
    deferrable: whether the primary key is checked at a statement's or a transaction's end only.
    """

    as_of: str
    primary_key: tuple[str, ...] = ()
    identity_index: tuple[str, ...] = ()
    unique_index: tuple[str, ...] = ()
    columns: Mapping[str, ColumnFacts] = field(default_factory=lambda: MappingProxyType({}))
    types: Mapping[int, Type] = field(default_factory=lambda: MappingProxyType({}))
    deferrable: bool = False


def same_shape(relation: Relation, table: Table) -> bool:
    """Whether the relation says nothing that the table does not know already."""
    return (
        relation.schema == table.schema
        and relation.name == table.name
        and IDENTITIES[relation.identity] == table.identity
        and (relation.identity in "fn" or set(relation.flagged) == set(table.key_columns))
        and [(c.name, c.type_oid, c.modifier) for c in relation.columns]
        == [(c.name, c.type.oid, c.type.modifier) for c in table.columns]
    )


def make_table(relation: Relation, facts: RelationFacts, previous: Table | None) -> Table:
    """The table of a relation. ``previous`` is the version known before, if any.

    Raises SchemaError when the key cannot be known.
    """
    known = {c.type.oid: c.type for c in previous.columns} if previous else {}
    columns = []
    for column in relation.columns:
        type = builtin(column.type_oid, column.modifier)
        if type is None:
            type = facts.types.get(column.type_oid) or known.get(column.type_oid)
            type = replace(type or unknown(column.type_oid), modifier=column.modifier)
        now = facts.columns.get(column.name, ColumnFacts())
        columns.append(
            Column(column.name, type, now.nullable, now.default, now.generated, now.expression)
        )
    return Table(
        relation.schema,
        relation.name,
        tuple(columns),
        _key(relation, facts, previous),
        IDENTITIES[relation.identity],
        facts.as_of,
        relation.oid,
        key_deferrable=relation.identity in "fn" and facts.deferrable,
        unique_columns=tuple(name for name in facts.unique_index if name in relation.names),
    )


def _key(relation: Relation, facts: RelationFacts, previous: Table | None) -> tuple[str, ...]:
    """The key's columns in key order.

    Under identity ``default`` and ``index`` the stream flags the key's columns: they are the
    truth of their time, and the catalog only lends their order. Under ``full`` and ``nothing``
    the flags say nothing, so the catalog's primary key is taken if the stream has its columns;
    if not, it is younger than these rows, and they have the key that they had.
    """
    if relation.identity in "di":
        ordered = facts.primary_key if relation.identity == "d" else facts.identity_index
        flagged = relation.flagged
        for candidate in (ordered, previous.key_columns if previous else ()):
            if set(candidate) == set(flagged):
                return candidate
        return flagged
    if set(facts.primary_key) <= set(relation.names):
        return facts.primary_key
    if previous is not None and (
        same_shape(relation, previous)
        or (previous.key_columns and set(previous.key_columns) <= set(relation.names))
    ):
        return previous.key_columns
    name = qualified(relation.schema, relation.name)
    missing = ", ".join(c for c in facts.primary_key if c not in relation.names)
    raise SchemaError(
        f"the primary key of {name} is ({', '.join(facts.primary_key)}) today, and the log's "
        f"rows of that table have no column {missing}",
        hint=f"the table changed after these rows were written; take a new snapshot of {name}",
        table=name,
    )
