"""What becomes of the connector's records before they are bytes: steps, then a converter.

As in Kafka Connect, a step (a single message transform) takes a record with its schemas and gives
one, or none; a converter makes bytes of keys and values. The connector's records come from
:class:`~penstock.formats.debezium.format.DebeziumFormat` as JSON with schemas, from either kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

import orjson

from penstock.connect import Data, Frames, Remembered, Schema
from penstock.model import Batch, Change, Record
from penstock.ports import Finding

if TYPE_CHECKING:
    from penstock.formats.debezium.format import DebeziumFormat

OLD_KEY: Final = "__debezium.oldkey"
NEW_KEY: Final = "__debezium.newkey"
"""Headers that hold the other key of a change that changed it, as JSON."""


class ConnectRecord(NamedTuple):
    """A record whose key and value have their schemas; None where Connect has null for both."""

    topic: str
    key: Data | None
    value: Data | None
    headers: Mapping[str, str]


Step: TypeAlias = Callable[[ConnectRecord], ConnectRecord | None]


class Converter(Protocol):
    """Makes bytes of keys and values."""

    @property
    def binary(self) -> bool:
        """Whether the bytes are something else than JSON."""

    def key(self, record: ConnectRecord) -> bytes | None:
        """The bytes of its key."""

    def value(self, record: ConnectRecord) -> bytes | None:
        """The bytes of its value."""

    def check(self) -> list[Finding]:
        """What would keep it from working."""

    def close(self) -> None:
        """Let go of connections; it may be asked again."""


class JsonConverter:
    """Connect's JSON, with schemas or without."""

    binary = False

    def __init__(self, schemas: bool) -> None:
        self._frames = Frames() if schemas else None

    def key(self, record: ConnectRecord) -> bytes | None:
        """The key as JSON."""
        return self.json(record.key)

    def value(self, record: ConnectRecord) -> bytes | None:
        """The value as JSON."""
        return self.json(record.value)

    def check(self) -> list[Finding]:
        """Nothing can."""
        return []

    def close(self) -> None:
        """It has no connections."""

    def json(self, data: Data | None) -> bytes | None:
        """A value as JSON."""
        if data is None:
            return None
        return data.text if self._frames is None else self._frames.join(data)


class DerivedFormat:
    """Records made of those of the connector.

    Parameters
    ----------
    connector: makes its records with schemas.
    extra: what follows the records of each batch, of one without events too.
    """

    def __init__(
        self,
        name: str,
        connector: DebeziumFormat,
        steps: Iterable[Step],
        converter: Converter,
        extra: Callable[[], Iterable[ConnectRecord]] | None = None,
    ) -> None:
        self.name = name
        self._connector = connector
        self._frames = Frames()
        self._steps = tuple(steps)
        self._converter = converter
        self._json = JsonConverter(schemas=False)
        self._extra = extra

    @property
    def binary(self) -> bool:
        """Whether keys and values are something else than JSON."""
        return self._converter.binary

    @property
    def idle(self) -> bool:
        """Whether batches without events may have records."""
        return self._extra is not None

    def records(self, batch: Batch) -> Iterator[Record]:
        """The records of a batch's events, in order. Raises what its steps and converter do."""
        for record in batch.records(self._connector):
            made = self._stepped(self._opened(record))
            if made is not None:
                yield _written(made, self._converter)
        for extra in () if self._extra is None else self._extra():
            made = self._stepped(extra)
            if made is not None:
                yield _written(made, self._converter)

    def record(self, change: Change[Any]) -> Record:
        """The one record of a change that shows it best; as JSON, for people, whatever
        :meth:`records` makes."""
        record = self._connector.record(change)
        made = self._stepped(self._opened(record))
        if made is None:
            return Record(record.topic, None, None, record.headers)
        return _written(made, self._json if self.binary else self._converter)

    def check(self) -> list[Finding]:
        """Whether what it asks answers."""
        found = self._converter.check()
        self._converter.close()
        return found

    def close(self) -> None:
        """Let go of connections; it may be asked again."""
        self._converter.close()

    def _opened(self, record: Record) -> ConnectRecord:
        topic, key, value, headers = record
        return ConnectRecord(
            topic,
            None if key is None else self._frames.split("key " + topic, key),
            None if value is None else self._frames.split("value " + topic, value),
            headers,
        )

    def _stepped(self, record: ConnectRecord) -> ConnectRecord | None:
        for step in self._steps:
            made = step(record)
            if made is None:
                return None
            record = made
        return record


def _written(record: ConnectRecord, converter: Converter) -> Record:
    key, value = converter.key(record), converter.value(record)
    return Record(record.topic, key, value, record.headers)


def is_envelope(data: Data | None) -> bool:
    """Whether a value is a change, rather than a message, a heartbeat or a transaction's border."""
    return data is not None and str(data.schema.get("name", "")).endswith(".Envelope")


def table_of(source: Mapping[str, Any]) -> str:
    """The table that an envelope's ``source`` names; of connectors without schemas with its
    database."""
    return f"{source.get('schema', source['db'])}.{source['table']}"


def field_of(schema: Schema, name: str) -> Schema | None:
    """A struct's field."""
    return next((field for field in schema["fields"] if field["field"] == name), None)


def bare(field: Schema) -> Schema:
    """A field's schema on its own."""
    return {name: value for name, value in field.items() if name != "field"}


def as_header(value: Any) -> str:
    """A value as Connect's default converter of headers writes it: a text as it is."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class Derived:
    """Schemas that are made of others, each once."""

    def __init__(self, derive: Callable[..., Schema]) -> None:
        self._derive = derive
        self._made: Remembered[tuple[int, Any], tuple[Schema, Schema]] = Remembered()

    def of(self, schema: Schema, *rest: Any) -> Schema:
        """What is made of a schema and what else counts."""
        found = self._made.get((id(schema), rest))
        if found is None:  # the schema is kept, so its id stays its own
            found = self._made[id(schema), rest] = (schema, self._derive(schema, *rest))
        return found[1]
