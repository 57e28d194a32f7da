"""Give columns other names."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Literal

from penstock.component import Component
from penstock.model.pattern import ColumnPattern
from penstock.model.projection import Projection
from penstock.transforms.columns import NewNames


class Rename(Component):
    """Gives columns other names; transforms behind it, sinks and handlers know only the new ones.

    Parameters
    ----------
    columns: the new name of each ``schema.table.column``; ``*`` stands for any characters.
    """

    type: Literal["rename"] = "rename"
    columns: NewNames

    @cached_property
    def patterns(self) -> tuple[ColumnPattern, ...]:
        """The columns that it names."""
        return tuple(map(ColumnPattern.parse, self.columns))

    def project(self, projection: Projection) -> Projection:
        """The same under the new names."""
        table = projection.source.text
        names = list(zip(self.patterns, self.columns.values(), strict=True))

        def new(name: str) -> str | None:
            return next((new for pattern, new in names if pattern.names(table, name)), None)

        outputs = tuple(
            replace(output, name=named, named=True) if (named := new(output.name)) else output
            for output in projection.outputs
        )
        gone = frozenset(new(name) or name for name in projection.gone)
        return replace(projection, outputs=outputs, gone=gone)

    def build(self) -> Rename:
        """It works as it is."""
        return self
