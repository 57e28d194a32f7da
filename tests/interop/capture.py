"""penstock and Debezium capture the same database at the same time."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from penstock.formats.cloudevents import CloudEvents
from penstock.formats.debezium import Debezium
from penstock.model import Batch, Checkpoint, Mark, Record
from penstock.pipeline import Pipeline
from penstock.ports import Context
from penstock.sources.mysql.config import MySQL
from penstock.sources.postgres.config import Postgres
from tests.support import mysql, postgres
from tests.support.waiting import eventually
from tools.peer import running

PREFIX: Final = "dbserver"
SENTINEL: Final = "sentinel"

Told = dict[str, Any]
"""A record as JSON: topic, key, value, headers."""


class Place(NamedTuple):
    """What both capture: a database, the schema that its tables are in, how statements are run
    there, and what else Debezium is told."""

    dsn: str
    schema: str
    execute: Callable[..., object]
    settings: Mapping[str, str]

    def source(self, messages: Sequence[str]) -> Postgres | MySQL:
        """Our source."""
        tables = (f"{self.schema}.*",)
        if self.dsn.startswith("postgres"):
            return Postgres(
                dsn=self.dsn, tables=tables, snapshot="initial", messages=tuple(messages)
            )
        return MySQL(dsn=self.dsn, tables=tables, snapshot="initial")


def place_of(database: str | mysql.Database) -> Place:
    """A database of PostgreSQL by its URL, or one of MySQL."""
    if isinstance(database, str):
        execute = partial(postgres.execute, database)
        return Place(database, "public", execute, {"publication__autocreate__mode": "all_tables"})
    return Place(database.dsn, database.name, database.execute, {})


class Collector:
    """A sink that keeps the records."""

    def __init__(self) -> None:
        self.records: list[Told] = []
        self._format: Any = None
        self._last: Mark | None = None

    async def open(self, context: Context) -> None:
        self._format = context.format

    async def resume(self, stream: str) -> Checkpoint | None:
        return None

    async def write(self, batch: Batch) -> None:
        self.records += map(_told, batch.records(self._format))
        self._last = batch.last or self._last

    async def flush(self) -> Mark | None:
        last, self._last = self._last, None
        return last

    async def close(self) -> None:
        pass


def _told(record: Record) -> Told:
    topic, key, value, headers = record
    return {
        "topic": topic,
        "key": None if key is None else json.loads(key),
        "value": None if value is None else json.loads(value),
        "headers": dict(headers),
    }


class _Config:
    """A sink's configuration around the collector."""

    type = "collector"
    name = None
    start = None

    def __init__(self, sink: Collector, format: Debezium) -> None:
        self.format = format
        self._sink = sink

    def build(self) -> Collector:
        return self._sink


@contextmanager
def ours(place: Place, options: Debezium, messages: Sequence[str]) -> Iterator[Any]:
    """penstock captures; gives the list of records that grows."""
    sink = Collector()
    source = place.source(messages)
    pipeline = Pipeline("interop", source, [_Config(sink, options)], store="memory")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(pipeline.serve())
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield sink.records, failures
    finally:
        pipeline.stop()
        thread.join(60)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def captured(
    database: str | mysql.Database,
    statements: Sequence[str],
    stepwise: bool = False,
    /,
    *,
    messages: Sequence[str] = (),
    **settings: str | Mapping[str, Any],
) -> tuple[list[Told], list[Told]]:
    """Run statements while both capture: Debezium's records and ours, snapshots first.

    ``settings`` are the connector's, with ``__`` for dots; ours are the same by the same names.
    Those of ``route``, ``unwrap`` and ``outbox`` are the transform's, by our names. ``stepwise``,
    both have captured a statement before the next one is run: both ask the catalog for what the log
    does not tell, each in its own time.
    """
    place = place_of(database)
    place.execute(f"CREATE TABLE {SENTINEL} (id int PRIMARY KEY)")
    place.execute(f"INSERT INTO {SENTINEL} VALUES (-2), (-1), (0)")
    done = f"{PREFIX}.{place.schema}.{SENTINEL}"
    options = options_of(settings)
    if "cloudevents" in settings:
        options = CloudEvents(**options.model_dump(exclude={"type"}))

    def seen(records: Sequence[Told], id: int) -> bool:
        return any(r["topic"] == done and payload(r["key"]) == {"id": id} for r in records)

    with (
        running(place.dsn, {**place.settings, **_theirs(settings)}) as peer,
        ours(place, options, messages) as (records, failures),
    ):
        peer.wait(lambda found: seen(found, 0), what="snapshot")
        eventually(lambda: failures or seen(records, 0), within=60, what="our snapshot")
        if failures:
            raise failures[0]
        steps = [[one] for one in statements] if stepwise else [statements]
        for number, step in enumerate(steps, 1):
            place.execute(*step, f"INSERT INTO {SENTINEL} VALUES ({number})")
            reached = partial(seen, id=number)
            eventually(lambda: failures or reached(records), within=60, what="our records")  # noqa: B023
            found = peer.wait(reached)
    return found, list(records)


_VALUES: Final = {"true": True, "false": False}
_SCHEMAS: Final = ("value__converter__schemas__enable", "value__converter__json__schemas__enable")
_TRANSFORMS: Final = {
    "outbox": "io.debezium.transforms.outbox.EventRouter",
    "route": "io.debezium.transforms.ByLogicalTableRouter",
    "unwrap": "io.debezium.transforms.ExtractNewRecordState",
}


def _theirs(settings: Mapping[str, str | Mapping[str, Any]]) -> dict[str, str]:
    """The connector's settings, with its transforms in our order."""
    made = {name: value for name, value in settings.items() if isinstance(value, str)}
    names = [name for name in _TRANSFORMS if name in settings]
    if names:
        made["transforms"] = ",".join(names)
    for name in names:
        made[f"transforms.{name}.type"] = _TRANSFORMS[name]
        options = settings[name]
        assert isinstance(options, Mapping)
        for option, value in options.items():
            if option == "tables":
                made |= _only(name, value)
                continue
            text = ",".join(value) if isinstance(value, list) else str(value).lower()
            text = str(value) if isinstance(value, str) else text
            made[f"transforms.{name}.{option.replace('_', '.')}"] = text.replace("\\", r"\\")
    return made


def _only(name: str, tables: Sequence[str]) -> dict[str, str]:
    """The predicate by which a transform is for some tables."""
    (table,) = tables
    return {
        "predicates": "only",
        "predicates.only.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
        "predicates.only.pattern": re.escape(f"{PREFIX}.{table}").replace("\\", r"\\"),
        f"transforms.{name}.predicate": "only",
    }


def options_of(settings: Mapping[str, str | Mapping[str, Any]]) -> Debezium:
    """Our options for a connector's settings."""
    given: dict[str, Any] = {"topic_prefix": PREFIX}
    for name, value in settings.items():
        if not isinstance(value, str):
            given[name] = value
        elif name in _SCHEMAS:
            given["schemas"] = _VALUES[value]
        elif name == "skipped__operations":
            given["skipped_operations"] = [] if value == "none" else value.split(",")
        elif name == "message__key__columns":
            pairs = (pair.split(":") for pair in value.split(";"))
            given["message_key_columns"] = {table: names.split(",") for table, names in pairs}
        elif not name.startswith(("key__converter", "snapshot", "header", "cloudevents")):
            given[name.replace("__", "_")] = _VALUES.get(value, value)
    return Debezium(**given)


def payload(told: Any) -> Any:
    """What a key, value or header says, with or without its schema."""
    if isinstance(told, dict) and told.keys() == {"schema", "payload"}:
        return told["payload"]
    return told
