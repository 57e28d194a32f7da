"""Which table a relation of the stream is: the policy that both kernels share.

A decoder reports every RELATION message, and asks before it reads the first row after one. Nothing
is asked or told before that row: the leaves of a partitioned table that is published as its root
are announced, and have none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from penstock.model import SchemaChange, Table
from penstock.model.projection import Projection, ProjectionOf
from penstock.sources.postgres.wire.binary import inexact
from penstock.sources.postgres.wire.messages import Relation
from penstock.sources.postgres.wire.relations import RelationFacts, make_table, same_shape


class TextNeeded(Exception):
    """Values come in binary, and ``column`` has a type that must come as text."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class Reading(NamedTuple):
    """How to read a relation's rows: as this table, or not at all (None); what goes on of it
    (None: all); and the news to tell before."""

    table: Table | None
    projection: Projection | None = None
    news: SchemaChange | None = None

    @property
    def shown(self) -> Table | None:
        """The table that goes on."""
        return self.table if self.projection is None else self.projection.table


class Tables:
    """The tables of a session.

    Parameters
    ----------
    wanted: says of ``(schema, name)`` whether the table is captured; None captures all.
    known: tables as they were known before this session.
    projection_of: what goes on of each version of a table.
    binary: the version of the server where values come in binary; 0 where they come as text.

    Attributes
    ----------
    shapes: for every SchemaChange in turn the table as the log has it, to be remembered; whoever
        feeds the decoder takes them out.
    """

    def __init__(
        self,
        wanted: Callable[[str, str], bool] | None,
        known: Iterable[Table],
        projection_of: ProjectionOf,
        binary: int = 0,
    ) -> None:
        self.shapes: deque[Table] = deque()
        self._projection_of = projection_of
        self._wanted = wanted
        self._binary = binary
        self._known = {table.oid: table for table in known}
        self._tables: dict[int, Table | None] = {}  # of this session; None where not wanted
        self._announced: dict[int, Relation] = {}  # new shapes of wanted tables without a row yet

    def announce(self, relation: Relation) -> None:
        """Note a table's shape."""
        oid = relation.oid
        self._announced.pop(oid, None)
        if self._wanted is not None and not self._wanted(relation.schema, relation.name):
            self._tables[oid] = None
            return
        self._announced[oid] = relation

    def reading(self, oid: int) -> Reading | Relation:
        """How to read an announced relation's rows; the relation itself where the catalog's facts
        are needed first, for :meth:`describe`. Raises TextNeeded."""
        relation = self._announced.get(oid)
        if relation is None:
            return self._as_before(self._tables[oid])
        known = self._previous(relation)
        if self._tables.get(oid) is None and known is not None and _is_known(relation, known):
            return self._use(known, known)
        return relation

    def describe(self, relation: Relation, facts: RelationFacts) -> Reading:
        """How to read the rows of a relation that :meth:`reading` gave.

        Raises SchemaError when the facts do not fit it, and TextNeeded.
        """
        previous = self._previous(relation)
        table = make_table(relation, facts, previous)
        if previous is not None and self._tables.get(relation.oid) == table:
            self._announced.pop(relation.oid)
            return self._as_before(previous)
        return self._use(previous, previous if previous == table else table)

    def _as_before(self, table: Table | None) -> Reading:
        return Reading(table, None if table is None else self._projection_of(table))

    def _use(self, before: Table | None, after: Table | None) -> Reading:
        assert after is not None
        if self._binary and (column := inexact(after, self._binary)):
            raise TextNeeded(column)
        shown_before = self._as_before(before).shown
        projection = self._projection_of(after)
        reading = Reading(after, projection)
        assert reading.shown is not None
        self._announced.pop(after.oid, None)
        self._tables[after.oid] = after
        self.shapes.append(after if projection is None else projection.stored)
        return reading._replace(news=SchemaChange(shown_before, reading.shown))

    def _previous(self, relation: Relation) -> Table | None:
        """The version of the relation that was known last; of its name, where it is made anew."""
        table = self._tables.get(relation.oid) or self._known.get(relation.oid)
        if table is not None:
            return table
        named = (relation.schema, relation.name)
        for table in (*self._tables.values(), *self._known.values()):
            if table is not None and (table.schema, table.name) == named:
                return table
        return None


def _is_known(relation: Relation, table: Table) -> bool:
    """Whether nothing has to be asked: it is the same table, of the same shape, and its log tells
    which columns are the key, which it does not under the identities full and nothing."""
    return relation.oid == table.oid and relation.identity in "di" and same_shape(relation, table)
