"""Keep some columns of a table, and no others."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Literal

from penstock.component import Component
from penstock.model.pattern import ColumnPattern, matches
from penstock.model.projection import Projection
from penstock.transforms.columns import ColumnNames


class Select(Component):
    """Keeps the columns that it names, in its order; tables that it does not name stay whole.

    A table's key has to be among them. A column that the table gets later goes on only if a
    pattern names it: ``public.orders.*`` takes all that come.

    Parameters
    ----------
    columns: ``schema.table.column``; ``*`` stands for any characters.
    """

    type: Literal["select"] = "select"
    columns: ColumnNames

    @cached_property
    def patterns(self) -> tuple[ColumnPattern, ...]:
        """The columns that it names."""
        return tuple(map(ColumnPattern.parse, self.columns))

    def project(self, projection: Projection) -> Projection:
        """The same with the named columns alone."""
        table = projection.source.text
        naming = [pattern for pattern in self.patterns if matches(pattern.table, table)]
        if not naming:
            return projection
        kept = {
            output.name: replace(output, named=True)
            for pattern in naming
            for output in projection.outputs
            if matches(pattern.column, output.name)
        }
        return replace(projection, outputs=tuple(kept.values()))

    def build(self) -> Select:
        """It works as it is."""
        return self
