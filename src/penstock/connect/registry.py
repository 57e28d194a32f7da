"""Schema registries that speak Confluent's API (Confluent, Apicurio, Karapace, Redpanda, …).

A message in their wire format is a zero byte, the schema's id (four bytes, big-endian), and the
value in Avro's binary encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from io import BytesIO
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from penstock.connect.avro import Avro, avro_schema, connect_schema
from penstock.connect.datum import Convert, from_avro, to_avro
from penstock.connect.json import Data, Remembered, Schema
from penstock.registry import driver

T = TypeVar("T")

MAGIC: Final = b"\0"
_HEAD: Final = 5
_NUMBERS: Final = ("timeout", "max.retries", "retries.wait.ms", "retries.max.wait.ms")
_AWAY: Final = (408, 429)
_TIMEOUT: Final = 10.0


class SchemaRegistry(BaseModel):
    """A schema registry.

    Parameters
    ----------
    url: ``http(s)://host:port``, several with commas.
    register_schemas: schemas that it does not have are registered; otherwise they stop the
        pipeline.
    settings: confluent-kafka's own for its client (``basic.auth.user.info``, ``ssl.ca.location``,
        ``bearer.auth.token``, …); values may be secrets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(min_length=1)
    register_schemas: bool = True
    settings: Mapping[str, SecretStr] = {}

    @model_validator(mode="before")
    @classmethod
    def _url_alone(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _no_user(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("a user in the URL would show: put it in basic.auth.user.info")
        return value

    def client(self) -> Any:
        """confluent-kafka's client. Raises RegistryFailure for settings that it does not take."""
        made: dict[str, Any] = {"timeout": _TIMEOUT, "max.retries": 0, "url": self.url}
        for name, secret in self.settings.items():
            text = secret.get_secret_value()
            made[name] = float(text) if name in _NUMBERS else text
        module = driver("confluent_kafka.schema_registry", "kafka")
        try:
            return module.SchemaRegistryClient.new_client(made)
        except (TypeError, ValueError) as error:
            raise RegistryFailure(f"the schema registry's settings: {error}") from error


class RegistryFailure(Exception):
    """What the registry said, or that it says nothing.

    Parameters
    ----------
    away: it may answer later.
    unknown: it answers, but has no such schema.
    """

    def __init__(
        self, message: str, hint: str = "", *, away: bool = False, unknown: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.away = away
        self.unknown = unknown


class Registry:
    """Encodes and decodes; asks the registry once for each schema.

    Parameters
    ----------
    client: confluent-kafka's; made of the configuration when it is first needed.
    """

    def __init__(self, config: SchemaRegistry, client: Any = None) -> None:
        self._config = config
        self._client = client
        self._encoders: Remembered[tuple[str, int], _Encoder] = Remembered()
        self._decoders: Remembered[int, _Decoder] = Remembered()

    def check(self) -> None:
        """Ask for something. Raises RegistryFailure when it does not answer, or refuses us."""
        self._ask("cannot use the schema registry", lambda client: client.get_subjects())

    def encode(self, subject: str, data: Data) -> bytes:
        """A value in the wire format.

        Raises RegistryFailure, and SchemaError for a schema that Avro cannot have.
        """
        encoder = self._encoders.get((subject, id(data.schema)))
        if encoder is None:
            avro = avro_schema(data.schema)
            encoder = _Encoder(self._avro, self._id(subject, avro), data.schema, avro)
            self._encoders[subject, id(data.schema)] = encoder
        return encoder(data.value)

    def decode(self, message: bytes) -> Data:
        """The value in a message and its Connect schema.

        Raises RegistryFailure; ValueError for bytes that are none of the wire format or not of
        their schema; SchemaError for an Avro schema that Connect cannot have.
        """
        if message[:1] != MAGIC or len(message) < _HEAD:
            raise ValueError("it does not begin with a zero byte and a schema's id")
        id = int.from_bytes(message[1:_HEAD], "big")
        decoder = self._decoders.get(id)
        if decoder is None:
            decoder = self._decoders[id] = _Decoder(self._avro, self._schema(id))
        return Data(decoder.schema, decoder(message[_HEAD:]))

    @cached_property
    def _avro(self) -> Any:
        return driver("fastavro", "kafka")

    @cached_property
    def _confluent(self) -> Any:
        return driver("confluent_kafka.schema_registry", "kafka")

    def close(self) -> None:
        """Let go of the connection; what was learnt stays."""
        client, self._client = self._client, None
        if client is not None and hasattr(client, "close"):
            client.close()

    def _id(self, subject: str, avro: Avro) -> int:
        schema = self._confluent.Schema(orjson.dumps(avro).decode(), "AVRO")
        if self._config.register_schemas:
            what = f"cannot register the schema of {subject!r}"
            return int(self._ask(what, lambda client: client.register_schema(subject, schema)))
        what = f"the schema of {subject!r} is not there"
        found = self._ask(what, lambda client: client.lookup_schema(subject, schema))
        return int(found.schema_id)

    def _schema(self, id: int) -> Avro:
        found = self._ask(f"no schema has the id {id}", lambda client: client.get_schema(id))
        if (found.schema_type or "AVRO") != "AVRO":
            raise ValueError(f"the schema {id} is not Avro but {found.schema_type}")
        return orjson.loads(found.schema_str)

    def _ask(self, what: str, ask: Callable[[Any], T]) -> T:
        if self._client is None:
            self._client = self._config.client()
        what = f"{what} at {self._config.url}"
        try:
            return ask(self._client)
        except self._confluent.SchemaRegistryError as error:
            raise _explained(what, error) from error
        except (TypeError, ValueError):
            raise
        except Exception as error:  # httpx's, whose module's name changes with its versions
            raise RegistryFailure(f"{what}: {error}", away=True) from error


def _explained(what: str, error: Any) -> RegistryFailure:
    status = error.http_status_code
    message = f"{what}: {error.error_message} (HTTP {status})"
    if status in _AWAY or status >= 500:
        return RegistryFailure(message, away=True)
    if status in (401, 403):
        return RegistryFailure(
            message, "check basic.auth.user.info, or what else it wants, in the registry's settings"
        )
    if status == 409:
        return RegistryFailure(
            message,
            "the table has changed in a way that the subject's compatibility forbids: set it to "
            "NONE or change it, or write to another topic",
        )
    if status == 404:
        return RegistryFailure(message, "register it, or set register_schemas", unknown=True)
    return RegistryFailure(message)


class _Encoder:
    """From one schema's values to messages."""

    def __init__(self, fastavro: Any, id: int, schema: Schema, avro: Avro) -> None:
        self._schema = schema  # its identity is the key of what is compiled
        self._head = MAGIC + id.to_bytes(4, "big")
        self._parsed = fastavro.parse_schema(_plain(avro))
        self._write = fastavro.schemaless_writer
        self._convert: Convert = to_avro(schema)

    def __call__(self, value: Any) -> bytes:
        out = BytesIO()
        out.write(self._head)
        self._write(out, self._parsed, self._convert(value))
        return out.getvalue()


class _Decoder:
    """From one schema's messages to values."""

    def __init__(self, fastavro: Any, avro: Avro) -> None:
        self.schema = connect_schema(avro)
        self._parsed = fastavro.parse_schema(_plain(avro))
        self._read = fastavro.schemaless_reader
        self._convert: Convert = from_avro(self.schema)

    def __call__(self, body: bytes) -> Any:
        source = BytesIO(body)
        try:
            value = self._convert(self._read(source, self._parsed, None))
        except (EOFError, IndexError, OverflowError, KeyError, TypeError) as error:
            raise ValueError(f"the bytes are not of their schema: {error!r}") from error
        if source.read(1):
            raise ValueError("bytes follow the value")
        return value


def _plain(avro: Avro) -> Avro:
    """The schema without logical types: their values stay what they are made of."""
    if isinstance(avro, list):
        return [_plain(branch) for branch in avro]
    if not isinstance(avro, dict):
        return avro
    made = {name: value for name, value in avro.items() if name != "logicalType"}
    for name in ("type", "items", "values"):
        if name in made:
            made[name] = _plain(made[name])
    if "fields" in made:
        made["fields"] = [_plain(field) for field in made["fields"]]
    return made
