"""What a MySQL source remembers between runs: where it began, what it captures, table shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from penstock.model import Table
from penstock.model.archive import dump_table, load_table
from penstock.sources.mysql.position import Flavor
from penstock.sources.mysql.wire.gtid import Gtids
from penstock.sources.mysql.wire.shapes import History, Version
from penstock.sources.mysql.wire.tablemap import MappedColumn, TableMap


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


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as the log showed it, from the transaction ``since`` on."""

    table: Table
    since: str


@dataclass(slots=True)
class Facts:
    """The source's own state.

    Parameters
    ----------
    began: the transactions that had been committed when the pipeline began; None while a
        beginning is only intended.
    captured: by table name.
    shapes: what the log showed, in its order.
    history: what tables were like from statement to statement, where the log does not tell.
    """

    flavor: Flavor
    began: str | None = None
    captured: dict[str, Captured] = field(default_factory=dict)
    shapes: list[Shape] = field(default_factory=list)
    history: History = field(default_factory=dict)

    def rewind(self, start: Gtids) -> list[Table]:
        """The tables as they are where reading starts; what the log shows later it shows again."""
        self.shapes = [shape for shape in self.shapes if shape.since in start]
        return list(self._latest().values())

    def learn(self, table: Table, since: str, safe: Gtids) -> bool:
        """Note a shape, and whether it is news. ``safe``: what is never read again."""
        if self._latest().get(table.text) == table:
            return False
        needed = {s.table.text: s for s in self.shapes if s.since in safe}
        self.shapes = [s for s in self.shapes if s.since not in safe or needed[s.table.text] is s]
        self.shapes.append(Shape(table, since))
        return True

    def _latest(self) -> dict[str, Table]:
        return {shape.table.text: shape.table for shape in self.shapes}

    def dump(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "flavor": self.flavor,
            "began": self.began,
            "captured": {name: [c.attempt, c.needed] for name, c in self.captured.items()},
            "shapes": [[dump_table(shape.table), shape.since] for shape in self.shapes],
            "history": [
                [*name, [_dump_version(version) for version in versions]]
                for name, versions in self.history.items()
            ],
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Facts:
        """What :meth:`dump` wrote."""
        return cls(
            data["flavor"],
            data["began"],
            {name: Captured(*values) for name, values in data["captured"].items()},
            [Shape(load_table(table), since) for table, since in data["shapes"]],
            {
                (schema, name): [_load_version(version, schema, name) for version in versions]
                for schema, name, versions in data.get("history", ())
            },
        )


_DEFAULTS = MappedColumn(0)


def _dump_version(version: Version) -> list[Any]:
    shape = version.shape
    if shape is None:
        return [version.at, version.statement, None]
    columns = [_dump_column(column) for column in shape.columns]
    return [version.at, version.statement, {"columns": columns, "key": list(shape.key)}]


def _dump_column(column: MappedColumn) -> dict[str, Any]:
    values = {f.name: getattr(column, f.name) for f in fields(column)}
    told = {k: v for k, v in values.items() if v != getattr(_DEFAULTS, k)}
    if "labels" in told:
        told["labels"] = [label.hex() for label in column.labels]
    return told


def _load_version(data: list[Any], schema: str, name: str) -> Version:
    at, statement, shape = data
    if shape is None:
        return Version(at, statement)
    columns = tuple(
        MappedColumn(
            **{
                **{"code": 0},
                **told,
                "labels": tuple(map(bytes.fromhex, told.get("labels", ()))),
            }
        )
        for told in shape["columns"]
    )
    return Version(at, statement, TableMap(schema, name, columns, tuple(shape["key"])))
