"""Which types hold which, and which defaults are constants."""

from __future__ import annotations

import pytest

from penstock.sinks.sql.schema import constant
from penstock.sinks.sql.widening import widens


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("integer", "integer"),
        ("smallint", "integer"),
        ("integer", "bigint"),
        ("bigint", "numeric"),
        ("real", "double precision"),
        ("character varying(5)", "character varying(9)"),
        ("character varying(5)", "character varying"),
        ("character varying(5)", "text"),
        ("character varying(5)[]", "character varying(9)[]"),
        ("numeric(10,2)", "numeric(12,2)"),
        ("numeric(10,2)", "numeric(12,4)"),
        ("numeric(10,2)", "numeric"),
        ("numeric(3,-2)", "numeric(5,0)"),
        ("timestamp(3) without time zone", "timestamp(6) without time zone"),
        ("timestamp(3) with time zone", "timestamp with time zone"),
        ('public."my type(1)"', 'public."my type(1)"'),
        ("tinyint", "int"),
        ("mediumint unsigned", "bigint unsigned"),
        ("smallint unsigned", "int"),
        ("int unsigned", "bigint"),
        ("float", "double"),
        ("decimal(10,2) unsigned", "decimal(12,2)"),
        ("varchar(5)", "varchar(9)"),
        ("char(5)", "varchar(5)"),
        ("varchar(5)", "longtext"),
        ("tinyblob", "longblob"),
        ("datetime", "datetime(3)"),
        ("time(3)", "time(6)"),
        ("enum('a','b,c')", "enum('a','b,c','d')"),
        ("set('a')", "longtext"),
    ],
)
def test_wider(old: str, new: str) -> None:
    assert widens(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bigint", "integer"),
        ("bigint", "double precision"),
        ("numeric", "bigint"),
        ("bigint", "numeric(10,0)"),
        ("text", "character varying(9)"),
        ("text", "character varying"),
        ("character varying(9)", "character varying(5)"),
        ("character varying", "character varying(5)"),
        ("numeric(10,2)", "numeric(10,4)"),
        ("numeric(10,2)", "numeric(10,1)"),
        ("numeric", "numeric(10,2)"),
        ("integer", "bigint[]"),
        ("integer", "text"),
        ("bit(3)", "bit(4)"),
        ("character(3)", "character(4)"),
        ("timestamp(6) without time zone", "timestamp(3) without time zone"),
        ("timestamp without time zone", "timestamp with time zone"),
        ("json", "jsonb"),
        ("int", "tinyint"),
        ("int unsigned", "int"),
        ("int", "bigint unsigned"),
        ("bigint unsigned", "bigint"),
        ("decimal(10,2)", "decimal(12,2) unsigned"),
        ("varchar(9)", "varchar(5)"),
        ("varchar(9)", "char(9)"),
        ("varchar(300)", "tinytext"),
        ("datetime(3)", "datetime"),
        ("datetime(3)", "timestamp(3)"),
        ("bit(3)", "bit(9)"),
        ("binary(3)", "binary(4)"),
        ("enum('a','b')", "enum('b','a')"),
        ("enum('a')", "enum('ab')"),
        ("enum('a')", "set('a','b')"),
        ("varchar(9)", "enum('a')"),
    ],
)
def test_not_wider(old: str, new: str) -> None:
    assert not widens(old, new)


@pytest.mark.parametrize(
    ("default", "raw"),
    [
        ("0", b"0"),
        ("'-1'::integer", b"-1"),
        ("(-1.50)", b"-1.50"),
        ("true", b"true"),
        ("'it''s'::text", b"it's"),
        ("'{}'::text[]", b"{}"),
        ("'x'::character varying(3)", b"x"),
        ("'2020-01-01 00:00:00+00'::timestamp with time zone", b"2020-01-01 00:00:00+00"),
        ("'a'::\"my schema\".mood", b"a"),
        (None, None),
        ("now()", None),
        ("1 + 1", None),
        ("'a' || 'b'", None),
        ("'a'::text || 'b'::text", None),
        ("nextval('t_id_seq'::regclass)", None),
        ("CURRENT_TIMESTAMP", None),
        ("E'\\\\x'::text", None),
        ("NULL::text", None),
    ],
)
def test_constant_defaults(default: str | None, raw: bytes | None) -> None:
    assert constant(default) == raw
