"""What the options of the format debezium make of the connector's records; Debezium's own
transforms are asked in tests/interop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, SchemaRegistryError
from pydantic import ValidationError

from penstock.connect import Data
from penstock.connect.registry import RegistryFailure, SchemaRegistry
from penstock.errors import ConfigError, DecodeError, SchemaError, SinkError, SinkUnavailableError
from penstock.formats.debezium import Debezium
from penstock.formats.debezium.avro import AvroConverter
from penstock.formats.debezium.chain import ConnectRecord
from penstock.formats.debezium.heartbeat import Heartbeats
from penstock.formats.debezium.javaregex import JavaRegex
from penstock.formats.debezium.names import adjusted
from penstock.model import EventBatch, Record
from penstock.pipeline import Pipeline
from penstock.ports import Context
from penstock.sinks.jsonl import Jsonl
from penstock.sinks.memory import Memory
from penstock.testing import ScriptedSource, delete, insert, truncate

ROW = {"id": 1, "status": "new"}
CHANGES = (
    insert("public.orders_1", ROW),
    delete("public.orders_1", ROW),
)


def made(*changes: Any, **options: Any) -> list[Record]:
    given = {"topic_prefix": "shop", "schemas": False, "context_headers": False, **options}
    return list(Debezium(**given).build().records(EventBatch("main", changes or CHANGES)))


def told(records: list[Record]) -> list[Any]:
    return [None if record.value is None else json.loads(record.value) for record in records]


# -- unwrap


@pytest.mark.parametrize(
    ("mode", "deleted"),
    [
        ("drop", []),
        ("tombstone", [b"null"]),
        ("delete-to-tombstone", [None]),
        ("rewrite", [b'{"id":1,"status":"new","__deleted":"true"}']),
        ("rewrite-with-tombstone", [b'{"id":1,"status":"new","__deleted":"true"}', None]),
    ],
)
def test_a_delete_is_told_as_the_mode_says(mode: str, deleted: list[bytes | None]) -> None:
    first, *others = made(unwrap={"delete_tombstone_handling_mode": mode})
    assert json.loads(first.value or b"").items() >= ROW.items()
    assert ("__deleted" in json.loads(first.value or b"")) is mode.startswith("rewrite")
    assert [record.value for record in others] == deleted
    assert all(record.key == b'{"id":1}' for record in others)


def test_a_null_keeps_its_schema_in_the_default_mode() -> None:
    _, null = made(unwrap={}, schemas=True)
    value = json.loads(null.value or b"")
    assert value["payload"] is None
    assert (value["schema"]["name"], value["schema"]["optional"]) == (
        "shop.public.orders_1.Value",
        True,
    )


def test_fields_and_headers_are_added() -> None:
    options = {
        "add_fields": ["op", "table", "transaction.id", "source.db:base", "nothing"],
        "add_headers": ["op", "ts_ms", "total_order"],
        "add_headers_prefix": "",
    }
    first, _ = made(unwrap=options)
    assert told([first]) == [
        {**ROW, "__op": "c", "__table": "orders_1", "__transaction_id": None, "__base": ""}
    ]
    assert first.headers["op"] == "c"
    assert first.headers["ts_ms"].isdecimal()
    assert "total_order" not in first.headers  # it is null


def test_a_column_can_name_the_topic() -> None:
    records = made(unwrap={"route_by_field": "status", "delete_tombstone_handling_mode": "rewrite"})
    assert [record.topic for record in records] == ["new", "new"]
    with pytest.raises(DecodeError, match="no column 'colour'"):
        made(unwrap={"route_by_field": "colour"})


def test_truncates_are_not_told() -> None:
    assert made(truncate("public.t"), skipped_operations=[])[0].value
    assert made(truncate("public.t"), skipped_operations=[], unwrap={}) == []


def test_what_shows_a_change_best_is_json_even_if_nothing_is_sent() -> None:
    format = Debezium(topic_prefix="shop", unwrap={"delete_tombstone_handling_mode": "drop"})
    assert format.build().record(CHANGES[1]).value is None
    avro = Debezium(topic_prefix="shop", schema_registry="mock://").build()
    assert json.loads(avro.record(CHANGES[0]).value or b"")["after"] == ROW


# -- route

ROUTE = {"topic_regex": r"shop\.public\.(?<name>[a-z]+)_(\d)", "topic_replacement": "${name}$2"}


def test_tables_share_a_topic_and_their_keys_are_told_apart() -> None:
    first, *_ = made(route={**ROUTE, "topic_replacement": "all.${name}"}, schemas=True)
    assert first.topic == "all.orders"
    key, value = json.loads(first.key or b""), json.loads(first.value or b"")
    assert key["payload"] == {"id": 1, "__dbz__physicalTableIdentifier": "shop.public.orders_1"}
    assert key["schema"]["name"] == "all.orders.Key"
    assert value["schema"]["name"] == "all.orders.Envelope"
    assert {f["name"] for f in value["schema"]["fields"][:2]} == {"all.orders.Value"}


def test_the_keys_field_can_be_chosen() -> None:
    options: dict[str, Any] = {**ROUTE, "key_field_name": "n", "key_field_regex": r".*_(\d)"}
    first, *_ = made(route={**options, "key_field_replacement": "$1"})
    assert first.key == b'{"id":1,"n":"1"}'
    first, *_ = made(
        route={**options, "key_enforce_uniqueness": False, "key_field_replacement": "x"}
    )
    assert first.key == b'{"id":1}'


def test_a_topic_that_does_not_match_as_a_whole_stays() -> None:
    first, *_ = made(route={"topic_regex": "orders_1", "topic_replacement": "x"})
    assert (first.topic, first.key) == ("shop.public.orders_1", b'{"id":1}')


def test_a_column_of_the_fields_name_is_refused() -> None:
    with pytest.raises(DecodeError, match="has a column 'id' already"):
        made(route={**ROUTE, "key_field_name": "id"})


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [("(", "x"), ("a", "$1"), ("a", "${b}"), ("a", "$"), ("a", "\\")],
)
def test_a_pattern_or_replacement_that_means_nothing_is_refused(
    pattern: str, replacement: str
) -> None:
    with pytest.raises(ValidationError):
        Debezium(route={"topic_regex": pattern, "topic_replacement": replacement})


@pytest.mark.parametrize(
    ("pattern", "replacement", "text", "expected"),
    [
        (r"(a)(b)?", r"$1-$2", "a", "a-"),
        (r"(a)", r"$12", "a", "a2"),
        (r"(?<x>a)(?<y>b)", r"${y}${x}$0", "ab", "baab"),
        (r"a", r"\$1\\", "a", "$1\\"),
        (r"a", r"b", "aa", None),
        (r"(?<!x)a", r"b", "a", "b"),
    ],
)
def test_javas_replacements(
    pattern: str, replacement: str, text: str, expected: str | None
) -> None:
    assert JavaRegex(pattern, replacement).replace(text) == expected


# -- names


@pytest.mark.parametrize(
    ("mode", "column", "name", "expected"),
    [
        ("none", True, "1 ä", "1 ä"),
        ("avro", True, "1 ä", "_1__"),
        ("avro", False, "a-b.c d", "a_b.c_d"),
        ("avro", True, "a.b", "a_b"),
        ("avro_unicode", True, "1_b", "_u0031_u005fb"),
    ],
)
def test_names_for_avro(mode: Any, column: bool, name: str, expected: str) -> None:
    assert adjusted(mode, column=column)(name) == expected


# -- Avro


def test_a_name_that_avro_does_not_allow_says_what_to_do() -> None:
    odd = insert("public.the orders", {"id": 1, "the status": "x"})
    with pytest.raises(SchemaError, match="'the status' is no name") as caught:
        made(odd, schema_registry="mock://")
    assert "field_name_adjustment_mode" in (caught.value.hint or "")
    modes = {"schema_name_adjustment_mode": "avro", "field_name_adjustment_mode": "avro"}
    assert made(odd, schema_registry="mock://", **modes)[0].value


def test_tombstones_stay_null_and_every_schema_has_an_id() -> None:
    records = made(schema_registry="mock://")
    ids = [record.value and record.value[:5] for record in records]
    assert ids == [b"\0\0\0\0\2", b"\0\0\0\0\2", None]
    assert {record.key and record.key[:5] for record in records} == {b"\0\0\0\0\1"}


@pytest.mark.parametrize(("away", "error"), [(True, SinkUnavailableError), (False, SinkError)])
def test_a_registrys_failure_is_the_sinks(
    monkeypatch: pytest.MonkeyPatch, away: bool, error: type[SinkError]
) -> None:
    def fail(subject: str, data: Data) -> bytes:
        raise RegistryFailure(f"{subject}: no", "do something", away=away)

    converter = AvroConverter(SchemaRegistry(url="mock://"))
    monkeypatch.setattr(converter._registry, "encode", fail)
    with pytest.raises(SinkError, match="t-key: no") as caught:
        converter.key(ConnectRecord("t", Data({"type": "int32"}, 1), None, {}))
    assert type(caught.value) is error
    assert caught.value.hint == "do something"


def test_a_registry_that_refuses_us_is_found_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing:
        def get_subjects(self) -> list[str]:
            raise SchemaRegistryError(401, 401, "who are you")

    monkeypatch.setattr(SchemaRegistry, "client", lambda self: Refusing())
    sink = Memory(format={"type": "debezium", "schema_registry": "http://registry"})
    made = Pipeline("p", ScriptedSource([]), [sink], store="memory")
    (finding,) = made.check()
    assert (finding.severity, finding.code) == ("error", "schema-registry")
    assert "who are you" in finding.message
    assert "basic.auth.user.info" in finding.fix
    client: Any = SchemaRegistryClient.new_client({"url": "mock://"})
    monkeypatch.setattr(SchemaRegistry, "client", lambda self: client)
    assert made.check() == []
    client.close()


def test_json_lines_hold_no_avro(tmp_path: Any) -> None:
    format = Debezium(topic_prefix="shop", schema_registry="mock://").build()
    sink = Jsonl(path=str(tmp_path / "orders.jsonl")).build()
    with pytest.raises(ConfigError, match="writes JSON"):
        asyncio.run(sink.open(Context("p", "jsonl", format)))


# -- heartbeats


def test_a_heartbeat_comes_when_the_last_is_long_enough_ago() -> None:
    now = 0
    heartbeats = Heartbeats("shop", 1000, lambda: now)
    assert list(heartbeats()) == []
    now = 1_000_000_000
    (beat,) = heartbeats()
    assert list(heartbeats()) == []
    assert beat.topic == "__debezium-heartbeat.shop"
    assert beat.key
    assert beat.value
    assert (beat.key.value, beat.value.value) == ({"serverName": "shop"}, {"ts_ms": 1000})


def test_heartbeats_follow_a_batch_and_are_routed_but_not_unwrapped() -> None:
    route: dict[str, Any] = {"topic_regex": ".*heartbeat.*", "topic_replacement": "beats"}
    route["key_enforce_uniqueness"] = False
    format = Debezium(topic_prefix="shop", route=route, unwrap={}, heartbeat_interval_ms=1).build()
    beats: list[Record] = []
    while not beats:
        beats = list(format.records(EventBatch("main", ())))
    assert [beat.topic for beat in beats] == ["beats"]
