"""Fixtures of the crash tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.embedded.server import Server
from tests.crash.harness import SETTINGS
from tools.servers import postgres


@pytest.fixture(scope="package")
def victim() -> Iterator[Server]:
    """A server that crash tests kill and start again."""
    with postgres("16", settings=SETTINGS) as server:
        yield server
