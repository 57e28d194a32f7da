"""Which of the log's batches go on, on a virtual clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from penstock.model import EventBatch, Mark, Message
from penstock.model.stream import MAIN
from penstock.ports import Context
from penstock.sources.postgres.config import Postgres
from penstock.sources.postgres.position import main_checkpoint
from penstock.sources.postgres.source import PostgresSource


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return datetime(2024, 1, 1, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock: Clock) -> PostgresSource:
    """A source that has just begun to read at 100."""
    source = Postgres(dsn="host=127.0.0.1").build()
    source._context = Context("shop", "source", clock=clock)
    source._held = source._target = None
    source._reached, source._reached_at = 100, clock.at
    return source


def keepalive(lsn: int) -> EventBatch:
    return EventBatch(MAIN, [], None, main_checkpoint(lsn, "1", 1))


def data(lsn: int | None) -> EventBatch:
    event = Message("p", b"", Mark("0/1", 0), None)
    return EventBatch(MAIN, [event], None, main_checkpoint(lsn, "1", 1) if lsn else None)


def passed(source: PostgresSource, *batches: EventBatch) -> list[int | None]:
    return [
        source._lsn(batch) if batch.checkpoint is not None else None
        for batch in source._passing(batches)
    ]


def test_a_keepalive_waits_for_its_time_and_is_not_forgotten(
    source: PostgresSource, clock: Clock
) -> None:
    assert passed(source, keepalive(200)) == []
    clock.at += 9.9
    assert passed(source) == []
    clock.at += 0.2
    assert passed(source) == [200]
    assert passed(source) == []


def test_the_last_keepalive_stands_for_those_before(source: PostgresSource, clock: Clock) -> None:
    assert passed(source, keepalive(200), keepalive(300)) == []
    clock.at += 10
    assert passed(source, keepalive(400)) == [400]


def test_an_awaited_position_is_passed_at_once(source: PostgresSource) -> None:
    assert passed(source, keepalive(200)) == []
    source._target = 200
    assert passed(source) == [200]
    assert passed(source, keepalive(300)) == []


def test_a_keepalive_never_follows_rows_of_an_open_transaction(
    source: PostgresSource, clock: Clock
) -> None:
    clock.at += 60
    assert passed(source, keepalive(200), data(None)) == [None]
    assert passed(source) == []


def test_while_the_log_is_read_up_to_our_start_nothing_goes_back(
    source: PostgresSource, clock: Clock
) -> None:
    clock.at += 60
    assert passed(source, keepalive(50)) == []
    assert passed(source, data(60)) == [None]
    assert passed(source, data(150)) == [150]
