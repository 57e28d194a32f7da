"""How to read the rows of a table: worked out once for each description of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from penstock.model import SchemaChange, Table
from penstock.model.projection import Projection, ProjectionOf
from penstock.sources.mysql.wire.alterations import altered
from penstock.sources.mysql.wire.reader import Reader
from penstock.sources.mysql.wire.rows import Image, Read, reader
from penstock.sources.mysql.wire.shapes import Schemas
from penstock.sources.mysql.wire.tablemap import TableMap
from penstock.sources.mysql.wire.types import make_table

_MOST: Final = 4096  # descriptions to remember


class Layout:
    """One description of a table, and what reads its rows.

    Parameters
    ----------
    table: None where the table is not wanted.
    """

    def __init__(
        self, mapped: TableMap, table: Table | None = None, projection: Projection | None = None
    ) -> None:
        self.mapped = mapped
        self.table = table
        self.projection = projection
        self._images: dict[bytes, Image] = {}
        self._readers: dict[tuple[bytes, ...], Read] = {}

    @property
    def shown(self) -> Table | None:
        """The table that goes on."""
        return self.table if self.projection is None else self.projection.table

    def image(self, present: bytes) -> Image:
        """The image of the columns in a bitmap."""
        image = self._images.get(present)
        if image is None:
            image = self._images[present] = Image(self.mapped, present)
        return image

    def reader(self, *present: bytes) -> Read:
        """What reads an event's rows, of one image or of two in turn."""
        read = self._readers.get(present)
        if read is None:
            read = self._readers[present] = reader(*map(self.image, present))
        return read


Hidden: TypeAlias = Mapping[tuple[str, str], Mapping[str, str]]
"""Of tables with columns of four or sixteen bytes the catalog's types of those, by column."""


class TypesNeeded(Exception):
    """A table has a column of which the catalog must tell what the log does not."""

    def __init__(self, table: tuple[str, str], column: str) -> None:
        super().__init__(table, column)
        self.table = table
        self.column = column


def as_told(table: Table) -> Table:
    """The table as the log tells it."""
    return table


class Layouts:
    """The tables of a session.

    Parameters
    ----------
    wanted: says of ``(schema, name)`` whether the table is captured; None captures all.
    known: tables as they were known before this session.
    projection_of: what goes on of each version of a table.
    hidden: types that the log does not tell; None where it tells all.
    schemas: follows the tables of a log that does not tell their columns; None where it must.
    complete: adds to a table what the catalog says of it; may raise TypesNeeded.

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
        hidden: Hidden | None = None,
        schemas: Schemas | None = None,
        complete: Callable[[Table], Table] = as_told,
    ) -> None:
        self._hidden = hidden
        self._schemas = schemas
        self._complete = complete
        self.shapes: deque[Table] = deque()
        self._known = {(table.schema, table.name): table for table in known}
        self._wanted = wanted
        self._projection_of = projection_of
        self._layouts: dict[bytes, Layout] = {}  # by the event's bytes behind the table's number
        self._current: dict[tuple[str, str], Layout] = {}

    def wants(self, schema: str, name: str) -> bool:
        """Whether a table is captured."""
        return self._wanted is None or self._wanted(schema, name)

    def of(self, body: bytes, offset: int) -> Layout:
        """The layout of a description. Raises as ``make_table`` and ``Schemas.complete``, and
        TypesNeeded."""
        layout = self._layouts.get(body)
        if layout is None:
            if len(self._layouts) >= _MOST:
                self._layouts.clear()
            layout = self._layouts[body] = self._make(TableMap.parse(Reader(body, base=offset)))
        return layout

    def statement(self, transaction: str, database: str, statement: str) -> list[tuple[str, str]]:
        """A statement of the log, which may alter tables: those whose descriptions mean others from
        here on. Raises as ``Schemas.statement``."""
        known = {(layout.mapped.schema, layout.mapped.name) for layout in self._layouts.values()}
        found = set(altered(statement, database, known))
        if self._schemas is not None:
            found.update(self._schemas.statement(transaction, database, statement))
        if found:
            self._layouts = {
                body: layout
                for body, layout in self._layouts.items()
                if (layout.mapped.schema, layout.mapped.name) not in found
            }
        return sorted(found)

    def news(self, layout: Layout) -> SchemaChange | None:
        """What to tell before a row is read so: the table's shape, where it is new or another."""
        name = (layout.mapped.schema, layout.mapped.name)
        current = self._current.get(name)
        if current is layout:
            return None
        self._current[name] = layout
        table, shown = layout.table, layout.shown
        assert table is not None
        assert shown is not None
        if current is not None and current.table == table:
            return None
        projection = layout.projection
        self.shapes.append(table if projection is None else projection.stored)
        return SchemaChange(self._before(name, current), shown)

    def _before(self, name: tuple[str, str], current: Layout | None) -> Table | None:
        if current is not None:
            return current.shown
        known = self._known.get(name)
        projection = None if known is None else self._projection_of(known)
        return known if projection is None else projection.table

    def last(self, schema: str, name: str) -> Layout | None:
        """How a table's rows were read last."""
        return self._current.get((schema, name))

    def known(self, schema: str, name: str) -> Table | None:
        """A table as it goes on, as it was known before this session."""
        return self._before((schema, name), None)

    def _make(self, mapped: TableMap) -> Layout:
        if not self.wants(mapped.schema, mapped.name):
            return Layout(mapped)
        if not mapped.described and self._schemas is not None:
            mapped = self._schemas.complete(mapped)
        elif self._hidden is not None and mapped.described:
            mapped = _revealed(mapped, self._hidden)
        table = self._complete(make_table(mapped))
        return Layout(mapped, table, self._projection_of(table))


def _revealed(mapped: TableMap, hidden: Hidden) -> TableMap:
    """The description with the types that the log does not tell."""
    if not any(column.ambiguous for column in mapped.columns):
        return mapped
    name = (mapped.schema, mapped.name)
    types = hidden.get(name, {})
    columns = []
    for column in mapped.columns:
        if column.ambiguous:
            if column.name not in types:
                raise TypesNeeded(name, column.name)
            kind = types[column.name]
            if _SIZES.get(kind) == column.size:
                column = replace(column, shown_as=kind)
        columns.append(column)
    return replace(mapped, columns=tuple(columns))


_SIZES: Final = {"uuid": 16, "inet6": 16, "inet4": 4}
