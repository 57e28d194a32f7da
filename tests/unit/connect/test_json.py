"""Texts with their schemas."""

from __future__ import annotations

import json

import pytest

from penstock.connect import Data, Frames

INT = {"type": "int32", "optional": False}
TEXT = {"type": "string", "optional": False}


def test_a_schema_is_taken_off_and_put_on() -> None:
    frames = Frames()
    text = frames.join(Data(INT, 5))
    assert json.loads(text) == {"schema": INT, "payload": 5}
    first, second = frames.split("key", text), frames.split("key", text)
    assert (first.schema, first.value, first.text) == (INT, 5, b"5")
    assert second.schema is first.schema
    assert frames.join(first) == text


def test_another_schema_in_its_place_is_seen() -> None:
    frames = Frames()
    frames.split("key", frames.join(Data(INT, 5)))
    assert frames.split("key", frames.join(Data(TEXT, "5"))).schema == TEXT


def test_the_way_it_is_written_does_not_matter() -> None:
    frames = Frames()
    data = frames.split("key", json.dumps({"schema": INT, "payload": 5}, indent=1).encode())
    assert (data.schema, data.value) == (INT, 5)
    assert data.schema is frames.split("other", frames.join(Data(INT, 6))).schema


@pytest.mark.parametrize("text", [b"5", b'{"payload": 5}', b"{"])
def test_a_text_without_its_schema_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"schema|unexpected"):
        Frames().split("key", text)


def test_a_few_schemas_in_one_place_are_each_parsed_once() -> None:
    frames = Frames()
    texts = [frames.join(Data(INT, 5)), frames.join(Data(TEXT, "5"))]
    first = [frames.split("key", text).schema for text in texts]
    again = [frames.split("key", text).schema for text in texts]
    assert [one is other for one, other in zip(first, again, strict=True)] == [True, True]


def test_what_is_remembered_is_bounded() -> None:
    frames = Frames()
    for n in range(3000):
        schema = {"type": "struct", "name": f"s{n}", "fields": [], "optional": False}
        data = frames.split("value", frames.join(Data(schema, {})))
        assert data.schema == schema
    assert len(frames._schemas) <= 1000
    assert len(frames._written) <= 1000
    assert len(frames._heads["value"]) <= 8
