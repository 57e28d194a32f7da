"""``ByLogicalTableRouter``: the records of several tables go to one topic."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from penstock.connect import Data, Schema
from penstock.errors import DecodeError
from penstock.formats.debezium.chain import ConnectRecord, Derived, is_envelope
from penstock.formats.debezium.javaregex import JavaRegex


class Route(BaseModel):
    """Topics by regular expression, as Debezium's ``ByLogicalTableRouter`` has them.

    Parameters
    ----------
    topic_regex: what the whole of a topic's name must match (Java's regular expressions); others
        stay as they are.
    topic_replacement: the new name; ``$1`` and ``${name}`` are groups of the match.
    key_enforce_uniqueness: a field is added to the key that tells the tables apart, which may have
        equal keys.
    key_field_name: its name.
    key_field_regex, key_field_replacement: its value, made of the old topic's name; which it is
        where they are not given, or do not match.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic_regex: str = Field(min_length=1)
    topic_replacement: str = Field(min_length=1)
    key_enforce_uniqueness: bool = True
    key_field_name: str = Field(default="__dbz__physicalTableIdentifier", min_length=1)
    key_field_regex: str = ""
    key_field_replacement: str = ""

    @model_validator(mode="after")
    def _sound(self) -> Route:
        JavaRegex(self.topic_regex, self.topic_replacement)
        if self.key_field_regex:
            if not self.key_field_replacement:
                raise ValueError("key_field_regex needs a key_field_replacement")
            JavaRegex(self.key_field_regex, self.key_field_replacement)
        return self

    def build(self) -> RouteStep:
        """The step."""
        return RouteStep(self)


class RouteStep:
    """Gives records another topic, and their schemas its name."""

    def __init__(self, options: Route) -> None:
        self._options = options
        self._topic = JavaRegex(options.topic_regex, options.topic_replacement)
        self._identifier: JavaRegex | None = None
        if options.key_field_regex:
            self._identifier = JavaRegex(options.key_field_regex, options.key_field_replacement)
        self._routes: dict[str, tuple[str, str]] = {}
        self._keys = Derived(self._key_schema)
        self._envelopes = Derived(_envelope_schema)

    def __call__(self, record: ConnectRecord) -> ConnectRecord:
        route = self._routes.get(record.topic)
        if route is None:
            route = self._routes[record.topic] = self._route(record.topic)
        topic, identifier = route
        if topic == "":
            return record
        key, value = record.key, record.value
        if key is not None:
            key = self._key(key, record.topic, topic, identifier)
        if value is not None and is_envelope(value):
            value = value.under(self._envelopes.of(value.schema, topic))
        return ConnectRecord(topic, key, value, record.headers)

    def _route(self, old: str) -> tuple[str, str]:
        topic = self._topic.replace(old)
        identifier = None if self._identifier is None else self._identifier.replace(old)
        return topic or "", old if identifier is None else identifier

    def _key(self, key: Data, old: str, topic: str, identifier: str) -> Data:
        name = self._options.key_field_name
        schema = self._keys.of(key.schema, topic)
        if not self._options.key_enforce_uniqueness:
            return key.under(schema)
        if name in key.value:
            raise DecodeError(
                f"the key of topic {old} has a column {name!r} already",
                hint="set another route.key_field_name",
            )
        return Data(schema, {**key.value, name: identifier})

    def _key_schema(self, schema: Schema, topic: str) -> Schema:
        made: dict[str, Any] = {**schema, "name": f"{topic}.Key"}
        if self._options.key_enforce_uniqueness:
            name = self._options.key_field_name
            added = {"type": "string", "optional": False, "field": name}
            made["fields"] = [*schema["fields"], added]
        return made


def _envelope_schema(schema: Schema, topic: str) -> Schema:
    fields = [
        {**field, "name": f"{topic}.Value"} if field["field"] in ("before", "after") else field
        for field in schema["fields"]
    ]
    return {**schema, "name": f"{topic}.Envelope", "fields": fields}
