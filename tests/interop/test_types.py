"""penstock and Debezium capture the same workload at once; what they write is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from penstock.embedded.server import Server
from tests.interop import workload
from tests.interop.capture import captured
from tests.interop.compare import Difference, differences, misplaced
from tests.interop.remaining import stale, unexplained
from tests.support.postgres import execute, fresh_database
from tools.servers import versions

EXTENSIONS: Final = {
    "15": ("citext", "hstore", "isn", "ltree", "xml"),
    "16": ("vector",),
}
FAMILIES: Final[Mapping[str, Mapping[str, str]]] = {
    "default": {},
    "text": {
        "decimal__handling__mode": "string",
        "time__precision__mode": "isostring",
        "interval__handling__mode": "string",
        "binary__handling__mode": "hex",
        "hstore__handling__mode": "map",
    },
    "other": {
        "decimal__handling__mode": "double",
        "time__precision__mode": "connect",
        "binary__handling__mode": "base64-url-safe",
        "money__fraction__digits": "1",
        "include__unknown__datatypes": "true",
        "skipped__operations": "none",
    },
    "nanoseconds": {"time__precision__mode": "nanoseconds", "binary__handling__mode": "base64"},
    "microseconds": {"time__precision__mode": "microseconds"},
    "adaptive": {"time__precision__mode": "adaptive_time_microseconds"},
}


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "family"),
    [
        (version, family)
        for version in EXTENSIONS
        if version in versions()
        for family in FAMILIES
        if version == "15" or family in ("default", "text", "other")
    ],
)
def test_all_types_are_told_as_debezium_tells_them(
    shared_server: Callable[[str], Server], version: str, family: str
) -> None:
    types = dict(workload.TYPES)
    for extension in EXTENSIONS[version]:
        types |= workload.EXTENSION_TYPES[extension]
    rows = workload.rows_of_types("types", types)
    defaults = workload.rows_of_defaults("defaults")
    if family == "nanoseconds":  # a required timestamp that a delete lacks makes Debezium fail
        defaults = [statement for statement in defaults if "DELETE" not in statement]
    with fresh_database(shared_server(version)) as dsn:
        extensions = [name for name in EXTENSIONS[version] if name != "xml"]
        execute(
            dsn,
            *(f"CREATE EXTENSION {name}" for name in extensions),
            *workload.SCHEMA,
            workload.table_of_types("types", types),
            workload.table_of_defaults("defaults"),
            *rows,
            *workload.rows_of_defaults("defaults", first=-1)[:2],
        )
        theirs, ours = captured(
            dsn,
            ["TRUNCATE types", *rows, *defaults],
            **FAMILIES[family],
        )
    types_of = {column: type for type, column in workload.names(types).items()}

    def column(difference: Difference) -> str | None:
        path = difference.path
        named = difference.topic.endswith(".types") and path[:3] == ("value", "payload", "after")
        return types_of.get(str(path[3])) if named else None

    found = differences(theirs, ours)
    assert "\n".join(unexplained(found, column)) == ""
    assert misplaced(theirs) == misplaced(ours) == []
    assert stale(found, family, column) == []
