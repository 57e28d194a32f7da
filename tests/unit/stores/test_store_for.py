from pathlib import Path
from typing import Any

import pytest

from penstock.errors import ConfigError
from penstock.stores import store_for
from penstock.stores.memory import MemoryStore
from penstock.stores.sql import SqlStore
from penstock.stores.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, None),
        ("state.db", Path("state.db")),
        (Path("/x/state.db"), Path("/x/state.db")),
        ("sqlite:///x.db", Path("x.db")),
        ("sqlite:////x/y.db", Path("/x/y.db")),
    ],
)
def test_paths_and_nothing_mean_a_sqlite_file(value: Any, path: Path | None) -> None:
    store = store_for(value)
    assert isinstance(store, SqliteStore)
    assert store.path == path


def test_urls_mean_databases() -> None:
    store = store_for("postgresql://u:p@h/d")
    assert isinstance(store, SqlStore)
    assert store.backend == "postgresql"
    assert isinstance(store_for("sqlite:///x.db", transactional=True), SqlStore)
    assert isinstance(store_for("memory"), MemoryStore)
    assert store_for(store) is store


@pytest.mark.parametrize("value", ["sqlite:///", ":memory:", "", "sqlite:///:memory:", "x y://"])
def test_what_names_no_file_is_refused(value: str) -> None:
    with pytest.raises(ConfigError):
        store_for(value)
