"""Which rows hold a key while a deferrable constraint lets several.

``SET id = id + 1`` moves each row onto the key of the next, before that one has moved. Such tables
are captured with REPLICA IDENTITY FULL, whose old image tells the rows of one key apart. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from penstock.model import Raw

Values: TypeAlias = tuple[Raw, ...]


@dataclass(slots=True)
class _Key:
    """One key, since the source transaction began.

    Parameters
    ----------
    known: what was to be done for the key before, when ``planned``.
    resident: whether the row that held the key before has not been seen leaving.
    arrived: the rows that came since, without those that left again.
    """

    planned: bool
    known: Values | None
    resident: bool = True
    arrived: list[Values] = field(default_factory=list)


class Holders:
    """Keeps ``rows``, the net effect by key, right through one source transaction."""

    def __init__(self, rows: dict[Values, Values | None]) -> None:
        self._rows = rows
        self._keys: dict[Values, _Key] = {}

    def take(self, key: Values, row: Values) -> None:
        """A row has this key from now on."""
        self._key(key).arrived.append(row)
        self._rows[key] = row

    def leave(self, key: Values, row: Values) -> None:
        """A row has this key no more."""
        held = self._key(key)
        if row in held.arrived:
            held.arrived.remove(row)
        else:
            held.resident = False
        if held.arrived:
            self._rows[key] = held.arrived[-1]
        elif not held.resident:
            self._rows[key] = None
        elif held.planned:
            self._rows[key] = held.known
        else:
            self._rows.pop(key, None)

    def applied(self) -> None:
        """``rows`` are in the target, inside the transaction: a row that arrived has replaced
        there what held its key."""
        for held in self._keys.values():
            if held.arrived and not held.planned:
                held.planned, held.known = True, None
            elif not held.arrived:
                held.planned = False

    def clear(self) -> None:
        """The source transaction ended: each key is held by one row at most."""
        self._keys.clear()

    def _key(self, key: Values) -> _Key:
        held = self._keys.get(key)
        if held is None:
            held = self._keys[key] = _Key(key in self._rows, self._rows.get(key))
        return held
