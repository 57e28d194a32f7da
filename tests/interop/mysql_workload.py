"""A workload of all types and all kinds of changes of MySQL and MariaDB."""

from __future__ import annotations

from typing import Final

TYPES: Final[dict[str, tuple[str, ...]]] = {
    "tinyint": ("-128", "127"),
    "tinyint unsigned": ("255",),
    "tinyint(1)": ("1", "0", "2"),
    "smallint": ("-32768",),
    "smallint unsigned": ("65535",),
    "mediumint": ("-8388608",),
    "mediumint unsigned": ("16777215",),
    "int": ("-2147483648",),
    "int unsigned": ("4294967295",),
    "bigint": ("-9223372036854775808",),
    "bigint unsigned": ("18446744073709551615", "5", "9223372036854775808"),
    "int zerofill": ("5",),
    "smallint unsigned zerofill": ("5",),
    "float": ("1.5", "0.1", "-3.4e38", "1e7", "123456.789", "0"),
    "float(10,2)": ("1.5",),
    "float(30)": ("0.1",),
    "float unsigned": ("1.5",),
    "double": ("0.1", "1e308", "5e-324", "1e16", "100", "-1.5e-10"),
    "double(10,3)": ("1.5",),
    "double unsigned": ("2.5",),
    "decimal(10,2)": ("1.10", "-1.10", "0", "99999999.99", "-0.01", "1.28"),
    "decimal": ("5",),
    "decimal(65,30)": ("1.5",),
    "decimal(5,2) unsigned": ("1.5",),
    "bit": ("b'1'", "b'0'"),
    "bit(2)": ("b'11'", "b'0'"),
    "bit(20)": ("b'10000000000000000001'", "b'10'"),
    "bit(64)": ("b'1'",),
    "char(5)": ("'ab'", "'äöü'"),
    "varchar(20)": ("'x\"\\\\y'", "''"),
    "varchar(21) character set latin1": ("'äöü'",),
    "char(5) character set utf16": ("'ä'",),
    "char(5) character set ascii collate ascii_bin": ("'x'",),
    "tinytext": ("'t'",),
    "text": ("'ünïcode 🎉'", "'\\n\\t</script>'"),
    "mediumtext": ("'m'",),
    "longtext": ("'l'",),
    "binary(4)": ("x'00ff'", "'abcd'"),
    "varbinary(10)": ("x'00ff10'", "''"),
    "tinyblob": ("x'00ff'",),
    "blob": ("x'fbff'",),
    "mediumblob": ("x'00'",),
    "longblob": ("x'00'",),
    "json": (
        '\'{"a":   1, "b": [1,2, null, true, 1.5]}\'',
        "'null'",
        "'\"s\"'",
        "'[]'",
        '\'{"a": 1e20, "b": 0.0000001, "c": 0.1, "d": 12345678901234567890, "e": "ü\\\\n"}\'',
    ),
    "enum('a','b c','q''s')": ("'a'", "'q''s'"),
    "enum('a','d,e')": ("'a'", "'d,e'"),
    "set('x','y','z w')": ("'x,z w'", "''", "'y'"),
    "enum('a','ä') character set latin1": ("'ä'",),
    "year": ("2018", "1901", "2155"),
    "date": (
        "'2016-11-04'",
        "'1000-01-01'",
        "'9999-12-31'",
        "'0000-00-00'",
        "'2016-00-00'",
        "'1969-12-31'",
        "'0001-01-01'",
        "'0070-02-28'",
        "'0100-01-01'",
    ),
    "time": ("'14:51:30'", "'-838:59:59'", "'838:59:59'", "'-00:00:01'"),
    "time(3)": ("'14:51:30.123'", "'-00:00:01.5'"),
    "time(6)": ("'14:51:30.123456'", "'-14:51:30.123456'"),
    "datetime": (
        "'2016-11-04 13:51:30'",
        "'0000-00-00 00:00:00'",
        "'1000-01-01 00:00:00'",
        "'2016-00-00 00:00:00'",
        "'0001-01-01 00:00:01'",
    ),
    "datetime(1)": ("'2016-11-04 13:51:30.1'",),
    "datetime(3)": ("'2016-11-04 13:51:30.123'", "'1969-12-31 23:59:59.999'"),
    "datetime(6)": ("'2016-11-04 13:51:30.123456'", "'0000-00-00'", "'9999-12-31 23:59:59.9'"),
    "timestamp": ("'2016-11-04 13:51:30'", "'0000-00-00 00:00:00'"),
    "timestamp(3)": ("'2016-11-04 13:51:30.120'", "'2016-11-04 13:51:30'"),
    "timestamp(6)": ("'2016-11-04 13:51:30.123456'", "'2016-11-04 13:51:30.1'"),
    "geometry": ("ST_GeomFromText('LINESTRING(0 0,1 1)')", "ST_GeomFromText('POINT(1 2)', 4326)"),
    "point": ("ST_GeomFromText('POINT(1.5 -2)')", "ST_GeomFromText('POINT(1 2)', 4326)"),
    "linestring": ("ST_GeomFromText('LINESTRING(0 0,1 1)')",),
    "polygon": ("ST_GeomFromText('POLYGON((0 0,1 1,1 0,0 0))')",),
    "multipoint": ("ST_GeomFromText('MULTIPOINT(0 0,1 1)')",),
    "multilinestring": ("ST_GeomFromText('MULTILINESTRING((0 0,1 1))')",),
    "multipolygon": ("ST_GeomFromText('MULTIPOLYGON(((0 0,1 1,1 0,0 0)))')",),
    "geometrycollection": ("ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2))')",),
}
"""SQL type to literals."""

MYSQL: Final[dict[str, tuple[str, ...]]] = {
    "year": (*TYPES["year"], "0"),
    "vector(3)": ("STRING_TO_VECTOR('[1,2.5,-0.1]')",),
    "json": (
        *TYPES["json"],
        "JSON_OBJECT('d', CAST('2020-01-02' AS DATE), 't', CAST('-10:11:12.5' AS TIME(6)),"
        " 'm', CAST('2020-01-02 10:11:12.5' AS DATETIME(6)), 'n', 1.50, 'b', x'00ff', 'f', b'101')",
    ),
}
MARIADB: Final[dict[str, tuple[str, ...]]] = {
    "uuid": ("'09e59e9c-3c5d-4e0c-9bf8-7d6f0c8f8f1e'",),
}

DEFAULTS: Final[tuple[tuple[str, str], ...]] = (
    ("tinyint", "7"),
    ("tinyint(1)", "1"),
    ("int", "'8'"),
    ("int unsigned", "5"),
    ("bigint", "-9"),
    ("bigint unsigned", "18446744073709551615"),
    ("float", "1.5"),
    ("double", "1e3"),
    ("decimal(10,2)", "1.5"),
    ("bit", "b'1'"),
    ("bit(12)", "b'101'"),
    ("bit(3)", "5"),
    ("char(5)", "'ab'"),
    ("varchar(20)", "'it''s'"),
    ("varchar(20)", "''"),
    ("varchar(20) character set latin1", "'ä'"),
    ("binary(3)", "'abc'"),
    ("varbinary(5)", "'ab'"),
    ("enum('a','b')", "'b'"),
    ("set('x','y')", "'x,y'"),
    ("year", "'18'"),
    ("date", "'2016-11-04'"),
    ("time(3)", "'14:51:30.5'"),
    ("time", "'10:00:00'"),
    ("datetime", "'2016-11-04'"),
    ("datetime(6)", "'2016-11-04 13:51:30.5'"),
    ("timestamp", "'2016-11-04 13:51:30'"),
    ("timestamp(3)", "'2016-11-04 13:51:30.12'"),
)
OTHER_DEFAULTS: Final[tuple[tuple[str, str], ...]] = (
    ("date", "'0000-00-00'"),
    ("datetime", "'0000-00-00 00:00:00'"),
    ("timestamp", "'0000-00-00 00:00:00'"),
    ("timestamp", "CURRENT_TIMESTAMP"),
    ("datetime(3)", "CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)"),
    ("int", "(1+1)"),
    ("varchar(36)", "(lower('X'))"),
    ("text", "('t')"),
    ("int", "NULL"),
    ("varchar(5)", "NULL"),
)
"""Defaults that are not the value that a column shows."""


def names(types: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """A column's name for each type: c0, c1, …"""
    return {type: f"c{i}" for i, type in enumerate(types)}


def table_of_types(types: dict[str, tuple[str, ...]]) -> str:
    """A table with a column of each type."""
    columns = "".join(f", {column} {type} NULL" for type, column in names(types).items())
    return f"CREATE TABLE types (id int PRIMARY KEY{columns})"


def rows_of_types(types: dict[str, tuple[str, ...]]) -> list[str]:
    """Inserts that show every value of every type, and null."""
    columns = names(types)
    statements = []
    for i in range(max(map(len, types.values()))):
        given = {columns[t]: v[i] for t, v in types.items() if i < len(v)}
        statements.append(
            f"INSERT INTO types (id{''.join(', ' + c for c in given)}) "
            f"VALUES ({i}{''.join(', ' + v for v in given.values())})"
        )
    return statements


def table_of_defaults() -> str:
    """A table with a nullable and a required column for each default."""
    pairs = [*DEFAULTS, *OTHER_DEFAULTS]
    columns = [f"n{i} {type} NULL DEFAULT {default}" for i, (type, default) in enumerate(pairs)]
    columns += [
        f"r{i} {type} NOT NULL DEFAULT {default}"
        for i, (type, default) in enumerate(pairs)
        if default != "NULL"
    ]
    columns += [f"z{i} {type} NOT NULL" for i, (type, _) in enumerate(DEFAULTS)]
    return f"CREATE TABLE defaults (id int PRIMARY KEY, {', '.join(columns)})"


_ZEROS: Final = "z21 = '0000-00-00', z24 = '0000-00-00', z26 = '0000-00-00', r21 = '0000-00-00'"


def rows_of_defaults(first: int) -> list[str]:
    """A row of defaults, one of nulls where they may be, zero dates, and deletes."""
    required = {f"z{i}": default for i, (_, default) in enumerate(DEFAULTS)}
    nulls = {f"n{i}": "NULL" for i in range(len(DEFAULTS) + len(OTHER_DEFAULTS))}

    def insert(id: int, given: dict[str, str]) -> str:
        columns, values = ", ".join(given), ", ".join(given.values())
        return f"INSERT INTO defaults (id, {columns}) VALUES ({id}, {values})"

    return [
        insert(first, required),
        insert(first + 1, {**required, **nulls}),
        f"UPDATE defaults SET {_ZEROS} WHERE id = {first}",
        "UPDATE defaults SET n21 = '0000-00-00', n24 = '0000-00-00', n26 = '0000-00-00'",
    ]


TABLES: Final = (
    "CREATE TABLE plain (id int PRIMARY KEY, note text, price decimal(10,2) NOT NULL DEFAULT 1.5)",
    "CREATE TABLE pair (b varchar(5), a int, c int, PRIMARY KEY (a, b))",
    "CREATE TABLE keyless (a int, b varchar(5))",
    'CREATE TABLE `odd Näme` (`the Id` int PRIMARY KEY, `q``u"ote` text)',
    "CREATE TABLE computed (id int PRIMARY KEY, a int, b int AS (a + 1) STORED, v int AS (a + 2))",
    "CREATE TABLE counted (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, n int)",
    "CREATE TABLE growing (id int PRIMARY KEY, a int)",
    "CREATE TABLE several (a int, b int NOT NULL, c int NOT NULL, UNIQUE KEY z (c),"
    " UNIQUE KEY y (a), UNIQUE KEY x (b))",
    "CREATE TABLE nullable (a int, b int NOT NULL, UNIQUE KEY y (a))",
    "CREATE TABLE partly (a int NOT NULL, b int, UNIQUE KEY y (a, b))",
    "CREATE TABLE turned (a int, b int NOT NULL, c int NOT NULL)",
    "CREATE UNIQUE INDEX q ON turned (c, b)",
    "CREATE TABLE chosen (id int PRIMARY KEY, a int NOT NULL, b varchar(5))",
    "INSERT INTO chosen VALUES (-1, 1, 'x'), (-2, 1, 'x')",
    "INSERT INTO plain VALUES (-1, 'a', 2), (-2, 'b', 3)",
    "INSERT INTO pair VALUES ('-', -1, 0), ('-', -2, 0)",
    "INSERT INTO `odd Näme` VALUES (-1, 'x'), (-2, 'y')",
    "INSERT INTO counted VALUES (100, 1), (101, 1)",
    "INSERT INTO growing VALUES (-1, 0), (-2, 0)",
    "INSERT INTO several VALUES (1, 1, 1)",
    "INSERT INTO nullable VALUES (1, 1)",
    "INSERT INTO partly VALUES (1, 1)",
    "INSERT INTO turned VALUES (1, 1, 1)",
    "INSERT INTO keyless VALUES (1, 'x')",
    "INSERT INTO computed (id, a) VALUES (1, 1)",
)
CHANGES: Final = (
    "INSERT INTO plain VALUES (1, 'a', 2), (2, NULL, 3)",
    "UPDATE plain SET note = 'b' WHERE id = 1",
    "UPDATE plain SET id = 3 WHERE id = 1",
    "UPDATE plain SET note = 'b'",
    "DELETE FROM plain",
    "INSERT INTO plain VALUES (1, 'a', 2)",
    "REPLACE INTO plain VALUES (1, 'c', 2)",
    "INSERT INTO plain VALUES (1, 'd', 2) ON DUPLICATE KEY UPDATE note = 'e'",
    "INSERT INTO pair VALUES ('x', 1, 2)",
    "UPDATE pair SET b = 'y'",
    "UPDATE pair SET c = 3",
    "DELETE FROM pair",
    "INSERT INTO keyless VALUES (2, 'x')",
    "UPDATE keyless SET b = 'y' WHERE a = 2",
    "DELETE FROM keyless",
    "INSERT INTO `odd Näme` VALUES (1, 'x')",
    "UPDATE `odd Näme` SET `the Id` = 2 WHERE `the Id` = 1",
    "INSERT INTO computed (id, a) VALUES (2, 1)",
    "UPDATE computed SET a = 5",
    "INSERT INTO counted (n) VALUES (1), (2)",
    "INSERT INTO several VALUES (2, 2, 2)",
    "UPDATE several SET c = 5, a = NULL WHERE b = 1",
    "UPDATE several SET b = 7 WHERE b = 1",
    "DELETE FROM several",
    "UPDATE nullable SET a = 2",
    "DELETE FROM nullable",
    "DELETE FROM partly",
    "UPDATE turned SET c = 2",
    "INSERT INTO chosen VALUES (1, 1, 'x')",
    "UPDATE chosen SET a = 2",
    "UPDATE chosen SET id = 2 WHERE id = 1",
    "DELETE FROM chosen",
    "BEGIN",
    "INSERT INTO plain VALUES (10, 'a', 2)",
    "INSERT INTO counted (n) VALUES (3)",
    "UPDATE plain SET note = 'z' WHERE id = 10",
    "COMMIT",
    "INSERT INTO growing VALUES (1, 1)",
    "ALTER TABLE growing ADD b varchar(5) DEFAULT 'new'",
    "UPDATE growing SET a = 2",
    "ALTER TABLE growing ADD c int NOT NULL DEFAULT 7 FIRST",
    "INSERT INTO growing (id) VALUES (2)",
    "ALTER TABLE growing DROP a",
    "INSERT INTO growing (id) VALUES (3)",
    "TRUNCATE counted",
)
LATER: Final = (
    "INSERT INTO growing (id) VALUES (10)",
    "ALTER TABLE growing ALTER c SET DEFAULT 8",
    "INSERT INTO growing (id) VALUES (11)",
    "ALTER TABLE growing ALTER c DROP DEFAULT",
    "INSERT INTO growing (id, c) VALUES (12, 1)",
    "ALTER TABLE keyless MODIFY a int NOT NULL, ADD UNIQUE KEY k (a)",
    "INSERT INTO keyless VALUES (20, 'x')",
    "CREATE TABLE born (id int PRIMARY KEY, a varchar(5) DEFAULT 'x')",
    "INSERT INTO born (id) VALUES (1)",
    "RENAME TABLE born TO grown",
    "INSERT INTO grown (id) VALUES (2)",
)
"""Of which each is captured before the next is run."""
