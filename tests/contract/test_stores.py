"""The store contract over every store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.ports import Context, Store
from penstock.stores.kafka import KafkaStore
from penstock.stores.memory import MemoryStore
from penstock.stores.sql import SqlStore
from penstock.stores.sqlite import SqliteStore
from penstock.testing.contracts import StoreContract
from tests.support.kafka import fresh_name
from tests.support.mysql import Database
from tools.brokers import Kafka


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def connect(self) -> Callable[[], Store]:
        store = MemoryStore()
        return lambda: store


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqliteStore(tmp_path / "state.db")


class TestSqlStoreOnSqlite(StoreContract):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SqlStore(f"sqlite:///{tmp_path / 'state.db'}")


@pytest.mark.server
class TestSqlStoreOnPostgres(StoreContract):
    @pytest.fixture
    def connect(self, database: str) -> Callable[[], Store]:
        return lambda: SqlStore(database)


@pytest.mark.server
class TestSqlStoreOnMySQL(StoreContract):
    @pytest.fixture
    def connect(self, binlogs: Database) -> Callable[[], Store]:
        return lambda: SqlStore(binlogs.dsn)


@pytest.mark.server
class TestKafkaStore(StoreContract):
    def context(self) -> Context:
        return Context(self.pipeline, "store")

    @pytest.fixture
    def connect(self, kafka: Kafka) -> Callable[[], Store]:
        self.pipeline = fresh_name()
        return lambda: KafkaStore(kafka.url)
