"""The net effect of a run of changes of one table. Pure.

Inside one target transaction nobody sees the states in between, so a run of changes is folded to
at most one row or deletion per key. Then the order of keys no longer matters (deletions first,
for the target's other unique columns), and swaps and chains of keys end right because they were
folded in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from penstock.errors import SchemaError, SinkError
from penstock.model import UNCHANGED, Change, Raw, Table
from penstock.sinks.sql.holders import Holders

Values: TypeAlias = tuple[Raw, ...]


class Net:
    """What is to be done to one table, in the shape ``definition``.

    ``rows`` maps a key to the row's values, with UNCHANGED where the target's value stays, or to
    None for a deletion. ``appended`` are rows known to be new: of a table without key, or of a
    snapshot into an emptied table; they come before ``rows``.
    """

    def __init__(self, definition: Table) -> None:
        self.definition = definition
        self.rows: dict[Values, Values | None] = {}
        self.appended: list[Sequence[Raw]] = []
        self._holders: Holders | None = None
        if definition.key_deferrable and definition.identity == "full":
            self._holders = Holders(self.rows)

    def __bool__(self) -> bool:
        return bool(self.rows or self.appended)

    def clear(self) -> None:
        """Forget what is to be done."""
        if self._holders is not None:
            self._holders.applied()
        self.rows.clear()
        self.appended.clear()

    @property
    def passable(self) -> bool:
        """Whether new rows may go to the target without being folded in."""
        return self._holders is None

    def end_transaction(self) -> None:
        """A source transaction ended: each key is held by one row again."""
        if self._holders is not None:
            self._holders.clear()

    def add(self, change: Change[Any]) -> bool:
        """Fold a change in.

        False when it cannot be: a row changed its key and the log did not repeat all its values,
        which only the target has. It is then to be moved there, after all else was applied.

        Raises SchemaError for an update or delete of a table without key, SinkError for an update
        of a row that cannot be there.
        """
        if not self.definition.key_columns:
            self._append(change)
            return True
        key = change.key_values
        assert key is not None
        if self._holders is not None and change.operation != "read":
            self._hold(self._holders, key, change)
            return True
        if change.operation == "delete":
            self.rows[key] = None
            return True
        values = change.values_after
        assert values is not None
        row = tuple(values)
        if change.key_old is not None and (old := tuple(change.key_old)) != key:
            return self._move(old, key, row)
        if UNCHANGED in row and key in self.rows:
            pending = self.rows[key]
            if pending is None:
                raise drift(self.definition, key)
            row = _fill(row, pending)
        self.rows[key] = row
        return True

    def _append(self, change: Change[Any]) -> None:
        if change.operation in ("update", "delete") or change.values_after is None:
            table = self.definition.text
            raise SchemaError(
                f"{table} has no key: its {change.operation} cannot be applied",
                hint=f"ALTER TABLE {table} ADD PRIMARY KEY (…)",
                table=table,
                mark=change.mark,
            )
        self.appended.append(change.values_after)

    def _move(self, old: Values, key: Values, row: Values) -> bool:
        if UNCHANGED in row:
            pending = self.rows.get(old)
            if pending is None and old in self.rows:
                raise drift(self.definition, old)
            if pending is None or UNCHANGED in (row := _fill(row, pending)):
                return False
        self.rows[old] = None
        self.rows[key] = row
        return True

    def _hold(self, holders: Holders, key: Values, change: Change[Any]) -> None:
        before, after = change.values_before, change.values_after
        if before is not None:
            holders.leave(key if change.key_old is None else tuple(change.key_old), tuple(before))
        if after is not None:
            holders.take(key, tuple(after))


def _fill(row: Values, older: Values) -> Values:
    return tuple(old if new is UNCHANGED else new for new, old in zip(row, older, strict=True))


def key_text(definition: Table, key: Sequence[Raw]) -> str:
    """A key for people: ``(id)=(7)``."""
    values = ", ".join("null" if raw is None else _text(raw) for raw in key)
    return f"({', '.join(definition.key_columns)})=({values})"


def _text(raw: Raw) -> str:
    return raw.decode(errors="replace")[:80] if isinstance(raw, bytes) else str(raw)


def drift(definition: Table, key: Sequence[Raw]) -> SinkError:
    """The error for a row that the source updated and the target does not have."""
    return SinkError(
        f"{definition.text}: the row {key_text(definition, key)} was updated at the source and is "
        "not in the target: the two have drifted apart",
        hint="the log did not repeat its unchanged values, so it cannot be made again here: "
        "snapshot the table again, and find out who else writes to the target",
        table=definition.text,
    )
