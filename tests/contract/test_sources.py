"""The source contract over the sources that need no server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.ports import Source
from penstock.testing import ScriptedSource, batch, insert, keepalive, snapshot, table_of
from penstock.testing.contracts import SourceContract

ORDERS = table_of("public.orders", {"id": 1})


class TestScriptedSource(SourceContract):
    @pytest.fixture
    def connect(self) -> Callable[[], Source]:
        def row(id: int) -> dict[str, int]:
            return {"id": id}

        script = [
            *snapshot(ORDERS, [insert(ORDERS, row(i)) for i in range(3)], at=2),
            batch(1, insert(ORDERS, row(1))),
            batch(2, insert(ORDERS, row(2)), complete=False),
            batch(2, insert(ORDERS, row(3)), first=1),
            keepalive(3),
            batch(4, insert(ORDERS, row(4)), insert(ORDERS, row(5))),
        ]
        return lambda: ScriptedSource(script)
