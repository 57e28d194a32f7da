"""Keys, defaults and nullability of tables, and what becomes of them, by both at once."""

from __future__ import annotations

from typing import Final

import pytest

from tests.interop.capture import captured
from tests.interop.compare import differences
from tests.interop.remaining import stale, unexplained
from tests.support.postgres import execute

TABLES: Final = (
    "CREATE TABLE unique_only (a int NOT NULL, b text)",
    "CREATE UNIQUE INDEX z_index ON unique_only (a)",
    "CREATE UNIQUE INDEX b_index ON unique_only (b, a)",
    "CREATE TABLE unique_full (a int, b text)",
    "CREATE UNIQUE INDEX unique_full_index ON unique_full (b)",
    "ALTER TABLE unique_full REPLICA IDENTITY FULL",
    "CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL UNIQUE, n int)",
    "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code_key",
    "CREATE TABLE only_index (code text NOT NULL UNIQUE, n int)",
    "ALTER TABLE only_index REPLICA IDENTITY USING INDEX only_index_code_key",
    "CREATE TABLE by_expression (a int, b text)",
    "CREATE UNIQUE INDEX by_expression_index ON by_expression (lower(b))",
    "CREATE UNIQUE INDEX by_expression_other ON by_expression (a)",
    "CREATE TABLE mixed (a int, b text)",
    "CREATE UNIQUE INDEX mixed_index ON mixed (lower(b), a)",
    "CREATE TABLE partial (a int, b text)",
    "CREATE UNIQUE INDEX partial_index ON partial (a) WHERE a > 0",
    "CREATE TABLE keyless (a int, b text)",
    "CREATE TABLE including (a int, b text)",
    "CREATE UNIQUE INDEX including_index ON including (a) INCLUDE (b)",
    "CREATE TABLE chosen (id int PRIMARY KEY, a int NOT NULL, b text)",
    "ALTER TABLE chosen REPLICA IDENTITY FULL",
    *(
        f"ALTER TABLE {name} REPLICA IDENTITY FULL"
        for name in ("by_expression", "including", "keyless", "mixed", "partial", "unique_only")
    ),
    "CREATE TABLE defaulted (id int PRIMARY KEY, a int DEFAULT 1, b text)",
)
ROWS: Final = (
    "INSERT INTO unique_only VALUES (1, 'x')",
    "INSERT INTO unique_full VALUES (1, 'x'), (2, NULL)",
    "INSERT INTO by_index VALUES (1, 'a', 1)",
    "INSERT INTO only_index VALUES ('a', 1)",
    "INSERT INTO by_expression VALUES (1, 'X')",
    "INSERT INTO partial VALUES (1, 'X')",
    "INSERT INTO mixed VALUES (1, 'X')",
    "INSERT INTO keyless VALUES (1, 'X')",
    "INSERT INTO including VALUES (1, 'X')",
    "INSERT INTO chosen VALUES (1, 2, 'X')",
    "INSERT INTO defaulted (id) VALUES (1)",
)
KEYS: Final = (
    "INSERT INTO unique_only VALUES (2, 'y')",
    "UPDATE unique_full SET a = 5",
    "UPDATE unique_full SET b = 'z' WHERE b = 'x'",
    "DELETE FROM unique_full",
    "INSERT INTO by_index VALUES (2, 'b', 1)",
    "UPDATE by_index SET n = 2 WHERE id = 2",
    "UPDATE by_index SET code = 'c' WHERE id = 2",
    "UPDATE by_index SET id = 3 WHERE id = 2",
    "DELETE FROM by_index",
    "INSERT INTO only_index VALUES ('b', 1)",
    "UPDATE only_index SET n = 2",
    "UPDATE only_index SET code = 'c' WHERE code = 'b'",
    "DELETE FROM only_index",
    "INSERT INTO by_expression VALUES (2, 'Y')",
    "INSERT INTO partial VALUES (2, 'X')",
    "INSERT INTO mixed VALUES (2, 'X')",
    "INSERT INTO keyless VALUES (2, 'X')",
    "INSERT INTO including VALUES (2, 'X')",
    "INSERT INTO chosen VALUES (2, 3, 'X')",
    "UPDATE chosen SET b = 'Y' WHERE id = 2",
    "UPDATE chosen SET a = 4 WHERE id = 2",
    "UPDATE chosen SET id = 5 WHERE id = 2",
    "DELETE FROM chosen",
)
LATER: Final = (
    "INSERT INTO defaulted (id) VALUES (2)",
    "ALTER TABLE defaulted ALTER a SET DEFAULT 2",
    "INSERT INTO defaulted (id) VALUES (3)",
    "ALTER TABLE defaulted ALTER a DROP DEFAULT",
    "INSERT INTO defaulted (id) VALUES (4)",
    "ALTER TABLE defaulted ALTER b SET DEFAULT 'b'",
    "UPDATE defaulted SET b = 'c' WHERE b IS NULL",
    "ALTER TABLE defaulted ALTER b SET NOT NULL",
    "INSERT INTO defaulted (id) VALUES (5)",
    "ALTER TABLE defaulted ADD c int NOT NULL DEFAULT 7",
    "INSERT INTO defaulted (id) VALUES (6)",
    "ALTER TABLE defaulted ALTER c SET DEFAULT 8",
    "INSERT INTO defaulted (id) VALUES (7)",
    "ALTER TABLE defaulted ALTER c DROP DEFAULT",
    "INSERT INTO defaulted (id, c) VALUES (8, 1)",
    "ALTER TABLE defaulted ADD d timestamptz DEFAULT now()",
    "INSERT INTO defaulted (id, c) VALUES (9, 1)",
    "ALTER TABLE defaulted ALTER b DROP NOT NULL",
    "INSERT INTO defaulted (id, b, c) VALUES (10, NULL, 1)",
    "ALTER TABLE keyless ADD PRIMARY KEY (a)",
    "INSERT INTO keyless VALUES (3, 'X')",
    "UPDATE keyless SET b = 'Y' WHERE a = 3",
    "DELETE FROM keyless",
)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "settings"),
    [
        ("keys", KEYS, {}),
        ("chosen keys", KEYS, {"message__key__columns": "public.chosen:a,b;public.keyless:b"}),
        ("later", LATER, {}),
    ],
)
def test_keys_and_defaults_are_told_as_debezium_tells_them(
    database: str, name: str, changes: tuple[str, ...], settings: dict[str, str]
) -> None:
    execute(database, *TABLES, *ROWS)
    theirs, ours = captured(database, changes, changes is LATER, **settings)
    found = differences(theirs, ours)
    assert "\n".join(unexplained(found)) == ""
    assert stale(found, name) == []
