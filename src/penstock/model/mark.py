"""Where a change stands, and where reading may start again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mark:
    """Names one change for ever: the transaction, and its ordinal inside it.

    Marks are names, not numbers: only a source can say what comes before what
    (:meth:`penstock.ports.Source.covers`).

    Parameters
    ----------
    transaction: the source's own name of the transaction (PostgreSQL: commit LSN).
    ordinal: 0 for the first change of the transaction.
    part: 0, or which of several outputs a transform made of one change.
    """

    transaction: str
    ordinal: int
    part: int = 0

    def __str__(self) -> str:
        part = f".{self.part}" if self.part else ""
        return f"{self.transaction}:{self.ordinal}{part}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """Read back what ``str(mark)`` wrote. Raises ValueError for anything else."""
        transaction, separator, rest = text.rpartition(":")
        ordinal, _, part = rest.partition(".")
        if not separator or not transaction:
            raise ValueError(f"not a mark: {text!r}")
        return cls(transaction, int(ordinal), int(part or 0))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where reading one stream may start again. Opaque to all but its source.

    Parameters
    ----------
    stream: the stream it belongs to (``main``, ``snapshot:public.orders``, …).
    text: canonical JSON, so that equal checkpoints have equal text.
    """

    stream: str
    text: str

    @classmethod
    def of(cls, stream: str, **value: Any) -> Checkpoint:
        """Make a checkpoint from JSON-able values."""
        return cls(stream, json.dumps(value, sort_keys=True, separators=(",", ":")))

    @property
    def value(self) -> dict[str, Any]:
        """The decoded JSON object. Raises ValueError when the text is none."""
        value = json.loads(self.text)
        if not isinstance(value, dict):
            raise ValueError(f"a checkpoint is a JSON object, not {self.text!r}")
        return value
