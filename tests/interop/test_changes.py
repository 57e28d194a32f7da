"""All kinds of changes, captured by penstock and Debezium at once."""

from __future__ import annotations

from typing import Final

import pytest

from tests.interop.capture import captured
from tests.interop.compare import differences
from tests.interop.remaining import stale, unexplained
from tests.support.postgres import execute

BIG: Final = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i)"
TABLES: Final = (
    "CREATE TABLE plain (id int PRIMARY KEY, note text, price numeric(10,2) NOT NULL DEFAULT 1.5,"
    " at timestamptz NOT NULL, flag boolean NOT NULL, tags text[] NOT NULL)",
    "CREATE TABLE whole (id int PRIMARY KEY, note text, amount numeric)",
    "ALTER TABLE whole REPLICA IDENTITY FULL",
    "CREATE TABLE pair (b text, a int, c int, PRIMARY KEY (a, b))",
    "CREATE TABLE keyless_whole (a int, b text)",
    "ALTER TABLE keyless_whole REPLICA IDENTITY FULL",
    'CREATE TABLE "odd Näme" ("the Id" int PRIMARY KEY, "qu""ote" text)',
    "CREATE SCHEMA other",
    "CREATE TABLE public.big (id int PRIMARY KEY, n int, t text, b bytea, x text[], j jsonb)",
    "CREATE TABLE public.big_whole (id int PRIMARY KEY, n int, t text)",
    "ALTER TABLE big_whole REPLICA IDENTITY FULL",
    "CREATE TABLE serials (id bigserial PRIMARY KEY, s smallserial)",
    "CREATE TABLE growing (id int PRIMARY KEY, a int)",
    *(f"ALTER TABLE public.big ALTER {c} SET STORAGE EXTERNAL" for c in ("t", "b", "x", "j")),
    "ALTER TABLE public.big_whole ALTER t SET STORAGE EXTERNAL",
)
CHANGES: Final = (
    "INSERT INTO plain VALUES (1, 'a', 2, '2020-01-01', true, '{a}')",
    "INSERT INTO plain VALUES (2, NULL, 3, now(), false, '{}')",
    "UPDATE plain SET note = 'b' WHERE id = 1",
    "UPDATE plain SET id = 3 WHERE id = 1",
    "DELETE FROM plain",
    "INSERT INTO whole VALUES (1, 'a', 1.50), (2, NULL, NULL)",
    "UPDATE whole SET note = 'b'",
    "UPDATE whole SET id = id + 10",
    "DELETE FROM whole",
    "INSERT INTO pair VALUES ('x', 1, 2)",
    "UPDATE pair SET b = 'y'",
    "UPDATE pair SET c = 3",
    "DELETE FROM pair",
    "INSERT INTO keyless_whole VALUES (1, 'x')",
    "UPDATE keyless_whole SET b = 'y'",
    "DELETE FROM keyless_whole",
    "INSERT INTO \"odd Näme\" VALUES (1, 'x')",
    'UPDATE "odd Näme" SET "the Id" = 2',
    f"INSERT INTO big VALUES (1, 1, {BIG}, {BIG}::bytea, ARRAY[{BIG}], to_jsonb({BIG}))",
    "UPDATE big SET n = 2",
    "UPDATE big SET t = 'small', b = NULL",
    "UPDATE big SET n = 3",
    f"INSERT INTO big_whole VALUES (1, 1, {BIG})",
    "UPDATE big_whole SET n = 2",
    "DELETE FROM big_whole",
    "INSERT INTO serials DEFAULT VALUES",
    "INSERT INTO growing VALUES (1, 1)",
    "ALTER TABLE growing ADD b text DEFAULT 'new'",
    "UPDATE growing SET a = 2",
    "ALTER TABLE growing DROP a",
    "INSERT INTO growing VALUES (2, 'x')",
    "TRUNCATE plain, whole",
    "SELECT pg_logical_emit_message(true, 'mine', 'inside')",
    "SELECT pg_logical_emit_message(false, 'mine', 'outside')",
)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("plain", {}),
        ("no tombstones", {"tombstones__on__delete": "false", "skipped__operations": "none"}),
        (
            "transactions",
            {"provide__transaction__metadata": "true", "unavailable__value__placeholder": "gone"},
        ),
        (
            "deletes skipped",
            {
                "skipped__operations": "d",
                "key__converter__schemas__enable": "false",
                "value__converter__schemas__enable": "false",
            },
        ),
        ("updates skipped", {"skipped__operations": "u,t"}),
    ],
)
def test_all_changes_are_told_as_debezium_tells_them(
    database: str, name: str, settings: dict[str, str]
) -> None:
    execute(database, *TABLES)
    theirs, ours = captured(database, CHANGES, messages=["mine"], **settings)
    found = differences(theirs, ours)
    assert "\n".join(unexplained(found)) == ""
    assert stale(found, name) == []
