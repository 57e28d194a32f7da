"""Connect's JSON with schemas: ``{"schema": …, "payload": …}``."""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeVar

import orjson

K = TypeVar("K")
V = TypeVar("V")

Schema: TypeAlias = dict[str, Any]
"""A Connect schema, as the JSON converter writes it."""

_PAYLOAD: Final = b',"payload":'
_MOST: Final = 1000
_HEADS: Final = 8


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


class Remembered(dict[K, V]):
    """What was made of schemas, and can be made again: all is forgotten when it is too much, as
    where documents have any number of shapes."""

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= _MOST:
            self.clear()
        super().__setitem__(key, value)


class Frames:
    """Takes schemas off texts that come with them, and puts them on.

    A schema is parsed when it is first seen: what follows of its kind begins with the same bytes.
    """

    def __init__(self) -> None:
        self._heads: dict[str, list[tuple[bytes, Schema]]] = {}
        self._schemas: Remembered[bytes, Schema] = Remembered()
        self._written: Remembered[int, tuple[Schema, bytes]] = Remembered()

    def split(self, kind: str, text: bytes) -> Data:
        """The value in a text. ``kind`` tells texts apart that have different schemas; those of
        one kind may have a few. Raises ValueError for what is no such text."""
        heads = self._heads.setdefault(kind, [])
        for i, (head, schema) in enumerate(heads):
            if text.startswith(head):
                if i:
                    heads.insert(0, heads.pop(i))
                return Data(schema, text=text[len(head) : -1])
        parsed = orjson.loads(text)
        if not isinstance(parsed, dict) or parsed.keys() != {"schema", "payload"}:
            raise ValueError("it comes without its schema")
        written = orjson.dumps(parsed["schema"])
        schema = self._schemas.get(written) or parsed["schema"]
        self._schemas[written] = schema
        head = b'{"schema":' + written + _PAYLOAD
        if not text.startswith(head) or not text.endswith(b"}"):
            return Data(schema, parsed["payload"])
        heads.insert(0, (head, schema))
        del heads[_HEADS:]
        return Data(schema, text=text[len(head) : -1])

    def join(self, data: Data) -> bytes:
        """The text of a value with its schema."""
        found = self._written.get(id(data.schema))
        if found is None:
            head = b'{"schema":' + orjson.dumps(data.schema) + _PAYLOAD
            found = (data.schema, head)
            self._written[id(data.schema)] = found
        return found[1] + data.text + b"}"
