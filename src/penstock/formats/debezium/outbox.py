"""``EventRouter``: rows of an outbox table as the events that they hold."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from penstock.connect import Data, Remembered, Schema
from penstock.errors import DecodeError, SchemaError
from penstock.formats.debezium.chain import (
    ConnectRecord,
    Derived,
    as_header,
    bare,
    field_of,
    is_envelope,
    table_of,
)
from penstock.formats.debezium.expansion import EmptyArrayBehavior, Expansion, NullBehavior
from penstock.formats.debezium.javaregex import JavaRegex

_logger: Final = logging.getLogger(__name__)
_PAYLOAD: Final = "payload"


class Outbox(BaseModel):
    """Rows that are inserted into an outbox table become its events, as Debezium's
    ``EventRouter`` makes them. Updates are refused; deletes are not told.

    Parameters
    ----------
    tables: the outbox tables (patterns such as ``*.outbox``); others stay as they are.
    table_field_event_id: the column of the header ``id``.
    table_field_event_key: the column of the key.
    table_field_event_payload: the column of the value.
    table_field_event_schema_version: the column of the version of the value's schema, where
        columns are placed in it.
    table_fields_additional_placement: ``column:header`` or ``column:envelope``, both with
        ``:name`` where it is to have another; with columns in the envelope the value is a struct
        of them and ``payload``.
    table_field_additional_missing: what is done where a table lacks such a column.
    table_expand_json_payload: a payload that is JSON becomes a struct.
    table_json_payload_null_behavior: its nulls are left out, or optional bytes.
    table_json_payload_empty_array_behavior: its empty arrays are left out, or of strings.
    table_op_invalid_behavior: an update is left out and told to the log as a warning or as an
        error, or stops the pipeline.
    route_by_field: the column that routes.
    route_topic_regex, route_topic_replacement: the topic, made of its value.
    route_tombstone_on_empty_payload: an event without a payload is a tombstone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tables: tuple[str, ...] = Field(default=("*",), min_length=1)
    table_field_event_id: str = "id"
    table_field_event_key: str = "aggregateid"
    table_field_event_payload: str = "payload"
    table_field_event_schema_version: str = ""
    table_fields_additional_placement: tuple[str, ...] = ()
    table_field_additional_missing: Literal["error", "ignore"] = "error"
    table_expand_json_payload: bool = False
    table_json_payload_null_behavior: NullBehavior = "ignore"
    table_json_payload_empty_array_behavior: EmptyArrayBehavior = "ignore"
    table_op_invalid_behavior: Literal["warn", "error", "fatal"] = "warn"
    route_by_field: str = "aggregatetype"
    route_topic_regex: str = "(?<routedByValue>.*)"
    route_topic_replacement: str = "outbox.event.${routedByValue}"
    route_tombstone_on_empty_payload: bool = False

    @field_validator("table_fields_additional_placement")
    @classmethod
    def _placements(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _Placed.parse(text)
        return value

    @model_validator(mode="after")
    def _sound(self) -> Outbox:
        JavaRegex(self.route_topic_regex, self.route_topic_replacement)
        return self

    def build(self) -> OutboxStep:
        """The step."""
        return OutboxStep(self)


class _Placed(NamedTuple):
    """A column, where it goes, and its name there."""

    column: str
    place: str
    name: str

    @classmethod
    def parse(cls, text: str) -> _Placed:
        parts = [part.strip() for part in text.split(":")]
        if len(parts) not in (2, 3) or not all(parts) or parts[1] not in ("header", "envelope"):
            raise ValueError(f"{text!r} is not column:header or column:envelope, with or without "
                             ":name")  # fmt: skip
        return cls(parts[0], parts[1], parts[-1] if len(parts) == 3 else parts[0])


class OutboxStep:
    """Takes the event out of a row of an outbox table."""

    def __init__(self, options: Outbox) -> None:
        self._options = options
        self._topic = JavaRegex(options.route_topic_regex, options.route_topic_replacement)
        placed = [_Placed.parse(text) for text in options.table_fields_additional_placement]
        self._headers = [one for one in placed if one.place == "header"]
        self._envelope = [one for one in placed if one.place == "envelope"]
        self._expansion: Expansion | None = None
        if options.table_expand_json_payload:
            self._expansion = Expansion(
                options.table_json_payload_null_behavior,
                options.table_json_payload_empty_array_behavior,
            )
        self._outboxes: dict[str, bool] = {}
        self._inside = False
        self._columns = Derived(lambda envelope, name: bare(_column(envelope, name)))
        self._structs = Derived(self._struct)
        self._expanded: Remembered[bytes, Schema] = Remembered()

    def __call__(self, record: ConnectRecord) -> ConnectRecord | None:
        value = record.value
        if value is None:  # a tombstone, which follows its delete
            return None if self._inside else record
        self._inside = is_envelope(value) and self._is_outbox(value.value["source"])
        if not self._inside:
            return record
        envelope = value.value
        if envelope["op"] in ("c", "r"):
            return self._event(record, value.schema, envelope["after"])
        if envelope["op"] == "u":
            self._refuse(envelope["source"])
        return None

    def _is_outbox(self, source: dict[str, Any]) -> bool:
        table = table_of(source)
        found = self._outboxes.get(table)
        if found is None:
            found = any(fnmatchcase(table, pattern) for pattern in self._options.tables)
            self._outboxes[table] = found
        return found

    def _refuse(self, source: dict[str, Any]) -> None:
        behavior = self._options.table_op_invalid_behavior
        table = table_of(source)
        if behavior == "fatal":
            raise DecodeError(
                f"a row of the outbox {table} was updated",
                hint="insert events and delete them; set table_op_invalid_behavior to go on",
                table=table,
            )
        level = logging.WARNING if behavior == "warn" else logging.ERROR
        _logger.log(level, "the update of a row of the outbox %s is left out", table)

    def _event(self, record: ConnectRecord, envelope: Schema, row: Any) -> ConnectRecord:
        options = self._options
        id = self._of(envelope, row, options.table_field_event_id)
        key = self._of(envelope, row, options.table_field_event_key)
        payload = self._of(envelope, row, options.table_field_event_payload)
        routed = str(self._of(envelope, row, options.route_by_field).value)
        headers = {**record.headers, **({} if id.value is None else {"id": as_header(id.value)})}
        for one in self._headers:
            placed = self._placed(envelope, row, one)
            if placed is not None and placed.value is not None:
                headers[one.name] = as_header(placed.value)
        value: Data | None
        if options.route_tombstone_on_empty_payload and not str(payload.value or "").strip():
            value = None
        else:
            value = self._value(envelope, row, self._expand(payload), routed)
        topic = self._topic.replace(routed)
        return ConnectRecord(routed if topic is None else topic, key, value, headers)

    def _value(self, envelope: Schema, row: Any, payload: Data, routed: str) -> Data:
        if not self._envelope:
            return payload
        column = self._options.table_field_event_schema_version
        version = self._of(envelope, row, column).value if column else None
        made = {_PAYLOAD: payload.value}
        for one in self._envelope:
            placed = self._placed(envelope, row, one)
            if placed is not None:
                made[one.name] = placed.value
        schema = self._structs.of(payload.schema, _Envelope(envelope), routed, version)
        return Data(schema, made)

    def _struct(
        self, payload: Schema, envelope: _Envelope, routed: str, version: int | None
    ) -> Schema:
        fields = [{**payload, "field": _PAYLOAD}]
        for one in self._envelope:
            column = field_of(_after(envelope.schema), one.column)
            if column is not None:
                fields.append({**column, "field": one.name})
        prefix, dot, last = str(_after(envelope.schema)["name"]).rpartition(".")
        made = {"type": "struct", "fields": fields, "optional": False}
        made["name"] = f"{prefix}{dot}{routed}.{last}"
        return made if version is None else {**made, "version": version}

    def _placed(self, envelope: Schema, row: Any, one: _Placed) -> Data | None:
        ignored = self._options.table_field_additional_missing == "ignore"
        if ignored and field_of(_after(envelope), one.column) is None:
            return None
        return self._of(envelope, row, one.column)

    def _of(self, envelope: Schema, row: Any, name: str) -> Data:
        return Data(self._columns.of(envelope, name), row.get(name))

    def _expand(self, payload: Data) -> Data:
        if self._expansion is None or not isinstance(payload.value, str):
            return payload
        name = self._options.table_field_event_payload
        try:
            return self._same(self._expansion.expand(name, payload.value))
        except ValueError as error:
            _logger.warning("a payload stays the text that it is: %s", error)
            return payload

    def _same(self, data: Data) -> Data:
        """With the schema object of all that have an equal one."""
        text = orjson.dumps(data.schema)
        schema = self._expanded.get(text) or data.schema
        self._expanded[text] = schema
        return data.under(schema)


class _Envelope:
    """An envelope's schema, which is compared by identity."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Envelope) and other.schema is self.schema

    def __hash__(self) -> int:
        return id(self.schema)


def _after(envelope: Schema) -> Schema:
    after = field_of(envelope, "after")
    assert after is not None, "every envelope has both rows"
    return after


def _column(envelope: Schema, name: str) -> Schema:
    column = field_of(_after(envelope), name)
    if column is None:
        raise SchemaError(
            f"the outbox of {_after(envelope)['name']} has no column {name!r}",
            hint="name another in the options of outbox, or leave the table out of its tables",
        )
    return column
