"""Records that tell of no row: transactions' begin and end, and logical messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import orjson

from penstock.formats.debezium import numbers, schema
from penstock.formats.debezium.connectors import connector_of
from penstock.formats.debezium.options import ID_HEADER, Debezium, topic_name
from penstock.formats.debezium.types import Schema
from penstock.formats.json import NULL, string
from penstock.model import (
    Message,
    Origin,
    Record,
    TransactionBegin,
    TransactionEnd,
)


class Control:
    """Makes control records, and counts the changes of the open transaction."""

    def __init__(self, options: Debezium) -> None:
        def wrapped(of: Schema) -> tuple[bytes, bytes]:
            return schema.wrapped(of) if options.schemas else (b"", b"")

        self._transactions = topic_name(options.topic_prefix, "transaction")
        self._messages = topic_name(options.topic_prefix, "message")
        self._transaction_key = wrapped(schema.TRANSACTION_KEY)
        self._transaction_value = wrapped(schema.TRANSACTION_VALUE)
        self._message_key = wrapped(schema.MESSAGE_KEY)
        self._message_value = wrapped(schema.MESSAGE_VALUE)
        self._mark = ""
        self._counts: Counter[str] = Counter()

    def place(self, mark: str, id: str, name: str) -> bytes:
        """The transaction's block of its next record, which is one of the table ``name``."""
        self._enter(mark)
        self._counts[name] += 1
        return b'{"id":%b,"total_order":%d,"data_collection_order":%d}' % (
            string(id),
            self._counts.total(),
            self._counts[name],
        )

    def begin(self, event: TransactionBegin) -> Record:
        """The record of a transaction's begin; its counts begin again."""
        self._mark = ""
        self._enter(event.origin.mark)
        return self._transaction("BEGIN", event.origin, None)

    def end(self, event: TransactionEnd) -> Record:
        """The record of a transaction's end, with how many changes were told of each table."""
        self._enter(event.origin.mark)
        return self._transaction("END", event.origin, self._counts)

    def message(
        self, event: Message, source: bytes, place: bytes, now: int, headers: Mapping[str, str]
    ) -> Record:
        """The record of a logical message."""
        prefix = string(event.prefix)
        value = (
            b'{"op":"m","ts_ms":%d,"source":%b,"transaction":%b,'
            b'"message":{"prefix":%b,"content":%b}}'
            % (now // 1_000_000, source, place, prefix, numbers.base64_text(event.content))
        )
        return Record(
            self._messages,
            _in(self._message_key, b'{"prefix":%b}' % prefix),
            _in(self._message_value, value),
            headers,
        )

    def _enter(self, mark: str) -> None:
        if mark != self._mark:
            self._mark = mark
            self._counts.clear()

    def _transaction(self, status: str, origin: Origin, counts: Counter[str] | None) -> Record:
        assert origin.transaction is not None
        name = string(connector_of(origin).transaction(origin))
        total, listed = NULL, NULL
        if counts is not None:
            total = b"%d" % counts.total()
            listed = orjson.dumps(
                [{"data_collection": name, "event_count": n} for name, n in counts.items()]
            )
        value = b'{"status":"%b","id":%b,"event_count":%b,"data_collections":%b,"ts_ms":%d}' % (
            status.encode(),
            name,
            total,
            listed,
            origin.transaction.committed_us // 1000,
        )
        return Record(
            self._transactions,
            _in(self._transaction_key, b'{"id":%b}' % name),
            _in(self._transaction_value, value),
            {ID_HEADER: f"{origin.mark}:{status}"},
        )


def _in(frame: tuple[bytes, bytes], payload: bytes) -> bytes:
    return frame[0] + payload + frame[1]
