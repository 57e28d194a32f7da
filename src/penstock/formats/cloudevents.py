"""The format ``cloudevents``: changes as CloudEvents 1.0, structured, in JSON.

The attributes are those of Debezium's ``CloudEventsConverter``: the envelope's source is spread
over extensions whose names begin with ``iodebezium``, and the data are both rows. The id is the
change's own, which is the same on a repeat, where Debezium's is made of log positions.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
from pydantic import model_validator

from penstock.connect import Data, Schema
from penstock.formats.debezium.chain import (
    ConnectRecord,
    Derived,
    DerivedFormat,
    JsonConverter,
    is_envelope,
)
from penstock.formats.debezium.options import ID_HEADER, Debezium

_EXTENSION: Final = "iodebezium"
_TRANSACTION: Final = {
    "id": "txid",
    "total_order": "txtotalorder",
    "data_collection_order": "txdatacollectionorder",
}
_SIDES: Final = ("before", "after")
_INTEGERS: Final = ("row",)  # of 32 bits, which an attribute may be


class CloudEvents(Debezium):
    """What Debezium writes with its ``CloudEventsConverter``.

    The options are those of the format ``debezium``, but for ``unwrap`` and ``schema_registry``.

    Parameters
    ----------
    schemas: keys, and the data of events, with their schemas.
    """

    type: Literal["cloudevents"] = "cloudevents"  # type: ignore[assignment] # another name, its options

    @model_validator(mode="after")
    def _enveloped(self) -> CloudEvents:
        for name in ("unwrap", "schema_registry"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for the format debezium: CloudEvents has no place")
        return self

    def build(self, pipeline: str = "penstock") -> DerivedFormat:
        """The format; ``pipeline`` names the topics where no prefix is given."""
        options = self.model_copy(update={"topic_prefix": self.topic_prefix or pipeline})
        return options.derive(CloudEventsConverter(self.schemas))


class CloudEventsConverter(JsonConverter):
    """Makes an event of each change; other values, and keys, stay Connect's JSON."""

    def __init__(self, schemas: bool) -> None:
        super().__init__(schemas)
        self._data = Derived(_data_schema)

    def value(self, record: ConnectRecord) -> bytes | None:
        """The event of a change."""
        value = record.value
        if value is None or not is_envelope(value):
            return self.json(value)
        envelope = value.value
        source, transaction = envelope["source"], envelope["transaction"] or {}
        connector = source["connector"]
        rows = Data(
            self._data.of(value.schema, connector), {side: envelope[side] for side in _SIDES}
        )
        data = self.json(rows)
        assert data is not None
        event: dict[str, Any] = {
            "id": f"name:{source['name']};id:{record.headers[ID_HEADER]};op:{envelope['op']}",
            "source": f"/debezium/{connector}/{source['name']}",
            "specversion": "1.0",
            "type": f"io.debezium.connector.{connector}.DataChangeEvent",
            "time": _time(source["ts_ms"]),
            "datacontenttype": "application/json",
            _EXTENSION + "op": envelope["op"],
        }
        for name, given in source.items():
            told = given if name in _INTEGERS else _text(given)
            event[_EXTENSION + name.replace("_", "")] = told
        for name, short in _TRANSACTION.items():
            event[_EXTENSION + short] = _text(transaction.get(name))
        return orjson.dumps(event)[:-1] + b',"data":' + data + b"}"


def _data_schema(envelope: Schema, connector: str) -> Schema:
    fields = [field for field in envelope["fields"] if field["field"] in _SIDES]
    name = f"io.debezium.connector.{connector}.Data"
    return {"type": "struct", "fields": fields, "optional": False, "name": name}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _time(ms: int) -> str:
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"
