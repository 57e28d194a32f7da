"""penstock and Debezium's MySQL and MariaDB connectors capture the same database at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from tests.interop import mysql_workload as workload
from tests.interop.capture import captured
from tests.interop.compare import Difference, differences, misplaced
from tests.interop.remaining import BINLOG, MARIADB, Remaining, stale, unexplained
from tests.support.mysql import Database

FAMILIES: Final[Mapping[str, Mapping[str, str]]] = {
    "default": {},
    "text": {
        "decimal__handling__mode": "string",
        "time__precision__mode": "isostring",
        "binary__handling__mode": "hex",
        "provide__transaction__metadata": "true",
        "enable__time__adjuster": "false",
    },
    "other": {
        "decimal__handling__mode": "double",
        "time__precision__mode": "connect",
        "binary__handling__mode": "base64-url-safe",
        "bigint__unsigned__handling__mode": "precise",
        "provide__transaction__metadata": "true",
        "skipped__operations": "none",
        "tombstones__on__delete": "false",
    },
    "nanoseconds": {
        "time__precision__mode": "nanoseconds",
        "binary__handling__mode": "base64",
        "skipped__operations": "d",
    },
}
Types = dict[str, tuple[str, ...]]
LENIENT: Final = "SET SESSION sql_mode = ''"


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_mysqls_changes_are_told_as_debezium_tells_them(mysql: Database, family: str) -> None:
    compare(mysql, {**workload.TYPES, **workload.MYSQL}, family, BINLOG)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("family", ["default", "other"])
def test_mariadbs_changes_are_told_as_debezium_tells_them(mariadb: Database, family: str) -> None:
    compare(mariadb, {**workload.TYPES, **workload.MARIADB}, family, MARIADB)


def compare(database: Database, types: Types, family: str, entries: Sequence[Remaining]) -> None:
    rows = workload.rows_of_types(types)
    database.execute(
        LENIENT,
        workload.table_of_types(types),
        workload.table_of_defaults(),
        *workload.TABLES,
        *rows,
        *workload.rows_of_defaults(-2),
    )
    changes = [LENIENT, "DELETE FROM types", *rows, *workload.rows_of_defaults(1)]
    settings = dict(FAMILIES[family])
    if database.server.flavor == "mariadb":  # its transactions include those of other statements
        settings.pop("provide__transaction__metadata", None)
    theirs, ours = captured(database, [*changes, *workload.CHANGES], **settings)
    types_of = {column: type for type, column in workload.names(types).items()}

    def column(difference: Difference) -> str | None:
        found = (types_of.get(str(part)) for part in difference.path)
        return next(filter(None, found), None) if difference.topic.endswith(".types") else None

    found = differences(theirs, ours)
    assert "\n".join(unexplained(found, column, entries)) == ""
    assert misplaced(theirs) == misplaced(ours) == []
    assert stale(found, family, column, entries) == []


@pytest.mark.server
@pytest.mark.slow
def test_defaults_and_keys_are_told_as_they_are_altered(mysql: Database) -> None:
    mysql.execute(*workload.TABLES, "ALTER TABLE growing ADD c int NOT NULL DEFAULT 7")
    theirs, ours = captured(mysql, workload.LATER, True)
    assert "\n".join(map(str, differences(theirs, ours))) == ""
