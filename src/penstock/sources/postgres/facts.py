"""What a PostgreSQL source remembers between runs: its slot, what it captures, table shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.model import Table
from penstock.model.archive import dump_table, load_table
from penstock.sources.postgres.wire.lsn import parse_lsn


@dataclass(slots=True)
class Captured:
    """A captured table: its number on the server and its latest snapshot.

    Attempts only grow, so that no snapshot is ever taken for an earlier one.

    Parameters
    ----------
    oid: 0 for a table that was captured once and is not now.
    attempt: the last one that was begun; 0 for a table without a snapshot.
    needed: the first attempt that is good enough. A sink that has it keeps it, though the copy is
        begun again for another sink.
    entry: OID of what names it in the publication; 0 where nothing names it alone.
    partitions: OIDs of its leaves when we last looked; None before we did.
    """

    oid: int
    attempt: int = 0
    needed: int = 0
    entry: int = 0
    partitions: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as the log showed it, from the transaction that committed at ``since`` on."""

    table: Table
    since: str


@dataclass(slots=True)
class Facts:
    """The source's own state.

    Saved with an empty ``consistent`` before anything is made on the server (the intent), and
    again with the slot's first LSN once all of it is there.

    Parameters
    ----------
    consistent: where the slot began; empty while only intended.
    operations: which the publication sends.
    captured: by table name.
    shapes: what the log showed, in its order, with the catalog's facts of their time.
    """

    slot: str
    publication: str
    system: str
    temporary: bool = False
    publication_oid: int = 0
    consistent: str = ""
    operations: tuple[str, ...] = ()
    captured: dict[str, Captured] = field(default_factory=dict)
    shapes: list[Shape] = field(default_factory=list)

    def rewind(self, start: int) -> list[Table]:
        """The tables as they are where reading starts; what the log shows later it shows again."""
        self.shapes = [shape for shape in self.shapes if parse_lsn(shape.since) < start]
        return list(self._latest().values())

    def learn(self, table: Table, since: str, start: int) -> bool:
        """Note a shape, and whether it is news. ``start``: reading never begins before."""
        if self._latest().get(table.oid) == table:
            return False
        needed = {s.table.oid: s for s in self.shapes if parse_lsn(s.since) < start}
        self.shapes = [
            s for s in self.shapes if parse_lsn(s.since) >= start or needed[s.table.oid] is s
        ]
        self.shapes.append(Shape(table, since))
        return True

    def _latest(self) -> dict[int, Table]:
        return {shape.table.oid: shape.table for shape in self.shapes}

    def dump(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "slot": self.slot,
            "publication": self.publication,
            "publication_oid": self.publication_oid,
            "system": self.system,
            "temporary": self.temporary,
            "consistent": self.consistent,
            "operations": list(self.operations),
            "captured": {
                name: [c.oid, c.attempt, c.needed, c.entry, c.partitions]
                for name, c in self.captured.items()
            },
            "shapes": [[dump_table(shape.table), shape.since] for shape in self.shapes],
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Facts:
        """What :meth:`dump` wrote."""
        return cls(
            data["slot"],
            data["publication"],
            data["system"],
            data["temporary"],
            data["publication_oid"],
            data["consistent"],
            tuple(data["operations"]),
            {name: Captured(*values) for name, values in data["captured"].items()},
            [Shape(load_table(table), since) for table, since in data["shapes"]],
        )
