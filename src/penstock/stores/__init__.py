"""Where a pipeline's state survives."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from penstock import registry
from penstock.errors import ConfigError
from penstock.ports import Store

_SQLITE = "sqlite:///"


def store_for(value: Store | str | Path | None = None, *, transactional: bool = False) -> Store:
    """The store that a ``store=`` argument means. Raises ConfigError when it means none.

    Parameters
    ----------
    value: None for a SQLite file in the user's state folder; a path or ``sqlite:///`` URL for
        that file; any other SQLAlchemy URL for that database; ``memory``; or a store itself.
    transactional: handlers write in the checkpoint's transaction, so a ``sqlite:///`` URL means
        a database that is theirs too.
    """
    if value is None:
        return cast("Store", registry.component("store", "sqlite")())
    if not isinstance(value, str | Path):
        return value
    text = str(value)
    if text == "memory":
        return cast("Store", registry.component("store", "memory")())
    if "://" in text and (transactional or not text.startswith(_SQLITE)):
        return cast("Store", registry.component("store", "sql")(text))
    path = text.removeprefix(_SQLITE)
    if not path or path == ":memory:":
        raise ConfigError(
            f"store={text!r} names no file", hint='write store="memory" for one that forgets'
        )
    return cast("Store", registry.component("store", "sqlite")(path))
