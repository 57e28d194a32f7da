"""When a walsender that answers is taken to stand still, with a server that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from penstock.ports import Context
from penstock.sources.postgres import slot
from penstock.sources.postgres.config import Postgres
from penstock.sources.postgres.facts import Facts
from penstock.sources.postgres.source import PostgresSource
from penstock.sources.postgres.watch import WELL_BEHIND, Watch


@dataclass
class FakeLink:
    received: int = 1000
    queued: int = 0


class FakeSession:
    control = None

    async def blocking(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def source(link: FakeLink) -> PostgresSource:
    config = Postgres(dsn="host=127.0.0.1")
    source = config.build()
    source._link = cast("Any", link)
    facts = Facts("s", "p", "system", False)
    context = Context("shop", "source")
    source._watch = Watch(config, cast("Any", FakeSession()), context, cast("Any", None), facts)
    return source


def look(source: PostgresSource, end: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """One look at a server whose walsender waits, its log ending at ``end``; 0: it works."""
    monkeypatch.setattr(slot, "ahead", lambda _, name: end)
    assert source._watch is not None
    assert source._link is not None
    asyncio.run(source._watch.look_at_progress(source._link.received))
    return source.waiting()


def test_a_walsender_that_waits_before_much_log_stands_still(
    source: PostgresSource, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = link.received + WELL_BEHIND + 1
    assert not look(source, end, monkeypatch), "it had said something new"
    assert look(source, end, monkeypatch)
    assert look(source, end, monkeypatch)


def test_one_that_moves_or_works_or_has_passed_it_all_does_not(
    source: PostgresSource, link: FakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = link.received + 1000 * WELL_BEHIND
    look(source, far, monkeypatch)
    assert look(source, far, monkeypatch)
    link.received += 1  # a long transaction is read: keepalives with a growing end
    assert not look(source, far, monkeypatch)
    assert not look(source, 0, monkeypatch), "a long transaction is decoded"
    assert not look(source, link.received + WELL_BEHIND, monkeypatch)
