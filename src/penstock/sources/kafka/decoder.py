"""From the records of one partition to events.

A record of Debezium (or of the format ``debezium``) gives a change with its table, a message, or
nothing: tombstones after a delete, heartbeats, and the records of transactions and of schemas
repeat what the changes say, or say what a single partition cannot. The format ``change`` gives the
same without types. What is none of these raises DecodeError; nothing is skipped unseen.

Facts of the format: Debezium 3.6, ``Envelope.java``, ``RelationalChangeRecordEmitter.java``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from penstock.errors import DecodeError
from penstock.model import (
    Change,
    Event,
    Mark,
    Message,
    Operation,
    Origin,
    SchemaChange,
    Table,
    Transaction,
)
from penstock.sources.kafka import ours
from penstock.sources.kafka.codec import Codec, Decoded, Schema
from penstock.sources.kafka.place import stream_of
from penstock.sources.kafka.shapes import Shape
from penstock.sources.kafka.types import data

ID_HEADER: Final = "penstock.id"
NEW_KEY_HEADER: Final = "__debezium.newkey"
PLACEHOLDER: Final = "__debezium_unavailable_value"
_OPERATIONS: Final[Mapping[str, Operation]] = {
    "c": "insert",
    "u": "update",
    "d": "delete",
    "r": "read",
    "t": "truncate",
}
_WHOLE_ROWS: Final = frozenset(("mysql", "mariadb"))  # of which an old row always is one
_CONTROL: Final = (
    {"status", "id", "event_count", "data_collections", "ts_ms"},  # a transaction's begin or end
    {"ts_ms"},  # a heartbeat
)
_MOST: Final = 1000
"""Shapes that are remembered; then they are made again."""
_MISREAD: Final = (KeyError, TypeError, ValueError, AttributeError)


class Consumed(NamedTuple):
    """A record as it came. ``time_ms`` is Kafka's own, since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes | None] = {}
    time_ms: int = 0


@dataclass(slots=True)
class Shapes:
    """The shapes of all topics, shared by the decoders of their partitions.

    Parameters
    ----------
    codec: of keys and values.
    whole: patterns of tables whose old rows are whole (REPLICA IDENTITY FULL).
    placeholder: Debezium's ``unavailable.value.placeholder``.
    """

    codec: Codec
    whole: Sequence[str] = ()
    placeholder: str = PLACEHOLDER
    known: dict[Any, tuple[Any, Shape]] = field(default_factory=dict)

    def of(
        self,
        names: tuple[str, str],
        row: tuple[Schema | None, Mapping[str, Any]],
        key: Decoded | None,
        *,
        whole: bool = False,
    ) -> Shape:
        """The shape of a table's records with this schema of the row, and this key."""
        schema, example = row
        keys = tuple(key.value) if key is not None and isinstance(key.value, dict) else ()
        place = (names, tuple(example) if schema is None else id(schema), keys, whole)
        found = self.known.get(place)
        if found is None:
            fields: list[tuple[str, Schema | None]] = [(name, None) for name in example]
            if schema is not None:
                fields = [(str(of["field"]), of) for of in schema["fields"]]
            if len(self.known) >= _MOST:
                self.known.clear()
            shape = Shape(*names, fields, keys, self.placeholder, whole=whole)
            found = self.known[place] = (schema, shape)  # which keeps the schema, and so its id
        return found[1]

    def is_whole(self, names: tuple[str, str], connector: str) -> bool:
        """Whether an old row of a table is all of it, where there is one."""
        if connector in _WHOLE_ROWS:
            return True
        text = ".".join(names)
        return any(fnmatchcase(text, pattern) for pattern in self.whole)


class Decoder:
    """Reads one partition, in order.

    Keeps which version of a table it saw last, and the key of a delete that came just now.
    """

    def __init__(self, topic: str, partition: int, shapes: Shapes) -> None:
        self._topic = topic
        self._stream = stream_of(topic, partition)
        self._shapes = shapes
        self._tables: dict[str, Table] = {}
        self._shape: Shape | None = None
        self._deleted: bytes | None = None

    def decode(self, record: Consumed) -> list[Event]:
        """The events of one record. Raises DecodeError, SourceError."""
        deleted, self._deleted = self._deleted, None
        try:
            if record.value is None:
                # the tombstone of the delete before; of a delete that compaction took, itself one
                is_told = deleted is not None and deleted == record.key
                return [] if is_told or record.key is None else self._tombstone(record)
            found = self._shapes.codec.decode(self._topic, record.value)
            value = found.value
            if not isinstance(value, dict):
                raise TypeError("its value is no object")
            if "mark" in value and "table" in value:
                change = ours.change(record, self._stream, value, self._shapes)
            elif "op" in value and "source" in value:
                if value["op"] == "m":
                    return [self._message(record, value)]
                change = self._change(record, found.schema, value)
            elif "ddl" in value or set(value) in _CONTROL:
                return []
            else:
                raise ValueError("it has no envelope")
        except _MISREAD as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise DecodeError(
                f"record {record.offset} of {self._stream} is no change: {said}",
                hint="only topics that Debezium or penstock wrote, unchanged, can be read: leave "
                'the topic out, or set poison = "park" to set such records aside',
                mark=Mark(self._stream, record.offset),
            ) from error
        if change.operation == "delete":
            self._deleted = record.key
        return [*self._introduced(change.definition), change]

    def _introduced(self, table: Table) -> Sequence[Event]:
        before = self._tables.get(table.text)
        if before is table or before == table:
            return ()
        self._tables[table.text] = table
        return (SchemaChange(before, table),)

    def _change(self, record: Consumed, schema: Schema | None, value: dict[str, Any]) -> Change:
        operation = _OPERATIONS[value["op"]]
        source = value["source"]
        names = (source.get("schema") or source.get("db") or "", source["table"])
        key = None
        if record.key is not None:
            key = self._shapes.codec.decode(self._topic, record.key)
        before, after = value.get("before"), value.get("after")
        row = after if after is not None else before
        whole = key is None or key.value is None
        whole = whole or self._shapes.is_whole(names, source.get("connector", ""))
        if row is None:
            if operation != "truncate":
                raise ValueError("it has no row")
            row = {}
        shape = self._shapes.of(names, (_side(schema), row), key, whole=whole)
        made: Change = Change(operation, shape.table, self._origin(record, source), record.offset)
        if after is not None:
            made.values_after = shape.row(after)
        if before is not None and whole:
            made.values_before = shape.row(before)
        if operation == "delete" and key is not None and key.value is not None:
            made.key_new = shape.key(key.value)
        named(made, record)
        self._shape = shape
        return made

    def _origin(self, record: Consumed, source: Mapping[str, Any]) -> Origin:
        facts: dict[str, Any] = {"database": source.get("db") or ""}
        lsn, transaction = source.get("lsn"), None
        if lsn is not None:
            facts["lsn"] = f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
        if source.get("snapshot", "false") in ("false", None, False):
            micros = source.get("ts_us") or source["ts_ms"] * 1000
            id = source.get("txId") or source.get("gtid") or source.get("pos") or ""
            transaction = Transaction(str(id), micros)
        return Origin(self._stream, transaction, record.offset, facts)

    def _message(self, record: Consumed, value: Mapping[str, Any]) -> Message:
        told, transaction = value["message"], self._origin(record, value["source"]).transaction
        mark = Mark(self._stream, record.offset)
        in_transaction = transaction is not None and transaction.id
        content = data(told["content"] or "")
        return Message(told["prefix"] or "", content, mark, transaction if in_transaction else None)

    def _tombstone(self, record: Consumed) -> list[Event]:
        assert record.key is not None
        key = self._shapes.codec.decode(self._topic, record.key)
        if not isinstance(key.value, dict):
            raise TypeError("its key is no object")
        shape = self._shape
        if shape is None or shape.table.key_columns != tuple(key.value):
            schema, _, name = ".".join(self._topic.split(".")[-2:]).rpartition(".")
            shape = self._shapes.of((schema, name), (key.schema, key.value), key)
        origin = Origin(self._stream, None, record.offset)
        made: Change = Change("delete", shape.table, origin, record.offset)
        made.key_new = shape.key(key.value)
        return [*self._introduced(shape.table), made]


def named(change: Change, record: Consumed) -> None:
    """Give a change the id that it was written with. Of a changed key's two records the delete
    has one of its own, since both bear the change's."""
    id = record.headers.get(ID_HEADER)
    if id:
        moved = NEW_KEY_HEADER in record.headers
        change.own_id = id.decode() + (".delete" if moved else "")


def _side(schema: Schema | None) -> Schema | None:
    """The schema of the row, in that of the envelope."""
    for of in schema["fields"] if schema is not None else ():
        if of["field"] == "after":
            found: Schema = of
            return found
    return None
