"""Our CloudEvents beside those of Debezium's converter, on the same changes."""

from __future__ import annotations

from typing import Final

import pytest

from tests.interop.capture import PREFIX, SENTINEL, captured
from tests.interop.compare import Difference, differences
from tests.interop.test_transforms import CHANGES, TABLES
from tests.support.postgres import execute

VARYING: Final = {
    "id": "Debezium's is made of positions in the log",
    "time": "of a snapshot: its own",
    "iodebeziumversion": "",
    "iodebeziumtsms": "of a snapshot: its own",
    "iodebeziumtsus": "of a snapshot: its own",
    "iodebeziumtsns": "of a snapshot: its own",
    "iodebeziumtxId": "of a snapshot: ours has none",
    "iodebeziumlsn": "the row's; ours is the commit's",
    "iodebeziumsequence": "the rows'; ours is the commits'",
    "iodebeziumtxid": "it holds a position as well",
}
OF_SNAPSHOT: Final = (
    "time",
    "iodebeziumtsms",
    "iodebeziumtsus",
    "iodebeziumtsns",
    "iodebeziumtxId",
)


def expected(difference: Difference) -> bool:
    """What is each one's own; and Debezium's converter has nulls for all but changes."""
    name = difference.path[-1]
    if difference.topic == f"{PREFIX}.transaction":
        return difference.path[0] == "value" and difference.theirs in (None, "<absent>")
    return name in VARYING and (name not in OF_SNAPSHOT or SENTINEL in difference.topic)


@pytest.mark.server
@pytest.mark.slow
def test_events_are_as_debeziums_converter_makes_them(database: str) -> None:
    execute(database, *TABLES)
    changes = [statement for statement in CHANGES if "emit_message" not in statement]
    settings = {"cloudevents": "true", "provide__transaction__metadata": "true"}
    theirs, ours = captured(database, changes, **settings)
    found = [difference for difference in differences(theirs, ours) if not expected(difference)]
    assert "\n".join(map(str, found)) == ""
    events = [record["value"] for record in ours if "specversion" in (record["value"] or {})]
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids)) > 10
