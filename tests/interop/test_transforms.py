"""Our options beside Debezium's own transforms, on the same changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from tests.interop.capture import PREFIX, SENTINEL, Told, captured
from tests.interop.compare import Difference, differences
from tests.support.postgres import execute

TABLES: Final = (
    "CREATE TABLE orders_1 (id int PRIMARY KEY, topic text, n smallint DEFAULT 7, p numeric(6,2))",
    "CREATE TABLE orders_2 (id int PRIMARY KEY, topic text, n smallint DEFAULT 7, p numeric(6,2))",
    "ALTER TABLE orders_2 REPLICA IDENTITY FULL",
    'CREATE TABLE "1 odd-Näme" ("the Id" int PRIMARY KEY, "1" text, a_b int)',
    "CREATE TABLE keyless (a int, topic text)",
    "ALTER TABLE keyless REPLICA IDENTITY FULL",
)
CHANGES: Final = (
    "INSERT INTO orders_1 VALUES (1, 'one', 1, 2.5), (2, 'two', NULL, NULL)",
    "UPDATE orders_1 SET p = 3 WHERE id = 1",
    "UPDATE orders_1 SET id = 3 WHERE id = 1",
    "INSERT INTO orders_2 SELECT * FROM orders_1",
    "UPDATE orders_2 SET n = NULL",
    "DELETE FROM orders_2",
    "INSERT INTO keyless VALUES (1, 'keyless')",
    "DELETE FROM keyless",
    "INSERT INTO \"1 odd-Näme\" VALUES (1, 'x', 2)",
    'UPDATE "1 odd-Näme" SET "the Id" = 2',
    "TRUNCATE orders_1, keyless",
    "SELECT pg_logical_emit_message(false, 'mine', 'outside')",
)
ROUTE: Final = {
    "topic_regex": r"(?<prefix>[a-z]+)\.public\.(orders)_(\d+)",
    "topic_replacement": r"${prefix}.all_$2",
}
HEARTBEATS: Final = f"__debezium-heartbeat.{PREFIX}"
ADDED: Final = ("__txId", "__source_ts_ms", "__source_schema")

CASES: Final[dict[str, dict[str, Any]]] = {
    "routed and rewritten": {
        "route": {
            **ROUTE,
            "key_field_name": "shard",
            "key_field_regex": r".*_(\d+)",
            "key_field_replacement": "shard-$1",
        },
        "unwrap": {
            "delete_tombstone_handling_mode": "rewrite-with-tombstone",
            "add_fields": ["op", "table", "source.ts_ms", "source.db:database", "transaction.id"],
            "add_headers": ["op", "source.schema", "txId"],
        },
        "skipped__operations": "none",
        "schema__name__adjustment__mode": "avro",
        "field__name__adjustment__mode": "avro",
    },
    "by default": {"route": ROUTE, "unwrap": {}},
    "true tombstones": {
        "unwrap": {
            "delete_tombstone_handling_mode": "delete-to-tombstone",
            "add_fields": ["op", "total_order"],
            "add_fields_prefix": "cdc_",
            "add_headers": ["op"],
            "add_headers_prefix": "",
        },
        "provide__transaction__metadata": "true",
        "heartbeat__interval__ms": "1",
    },
    "without deletes": {
        "route": {**ROUTE, "key_enforce_uniqueness": False},
        "unwrap": {"delete_tombstone_handling_mode": "drop"},
        "key__converter__schemas__enable": "false",
        "value__converter__schemas__enable": "false",
        "schema__name__adjustment__mode": "avro_unicode",
        "field__name__adjustment__mode": "avro_unicode",
    },
}


def expected(difference: Difference, theirs: Sequence[Told]) -> bool:
    """Two snapshots are of two times. And Debezium's tombstones have all headers that were added
    to the delete before them, unless they were routed: both share one object."""
    name = difference.path[-1]
    if SENTINEL in difference.topic:
        return name in (*ADDED, "txId")
    if difference.path[0] == "headers" and difference.theirs is None:
        return bool(difference.ours == "<absent>")  # a header of ours is never null
    told = [record for record in theirs if record["topic"] == difference.topic]
    return name in ADDED and told[difference.number]["value"] is None


def without_heartbeats(records: list[Told]) -> list[Told]:
    """Takes the heartbeats out, which come when they come; gives them."""
    found = [record for record in records if record["topic"] == HEARTBEATS]
    records[:] = [record for record in records if record["topic"] != HEARTBEATS]
    return found


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_transformed_records_are_as_debeziums_transforms_make_them(
    database: str, case: str
) -> None:
    execute(database, *TABLES)
    theirs, ours = captured(database, CHANGES, messages=["mine"], **CASES[case])
    beats = [without_heartbeats(theirs), without_heartbeats(ours)]
    if "heartbeat__interval__ms" in CASES[case]:
        a, b = (found[-1] for found in beats)
        assert a["key"] == b["key"]
        assert a["value"]["schema"] == b["value"]["schema"]
        assert a["value"]["payload"].keys() == b["value"]["payload"].keys() == {"ts_ms"}
    assert len(theirs) > 10
    found = [d for d in differences(theirs, ours) if not expected(d, theirs)]
    assert "\n".join(map(str, found)) == ""


OUTBOX: Final = (
    "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text NOT NULL, aggregateid text,"
    " type text, payload jsonb, trace text, version int, big bigint)",
    "CREATE TABLE other (id int PRIMARY KEY)",
)
DOCUMENTS: Final = (
    '{"a": 1, "b": {"c": "x", "d": [1, 2], "e": null, "f": []}, "g": 2.5, "h": 5000000000,'
    ' "i": [{"j": 1}, {"k": "x", "j": null}], "l": true}',
    '{"a": [[1], [2]]}',
    '"text"',
    '{"a": [1, "x"]}',
    "{}",
    "",
)
EVENTS: Final = (
    *(
        f"INSERT INTO outbox VALUES ('00000000-0000-0000-0000-00000000000{n}', 'order', '{n}',"
        f" 'new', {repr(text) if text else 'NULL'}, 'trace', 1, {n})"
        for n, text in enumerate(DOCUMENTS)
    ),
    "INSERT INTO outbox VALUES ('00000000-0000-0000-0000-000000000009', 'customer', NULL)",
    "UPDATE outbox SET trace = 'x' WHERE aggregatetype = 'customer'",
    "DELETE FROM outbox",
)
OUTBOX_CASES: Final[dict[str, dict[str, Any]]] = {
    "expanded": {"table_expand_json_payload": True},
    "placed": {
        "table_fields_additional_placement": [
            "type:header:eventType",
            "trace:envelope",
            "big:header",
        ],
        "route_topic_regex": "(.)(.*)",
        "route_topic_replacement": "$2.$1",
        "route_tombstone_on_empty_payload": True,
    },
}


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("case", OUTBOX_CASES)
def test_events_of_an_outbox_are_as_debeziums_router_makes_them(database: str, case: str) -> None:
    execute(database, *OUTBOX)
    theirs, ours = captured(
        database,
        EVENTS,
        outbox={"tables": ["public.outbox"], **OUTBOX_CASES[case]},
    )
    assert len(theirs) > 10
    found = [d for d in differences(theirs, ours) if not expected(d, theirs)]
    assert "\n".join(map(str, found)) == ""
