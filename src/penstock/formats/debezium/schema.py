"""The Connect schemas of keys, values and control records, as the JSON converter writes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from penstock.formats.debezium.types import Mapped, Schema
from penstock.model import Column


def field(name: str, kind: str, *, optional: bool = False) -> Schema:
    """A field of a plain type."""
    return {"type": kind, "optional": optional, "field": name}


def struct(name: str, fields: Iterable[Schema], **rest: Any) -> Schema:
    """A struct's schema."""
    return {"type": "struct", "fields": list(fields), "optional": False, "name": name, **rest}


SNAPSHOT: Final = (
    "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"
)


def _source(connector: str, fields: Iterable[Schema]) -> Schema:
    """The block ``source``: what all connectors tell, and what is a connector's own."""
    return struct(
        f"io.debezium.connector.{connector}.Source",
        [
            field("version", "string"),
            field("connector", "string"),
            field("name", "string"),
            field("ts_ms", "int64"),
            {
                "type": "string",
                "optional": True,
                "name": "io.debezium.data.Enum",
                "version": 1,
                "parameters": {"allowed": SNAPSHOT},
                "default": "false",
                "field": "snapshot",
            },
            field("db", "string"),
            field("sequence", "string", optional=True),
            field("ts_us", "int64", optional=True),
            field("ts_ns", "int64", optional=True),
            *fields,
        ],
        version=1,
        field="source",
    )


SOURCE: Final = _source(
    "postgresql",
    [
        field("schema", "string"),
        field("table", "string"),
        field("txId", "int64", optional=True),
        field("lsn", "int64", optional=True),
        field("xmin", "int64", optional=True),
        field("origin", "string", optional=True),
        field("origin_lsn", "int64", optional=True),
    ],
)
"""PostgreSQL's."""


def binlog_source(connector: str) -> Schema:
    """MySQL's or MariaDB's."""
    return _source(
        connector,
        [
            field("table", "string", optional=True),
            field("server_id", "int64"),
            field("gtid", "string", optional=True),
            field("file", "string"),
            field("pos", "int64"),
            field("row", "int32"),
            field("thread", "int64", optional=True),
            field("query", "string", optional=True),
        ],
    )


TRANSACTION_BLOCK: Final = {
    **struct(
        "event.block",
        [
            field("id", "string"),
            field("total_order", "int64"),
            field("data_collection_order", "int64"),
        ],
        version=1,
        field="transaction",
    ),
    "optional": True,
}

TRANSACTION_KEY: Final = struct(
    "io.debezium.connector.common.TransactionMetadataKey", [field("id", "string")], version=1
)
_COLLECTION: Final = struct(
    "event.collection", [field("data_collection", "string"), field("event_count", "int64")]
)
TRANSACTION_VALUE: Final = struct(
    "io.debezium.connector.common.TransactionMetadataValue",
    [
        field("status", "string"),
        field("id", "string"),
        field("event_count", "int64", optional=True),
        {
            "type": "array",
            "items": {**_COLLECTION, "version": 1, "optional": True},
            "optional": True,
            "field": "data_collections",
        },
        field("ts_ms", "int64"),
    ],
    version=1,
)

MESSAGE_KEY: Final = struct(
    "io.debezium.connector.postgresql.MessageKey", [field("prefix", "string", optional=True)],
    version=1,
)  # fmt: skip
MESSAGE_VALUE: Final = struct(
    "io.debezium.connector.postgresql.MessageValue",
    [
        field("op", "string"),
        field("ts_ms", "int64", optional=True),
        SOURCE,
        TRANSACTION_BLOCK,
        struct(
            "io.debezium.connector.postgresql.Message",
            [
                field("prefix", "string", optional=True),
                field("content", "bytes", optional=True),
            ],
            version=1,
            field="message",
        ),
    ],
    version=1,
)


def of_column(column: Column, mapped: Mapped, *, optional: bool, default: bytes | None) -> Schema:
    """A column's field."""
    schema: Schema = {**mapped.schema, "optional": optional}
    if default is not None:
        schema["default"] = orjson.loads(default)
    schema["field"] = column.name
    return schema


def envelope(topic: str, row: list[Schema], source: Schema) -> Schema:
    """The value's schema of a table's changes; ``source`` is that of the connector's block."""
    side = {"type": "struct", "fields": row, "optional": True, "name": f"{topic}.Value"}
    return struct(
        f"{topic}.Envelope",
        [
            {**side, "field": "before"},
            {**side, "field": "after"},
            source,
            TRANSACTION_BLOCK,
            field("op", "string"),
            field("ts_ms", "int64", optional=True),
            field("ts_us", "int64", optional=True),
            field("ts_ns", "int64", optional=True),
        ],
        version=2,
    )


def wrapped(schema: Schema) -> tuple[bytes, bytes]:
    """What stands before and after a payload that comes with its schema."""
    return b'{"schema":%b,"payload":' % orjson.dumps(schema), b"}"
