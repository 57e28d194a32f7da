"""A workload of all types and all kinds of changes that a Debezium connector gives records of."""

from __future__ import annotations

from typing import Final

TYPES: Final[dict[str, tuple[str, ...]]] = {
    "boolean": ("true", "false"),
    "bit": ("B'1'", "B'0'"),
    "bit(2)": ("B'11'", "B'00'", "B'10'"),
    "bit(20)": ("B'10000000000000000001'", "B'00000000000000000010'"),
    "varbit(1)": ("B'1'",),
    "varbit(12)": ("B'101'", "B'000100000000'", "B''"),
    "varbit": ("B'1100000001'",),
    "smallint": ("-32768", "32767"),
    "integer": ("-2147483648", "7"),
    "bigint": ("9223372036854775807", "-1"),
    "oid": ("4294967295", "0"),
    "real": ("1.5", "'NaN'", "'Infinity'", "'-Infinity'", "3.4e38", "1e-45", "0.1", "-0.0", "1e7"),
    "double precision": (
        "1.5",
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "1e308",
        "5e-324",
        "0.1",
        "-0.0",
        "1e16",
        "123456789.125",
        "100",
    ),
    "numeric(10,2)": ("1.10", "-1.10", "0", "99999999.99", "-0.01", "1.28"),
    "numeric(3)": ("127", "128", "-128", "-129", "255"),
    "numeric(5,-2)": ("12300", "-100"),
    "numeric(3,5)": ("0.00123",),
    "numeric": (
        "10.1111",
        "0",
        "100",
        "1.500",
        "-12345678901234567890.123456789",
        "0.00",
        "1e20",
    ),
    "money": ("1234.11", "-0.01", "'92233720368547758.07'"),
    "char(5)": ("'ab'", "'äöü'"),
    "varchar(20)": ("'x\"\\y'", "''", "E'\\x01\\n\\t'"),
    "text": ("'plain'", "'ünïcode 🎉'", "E'\\u2028</script>'"),
    "name": ("'n'",),
    "inet": ("'10.0.0.1'", "'10.0.0.0/8'", "'::1'"),
    "cidr": ("'10.0.0.0/8'",),
    "macaddr": ("'08:00:2b:01:02:03'",),
    "macaddr8": ("'08:00:2b:01:02:03:04:05'",),
    "int4range": ("'[1,5)'", "'empty'"),
    "int8range": ("'(,5)'",),
    "numrange": ("'[1.5,2.5]'",),
    "tsrange": ("'[2020-01-01 00:00:00,2020-01-02 00:00:00)'",),
    "tstzrange": ("'[2020-01-01 00:00:00+00,2020-01-02 00:00:00+00)'",),
    "daterange": ("'[2020-01-01,2020-02-01)'",),
    "date": (
        "'2016-11-04'",
        "'1970-01-01'",
        "'1969-12-31'",
        "'0001-01-01'",
        "'0044-03-15 BC'",
        "'5874897-12-31'",
        "'infinity'",
        "'-infinity'",
        "'1500-02-28'",
    ),
    "time(0)": ("'14:51:30'",),
    "time(3)": ("'14:51:30.123'", "'00:00:00'"),
    "time(6)": ("'14:51:30.123456'",),
    "time": ("'14:51:30.1'", "'24:00:00'", "'23:59:59.999999'"),
    "timestamp(0)": ("'2016-11-04 13:51:30'",),
    "timestamp(3)": ("'2016-11-04 13:51:30.123'", "'1969-12-31 23:59:59.999'"),
    "timestamp(6)": ("'2016-11-04 13:51:30.123456'",),
    "timestamp": (
        "'2016-11-04 13:51:30'",
        "'1969-12-31 23:59:59.5'",
        "'infinity'",
        "'-infinity'",
        "'0044-03-15 12:00:00 BC'",
        "'1500-02-28 10:00:00'",
        "'20000-01-01 00:00:00'",
    ),
    "timestamptz": (
        "'2016-11-04 13:51:30.123456+02'",
        "'2016-11-04 13:51:30+00'",
        "'2016-11-04 00:00:00.5+00'",
        "'infinity'",
        "'-infinity'",
        "'20000-01-01 00:00:00+00'",
        "'0044-03-15 12:00:00+00 BC'",
        "'1500-02-28 10:00:00+00'",
    ),
    "timestamptz(0)": ("'2016-11-04 13:51:30+00'", "'2016-11-04 13:51:00+00'"),
    "timestamptz(3)": ("'2016-11-04 13:51:30.12+00'", "'2016-11-04 13:51:30+00'"),
    "timetz": (
        "'13:51:30.123789+02'",
        "'13:51:02+02'",
        "'13:51:00+02'",
        "'01:00:00+02'",
        "'24:00:00+00'",
        "'13:51:30.120+05:30'",
    ),
    "timetz(3)": ("'13:51:30.120+02'",),
    "interval": (
        "'1 year 2 months 3 days 4 hours 5 minutes 6.78 seconds'",
        "'1 mon'",
        "'-1 days'",
        "'00:00:00.000001'",
        "'-1 year -2 mons +3 days -04:05:06.5'",
        "'0'",
        "'10 years 100:00:00'",
    ),
    "bytea": (r"'\x00ff10'", r"'\x'"),
    "json": ('\'{"a":   1, "b": [1,2]}\'', "'null'"),
    "jsonb": ('\'{"b":   1, "a": {"c": null}}\'',),
    "uuid": ("'09e59e9c-3c5d-4e0c-9bf8-7d6f0c8f8f1e'",),
    "tsvector": ("'a:1 b:2'",),
    "mood": ("'sad'", "'happy, very'"),
    "point": ("'(1.5,-2)'",),
    "int_domain": ("5",),
    "money_domain": ("1.50",),
    "text_domain": ("'d'",),
    "nested_domain": ("2.5",),
    "varchar(10)[]": ("'{a,\"b c\",NULL}'", "'{}'"),
    "char(3)[]": ("'{a,bcd}'",),
    "text[]": ('\'{"q\\"uote","back\\\\slash","NULL",NULL}\'',),
    "smallint[]": ("'{1,2,NULL}'",),
    "integer[]": ("'{-1,3}'", "'{{1,2},{3,4}}'"),
    "bigint[]": ("'{9223372036854775807}'",),
    "real[]": ("'{1.5,NaN}'",),
    "double precision[]": ("'{1.5,Infinity}'",),
    "numeric(10,2)[]": ("'{1.10,-3}'",),
    "numeric[]": ("'{1.10,3}'",),
    "boolean[]": ("'{t,f}'",),
    "date[]": ("'{2016-11-04}'",),
    "time[]": ("'{14:51:30.5}'",),
    "timestamp[]": ("'{\"2016-11-04 13:51:30.123456\"}'",),
    "timestamp(3)[]": ("'{\"2016-11-04 13:51:30.123\"}'",),
    "timestamptz[]": ("'{\"2016-11-04 13:51:30.5+00\"}'",),
    "timetz[]": ("'{13:51:30.5+02}'",),
    "bytea[]": (r"ARRAY['\x00ff'::bytea]",),
    "uuid[]": ("'{09e59e9c-3c5d-4e0c-9bf8-7d6f0c8f8f1e}'",),
    "json[]": ("ARRAY['{\"a\": 1}'::json]",),
    "jsonb[]": ("ARRAY['{\"a\": 1}'::jsonb]",),
    "inet[]": ("'{10.0.0.1}'",),
    "cidr[]": ("'{10.0.0.0/8}'",),
    "macaddr[]": ("'{08:00:2b:01:02:03}'",),
    "oid[]": ("'{1,4294967295}'",),
    "int4range[]": ("ARRAY['[1,5)'::int4range]",),
    "int8range[]": ("ARRAY['[1,5)'::int8range]",),
    "numrange[]": ("ARRAY['[1,5)'::numrange]",),
    "tsrange[]": ("ARRAY['[2020-01-01,2020-01-02)'::tsrange]",),
    "tstzrange[]": ("ARRAY['[2020-01-01 00:00+00,2020-01-02 00:00+00)'::tstzrange]",),
    "daterange[]": ("ARRAY['[2020-01-01,2020-02-01)'::daterange]",),
    "mood[]": ("'{sad,\"happy, very\"}'",),
    "money[]": ("'{$1.00}'",),
    "bit(3)[]": ("'{101}'",),
    "varbit(3)[]": ("'{101}'",),
    "interval[]": ("'{\"1 mon\"}'",),
    "point[]": ("ARRAY['(1,2)'::point]",),
    "tsvector[]": ("ARRAY['a:1'::tsvector]",),
    "int_domain[]": ("'{5}'",),
    "text_domain[]": ("'{d}'",),
    # what Debezium leaves out
    "tsquery": ("'a & b'",),
    "pair": ("'(1,x)'",),
    "box": ("'(1,1),(0,0)'",),
    "circle": ("'<(0,0),1>'",),
    "line": ("'{1,2,3}'",),
    "lseg": ("'[(0,0),(1,1)]'",),
    "path": ("'[(0,0),(1,1)]'",),
    "polygon": ("'((0,0),(1,1),(1,0))'",),
    "pg_lsn": ("'0/1'",),
    "int4multirange": ("'{[1,5)}'",),
    "txid_snapshot": ("'10:20:10,14,15'",),
    "jsonpath": ("'$.a'",),
    '"char"': ("'c'",),
    "xid": ("'5'",),
    "regclass": ("'pg_class'",),
    "int2vector": ("'1 2'",),
    "tid": ("'(0,1)'",),
}
"""SQL type to literals."""

EXTENSION_TYPES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "xml": {"xml": ("'<a>b</a>'",), "xml[]": ("ARRAY['<a/>'::xml]",)},  # where built with libxml
    "hstore": {"hstore": ('\'"k"=>"v", "n"=>NULL\'', "''"), "hstore[]": ("ARRAY['a=>1'::hstore]",)},
    "citext": {"citext": ("'MiXed'",), "citext[]": ("'{MiXed}'",)},
    "ltree": {"ltree": ("'a.b.c'",), "ltree[]": ("'{a.b}'",)},
    "isn": {"isbn": ("'9789562916509'",), "ean13": ("'9789562916509'",)},
    "vector": {
        "vector(3)": ("'[1,2.5,-3]'",),
        "halfvec(3)": ("'[1,2.5,-3]'",),
        "sparsevec(25)": ("'{1:0.5,20:2}/25'",),
    },
}

DEFAULTS: Final[tuple[tuple[str, str], ...]] = (
    ("boolean", "true"), ("smallint", "7"), ("integer", "-7"), ("bigint", "'8'"),
    ("real", "1.5"), ("double precision", "2.5"), ("numeric(10,2)", "1.5"), ("numeric", "1.25"),
    ("money", "12.5"), ("char(5)", "'ab'"), ("varchar(20)", "'it''s'"), ("text", "'t'"),
    ("date", "'2016-11-04'"), ("time(3)", "'14:51:30.123'"), ("time", "'14:51:30.5'"),
    ("timestamp(3)", "'2016-11-04 13:51:30.123'"), ("timestamp", "'2016-11-04 13:51:30.5'"),
    ("timestamptz", "'2016-11-04 13:51:30.5+00'"), ("timetz", "'13:51:30+02'"),
    ("interval", "'1 mon'"), ("bytea", r"'\x00ff'"), ("json", "'{\"a\": 1}'"),
    ("jsonb", "'{\"a\": 1}'"),
    ("uuid", "'09e59e9c-3c5d-4e0c-9bf8-7d6f0c8f8f1e'"), ("mood", "'sad'"), ("bit", "B'1'"),
    ("bit(3)", "B'101'"), ("varbit(5)", "B'101'"), ("inet", "'10.0.0.1'"),
    ("int4range", "'[1,5)'"), ("oid", "5"), ("int_domain", "5"), ("money_domain", "3.5"),
    ("text_domain", "'d'"), ("integer[]", "'{1,2}'"), ("text[]", "'{a}'"), ("point", "'(1,2)'"),
    ("tsvector", "'a:1'"),
)  # fmt: skip
FUNCTION_DEFAULTS: Final[tuple[tuple[str, str], ...]] = (
    ("timestamptz", "now()"), ("timestamp", "now()"), ("date", "current_date"),
    ("uuid", "gen_random_uuid()"), ("integer", "1 + 1"), ("text", "lower('X')"),
    ("integer", "nextval('numbers')"), ("text", "current_user"), ("time", "localtime"),
    ("boolean", "random() > 2"), ("numeric(5,1)", "random()"), ("text", "'a' || 'b'"),
    ("integer", "NULL"), ("text", "NULL"),
)  # fmt: skip

SCHEMA: Final = (
    "CREATE TYPE mood AS ENUM ('happy, very', 'sad')",
    "ALTER TYPE mood ADD VALUE 'ok' BEFORE 'sad'",
    "CREATE TYPE pair AS (a int, b text)",
    "CREATE DOMAIN int_domain AS integer CHECK (VALUE > 0)",
    "CREATE DOMAIN money_domain AS numeric(8,3)",
    "CREATE DOMAIN text_domain AS varchar(7)",
    "CREATE DOMAIN nested_domain AS money_domain",
    "CREATE SEQUENCE numbers",
)


def names(types: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """A column's name for each type: c0, c1, …"""
    return {type: f"c{i}" for i, type in enumerate(types)}


def table_of_types(name: str, types: dict[str, tuple[str, ...]]) -> str:
    """A table with a column of each type."""
    columns = "".join(f", {column} {type}" for type, column in names(types).items())
    return f"CREATE TABLE {name} (id int PRIMARY KEY{columns})"


def rows_of_types(name: str, types: dict[str, tuple[str, ...]], *, first: int = 1) -> list[str]:
    """Inserts that show every value of every type, and null."""
    columns = names(types)
    most = max(len(values) for values in types.values())
    statements = []
    for i in range(most):
        given = {columns[t]: f"{v[i]}" for t, v in types.items() if i < len(v)}
        statements.append(
            f"INSERT INTO {name} (id{''.join(', ' + c for c in given)}) "
            f"VALUES ({first + i}{''.join(', ' + v for v in given.values())})"
        )
    return statements


def table_of_defaults(name: str) -> str:
    """A table with a nullable and a required column for each default."""
    pairs = [*DEFAULTS, *FUNCTION_DEFAULTS]
    columns = [f"n{i} {type} DEFAULT {default}" for i, (type, default) in enumerate(pairs)]
    columns += [
        f"r{i} {type} NOT NULL DEFAULT {default}"
        for i, (type, default) in enumerate(pairs)
        if default != "NULL"
    ]
    columns += [f"z{i} {type} NOT NULL" for i, (type, _) in enumerate(DEFAULTS)]
    return f"CREATE TABLE {name} (id int PRIMARY KEY, {', '.join(columns)})"


def rows_of_defaults(name: str, *, first: int = 1) -> list[str]:
    """A row of defaults, one of nulls where they may be, and deletes of both."""
    required = {f"z{i}": default for i, (_, default) in enumerate(DEFAULTS)}
    nulls = {f"n{i}": "NULL" for i in range(len(DEFAULTS) + len(FUNCTION_DEFAULTS))}

    def insert(id: int, given: dict[str, str]) -> str:
        columns, values = ", ".join(given), ", ".join(given.values())
        return f"INSERT INTO {name} (id, {columns}) VALUES ({id}, {values})"

    return [
        insert(first, required),
        insert(first + 1, {**required, **nulls}),
        f"DELETE FROM {name}",
    ]
