"""Bugs that the crash tests found, each in its smallest form."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import SchemaError, SinkError
from penstock.failpoints import Failpoint, Failpoints
from penstock.pipeline.pipeline import Pipeline
from penstock.ports import Context
from penstock.sinks.jsonl import Jsonl
from penstock.sinks.sql.config import Sql
from penstock.sources.postgres.config import Postgres
from penstock.testing import Fault, FlakySink
from tests.support.postgres import execute, fetch


class Killed(BaseException):
    """The process dies."""


def run(
    dsn: str,
    folder: Path,
    *,
    die: Failpoint | None = None,
    faults: Sequence[Fault] = (),
    **options: Any,
) -> None:
    """One life: to JSON lines and to a replica whose failures are given, until caught up."""
    failpoints = Failpoints()
    if die is not None:

        def kill(passed: int) -> None:
            raise Killed

        failpoints.arm(die, kill)
    replica = FlakySink(Sql(url=f"sqlite:///{folder}/replica.db").build(), faults)
    replica.name, replica.stores_checkpoints = "replica", True  # type: ignore[attr-defined]
    Pipeline(
        "found",
        Postgres(dsn=dsn, tables=("public.*",), **options),
        [Jsonl(path=f"{folder}/lines"), replica],
        store=f"{folder}/state.db",
        context=Context("found", failpoints=failpoints),
    ).run(until_caught_up=True)


def delivered(folder: Path) -> list[str]:
    """Ids and operations in the file, repeats left out."""
    lines = (folder / "lines").read_bytes().splitlines()
    values = [json.loads(line)["value"] for line in lines]
    return list(dict.fromkeys(f"{value['op']} {value['id'].split('@')[0]}" for value in values))


def test_a_crash_between_two_shapes(database: str, tmp_path: Path) -> None:
    """After the crash the log shows the older shape again: it is no change from the newer one."""
    execute(database, "CREATE TABLE t (id int PRIMARY KEY, n smallint)")
    run(database, tmp_path)
    execute(
        database,
        "INSERT INTO t VALUES (1, 1)",
        "ALTER TABLE t ALTER n TYPE bigint",
        "INSERT INTO t VALUES (2, 2)",
    )
    with pytest.raises(Killed):
        run(database, tmp_path, die=Failpoint.BEFORE_WRITE)
    run(database, tmp_path)
    assert len(delivered(tmp_path)) == 2


def test_a_shape_that_loses_values_is_noticed_after_a_crash(database: str, tmp_path: Path) -> None:
    """What was known before the crash still counts, where it was delivered."""
    execute(
        database,
        "CREATE TABLE t (id int PRIMARY KEY, n numeric(12, 4))",
    )
    run(database, tmp_path)
    execute(database, "INSERT INTO t VALUES (1, 1.2345)")
    run(database, tmp_path)
    execute(database, "ALTER TABLE t ALTER n TYPE numeric(12, 2)", "INSERT INTO t VALUES (2, 2)")
    with pytest.raises(Killed):
        run(database, tmp_path, die=Failpoint.BEFORE_WRITE)
    with pytest.raises(SchemaError, match="became numeric"):
        run(database, tmp_path)


def test_old_rows_show_the_default_of_their_time(database: str, tmp_path: Path) -> None:
    """A default that was changed, or dropped, before we came to ask for it."""
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    run(database, tmp_path, snapshot="initial")
    execute(
        database,
        "ALTER TABLE t ADD a int DEFAULT 5, ADD b text NOT NULL DEFAULT 'it''s'",
        "INSERT INTO t VALUES (2)",
        "ALTER TABLE t ALTER a SET DEFAULT 7, ALTER b DROP DEFAULT",
    )
    run(database, tmp_path, snapshot="initial")
    with closing(sqlite3.connect(tmp_path / "replica.db")) as replica:
        assert replica.execute("SELECT * FROM t ORDER BY id").fetchall() == fetch(
            database, "SELECT * FROM t ORDER BY id"
        )


def test_a_copy_that_one_sink_lacks_is_not_repeated_for_ever(database: str, tmp_path: Path) -> None:
    """A second attempt for one sink does not make the first one of the other worthless."""
    execute(database, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    late = Fault("flush", 1, delay=1.0, error=SinkError("gone"))
    with pytest.raises(SinkError, match="gone"):
        run(database, tmp_path, snapshot="initial", faults=[late])
    run(database, tmp_path, snapshot="initial")
    execute(database, "INSERT INTO t VALUES (2)")
    run(database, tmp_path, snapshot="initial")
    seen = delivered(tmp_path)
    assert seen[0] == "read snapshot:public.t"
    assert [line.split()[0] for line in seen] == ["read", "insert"]
    lines = (tmp_path / "lines").read_text()
    assert lines.count('"op":"read"') == 1
