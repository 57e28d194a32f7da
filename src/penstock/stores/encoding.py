"""How stores write state: canonical JSON and plain texts, the same in all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from penstock.errors import StoreError
from penstock.model import Checkpoint, Mark
from penstock.ports import Parked, StreamState


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text.

    Raises StoreError for what JSON cannot hold.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise StoreError(f"state that JSON cannot hold: {error}") from error


def load_json(text: str, where: str) -> Any:
    """Read JSON back. Raises StoreError, naming ``where``, when it is none."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise StoreError(
            f"{where} is damaged: {error}", hint="restore the store from a backup"
        ) from error


def load_stream(stream: str, data: str | None, safe: str | None, where: str) -> StreamState:
    """A stream's state of its two texts. Raises StoreError when they are damaged."""
    try:
        mark = None if data is None else Mark.parse(data)
        checkpoint = None if safe is None else Checkpoint(stream, safe)
        if checkpoint is not None:
            _ = checkpoint.value
    except ValueError as error:
        raise StoreError(
            f"{where}: the state of stream {stream!r} is damaged: {error}",
            hint="restore the store from a backup",
        ) from error
    return StreamState(mark, checkpoint)


def dump_parked(parked: Parked) -> dict[str, Any]:
    """A parked change as JSON-able data."""
    return {
        "sink": parked.sink,
        "id": parked.id,
        "table": parked.table,
        "keys": list(parked.keys),
        "reason": parked.reason,
        "parked_at": parked.parked_at.isoformat(),
        "change": dict(parked.change),
    }


def load_parked(data: Mapping[str, Any], where: str) -> Parked:
    """The parked change that :func:`dump_parked` saw. Raises StoreError when it is damaged."""
    try:
        return Parked(
            data["sink"],
            data["id"],
            data["table"],
            tuple(data["keys"]),
            data["reason"],
            datetime.fromisoformat(data["parked_at"]),
            data["change"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{where}: a parked change is damaged: {error!r}",
            hint="restore the store from a backup",
        ) from error
