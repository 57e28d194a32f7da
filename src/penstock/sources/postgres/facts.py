"""What a PostgreSQL source remembers between runs: its slot, what it captures, table shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.model import Table
from penstock.model.archive import dump_table, load_table


@dataclass(slots=True)
class Captured:
    """A captured table: its number on the server and its latest snapshot.

    Attempts only grow, so that no snapshot is ever taken for an earlier one.

    Parameters
    ----------
    oid: 0 for a table that was captured once and is not now.
    attempt: 0 for a table without a snapshot.
    entry: OID of what names it in the publication; 0 where nothing names it alone.
    """

    oid: int
    attempt: int = 0
    entry: int = 0


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
    tables: by OID, shapes that the log showed, with the catalog's facts of their time.
    """

    slot: str
    publication: str
    system: str
    temporary: bool = False
    publication_oid: int = 0
    consistent: str = ""
    operations: tuple[str, ...] = ()
    captured: dict[str, Captured] = field(default_factory=dict)
    tables: dict[int, Table] = field(default_factory=dict)

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
            "captured": {name: [c.oid, c.attempt, c.entry] for name, c in self.captured.items()},
            "tables": [dump_table(table) for table in self.tables.values()],
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Facts:
        """What :meth:`dump` wrote."""
        tables = [load_table(table) for table in data["tables"]]
        return cls(
            data["slot"],
            data["publication"],
            data["system"],
            data["temporary"],
            data["publication_oid"],
            data["consistent"],
            tuple(data["operations"]),
            {name: Captured(*values) for name, values in data["captured"].items()},
            {table.oid: table for table in tables},
        )
