"""Types, their spelling and their values, against real servers of every version."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg.types.hstore import register_hstore

from penstock.model import Kind
from penstock.sources.postgres.wire import builtin, make_type
from tests.wire.test_values import alike

pytestmark = pytest.mark.server

SESSION = (
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex "
    "-c extra_float_digits=1 -c lc_monetary=C"
)


@pytest.fixture
def connection(databases: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(
        databases, autocommit=True, options=SESSION, client_encoding="utf8"
    ) as connection:
        yield connection


def test_every_type_of_the_catalog_is_known(connection: psycopg.Connection[Any]) -> None:
    rows = connection.execute(
        """
        SELECT t.oid, t.typname, t.typarray, a.typname, format_type(t.oid, -1), t.typcategory
        FROM pg_type t LEFT JOIN pg_type a ON a.oid = t.typarray
        WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
          AND t.typarray <> 0 AND t.typname NOT LIKE '\\_%'
        """
    ).fetchall()
    assert len(rows) > 70
    for oid, name, array_oid, array_name, sql, category in rows:
        type, array = builtin(oid), builtin(array_oid)
        assert type is not None, name
        assert array is not None, array_name
        assert (type.name, type.sql, type.oid) == (name, sql, oid)
        assert (array.name, array.oid, array.kind) == (array_name, array_oid, Kind.ARRAY)
        assert array.element == type
        assert (type.kind is Kind.TEXT) == (category == "S" or name == "char"), name


SPELLINGS = [
    "numeric",
    "numeric(10,2)",
    "numeric(5,-2)",
    "numeric(1000,1000)",
    "varchar",
    "varchar(20)",
    "char(3)",
    "bpchar",
    '"char"',
    "bit(3)",
    "bit",
    "varbit",
    "bit varying(9)",
    "time",
    "time(3)",
    "timetz(0)",
    "timestamp(6)",
    "timestamptz(3)",
    "interval",
    "interval(3)",
    "interval year",
    "interval year to month",
    "interval day to second(2)",
    "interval hour to minute",
    "interval second(0)",
    "interval minute to second",
    "numeric(10,2)[]",
    "varchar(20)[][]",
    "timestamptz(3)[]",
    "int4",
    "float4",
    "float8",
]


def test_types_are_spelled_as_the_server_does(connection: psycopg.Connection[Any]) -> None:
    columns = ", ".join(f"c{i} {sql}" for i, sql in enumerate(SPELLINGS))
    connection.execute(f"CREATE TABLE t ({columns})")
    rows = connection.execute(
        "SELECT atttypid, atttypmod, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"
    ).fetchall()
    for oid, modifier, sql in rows:
        type = builtin(oid, modifier)
        assert type is not None
        assert type.sql == sql


VALUES = [
    "'infinity'::date",
    "'4713-01-01 BC'::date",
    "'5874897-12-31'::date",
    "date '0001-01-01'",
    "'24:00'::time",
    "'24:00+03'::timetz",
    "'12:00:00.5-03:30:15'::timetz",
    "'infinity'::timestamp",
    "'0044-03-15 12:00 BC'::timestamptz",
    "'294276-12-31'::timestamp",
    "timestamptz '2024-03-31 02:30:00.000001 Europe/Berlin'",
    "'9999-12-31 23:59:59.999999'::timestamptz",
    "interval '1 year -2 mons +3 days -04:05:06.789'",
    "interval '-1 day 1 second'",
    "interval '100000000 hours'",
    "interval '0'",
    "'NaN'::numeric",
    "'-Infinity'::numeric",
    "repeat('9', 1000)::numeric",
    "0.000::numeric",
    "'-0'::float8",
    "1e-320::float8",
    "'NaN'::float4",
    "0.1::float4",
    "1e15::float8",
    "'[0:1]={5,6}'::int[]",
    """'{{{a,NULL},{"NULL",""}}}'::text[]""",
    """ARRAY['a,b', '{', '"', '\\', ' ', e'\\n\\t', 'null']""",
    "ARRAY[box '((1,2),(3,4))', NULL]",
    "ARRAY['infinity'::date, '2024-01-01']",
    "ARRAY[true, false, NULL]",
    "ARRAY['{\"a\": 1}'::jsonb]",
    "ARRAY['\\x00ff'::bytea, '\\x']",
    "ARRAY[int4range(1, 5)]",
    "'{}'::numeric[]",
    "int4range(1, 5)",
    "'empty'::tstzrange",
    "tsrange('2024-01-01', NULL)",
    "numrange(1.5, 2.5, '[]')",
    "'{[1,3),[5,7)}'::int4multirange",
    "'\\x'::bytea",
    "sha256('x')",
    "B'1010'",
    "B'1010'::varbit",
    "'10.1.2.3/8'::inet",
    "'10.1.2.3'::inet",
    "'::ffff:1.2.3.4/128'::inet",
    "'10.0.0.0/8'::cidr",
    "'08:00:2b:01:02:03'::macaddr",
    "'08:00:2b:01:02:03:04:05'::macaddr8",
    "'12.50'::money",
    "point '(1,2)'",
    "path '((1,2),(3,4))'",
    "circle '<(1,2),3>'",
    "'a & b'::tsquery",
    "to_tsvector('simple', 'a b')",
    "gen_random_uuid()",
    '\'{"a": [1, 1e400, "\\u00e4"]}\'::jsonb',
    'e\'{"a":\\n "\\\\u0000\\\\ud800"}\'::json',
    "'x'::\"char\"",
    "''::\"char\"",
    "'abc'::char(5)",
    "'name'::name",
    "'int4'::regtype",
    "4294967295::oid",
    "'0/16B3748'::pg_lsn",
    "'10:20:10,14'::pg_snapshot",
    "txid_current()::text::xid8",
    "'1 2 3'::int2vector",
    "'$.a'::jsonpath",
    "true",
    "e'\\u00e4 \\\\ \" \\x01'::text",
]

EXACT_TEXT_HERE = ("range", "multirange")


def test_values_are_those_of_psycopg(connection: psycopg.Connection[Any]) -> None:
    for expression in VALUES:
        cursor = connection.execute(f"SELECT {expression}")
        assert cursor.pgresult is not None
        type = builtin(cursor.pgresult.ftype(0), cursor.pgresult.fmod(0))
        raw = cursor.pgresult.get_value(0, 0)
        assert type is not None
        assert raw is not None
        ours = type.parse(raw)
        if type.element is not None and type.element.name.endswith(EXACT_TEXT_HERE):
            assert ours == ["[1,5)"]
        elif type.name.endswith(EXACT_TEXT_HERE):
            assert ours == raw.decode()
        else:
            assert alike(ours, _as_psycopg(cursor, raw)), (expression, raw, ours)


def _as_psycopg(cursor: psycopg.Cursor[Any], raw: bytes) -> object:
    """Psycopg's value; the exact text where it says that Python has none."""
    try:
        row = cursor.fetchone()
    except psycopg.DataError:
        if raw == b"{infinity,2024-01-01}":
            return ["infinity", date(2024, 1, 1)]
        return raw.decode()
    assert row is not None
    return row[0]


def test_hstore_where_the_server_has_it(connection: psycopg.Connection[Any]) -> None:
    available = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
    if ("hstore",) not in available:
        return
    connection.execute("CREATE EXTENSION hstore")
    info = psycopg.types.TypeInfo.fetch(connection, "hstore")
    assert info is not None
    type = make_type(info.oid, "public.hstore", "hstore", typtype="b")
    register_hstore(info, connection)
    keys, values = ["a", "", 'q"\\', "n", "=>,"], ["1", "", '\n"\\', None, "NULL"]
    cursor = connection.execute("SELECT hstore(%s::text[], %s::text[])", (keys, values))
    assert cursor.pgresult is not None
    raw = cursor.pgresult.get_value(0, 0)
    assert raw is not None
    assert type.parse(raw) == dict(zip(keys, values, strict=True))
    assert (type.parse(raw),) == cursor.fetchone()
