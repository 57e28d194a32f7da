"""What a MySQL source remembers between runs: where it began, what it captures, table shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.model import Table
from penstock.model.archive import dump_table, load_table
from penstock.sources.mysql.position import Flavor


@dataclass(slots=True)
class Captured:
    """The snapshots of a captured table.

    Parameters
    ----------
    attempt: the last one that was begun; 0 for a table without a snapshot. They only grow.
    needed: the first attempt that is good enough.
    """

    attempt: int = 0
    needed: int = 0


@dataclass(slots=True)
class Facts:
    """The source's own state.

    Parameters
    ----------
    began: the transactions that had been committed when the pipeline began; None while a
        beginning is only intended.
    captured: by table name.
    shapes: of each table the latest that the log showed, by table name.
    """

    flavor: Flavor
    began: str | None = None
    captured: dict[str, Captured] = field(default_factory=dict)
    shapes: dict[str, Table] = field(default_factory=dict)

    def learn(self, table: Table) -> bool:
        """Note a shape, and whether it is news."""
        if self.shapes.get(table.text) == table:
            return False
        self.shapes[table.text] = table
        return True

    def dump(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "flavor": self.flavor,
            "began": self.began,
            "captured": {name: [c.attempt, c.needed] for name, c in self.captured.items()},
            "shapes": [dump_table(table) for table in self.shapes.values()],
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Facts:
        """What :meth:`dump` wrote."""
        tables = map(load_table, data["shapes"])
        return cls(
            data["flavor"],
            data["began"],
            {name: Captured(*values) for name, values in data["captured"].items()},
            {table.text: table for table in tables},
        )
