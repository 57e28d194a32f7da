"""play(): handlers in tests, without a server and without waiting."""

from __future__ import annotations

import asyncio
import time

import pytest

from penstock import App, Change, Mask, Message, Park, PenstockError, Retry
from penstock.testing import aplay, insert, message, play, update

URL = "postgresql://nowhere/"


def order(id: int) -> Change:
    return insert("public.orders", {"id": id, "status": "new"})


def test_it_counts_what_became_of_the_changes() -> None:
    app = App("mail", URL)
    failures = [ValueError("once")]

    @app.on("public.orders")
    def handler(change: Change) -> None:
        if change.row["id"] == 2:
            raise Park("never")
        if failures:
            raise failures.pop()

    later = update("public.orders", {"id": 2, "status": "paid"})
    result = play(app, [order(1), order(2), later, order(3)])
    assert (result.handled, result.retried) == (2, 1)
    assert [parked.reason for parked in result.parked] == [
        "test_it_counts_what_became_of_the_changes.<locals>.handler: never",
        f"waits behind {result.parked[0].id}",
    ]


def test_a_retry_is_told_with_its_change(caplog: pytest.LogCaptureFixture) -> None:
    app = App("mail", URL)
    failures = [ValueError("once")]

    @app.on("public.orders")
    def handler(change: Change) -> None:
        if failures:
            raise failures.pop()

    change = order(1)
    play(app, [change])
    assert f"failed on {change.id}, next try in" in caplog.text


def test_waits_between_retries_take_no_time() -> None:
    app = App("mail", URL, retries=8, retry_for=80_000)

    @app.on("public.orders")
    async def handler(change: Change) -> None:
        raise ValueError("always")

    begun = time.monotonic()
    assert play(app, [order(1)]).retried == 8
    assert time.monotonic() - begun < 60


def test_a_handler_that_asks_for_retries_for_ever_is_told() -> None:
    app = App("mail", URL)

    @app.on("public.orders")
    def handler(change: Change) -> None:
        raise Retry(after=3600)

    with pytest.raises(PenstockError, match="more than a day"):
        play(app, [order(1)])


def test_each_play_starts_afresh() -> None:
    app = App("mail", URL)
    seen: list[str] = []

    @app.on("public.orders")
    def handler(change: Change) -> None:
        seen.append(change.id)

    change = order(1)
    assert play(app, [change]).handled == play(app, [change]).handled == 1
    assert seen == [change.id, change.id]


def test_aplay_runs_in_the_tests_own_loop() -> None:
    app = App("mail", URL)
    loops: list[asyncio.AbstractEventLoop] = []

    @app.on("public.orders")
    async def handler(change: Change) -> None:
        loops.append(asyncio.get_running_loop())

    async def main() -> None:
        assert (await aplay(app, [order(1)])).handled == 1
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())


def test_messages_are_played_too() -> None:
    app = App("mail", URL)
    seen: list[bytes] = []

    @app.on_message("audit")
    def handler(message: Message) -> None:
        seen.append(message.content)

    assert play(app, [message("audit", "x"), message("other", "y")]).handled == 1
    assert seen == [b"x"]


def test_the_apps_transforms_apply_whatever_columns_a_change_has() -> None:
    app = App("mail", URL, transforms=[Mask(columns=("*.status",), method="fixed")])
    seen = []

    @app.on("public.orders")
    def handler(change: Change) -> None:
        seen.append(dict(change.row))

    play(app, [order(1), insert("public.orders", {"id": 2, "status": "new", "note": "n"})])
    assert seen == [{"id": 1, "status": "***"}, {"id": 2, "status": "***", "note": "n"}]
