from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from penstock.errors import ConfigError, PenstockError, StoreError
from penstock.model import Checkpoint
from penstock.ports import Context, Saved, StreamState
from penstock.stores.sql import SqlStore

CONTEXT = Context("orders", "store")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shop.db'}"


def load(url: str) -> Saved | None:
    async def main() -> Saved | None:
        store = SqlStore(url)
        try:
            await store.open(CONTEXT)
            return await store.load()
        finally:
            await store.close()

    return asyncio.run(main())


def save(url: str) -> None:
    async def main() -> None:
        store = SqlStore(url)
        await store.open(CONTEXT)
        safe = Checkpoint.of("main", at=1)
        await store.save({("s", "main"): StreamState(None, safe)}, {"a": 1})
        await store.close()

    asyncio.run(main())


def execute(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.mark.parametrize(
    "table", ["penstock_streams", "penstock_facts", "penstock_checkpoints", "penstock_parked"]
)
def test_a_lost_table_is_damage_and_no_beginning(url: str, table: str) -> None:
    save(url)
    execute(url, f"DROP TABLE {table}")
    with pytest.raises(StoreError, match=f"damaged: {table} is missing"):
        load(url)


def test_a_lost_row_is_damage_and_no_beginning(url: str) -> None:
    save(url)
    execute(url, "DELETE FROM penstock_facts")
    with pytest.raises(StoreError, match="damaged: pipeline 'orders' has lost a row"):
        load(url)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE penstock_streams SET safe = 'x'",
        "UPDATE penstock_streams SET data = 'x'",
        "UPDATE penstock_facts SET facts = '{'",
    ],
)
def test_damaged_texts_are_refused(url: str, statement: str) -> None:
    save(url)
    execute(url, statement)
    with pytest.raises(StoreError, match="damaged"):
        load(url)


def test_another_version_is_refused(url: str) -> None:
    save(url)
    execute(url, "UPDATE penstock_facts SET version = 2")
    with pytest.raises(StoreError, match="version 2, this penstock writes version 1"):
        load(url)


def test_a_corrupt_sqlite_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        load(f"sqlite:///{path}")


def test_peeking_makes_nothing(url: str, tmp_path: Path) -> None:
    assert asyncio.run(SqlStore(url).peek(CONTEXT)) is None
    assert not list(tmp_path.iterdir())
    execute(url, "CREATE TABLE theirs (a integer)")
    assert asyncio.run(SqlStore(url).peek(CONTEXT)) is None
    save(url)
    execute(url, "DROP TABLE penstock_facts")
    with pytest.raises(StoreError, match="damaged"):
        asyncio.run(SqlStore(url).peek(CONTEXT))


def test_pipelines_share_a_database(url: str) -> None:
    async def main() -> None:
        stores = {name: SqlStore(url) for name in ("a", "b")}
        for name, store in stores.items():
            await store.open(Context(name))
            await store.save(facts={"is": name})
        await stores["a"].clear()
        assert await stores["a"].load() is None
        saved = await stores["b"].load()
        assert saved is not None
        assert saved.facts == {"is": "b"}
        for store in stores.values():
            await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "template",
    [
        "postgresql://user:{}@127.0.0.1:1/db?password={}",
        "postgresql://user:{}@[::1/db",
        "nosuch://user:{}@h/db",
        "postgresql+nosuch://user:{}@h/db",
        "user:{}@h",
    ],
)
def test_no_password_in_any_error(template: str) -> None:
    secret = "canary"

    async def main() -> str:
        try:
            store = SqlStore(template.format(secret, secret))
            assert secret not in repr(store)
            await store.open(CONTEXT)
        except PenstockError as error:
            return str(error) + repr(error) + "".join(traceback.format_exception(error))
        raise AssertionError("it opened")

    assert f"{secret}@" not in asyncio.run(main())
    assert f"={secret}" not in asyncio.run(main())


def test_urls_that_are_none_say_how_one_looks() -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        SqlStore("what")
    assert "driver://" in caught.value.hint


def test_a_thread_does_the_work(url: str) -> None:
    async def main() -> list[Any]:
        import threading

        store = SqlStore(url)
        await store.open(CONTEXT)
        found = [await store.run(threading.get_ident) for _ in range(2)]
        await store.close()
        return [*found, threading.get_ident()]

    first, second, here = asyncio.run(main())
    assert first == second != here
