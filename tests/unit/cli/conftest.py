"""The command line sets process-wide things; every test gets and leaves them as they were."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import fields

import pytest

from penstock.cli import console


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Global options at their defaults, no colours; logging restored afterwards."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    root, ours = logging.getLogger(), logging.getLogger("penstock")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    _reset()
    yield
    _reset()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def _reset() -> None:
    defaults = console.Settings()
    for field in fields(defaults):
        setattr(console.settings, field.name, getattr(defaults, field.name))
