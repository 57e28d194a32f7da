"""What the contracts share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from penstock.model import Change
from penstock.testing.builders import insert, table_of

T = TypeVar("T")

TABLE = table_of("public.contract", {"id": 1, "note": "text"})
"""The table that sinks are tested with: ``id`` is an int8 and the key, ``note`` is a text."""


class Contract:
    """What the contracts share. Override :meth:`run` for another event loop."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a test's coroutine."""
        return asyncio.run(coroutine)


def one(id: int, note: str | None = "x") -> Change:
    """An insert into :data:`TABLE`."""
    return insert(TABLE, {"id": id, "note": note})
