"""Values arrive loss-free: by the copy and by the log, in Python, in JSON and in replicas."""

from __future__ import annotations

import base64
import json
import math
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import psycopg
import pytest
from psycopg.types.datetime import IntervalLoader
from psycopg.types.hstore import register_hstore

from penstock import Pipeline
from penstock.embedded.server import Server
from penstock.formats.change import ChangeFormat
from penstock.model import Change, Column, EventBatch, Kind
from penstock.sinks.memory import MemorySink
from penstock.sinks.sql import Sql
from penstock.sources.postgres.config import Postgres
from penstock.stores.memory import MemoryStore
from tests.support.hostile import IMPOSSIBLE, VALUES, more
from tests.support.postgres import drop, execute, fresh_database
from tests.wire.test_values import alike

pytestmark = pytest.mark.server

SEED: Final = 20240229
SESSION: Final = (
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex "
    "-c extra_float_digits=1 -c lc_monetary=C"
)
CASTS_DIFFER: Final = {"bool", "bpchar", "inet", "xml"}
"""Types whose cast to text is not what the server writes: ``true``, no blanks, always a mask, a
declaration that says nothing."""
STREAMED: Final = 1000
"""What is added to the id of a row that comes by the log."""

OWN: Final = {
    "mood": ("CREATE TYPE mood AS ENUM ('sad', '', 'NULL', 'a b', '\"q\", {\\}', '🦭', 'it''s')",
             ["sad", "", "NULL", "a b", '"q", {\\}', "🦭", "it's"]),
    "price": ("CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE > -1)", ["1.5", "NaN", "0"]),
    "short": ("CREATE DOMAIN short AS varchar(3)", ["", "ab ", "NUL"]),
    "shorter": ("CREATE DOMAIN shorter AS short CHECK (VALUE <> 'no')", ["x"]),
    "many": ("CREATE DOMAIN many AS numeric(5,1)[]", ["{1.0,NULL}", "{}", "[0:0]={2.5}"]),
    "Pair, of": ('CREATE TYPE "Pair, of" AS (a int, "b c" text, m mood, t text[])',
                 ["(,,,)", '(1,"",NULL,{})',
                  '(2,"(,)""\\\\","a b","{NULL,""NULL"",""a\\\\""b""}")']),
    "nest": ('CREATE TYPE nest AS (p "Pair, of"[], d date)',
             ['("{""(1,\\\\""x y\\\\"",,)"",NULL}",infinity)', "(,)"]),
    "floats": ("CREATE TYPE floats AS RANGE (subtype = float8)", ["empty", "[-0,NaN]", "(,1e300)"]),
}  # fmt: skip


class Typed(NamedTuple):
    """A column of the table of everything: its name, its type's spelling, expressions."""

    name: str
    sql: str
    values: list[str]


def literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def own_columns() -> list[Typed]:
    quoted = {name: '"' + name + '"' for name in OWN}
    return [
        Typed(f"own {name}", quoted[name], [literal(v) for v in values])
        for name, (_, values) in OWN.items()
    ]


def catalog_columns(connection: psycopg.Connection[Any]) -> list[Typed]:
    """A column for each type that a table may have, with values for it."""
    rows = connection.execute(
        """
        SELECT t.typname, format_type(t.oid, NULL) FROM pg_type t
        WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
          AND t.typarray <> 0 AND NOT starts_with(t.typname, '_') ORDER BY t.oid
        """
    ).fetchall()
    assert {name for name, _ in rows} - IMPOSSIBLE == VALUES.keys()
    chance = more(Random(SEED))
    columns = []
    for name, sql in rows:
        if name in IMPOSSIBLE:
            continue
        values = [literal(v) for v in (*VALUES[name], *chance.get(name, ()))]
        try:
            connection.execute(f"SELECT {values[0]}::{sql}")
        except psycopg.errors.FeatureNotSupported:  # a server without libxml
            assert name == "xml"
            values = ["NULL"]
        spelling = "varbit" if name == "varbit" else sql
        columns.append(Typed(name, spelling, values))
    return columns


def arrays(columns: Sequence[Typed]) -> list[Typed]:
    """For each column one of its type's arrays: flat, of two dimensions, with other bounds."""
    result = []
    for name, sql, values in columns:
        if sql == '"many"':  # ARRAY[…] would take it for its base type
            value = literal('{"{1.0,NULL}",NULL,"[0:0]={2.5}"}')
            result.append(Typed("many[]", "many[]", [value]))
            continue
        comma = ";" if name == "box" else ","
        listed = ", ".join(f"{value}::{sql}" for value in values)
        first, last = f"{values[0]}::{sql}", f"{values[-1]}::{sql}"
        result.append(
            Typed(
                f"{name}[]",
                f"{sql}[]",
                [
                    f"ARRAY[{listed}, NULL]",
                    f"ARRAY[ARRAY[{first}, NULL], ARRAY[{last}, {first}]]",
                    f"'[-2:-1]={{NULL{comma}NULL}}'::{sql}[]",
                    f"'[0:0][7:8][-1:-1]={{{{{{NULL}}{comma}{{NULL}}}}}}'::{sql}[]",
                    "'{}'",
                ],
            )
        )
    return result


def fill(connection: psycopg.Connection[Any], table: str, columns: Sequence[Typed]) -> int:
    """Make the table and its rows, the last one of nulls; how many there are."""
    quoted = [quote(column.name) for column in columns]
    declared = ", ".join(f"{n} {c.sql}" for n, c in zip(quoted, columns, strict=True))
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, {declared})")
    height = max(len(column.values) for column in columns)
    for number in range(height):
        row = ", ".join(c.values[number % len(c.values)] for c in columns)
        connection.execute(f"INSERT INTO {table} VALUES ({number}, {row})".encode())
    connection.execute(f"INSERT INTO {table} (id) VALUES ({height})")
    return height + 1


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Arrival(NamedTuple):
    """What arrived of a table."""

    copied: list[Change]
    streamed: list[Change]


def transfer(source: str, targets: Sequence[str], table: str, columns: Sequence[Typed]) -> Arrival:
    """Fill the table and run a pipeline twice: for the copy, and after all rows came again."""
    memory, store = MemorySink(), MemoryStore()

    def run() -> None:
        sinks = [Sql(url=url, name=f"replica_{i}") for i, url in enumerate(targets)]
        Pipeline(
            "values", Postgres(dsn=source, snapshot="initial"), [memory, *sinks], store=store
        ).run(until_caught_up=True)

    with psycopg.connect(source, autocommit=True, client_encoding="utf8") as connection:
        count = fill(connection, table, columns)
        run()
        others = ", ".join(quote(column.name) for column in columns)
        connection.execute(f"INSERT INTO {table} SELECT id + {STREAMED}, {others} FROM {table}")
        run()
    changes = memory.changes
    assert [change.operation for change in changes] == ["read"] * count + ["insert"] * count
    changes.sort(key=lambda change: int(change.row["id"]))  # not the order of the table's pages
    return Arrival(changes[:count], changes[count:])


def texts(dsn: str, query: str) -> list[list[bytes | None]]:
    """A result as the server writes it, under the session settings of the source."""
    with psycopg.connect(dsn, options=SESSION, client_encoding="utf8") as connection:
        result = connection.pgconn.exec_(query.encode())
        assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
        return [
            [result.get_value(row, column) for column in range(result.nfields)]
            for row in range(result.ntuples)
        ]


def verify(
    arrival: Arrival, source: str, targets: Sequence[str], table: str, columns: Sequence[Typed]
) -> None:
    names = [column.name for column in columns]
    listed = ", ".join(map(quote, names))
    where = f"{table} WHERE id < {STREAMED} ORDER BY id"
    original = texts(source, f"SELECT {listed} FROM {where}")
    assert len(original) == len(arrival.copied)
    cast = ", ".join(f"{quote(n)}::text" if n not in CASTS_DIFFER else quote(n) for n in names)
    for shown, row in zip(texts(source, f"SELECT {cast} FROM {where}"), original, strict=True):
        assert dict(zip(names, shown, strict=True)) == dict(zip(names, row, strict=True))
    for copied, streamed, expected in zip(*arrival, original, strict=True):
        assert copied.definition == streamed.definition
        for i, name in enumerate(names, 1):
            before, after = copied.row.raw(name), streamed.row.raw(name)
            assert before == after == expected[i - 1], name
            text = expected[i - 1]
            assert copied.row.text(name) == (None if text is None else text.decode())
    _as_python(arrival, source, table, names)
    _as_json(arrival)
    _as_arrow(arrival)
    for url in targets:
        if url.startswith("sqlite"):
            _in_sqlite(arrival, url, table)
        else:
            query = f"SELECT {listed} FROM {table} ORDER BY id"
            assert texts(url, query) == original * 2


def _as_arrow(arrival: Arrival) -> None:
    """Each value is Row's, or the exact text: in its column, or beside it."""
    changes = [*arrival.copied, *arrival.streamed]
    built = EventBatch("main", changes).to_arrow()
    rows = {cells["_id"]: cells for batch in built for cells in batch.to_pylist()}
    for change in changes:
        cells = rows[change.id]
        texts = dict(cells["_text"] or ())
        for name in change.definition.names:
            text, value = change.row.text(name), cells[name]
            if text is None or name in texts:
                assert (value, texts.get(name)) == (None, text), name
            elif isinstance(value, str):
                assert value == text, name
            elif isinstance(value, float):
                near = math.isclose(value, change.row[name], rel_tol=1e-6, abs_tol=1e-40)
                assert near or math.isnan(value), name
            elif not isinstance(value, list):
                assert value == change.row[name], name


def _as_python(arrival: Arrival, source: str, table: str, names: list[str]) -> None:
    """Each value is psycopg's, or its exact text where the documentation says so."""
    with psycopg.connect(source, options=SESSION, client_encoding="utf8") as connection:
        info = psycopg.types.TypeInfo.fetch(connection, "hstore")
        if info is not None:
            register_hstore(info, connection)
        connection.adapters.register_loader("interval", WideInterval)
        listed = ", ".join(map(quote, names))
        cursor = connection.execute(
            f"SELECT {listed} FROM {table} WHERE id < {STREAMED} ORDER BY id"
        )
        result = cursor.pgresult
        assert result is not None
        loader = psycopg.adapt.Transformer(connection)
        for row, change in enumerate(arrival.copied):
            for column, name in enumerate(names):
                raw = result.get_value(row, column)
                ours = change.row[name]
                if raw is None:
                    assert ours is None
                    continue
                definition = change.definition.columns[column + 1]
                load = loader.get_loader(result.ftype(column), psycopg.pq.Format.TEXT).load
                assert _agrees(ours, raw, definition, load), (name, raw[:200], ours)


class WideInterval(IntervalLoader):
    """Psycopg's own, whose compiled twin lets large numbers of years overflow."""


EXACT: Final = ("range", "multirange", "floats", "floatsmultirange")


def _agrees(ours: object, raw: bytes, column: Column, load: Callable[[bytes], Any]) -> bool:
    element = column.type.element or column.type
    if element.name.endswith(EXACT):
        return True if isinstance(ours, list) else ours == raw.decode()
    try:
        theirs = load(raw)
    except (psycopg.DataError, OverflowError):  # Python cannot hold it
        return isinstance(ours, list) or ours == raw.decode()
    if isinstance(ours, list) and isinstance(theirs, str):
        return theirs == raw.decode()  # of such an array psycopg would have to be told
    return alike(ours, theirs)


class Number(NamedTuple):
    """A JSON number's own text, of which Python's json would lose the sign of ``-0``."""

    text: str


def exact_json(text: bytes) -> Any:
    return json.loads(text, parse_int=Number, parse_float=Number)


def _as_json(arrival: Arrival) -> None:
    """The format ``change`` is JSON, and follows the documented mapping."""
    format = ChangeFormat()
    for change in (*arrival.copied, *arrival.streamed):
        value = exact_json(format.record(change).value or b"")
        after = value["after"]
        assert after.keys() == set(change.definition.names)
        assert value["unchanged"] == []
        for column in change.definition.columns:
            raw = change.row.raw(column.name)
            assert raw is None or isinstance(raw, bytes)
            expected = None if raw is None else _mapped(column, raw)
            assert after[column.name] == expected, (column, raw)


def _mapped(column: Column, raw: bytes) -> object:
    text = raw.decode()
    match column.type.kind:
        case Kind.BOOLEAN:
            return {"t": True, "f": False}[text]
        case Kind.INTEGER:
            return Number(text)
        case Kind.FLOAT:
            return Number(text) if math.isfinite(float(text)) else text
        case Kind.BYTES:
            return base64.b64encode(bytes.fromhex(text[2:])).decode()
        case Kind.JSON:
            return exact_json(raw)
        case _:
            return text


def _in_sqlite(arrival: Arrival, url: str, table: str) -> None:
    name = table.rpartition(".")[2]
    file = sqlite3.connect(url.removeprefix("sqlite:///"))
    rows = file.execute(f"SELECT * FROM {name} ORDER BY id").fetchall()
    file.close()
    for change, row in zip((*arrival.copied, *arrival.streamed), rows, strict=True):
        for column, kept in zip(change.definition.columns, row, strict=True):
            raw = change.row.raw(column.name)
            assert raw is None or isinstance(raw, bytes)
            expected = None if raw is None else _stored(column, raw)
            assert (type(kept), repr(kept)) == (type(expected), repr(expected)), (column.name, raw)


def _stored(column: Column, raw: bytes) -> object:
    text = raw.decode()
    match column.type.kind:
        case Kind.BOOLEAN:
            return int(text == "t")
        case Kind.INTEGER:
            return int(text)
        case Kind.FLOAT:
            # SQLite has no negative zero
            return float(text) + 0.0 if math.isfinite(float(text)) else text
        case Kind.BYTES:
            return bytes.fromhex(text[2:])
        case _:
            return text


def test_every_value_of_every_type_arrives(servers: Server, tmp_path: Path) -> None:
    with fresh_database(servers) as source, fresh_database(servers) as target:
        with psycopg.connect(source, autocommit=True) as connection:
            columns = catalog_columns(connection)
            for statement, _ in OWN.values():
                connection.execute(statement)
            columns += own_columns()
            available = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
            if ("hstore",) in available:
                connection.execute("CREATE EXTENSION hstore")
                pairs = ['""=>"", "a\\"=>\\\\,"=>NULL, "NULL"=>"NULL", "🦭"=>"\n"', ""]
                columns.append(Typed("hstore", "hstore", [literal(pair) for pair in pairs]))
        columns += arrays(columns)
        targets = [target, f"sqlite:///{tmp_path / 'replica.db'}"]
        arrival = transfer(source, targets, "everything", columns)
        verify(arrival, source, targets, "everything", columns)


LATIN: Final = bytes([*range(1, 0x80), *range(0xA0, 0x100)]).decode("latin1")


def test_a_latin1_database(servers: Server, tmp_path: Path) -> None:
    execute(
        servers.dsn(),
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    source = servers.dsn("latin")
    try:
        execute(
            source,
            "CREATE SCHEMA größe",
            "CREATE TYPE größe.maß AS ENUM ('groß', 'é\"ñ')",
            "CREATE TYPE größe.paar AS (ä text, ö größe.maß)",
        )
        mood = Typed("maß", "größe.maß", ["'groß'", "'é\"ñ'"])
        pair = Typed("paar", "größe.paar", ["ROW('ÿ¿', 'groß')"])
        text = Typed('ÄÖ "ü"', "text", [literal(LATIN), "'ß'"])
        document = Typed("jsón", "jsonb", [literal('{"é": "\\n\\u00fc"}')])
        columns = [mood, pair, text, document]
        columns += arrays(columns)
        with fresh_database(servers) as target:
            targets = [target, f"sqlite:///{tmp_path / 'replica.db'}"]
            arrival = transfer(source, targets, '"größe"."Tabéllé"', columns)
            name = '"größe"."Tabéllé"'
            verify(arrival, source, targets, name, columns)
    finally:
        drop(servers, "latin")
