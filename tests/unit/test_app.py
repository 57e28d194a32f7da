"""The App: registration, its pipeline, its life inside a web application."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import penstock
from penstock import App, Change, ConfigError, DivergedError, Message, Postgres, SinkError
from penstock.model import Column, Kind, Table, Type
from penstock.ports import Context
from penstock.stores.memory import MemoryStore
from penstock.testing import ScriptedSource, batch, insert

URL = "postgresql://user:hush@127.0.0.1:1/shop"


@dataclass
class Order:
    id: int
    status: str


def order(id: int, status: str = "new") -> Change:
    return insert("public.orders", {"id": id, "status": status})


def config(app: App) -> Any:
    """The configuration that the App's source was made of."""
    return app.pipeline.source.config  # type: ignore[attr-defined]


def scripted(*changes: Change, ends: bool = True) -> ScriptedSource:
    return ScriptedSource([batch(i, change) for i, change in enumerate(changes, 1)], ends=ends)


# -- registration


def test_the_decorators_return_the_function_unchanged() -> None:
    app = App("mail", URL)

    def handler(change: Change) -> None: ...
    def heard(message: Message) -> None: ...

    assert app.on("public.orders")(handler) is handler
    assert app.on_message("audit")(heard) is heard


def test_a_wrong_signature_is_told_at_registration() -> None:
    app = App("mail", URL)
    with pytest.raises(ConfigError, match=r"handler .*wrong \(.*test_app\.py:\d+\).*'order'"):

        @app.on("public.orders")
        def wrong(order: Order) -> None: ...


def test_types_made_in_a_function_around_are_found() -> None:
    @dataclass
    class Local:
        id: int

    seen: list[Local] = []

    def make() -> App:
        app = App("mail", URL)

        @app.on("public.orders")
        def handler(change: Change[Local]) -> None:
            seen.append(change.row)

        return app

    penstock.testing.play(make(), [order(1)])
    assert seen == [Local(1)]


def test_a_handler_cannot_come_after_the_start() -> None:
    app = App("mail", URL, store="memory")
    app.on("public.orders")(lambda change: None)
    assert app.pipeline is app.pipeline
    with pytest.raises(ConfigError, match="registered after"):
        app.on("public.orders")(lambda change: None)


def test_an_app_needs_a_handler() -> None:
    with pytest.raises(ConfigError, match="has no handler"):
        App("mail", URL).pipeline  # noqa: B018


# -- the source


def test_tables_and_messages_default_to_those_that_handlers_name() -> None:
    app = App("mail", URL, store="memory")
    for table in ("public.orders", "public.line_*", "public.orders"):
        app.on(table)(lambda change: None)
    app.on_message("audit")(lambda message: None)
    assert config(app).tables == ("public.orders", "public.line_*")
    assert config(app).messages == ("audit",)
    assert config(app).snapshot == "never"
    assert config(app).dsn.get_secret_value() == URL


def test_what_a_configuration_says_stays() -> None:
    source = Postgres(dsn=URL, tables=("public.*",), slot="mine", snapshot="initial")
    app = App("mail", source, store="memory")
    app.on("public.orders", "read")(lambda change: None)
    assert config(app).tables == ("public.*",)
    assert (config(app).slot, config(app).snapshot) == ("mine", "initial")


def test_what_the_app_says_wins() -> None:
    source = Postgres(dsn=URL, tables=("public.*",))
    app = App("mail", source, store="memory", tables=["public.orders"], snapshot="initial")
    app.on("public.orders", "read")(lambda change: None)
    assert config(app).tables == ("public.orders",)
    assert config(app).snapshot == "initial"


def test_a_working_source_has_its_own_tables() -> None:
    app = App("mail", scripted(), store="memory", tables=["public.orders"])
    app.on("public.orders")(lambda change: None)
    with pytest.raises(ConfigError, match="tables: the ScriptedSource has its own"):
        app.pipeline  # noqa: B018


def test_a_snapshot_needs_a_handler_for_its_rows() -> None:
    app = App("mail", URL, store="memory", snapshot="initial")
    app.on("public.orders")(lambda change: None)
    with pytest.raises(ConfigError, match="no handler takes its rows"):
        app.run()


@pytest.mark.parametrize("source", ["shop.db", "nosql://secret@host/db"])
def test_a_url_that_no_source_reads_is_refused_without_showing_it(source: str) -> None:
    app = App("mail", source, store="memory")
    app.on("public.orders")(lambda change: None)
    with pytest.raises(ConfigError) as caught:
        app.pipeline  # noqa: B018
    assert "secret" not in str(caught.value)
    assert "postgresql://" in str(caught.value)


def test_a_refused_value_is_a_config_error_without_the_password() -> None:
    app = App("mail", URL, store="memory", snapshot="sometimes")  # type: ignore[arg-type]
    app.on("public.orders")(lambda change: None)
    with pytest.raises(ConfigError, match="snapshot") as caught:
        app.pipeline  # noqa: B018
    assert "hush" not in str(caught.value)


# -- running


def test_run_delivers_and_remembers() -> None:
    store, seen = MemoryStore(), []
    source = scripted(order(1), order(2))

    def make() -> App:
        app = App("mail", source, store=store)

        @app.on("public.orders", "insert")
        def note(change: Change[Order]) -> None:
            seen.append(change.row)

        return app

    report = make().run(until_caught_up=True)
    assert seen == [Order(1, "new"), Order(2, "new")]
    assert report.changes == 2
    assert report.caught_up
    make().run(until_caught_up=True)
    assert len(seen) == 2


def test_a_handler_may_stop_the_app() -> None:
    app = App("mail", scripted(order(1), ends=False), store="memory")

    @app.on("public.orders")
    def note(change: Change) -> None:
        app.stop()

    assert app.run().state == "stopped"


def test_a_failure_that_stops_is_raised() -> None:
    app = App("mail", scripted(order(1)), store="memory", on_failure="stop", retries=0)

    @app.on("public.orders")
    def note(change: Change) -> None:
        raise ValueError("no")

    with pytest.raises(SinkError, match="no"):
        app.run()


def test_status_counts_by_function() -> None:
    app = App("mail", scripted(order(1), ends=False), store="memory")
    found: list[Any] = []

    @app.on("public.orders")
    async def note(change: Change) -> None:
        found.append(await app.pipeline.astatus())
        app.stop()

    app.run()
    [counters] = found[0].sinks["handlers"].details.values()
    assert counters == {"handled": 0, "retried": 0, "parked": 0}


def test_check_compares_row_types_with_the_tables_of_today() -> None:
    class Described(ScriptedSource):
        async def describe(self, context: Context) -> list[Table]:
            text = Type("text", Kind.TEXT, "text")
            columns = (Column("id", text), Column("status", text))
            return [Table("public", "orders", columns, ("id",))]

    app = App("mail", Described([]), store="memory")

    @app.on("public.orders")
    def note(change: Change[Order]) -> None: ...

    found = [f for f in app.check() if f.severity == "error"]
    assert [f.message for f in found] == [
        "public.orders.id is text: it does not fit the field Order.id"
    ]


# -- inside a web application


def test_the_lifespan_serves_and_drains() -> None:
    handled: list[int] = []
    app = App("mail", scripted(order(1), ends=False), store="memory")
    web = FastAPI(lifespan=app.lifespan)

    async def visit() -> list[int]:
        done.clear()
        async with web.router.lifespan_context(web):
            await done.wait()
            transport = httpx.ASGITransport(web)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                answer: list[int] = (await client.get("/")).json()
            states.append(app.pipeline.state)
        states.append(app.pipeline.state)
        return answer

    @app.on("public.orders")
    async def note(change: Change[Order]) -> None:
        handled.append(change.row.id)
        done.set()

    @web.get("/")
    async def home() -> list[int]:
        return handled

    done = asyncio.Event()
    states: list[str] = []
    assert asyncio.run(visit()) == [1]
    assert states == ["running", "stopped"]


def test_a_pipeline_that_fails_is_heard_at_once_and_at_shutdown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App("mail", ScriptedSource([DivergedError("another server")]), store="memory")
    app.on("public.orders")(lambda change: None)

    async def main() -> None:
        heard = asyncio.Event()
        handler = _Calling(heard.set)
        logging.getLogger("penstock").addHandler(handler)
        try:
            async with app.lifespan():
                await heard.wait()
        finally:
            logging.getLogger("penstock").removeHandler(handler)

    with pytest.raises(DivergedError):
        asyncio.run(main())
    [record] = [r for r in caplog.records if r.levelno == logging.CRITICAL]
    assert "App mail stopped: another server" in record.getMessage()


class _Calling(logging.Handler):
    """Calls a function at each critical record."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(logging.CRITICAL)
        self.call = call

    def emit(self, record: logging.LogRecord) -> None:
        self.call()


def test_what_is_wrong_before_the_start_keeps_the_application_from_starting() -> None:
    web = FastAPI(lifespan=App("mail", URL).lifespan)

    async def main() -> None:
        async with web.router.lifespan_context(web):
            pytest.fail("it must not start")

    with pytest.raises(ConfigError, match="has no handler"):
        asyncio.run(main())


# -- the package


def test_the_public_names_are_there() -> None:
    for name in penstock.__all__:
        assert getattr(penstock, name) is not None, name
    assert dir(penstock) == sorted(penstock.__all__)
    with pytest.raises(AttributeError, match="Streem"):
        penstock.Streem  # type: ignore[attr-defined]  # noqa: B018


def test_importing_penstock_imports_nothing_heavy() -> None:
    code = (
        "import sys, penstock; print([m for m in sys.modules if m.startswith('penstock.')"
        " or m in ('pydantic', 'psycopg', 'sqlalchemy', 'asyncio')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_readmes_test_of_a_handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sent: list[str] = []
    app = App("order_mail", source=URL)

    @app.on("public.orders", "insert", "update")
    async def announce(change: Change[Order]) -> None:
        sent.append(change.row.status)

    result = penstock.testing.play(app, [insert("public.orders", {"id": 1, "status": "new"})])
    assert sent == ["new"]
    assert result.handled == 1
    assert not result.parked
