"""``ExtractNewRecordState``: the row alone, without the envelope around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from penstock.connect import Data, Schema
from penstock.errors import DecodeError
from penstock.formats.debezium.chain import (
    ConnectRecord,
    Derived,
    as_header,
    bare,
    field_of,
    is_envelope,
)

DELETED: Final = "__deleted"
_OF_TRANSACTION: Final = ("id", "data_collection_order", "total_order")
_OF_ENVELOPE: Final = ("op", "ts_ms", "ts_us", "ts_ns")


class Unwrap(BaseModel):
    """Records hold the row after the change, as Debezium's ``ExtractNewRecordState`` leaves them.

    Parameters
    ----------
    delete_tombstone_handling_mode: what becomes of a delete and of the tombstone after it:
        ``drop`` neither goes on; ``tombstone`` the delete goes on as a null that still has its
        schema (with ``schemas``: ``{"schema": …, "payload": null}``), ``delete-to-tombstone`` as a
        true tombstone; ``rewrite`` the old row goes on with ``__deleted`` = ``"true"``, which is
        ``"false"`` in all other rows; ``rewrite-with-tombstone`` and the tombstone after it.
    add_fields, add_headers: of the envelope, added to the row or to the headers: ``op``,
        ``source.lsn``, ``transaction.id``; a name without a struct is the envelope's, the
        transaction's or else the source's; ``name:other`` gives it another name.
    add_fields_prefix, add_headers_prefix: what their names begin with.
    route_by_field: the column that holds the topic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    delete_tombstone_handling_mode: Literal[
        "drop", "tombstone", "rewrite", "rewrite-with-tombstone", "delete-to-tombstone"
    ] = "tombstone"
    add_fields: tuple[str, ...] = ()
    add_headers: tuple[str, ...] = ()
    add_fields_prefix: str = "__"
    add_headers_prefix: str = "__"
    route_by_field: str = Field(default="")

    @field_validator("add_fields", "add_headers")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name.count(":") > 1 or name.count(".") > 1 or not name.strip(".:"):
                raise ValueError(f"{name!r} is no field: name, struct.name or struct.name:other")
        return value

    def build(self) -> UnwrapStep:
        """The step."""
        return UnwrapStep(self)


class _Added(NamedTuple):
    """A field of the envelope, and its name in the row."""

    struct: str
    field: str
    name: str

    @classmethod
    def parse(cls, text: str, prefix: str) -> _Added:
        path, _, other = text.partition(":")
        struct, dot, field = path.rpartition(".")
        if not dot and field not in _OF_ENVELOPE:
            struct = "transaction" if field in _OF_TRANSACTION else "source"
        return cls(struct, field, prefix + (other or path.replace(".", "_")))

    def schema(self, envelope: Schema) -> Schema | None:
        """The schema of the added field; None where the envelope has none such."""
        parent: Schema | None = envelope
        if self.struct:
            parent = field_of(envelope, self.struct)
        found = field_of(parent, self.field) if parent and "fields" in parent else None
        found = found or field_of(envelope, self.field)
        if found is None:
            return None
        kept = ("type", "name", "version", "doc", "parameters", "items", "keys", "values")
        basics = {name: found[name] for name in kept if name in found}
        return basics | {"optional": True, "field": self.name}

    def value(self, envelope: Any) -> Any:
        """Its value in an envelope."""
        parent = envelope.get(self.struct) if self.struct else envelope
        if parent is None:
            return None
        return parent[self.field] if self.field in parent else envelope.get(self.field)


class UnwrapStep:
    """Takes the row out of an envelope; what is none passes."""

    def __init__(self, options: Unwrap) -> None:
        mode = options.delete_tombstone_handling_mode
        self._mode = mode
        self._rewrite = mode in ("rewrite", "rewrite-with-tombstone")
        self._topic = options.route_by_field
        self._fields = [_Added.parse(f, options.add_fields_prefix) for f in options.add_fields]
        self._headers = [_Added.parse(f, options.add_headers_prefix) for f in options.add_headers]
        self._rows = Derived(self._row)
        self._nulls = Derived(lambda envelope: _side(envelope, "after"))

    def __call__(self, record: ConnectRecord) -> ConnectRecord | None:
        if record.value is None:
            return self._tombstone(record)
        if not is_envelope(record.value):
            return record
        envelope = record.value.value
        row, schema = envelope["after"], record.value.schema
        headers = {**record.headers, **dict(self._added(record.value))}
        if row is not None:
            topic = self._routed(record.topic, row)
            value = Data(self._rows.of(schema), self._filled(row, envelope, schema, "false"))
            return ConnectRecord(topic, record.key, value, headers)
        row = envelope["before"]
        if row is None or self._mode == "drop":  # a truncate is told in no mode
            return None
        topic = self._routed(record.topic, row)
        if self._rewrite:
            value = Data(self._rows.of(schema), self._filled(row, envelope, schema, "true"))
            return ConnectRecord(topic, record.key, value, headers)
        null = Data(self._nulls.of(schema)) if self._mode == "tombstone" else None
        return ConnectRecord(topic, record.key, null, headers)

    def _tombstone(self, record: ConnectRecord) -> ConnectRecord | None:
        if self._mode != "rewrite-with-tombstone":
            return None
        told = {added.name: "d" for added in self._headers if added.field == "op"}
        return record._replace(headers={**record.headers, **told})

    def _added(self, data: Data) -> Iterator[tuple[str, str]]:
        for added in self._headers:
            value = added.value(data.value)
            if value is not None:
                yield added.name, as_header(value)

    def _routed(self, topic: str, row: dict[str, Any]) -> str:
        if not self._topic:
            return topic
        if self._topic not in row:
            raise DecodeError(
                f"a row of topic {topic} has no column {self._topic!r}",
                hint="name another in unwrap.route_by_field",
            )
        return str(row[self._topic] or topic)

    def _filled(self, row: Any, envelope: Any, schema: Schema, deleted: str) -> Any:
        made = dict(row)
        if self._rewrite:
            made[DELETED] = deleted
        for added in self._fields:
            if added.schema(schema) is not None:
                made[added.name] = added.value(envelope)
        return made

    def _row(self, envelope: Schema) -> Schema:
        after = _side(envelope, "after")
        added = [made for one in self._fields if (made := one.schema(envelope)) is not None]
        if self._rewrite:
            added.insert(0, {"type": "string", "optional": True, "field": DELETED})
        return {**after, "fields": [*after["fields"], *added], "optional": False}


def _side(envelope: Schema, name: str) -> Schema:
    side = field_of(envelope, name)
    assert side is not None, "every envelope has both rows"
    return bare(side)
