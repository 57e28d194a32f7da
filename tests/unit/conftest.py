"""Unit tests touch no network."""

from __future__ import annotations

import socket
from typing import Any, NoReturn

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects anywhere; an event loop's own socket pair stays allowed."""

    def refuse(self: socket.socket, address: Any) -> NoReturn:
        pytest.fail(f"a unit test connects to {address}: it belongs to tests/integration")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
