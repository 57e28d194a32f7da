"""Messages in the wire format, with confluent-kafka's own registry in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.connect import Data
from penstock.connect.registry import Registry, RegistryFailure, SchemaRegistry

CONFIG = SchemaRegistry(url="mock://")
SCHEMA = {
    "type": "struct",
    "name": "a.Row",
    "optional": False,
    "fields": [
        {"type": "int64", "optional": False, "field": "id"},
        {"type": "float", "optional": True, "field": "real"},
        {"type": "double", "optional": True, "field": "double"},
        {"type": "bytes", "optional": True, "field": "bytes"},
        {
            "type": "map",
            "keys": {"type": "int16", "optional": False},
            "values": {"type": "double", "optional": True},
            "optional": True,
            "field": "map",
        },
    ],
}
ROW = {"id": 1, "real": 0.1, "double": "NaN", "bytes": "/w==", "map": [[1, 2.5], [2, None]]}


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry(CONFIG)
    yield made
    made.close()


def test_a_message_is_a_zero_the_id_and_the_value(registry: Registry) -> None:
    message = registry.encode("t-value", Data(SCHEMA, ROW))
    assert message[:5] == b"\0\0\0\0\1"
    assert message[5:7] == b"\2\2"  # the id, and the branch of the next
    data = registry.decode(message)
    assert data.value == ROW
    assert data.schema == SCHEMA
    assert registry.decode(message).schema is data.schema


def test_reals_keep_what_json_has(registry: Registry) -> None:
    for text in ("NaN", "Infinity", "-Infinity", 3.4e38, 1e-45, 0.1, -0.0, 1e7, 16777217.0):
        row = {**ROW, "real": text, "double": text}
        back = registry.decode(registry.encode("t-value", Data(SCHEMA, row))).value
        assert back["double"] == text
        assert back["real"] == (16777216.0 if text == 16777217.0 else text)
        assert text == "NaN" or math.copysign(1, float(back["real"])) == math.copysign(
            1, float(text)
        )


@pytest.mark.parametrize("message", [b"", b"{}", b"\0\0\0", b"\1\0\0\0\1"])
def test_what_is_no_message_is_refused(registry: Registry, message: bytes) -> None:
    with pytest.raises(ValueError, match="zero byte"):
        registry.decode(message)


def test_bytes_that_are_not_of_their_schema_are_refused(registry: Registry) -> None:
    message = registry.encode("t-value", Data(SCHEMA, ROW))
    with pytest.raises(ValueError, match="bytes follow"):
        registry.decode(message + b"x")
    for end in range(5, len(message)):
        with pytest.raises(ValueError, match="not of their schema"):
            registry.decode(message[:end])


def test_an_unknown_id_is_told(registry: Registry) -> None:
    with pytest.raises(RegistryFailure, match="no schema has the id 9") as caught:
        registry.decode(b"\0\0\0\0\x09")
    assert caught.value.unknown
    assert not caught.value.away


class Gone:
    """A client whose registry does not answer."""

    def get_schema(self, id: int) -> Any:
        raise OSError("refused")


def test_a_registry_that_is_not_there_is_away() -> None:
    with pytest.raises(RegistryFailure, match=r"id 9 at mock://: refused") as caught:
        Registry(CONFIG, Gone()).decode(b"\0\0\0\0\x09")
    assert caught.value.away


class Refusing:
    """A client whose registry answers with an error."""

    def __init__(self, status: int) -> None:
        self._status = status

    def register_schema(self, subject: str, schema: Any) -> int:
        raise SchemaRegistryError(self._status, -1, "so it is")

    lookup_schema = register_schema


@pytest.mark.parametrize(
    ("status", "away", "hint"),
    [
        (401, False, "basic.auth.user.info"),
        (403, False, "basic.auth.user.info"),
        (409, False, "compatibility"),
        (422, False, ""),
        (404, False, "register"),
        (429, True, ""),
        (500, True, ""),
        (503, True, ""),
    ],
)
def test_what_a_registry_says_is_told(status: int, away: bool, hint: str) -> None:
    registry = Registry(CONFIG, Refusing(status))
    with pytest.raises(RegistryFailure, match="so it is") as caught:
        registry.encode("t-value", Data(SCHEMA, ROW))
    assert caught.value.away is away
    assert hint in caught.value.hint


def test_nothing_is_registered_where_that_is_forbidden(registry: Registry) -> None:
    config = SchemaRegistry(url="mock://", register_schemas=False)
    client = config.client()
    with pytest.raises(RegistryFailure, match="the schema of 't-value' is not there"):
        Registry(config, client).encode("t-value", Data(SCHEMA, ROW))
    message = Registry(CONFIG, client).encode("t-value", Data(SCHEMA, ROW))
    assert Registry(config, client).encode("t-value", Data(SCHEMA, ROW)) == message


def test_settings_are_the_clients_own() -> None:
    with pytest.raises(RegistryFailure, match="nonsense"):
        Registry(SchemaRegistry(url="http://127.0.0.1:1", settings={"nonsense": "x"})).decode(
            b"\0\0\0\0\x09"
        )


def test_a_user_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ValidationError, match=r"basic\.auth\.user\.info") as caught:
        SchemaRegistry(url="http://user:secret@registry")
    assert "secret" not in str(caught.value)


@cache
def known() -> tuple[Registry, bytes]:
    """A registry, and how messages of a schema begin that it has."""
    made = Registry(CONFIG)
    return made, made.encode("t-value", Data(SCHEMA, ROW))[:5]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_refused(body: bytes) -> None:
    registry, head = known()
    with suppress(ValueError):
        assert registry.decode(head + body).value.keys() == ROW.keys()
