"""What a MySQL source remembers between runs: where it began, what it captures, table shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from penstock.model import Table
from penstock.model.archive import dump_table, load_table
from penstock.sources.mysql.position import Flavor
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


@dataclass(slots=True)
class Facts:
    """The source's own state.

    Parameters
    ----------
    began: the transactions that had been committed when the pipeline began; None while a
        beginning is only intended.
    captured: by table name.
    shapes: of each table the latest that the log showed, by table name.
    history: what tables were like from statement to statement, where the log does not tell.
    """

    flavor: Flavor
    began: str | None = None
    captured: dict[str, Captured] = field(default_factory=dict)
    shapes: dict[str, Table] = field(default_factory=dict)
    history: History = field(default_factory=dict)

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
            "history": [
                [*name, [_dump_version(version) for version in versions]]
                for name, versions in self.history.items()
            ],
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
