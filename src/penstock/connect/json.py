"""Connect's JSON with schemas: ``{"schema": …, "payload": …}``."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import orjson

Schema: TypeAlias = dict[str, Any]
"""A Connect schema, as the JSON converter writes it."""

_PAYLOAD: Final = b',"payload":'


class Data:
    """A value and its schema; the value as JSON, as an object, or both.

    Schemas are compared by identity: the same schema is the same dict.
    """

    __slots__ = ("_text", "_value", "schema")

    def __init__(self, schema: Schema, value: Any = None, text: bytes | None = None) -> None:
        self.schema = schema
        self._text = text
        self._value = value

    @property
    def value(self) -> Any:
        """The value as :func:`json.loads` gives it."""
        if self._value is None and self._text is not None:
            self._value = orjson.loads(self._text)
        return self._value

    @property
    def text(self) -> bytes:
        """The value as JSON."""
        if self._text is None:
            self._text = orjson.dumps(self._value)
        return self._text

    def under(self, schema: Schema) -> Data:
        """The same value with another schema."""
        return Data(schema, self._value, self._text)


class Frames:
    """Takes schemas off texts that come with them, and puts them on.

    A schema is parsed when it is first seen: what follows of its kind begins with the same bytes.
    """

    def __init__(self) -> None:
        self._heads: dict[str, tuple[bytes, Schema]] = {}
        self._schemas: dict[bytes, Schema] = {}
        self._written: dict[int, tuple[Schema, bytes]] = {}

    def split(self, kind: str, text: bytes) -> Data:
        """The value in a text. ``kind`` tells texts apart that have different schemas; those of
        one kind may, but rarely do. Raises ValueError for what is no such text."""
        head, schema = self._heads.get(kind, (b"", {}))
        if not head or not text.startswith(head):
            parsed = orjson.loads(text)
            if not isinstance(parsed, dict) or parsed.keys() != {"schema", "payload"}:
                raise ValueError("it comes without its schema")
            written = orjson.dumps(parsed["schema"])
            schema = self._schemas.setdefault(written, parsed["schema"])
            head = b'{"schema":' + written + _PAYLOAD
            if not text.startswith(head) or not text.endswith(b"}"):
                return Data(schema, parsed["payload"])
            self._heads[kind] = (head, schema)
        return Data(schema, text=text[len(head) : -1])

    def join(self, data: Data) -> bytes:
        """The text of a value with its schema."""
        found = self._written.get(id(data.schema))
        if found is None:
            head = b'{"schema":' + orjson.dumps(data.schema) + _PAYLOAD
            found = self._written[id(data.schema)] = (data.schema, head)
        return found[1] + data.text + b"}"
