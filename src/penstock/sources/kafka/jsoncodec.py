"""JSON as Connect's JSON converter writes it, with schemas or without.

With schemas most of a record is its schema, which is the same in record after record: it is
compared, not parsed.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from penstock.sources.kafka.codec import Decoded, Schema

_BEFORE: Final = b'{"schema":'
_BETWEEN: Final = b',"payload":'
_REMEMBERED: Final = 8
"""Schemas a topic, the latest first."""

_MOST: Final = 1000
"""Schemas of all topics; then they are learnt again."""


class JsonCodec:
    """See the module. Keeps the schemas that it saw."""

    def __init__(self) -> None:
        self._heads: dict[str, list[tuple[bytes, Schema]]] = {}
        self._schemas: dict[bytes, Schema] = {}

    def decode(self, topic: str, data: bytes) -> Decoded:
        """Schema and value. Raises ValueError for what is not JSON."""
        heads = self._heads.get(topic)
        if heads is None:
            heads = self._heads[topic] = []
        for i, (head, schema) in enumerate(heads):
            if data.startswith(head):
                if i:
                    heads.insert(0, heads.pop(i))
                return Decoded(schema, orjson.loads(data[len(head) : -1]))
        whole = orjson.loads(data)
        if not isinstance(whole, dict) or whole.keys() != {"schema", "payload"}:
            return Decoded(None, whole)
        if not isinstance(whole["schema"], dict):
            return Decoded(None, whole["payload"])
        schema = self._same(whole["schema"])
        found = _head(data, whole["schema"])
        if found is not None:
            heads.insert(0, (found, schema))
            del heads[_REMEMBERED:]
        return Decoded(schema, whole["payload"])

    def _same(self, schema: Schema) -> Schema:
        if len(self._schemas) >= _MOST:
            self._schemas.clear()
        return self._schemas.setdefault(orjson.dumps(schema), schema)


def _head(data: bytes, schema: Schema) -> bytes | None:
    """All that comes before the payload; None where a record is laid out otherwise."""
    if not data.startswith(_BEFORE) or not data.endswith(b"}"):
        return None
    at = data.find(_BETWEEN)
    while at >= 0:
        if _is(data[len(_BEFORE) : at], schema):
            return data[: at + len(_BETWEEN)]
        at = data.find(_BETWEEN, at + 1)
    return None


def _is(text: bytes, value: Any) -> bool:
    try:
        return bool(orjson.loads(text) == value)
    except ValueError:
        return False
