"""What is made of MySQL's records, by Debezium's own transforms and converter and by ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import pytest

from tests.interop.capture import Told, captured
from tests.interop.compare import Difference, differences
from tests.interop.test_cloudevents import VARYING
from tests.interop.test_transforms import DOCUMENTS, without_heartbeats
from tests.support.mysql import Database

TABLES: Final = (
    "CREATE TABLE orders_1 (id int PRIMARY KEY, topic varchar(9), n smallint DEFAULT 7,"
    " p decimal(6,2))",
    "CREATE TABLE orders_2 LIKE orders_1",
    "CREATE TABLE `1 odd-Näme` (`the Id` int PRIMARY KEY, `1` text, a_b int)",
    "CREATE TABLE keyless (a int, topic varchar(9))",
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
    "INSERT INTO `1 odd-Näme` VALUES (1, 'x', 2)",
    "UPDATE `1 odd-Näme` SET `the Id` = 2",
    "TRUNCATE orders_1",
)
SETTINGS: Final[dict[str, Any]] = {
    "route": {
        "topic_regex": r"(?<prefix>[a-z]+)\.\w+\.(orders)_(\d+)",
        "topic_replacement": r"${prefix}.all_$2",
        "key_field_name": "shard",
        "key_field_regex": r".*_(\d+)",
        "key_field_replacement": "shard-$1",
    },
    "unwrap": {
        "delete_tombstone_handling_mode": "rewrite-with-tombstone",
        "add_fields": ["op", "table", "source.gtid", "source.db:database", "transaction.id"],
        "add_headers": ["op", "source.file", "server_id"],
    },
    "skipped__operations": "none",
    "schema__name__adjustment__mode": "avro",
    "field__name__adjustment__mode": "avro",
    "heartbeat__interval__ms": "1",
}
PLACE: Final = ("iodebeziumpos", "iodebeziumrow")


def added_to_a_tombstone(difference: Difference, theirs: Sequence[Told]) -> bool:
    """Debezium's have all headers that were added to the delete before them, unless they were
    routed: both share one object."""
    told = [record for record in theirs if record["topic"] == difference.topic]
    return (
        difference.path[0] == "headers"
        and difference.ours == "<absent>"
        and told[difference.number]["value"] is None
    )


def is_same_json(difference: Difference) -> bool:
    """Debezium leaves out the spaces of JSON in the stream."""
    if difference.path[-1] != "payload":
        return False
    same: bool = json.loads(difference.theirs) == json.loads(difference.ours)
    return same


@pytest.mark.server
@pytest.mark.slow
def test_transformed_records_are_as_debeziums_transforms_make_them(mysql: Database) -> None:
    mysql.execute(*TABLES)
    theirs, ours = captured(mysql, CHANGES, **SETTINGS)
    a, b = (without_heartbeats(records)[-1] for records in (theirs, ours))
    assert a["key"] == b["key"]
    assert a["value"]["schema"] == b["value"]["schema"]
    assert len(theirs) > 10
    found = [d for d in differences(theirs, ours) if not added_to_a_tombstone(d, theirs)]
    assert "\n".join(map(str, found)) == ""


@pytest.mark.server
@pytest.mark.slow
def test_events_of_an_outbox_are_as_debeziums_router_makes_them(mysql: Database) -> None:
    mysql.execute(
        "CREATE TABLE outbox (id char(36) PRIMARY KEY, aggregatetype varchar(20) NOT NULL,"
        " aggregateid varchar(20), type varchar(20), payload json, trace text, big bigint)"
    )
    events = [
        f"INSERT INTO outbox VALUES ('00000000-0000-0000-0000-00000000000{n}', 'order', '{n}',"
        f" 'new', {repr(text) if text else 'NULL'}, 'trace', {n})"
        for n, text in enumerate(DOCUMENTS)
    ]
    theirs, ours = captured(
        mysql,
        [
            *events,
            "INSERT INTO outbox (id, aggregatetype, type, big) VALUES ('a', 'customer', 'x', 1)",
            "UPDATE outbox SET trace = 'x' WHERE aggregatetype = 'customer'",
            "DELETE FROM outbox",
        ],
        outbox={
            "tables": [f"{mysql.name}.outbox"],
            "table_expand_json_payload": True,
            "table_fields_additional_placement": ["type:header:eventType", "big:header"],
        },
    )
    assert len(theirs) > 10
    found = [d for d in differences(theirs, ours) if not is_same_json(d)]
    assert "\n".join(map(str, found)) == ""


@pytest.mark.server
@pytest.mark.slow
def test_events_are_as_debeziums_converter_makes_them(mysql: Database) -> None:
    mysql.execute(*TABLES)
    theirs, ours = captured(mysql, CHANGES, cloudevents="true")
    found = [d for d in differences(theirs, ours) if d.path[-1] not in (*VARYING, *PLACE)]
    assert "\n".join(map(str, found)) == ""
    events = [record["value"] for record in ours if "specversion" in (record["value"] or {})]
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids)) > 10
