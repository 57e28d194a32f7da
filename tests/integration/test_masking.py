"""No masked value leaves in clear: every byte that a pipeline writes is searched for them.

Each secret is a text that occurs nowhere else. The rows pass a snapshot, inserts, updates of
values and of keys, deletes, a truncate and an ALTER TABLE; they go to JSON lines, a SQL replica,
a handler that fails and parks them, logs at debug, and error texts.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from penstock import (
    App,
    Change,
    Jsonl,
    Mask,
    Park,
    Pipeline,
    Postgres,
    Rename,
    SchemaError,
    Select,
    SourceError,
    Sql,
    stream,
)
from penstock.pipeline.chain import AnyTransform
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.server

KEY: Final = "a key that is long enough"
TABLE: Final = """
CREATE TABLE people (
    email text, id int, born date, tax numeric, name varchar(80) DEFAULT 'nobody', card text,
    note text, bio text, PRIMARY KEY (id, email))
"""
MASKS: Final = {
    "email": Mask(columns=("public.people.email",), method="hmac", key=KEY),
    "born": Mask(columns=("*.born",), method="hmac", key=KEY),
    "tax": Mask(columns=("public.people.tax",), method="fixed", text="0"),
    "name": Mask(columns=("public.people.name",), method="fixed"),
    "card": Mask(columns=("public.people.card",), method="truncate", length=4),
    "note": Mask(columns=("public.people.note",), method="drop"),
    "bio": Mask(columns=("public.*.bio",), method="hmac", key=KEY),
}


SECRETS: Final = {
    **{name: f"canary-{name}-".encode() for name in ("email", "name", "card", "note", "bio")},
    "born": rb"1931-03-\d\d",
    "tax": rb"77123456789\d\d",
    "phone": b"canary-phone-",
}


class Secrets:
    """Makes values that are all secret but for the ``id``; no two are alike."""

    def __init__(self) -> None:
        self.made = 0

    def text(self, column: str, size: int = 0) -> str:
        """A text that names its column; SQL."""
        self.made += 1
        return f"'canary-{column}-{self.made}' || repeat('x', {size})"

    def row(self, id: int, size: int = 0) -> str:
        """The values of a row; SQL."""
        made = {name: self.text(name) for name in ("email", "name", "card", "note")}
        return (
            f"{made['email']}, {id}, '1931-03-{1 + id % 28:02}', {7712345678900 + id}, "
            f"{made['name']}, '4000' || {made['card']}, {made['note']}, {self.text('bio', size)}"
        )


def leaks(directory: Path) -> dict[str, set[str]]:
    """The columns whose secrets stand in a directory's files, by file."""
    found: dict[str, set[str]] = {}
    for path in directory.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        words = re.findall(rb"(?:[0-9a-f]{2}){5,}", data)
        data += b" ".join(bytes.fromhex(word.decode()) for word in words)  # as bytea is written
        columns = {name for name, secret in SECRETS.items() if re.search(secret, data)}
        if columns:
            found[path.name] = columns
    return found


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Everything that is logged, with tracebacks, goes to a file."""
    handler = logging.FileHandler(path)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()


def source(dsn: str) -> Postgres:
    return Postgres(dsn=dsn, tables=("public.people",), snapshot="initial")


def run(dsn: str, place: Path, transforms: list[AnyTransform]) -> None:
    """Every kind of change through a pipeline with files and through an App that parks."""
    pipeline = Pipeline(
        "masked",
        source(dsn),
        [Jsonl(path=str(place / "people.jsonl")), Sql(url=f"sqlite:///{place}/replica.db")],
        transforms,
        str(place / "state.db"),
    )
    app = App(
        "parking",
        source(dsn),
        store=place / "app.db",
        retries=0,
        retry_for=0.1,
        transforms=transforms,
    )

    @app.on("public.people", "read", "insert", "update", "delete")
    def refuse(change: Change) -> None:
        logging.getLogger("handler").debug("%r %r %r", change, change.before, change.after)
        if change.operation in ("update", "delete"):
            images = (change.key, change.old_key, change.before, change.after)
            raise ValueError(f"this is no good: {images}")
        if change.row["id"] % 2:
            raise Park(f"an odd row: {change.row}")

    secrets = Secrets()
    execute(
        dsn,
        TABLE,
        "ALTER TABLE people ALTER bio SET STORAGE EXTERNAL",
        f"INSERT INTO people VALUES ({secrets.row(1)}), ({secrets.row(2, 9000)})",
    )
    with logged(place / "debug.log"):
        for part in (pipeline, app):
            part.run(until_caught_up=True)
        execute(dsn, "TRUNCATE people")
        for first, identity in ((11, "DEFAULT"), (21, "FULL")):
            execute(
                dsn,
                f"ALTER TABLE people REPLICA IDENTITY {identity}",
                *(f"INSERT INTO people VALUES ({secrets.row(first + i, 9000)})" for i in range(6)),
                f"UPDATE people SET note = {secrets.text('note')} WHERE id = {first + 1}",
                f"UPDATE people SET email = {secrets.text('email')} WHERE id = {first + 3}",
                f"UPDATE people SET id = {first + 60} WHERE id = {first + 4}",
                f"DELETE FROM people WHERE id IN ({first}, {first + 5})",
            )
        execute(
            dsn,
            f"ALTER TABLE people ADD COLUMN phone text DEFAULT {secrets.text('phone')}",
            f"INSERT INTO people VALUES ({secrets.row(31)}, {secrets.text('phone')})",
        )
        for part in (pipeline, app):
            part.run(until_caught_up=True)
        (place / "words.txt").write_text(f"{pipeline.status()}{app.status()}{pipeline.check()}")


def test_no_secret_is_written_anywhere(
    database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(database, tmp_path, list(MASKS.values()))
    (tmp_path / "streams.txt").write_text("".join(capfd.readouterr()))
    assert leaks(tmp_path) == {}
    with closing(sqlite3.connect(tmp_path / "app.db")) as store:
        ((parked,),) = store.execute("SELECT count(*) FROM parked").fetchall()
    assert parked > 10
    with closing(sqlite3.connect(tmp_path / "replica.db")) as replica:
        rows = replica.execute(
            "SELECT id, email, born, tax, name, card, bio FROM people"
        ).fetchall()

    def hmac(text: str) -> str:
        masking = MASKS["email"].masking
        assert masking is not None
        return masking(text.encode()).decode()

    source = fetch(database, "SELECT id, email, born::text, card, bio FROM people")
    assert sorted(rows) == sorted(
        (id, hmac(email), hmac(born), "0", "***", card[:4], hmac(bio))
        for id, email, born, card, bio in source
    )


def test_without_rules_every_secret_is_found_everywhere(database: str, tmp_path: Path) -> None:
    """The search above can fail, for every column and in every place."""
    run(database, tmp_path, [])
    found = leaks(tmp_path)
    assert found.keys() == {"people.jsonl", "replica.db", "app.db", "debug.log", "state.db"}
    for place in ("people.jsonl", "replica.db", "app.db", "debug.log"):
        assert found[place] == SECRETS.keys()
    assert found["state.db"] == {"phone"}, "a column's default"


def collected(path: Path) -> list[Any]:
    return [json.loads(line)["value"]["after"] for line in path.read_text().splitlines()]


def test_rules_that_do_not_fit_stop_it_before_the_first_row(database: str, tmp_path: Path) -> None:
    execute(database, TABLE, f"INSERT INTO people VALUES ({Secrets().row(1)})")
    path = tmp_path / "people.jsonl"
    rules = [Mask(columns=("public.people.emial",), method="drop")]
    pipeline = Pipeline("p", source(database), [Jsonl(path=str(path))], rules, "memory")
    findings = [finding for finding in pipeline.check() if finding.severity == "error"]
    assert [finding.fix for finding in findings] == ["did you mean 'email'?"]
    with pytest.raises(SchemaError, match=r"public\.people\.emial"):
        pipeline.run(until_caught_up=True)
    assert fetch(database, "SELECT count(*) FROM pg_replication_slots") == [(0,)]
    assert not path.exists() or not path.read_text()


def test_what_comes_later_stays_out_also_after_restarts(database: str, tmp_path: Path) -> None:
    execute(database, "CREATE TABLE people (id int PRIMARY KEY, email text, note text)")
    path = tmp_path / "people.jsonl"

    def run(*more: AnyTransform) -> list[Any]:
        path.write_text("")
        rules = [Mask(columns=("public.people.email",), method="drop"), *more]
        store = tmp_path / "state.db"
        Pipeline("p", source(database), [Jsonl(path=str(path))], rules, str(store)).run(
            until_caught_up=True
        )
        return collected(path)

    assert run() == []
    execute(
        database,
        "INSERT INTO people VALUES (1, 'a', 'b')",
        "ALTER TABLE people ADD COLUMN ssn text",
        "INSERT INTO people VALUES (2, 'a', 'b', 'c')",
    )
    assert run() == [{"id": 1, "note": "b"}, {"id": 2, "note": "b"}]
    execute(
        database,
        "ALTER TABLE people RENAME COLUMN email TO mail",
        "INSERT INTO people VALUES (3, 'a', 'b', 'c')",
    )
    assert run() == [{"id": 3, "note": "b"}]
    execute(database, "INSERT INTO people VALUES (4, 'a', 'b', 'c')")
    rename = Rename(columns={"public.people.ssn": "number"})
    assert run(rename) == [{"id": 4, "note": "b", "number": "c"}]


def test_a_stream_of_some_columns(database: str) -> None:
    execute(database, TABLE, f"INSERT INTO people VALUES ({Secrets().row(1)})")
    rules = [MASKS["email"], Select(columns=("public.people.born", "*.email", "*.id"))]
    with stream(source(database), snapshot="only", transforms=rules) as changes:
        (change,) = changes
    assert change.after is not None
    assert list(change.after) == ["born", "email", "id"]
    assert len(change.after["email"]) == 64


def test_what_the_server_says_of_a_row_is_not_repeated(database: str, tmp_path: Path) -> None:
    """A row filter that fails on a value quotes it."""
    execute(
        database,
        "CREATE TABLE people (id int PRIMARY KEY, note text)",
        "ALTER TABLE people REPLICA IDENTITY FULL",
        "CREATE PUBLICATION ours FOR TABLE people WHERE (parse_ident(note) <> '{}')",
        f"INSERT INTO people VALUES (1, {Secrets().text('note')})",
    )
    pipeline = Pipeline(
        "p",
        source(database).model_copy(update={"publication": "ours"}),
        [Jsonl(path=str(tmp_path / "people.jsonl"))],
        [Mask(columns=("public.people.note",), method="drop")],
        str(tmp_path / "state.db"),
    )
    with logged(tmp_path / "debug.log"), pytest.raises(SourceError) as caught:
        pipeline.run(until_caught_up=True)
    (tmp_path / "traceback.txt").write_text("".join(traceback.format_exception(caught.value)))
    assert "InvalidParameterValue (SQLSTATE 22023)" in str(caught.value)
    assert leaks(tmp_path) == {}
