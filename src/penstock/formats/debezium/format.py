"""The format ``debezium``: the records that Debezium's connectors write for the same changes.

An update that changes the key is three records (the old key's delete, its tombstone, and a create
under the new key), a delete is two. Every record of a change has the change's id in a header.
``source.lsn`` is the commit's position, where Debezium has the row's: it grows from transaction to
transaction, which the row's does not. ``source.pos`` is where the transaction begins, and
``source.row`` the change's number in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final
from uuid import uuid4

import orjson

from penstock import kernel
from penstock.formats.debezium.chain import NEW_KEY, OLD_KEY
from penstock.formats.debezium.connectors import (
    POSTGRESQL,
    Block,
    Connector,
    connector_of,
    postgresql_block,
)
from penstock.formats.debezium.control import Control
from penstock.formats.debezium.native import Plan, plan_of
from penstock.formats.debezium.options import ID_HEADER, Debezium
from penstock.formats.debezium.rows import TableRows
from penstock.formats.json import NULL, string
from penstock.model import (
    Batch,
    Change,
    Event,
    Message,
    Operation,
    Origin,
    Record,
    SnapshotBegin,
    SnapshotEnd,
    Table,
    TransactionBegin,
    TransactionEnd,
)

_CONTEXT: Final = "__debezium.context."
_CODES: Final[Mapping[Operation, str]] = {
    "insert": "c",
    "update": "u",
    "delete": "d",
    "truncate": "t",
    "read": "r",
    "upsert": "u",
}
_make_record: Final[Callable[..., Record]] = tuple.__new__


class DebeziumFormat:
    """Makes Debezium's records.

    Keeps what it compiled per table and, with transaction metadata, the counts of the transaction
    that it is in: nothing of the changes.

    Parameters
    ----------
    now: nanoseconds since the epoch, for the fields that tell when a record was made.
    run: names this run in a header.
    """

    name = "debezium"

    def __init__(
        self, options: Debezium, now: Callable[[], int] = time.time_ns, run: str = ""
    ) -> None:
        self.options = options
        self._now = now
        self._tables: dict[int, TableRows] = {}
        self._skipped = options.skipped_operations
        self._run = run or str(uuid4())
        self._headers: dict[str, Mapping[str, str]] = {}  # by connector
        self._product = version("penstock")
        self._control = Control(options) if options.provide_transaction_metadata else None
        self._messages = Control(options)
        self._database = ""  # of the source's last change, as messages do not name it
        self._begun: TransactionBegin | None = None  # not told yet
        self._encoder: Any = None

    @property
    def native(self) -> Any:
        """The native kernel's encoder; None where that has none for these options."""
        if self._encoder is None and self._control is None:
            self._encoder = kernel.native().Debezium(
                plan=self._plan,
                other=self._one,
                now=self._now,
                source=b',"source":{"version":%b,"connector":"postgresql","name":%b,"ts_ms":'
                % (string(self._product), string(self.options.topic_prefix)),
                headers=dict(self._headers_of(POSTGRESQL)),
                tombstones=self.options.tombstones_on_delete,
                skipped="".join(self._skipped),
                names=(ID_HEADER, NEW_KEY, OLD_KEY),
            )
        return self._encoder

    def _plan(self, table: Table) -> Plan | None:
        """What the native encoder is told of a table; None of those that are not PostgreSQL's."""
        if not table.oid or not all(column.type.oid for column in table.columns):
            return None
        return plan_of(self._rows(table, POSTGRESQL))

    def _headers_of(self, connector: Connector) -> Mapping[str, str]:
        """The headers that all records of changes have."""
        headers = self._headers.get(connector.name)
        if headers is None:
            headers = self._headers[connector.name] = self._context(connector)
        return headers

    def _context(self, connector: Connector) -> Mapping[str, str]:
        if not self.options.context_headers:
            return {}
        return {
            _CONTEXT + "connectorLogicalName": self.options.topic_prefix,
            _CONTEXT + "taskId": "0",
            _CONTEXT + "connectorName": connector.name,
            _CONTEXT + "runId": self._run,
        }

    def records(self, batch: Batch) -> Iterator[Record]:
        """The records of a batch's events, in order."""
        return self._records(tuple(batch), self._now())

    def _one(self, event: Event, marker: str, now: int, database: str) -> Iterator[Record]:
        """The records of an event that the native encoder leaves to us."""
        self._database = database
        return self._records((event,), now, marker)

    def record(self, change: Change[Any]) -> Record:
        """The one record of a change that shows it best: a key change's new row, a delete's old
        one. Raises DecodeError for a value that cannot be told."""
        made = self._records((change,), self._now(), all=True)
        return [record for record in made if record.value is not None][-1]

    def _records(
        self, events: tuple[Event, ...], now: int, marker: str = "", *, all: bool = False
    ) -> Iterator[Record]:
        ends = _processed(now)
        skipped: frozenset[str] = frozenset() if all else self._skipped
        join = b"".join
        origin: Origin | None = None
        table: Table | None = None
        for i, event in enumerate(events):
            if not isinstance(event, Change):
                yield from self._other(event, now)
                continue
            operation = event.operation
            code = _CODES[operation]
            if self._begun is not None and code != "t":
                begun, self._begun = self._begun, None
                assert self._control is not None
                yield self._control.begin(begun)
            if code in skipped:
                continue
            if event.origin is not origin or event.definition is not table:
                origin, table = event.origin, event.definition
                self._database = origin.source.get("database", self._database)
                rows = self._rows(table, connector_of(origin))
                prefix = f"{origin.mark}:"
                binlog = rows.connector.binlog
                shared = self._headers_of(rows.connector)
                source = told = self._source(origin, rows, now)
            if operation == "read":
                source = self._source(origin, rows, now, marker or self._marker(events, i))
            elif binlog:
                source = told.replace(_ROW, b'"row":%d' % event.ordinal, 1)
            end = ends[code]
            id = f"{prefix}{event.ordinal}"
            if event.part or event.own_id:
                id = event.id
            headers = {**shared, **event.headers, ID_HEADER: id}
            topic = event.route or rows.topic
            after = event.values_after
            if (
                after is None
                or event.values_before is not None
                or event.key_old is not None
                or event.key_new is not None
            ):
                yield from self._general(event, rows, topic, source, ends, headers, skipped)
                continue
            key = rows.key(after)
            yield _make_record(
                Record,
                (
                    topic,
                    None if key is None else join((rows.key_head, key, rows.key_tail)),
                    join(
                        (
                            rows.value_head,
                            _AFTER,
                            rows.row(after),
                            source,
                            self._place(origin, table),
                            end,
                            rows.value_tail,
                        )
                    ),
                    headers,
                ),
            )

    def _general(
        self,
        change: Change[Any],
        rows: TableRows,
        topic: str,
        source: bytes,
        ends: Mapping[str, bytes],
        headers: Mapping[str, str],
        skipped: frozenset[str],
    ) -> Iterator[Record]:
        """The records of any change at all."""

        binlog = rows.connector.binlog

        def value(code: str, before: bytes, after: bytes) -> bytes:
            alone = binlog and code == "t"
            place = NULL if alone else self._place(change.origin, rows.table)
            parts = (before, b',"after":', after, source, place, ends[code], rows.value_tail)
            return b'%b{"before":%b' % (rows.value_head, b"".join(parts))

        def delete(key: bytes | None, headers: Mapping[str, str]) -> Iterator[Record]:
            yield Record(topic, framed(key), value("d", before(), NULL), headers)
            if self.options.tombstones_on_delete:
                yield Record(topic, framed(key), None, headers)

        def framed(key: bytes | None) -> bytes | None:
            return None if key is None else rows.key_head + key + rows.key_tail

        code = _CODES[change.operation]
        if code == "t":
            yield Record(topic, None, value(code, NULL, NULL), headers)
            return
        old, before = _old(change, rows)
        if code == "d":
            yield from delete(None if old is None else rows.key(old), headers)
            return
        assert change.values_after is not None
        key = rows.key(change.values_after)
        old_key = rows.old_key(old)
        if old_key is None or old_key == key or key is None:
            shown = before() if change.values_before is not None else NULL
            made = value(code, shown, rows.row(change.values_after))
            yield Record(topic, framed(key), made, headers)
            return
        if binlog or "d" not in skipped:
            yield from delete(old_key, {NEW_KEY: key.decode(), **headers})
        if binlog or "c" not in skipped:
            moved = {OLD_KEY: old_key.decode(), **headers}
            made = value("c", NULL, rows.row(change.values_after))
            yield Record(topic, framed(key), made, moved)

    def _place(self, origin: Origin, table: Table) -> bytes:
        """The transaction's block of the next record."""
        if self._control is None or origin.transaction is None:
            return NULL
        id = connector_of(origin).transaction(origin)
        return self._control.place(origin.mark, id, f"{table.schema}.{table.name}")

    def _other(self, event: Event, now: int) -> Iterator[Record]:
        if isinstance(event, Message):
            mark, transaction = event.mark.transaction, event.transaction
            number = int(transaction.id) if transaction is not None else None
            block = postgresql_block(self._database, "", "", number, mark, "false")
            micros = now // 1000 if transaction is None else transaction.committed_us
            source = self._source_of(POSTGRESQL, block, micros)
            place = NULL
            if self._control is not None and transaction is not None:
                id = POSTGRESQL.transaction(Origin(mark, transaction))
                place = self._control.place(mark, id, "")
            yield self._messages.message(event, source, place, now, {ID_HEADER: event.id})
        elif isinstance(event, TransactionBegin):
            self._database = event.origin.source.get("database", self._database)
            if self._control is None:
                return
            if connector_of(event.origin).binlog:
                self._begun = event  # told with its first row: that of a TRUNCATE is not
            else:
                yield self._control.begin(event)
        elif isinstance(event, TransactionEnd) and self._control is not None:
            if self._begun is None:
                yield self._control.end(event)
            self._begun = None

    @staticmethod
    def _marker(events: tuple[Event, ...], i: int) -> str:
        """Where in the snapshot a row stands."""
        before = events[i - 1] if i else None
        after = events[i + 1] if i + 1 < len(events) else None
        if isinstance(after, SnapshotEnd) and after.last:
            return "last"
        if isinstance(before, SnapshotBegin) and before.first:
            return "first"
        if isinstance(after, SnapshotEnd):
            return "last_in_data_collection"
        return "first_in_data_collection" if isinstance(before, SnapshotBegin) else "true"

    def _rows(self, table: Table, connector: Connector) -> TableRows:
        """The compiled table; kept with the table itself, so its ``id`` stays its own."""
        rows = self._tables.get(id(table))
        if rows is None:
            rows = self._tables[id(table)] = TableRows(table, self.options, connector)
        return rows

    def _source(self, origin: Origin, rows: TableRows, now: int, snapshot: str = "false") -> bytes:
        """From the end of the row to the transaction's block."""
        transaction = origin.transaction
        block = rows.connector.block(origin, rows.table, snapshot)
        micros = now // 1000 if transaction is None else transaction.committed_us
        source = self._source_of(rows.connector, block, micros, snapshot)
        return b',"source":%b,"transaction":' % source

    def _source_of(
        self, connector: Connector, block: Block, micros: int, snapshot: str = "false"
    ) -> bytes:
        return orjson.dumps(
            {
                "version": self._product,
                "connector": connector.name,
                "name": self.options.topic_prefix,
                "ts_ms": micros // 1000,
                "snapshot": snapshot,
                "db": block.db,
                "sequence": block.sequence,
                "ts_us": micros,
                "ts_ns": micros * 1000,
                **block.rest,
            }
        )


def _old(change: Change[Any], rows: TableRows) -> tuple[Any, Callable[[], bytes]]:
    """The old row's values as far as they are known, and what makes the row as it is told."""
    whole = change.values_before
    if whole is not None:
        return whole, lambda: rows.row(whole)
    key = change.key_old if change.operation != "delete" else change.key_new
    if key is None:
        return None, lambda: NULL
    return rows.padded(key), lambda: rows.partial(key)


_AFTER: Final = b'{"before":null,"after":'
_ROW: Final = b'"row":0'  # no text before it in the block can hold bare quotes


def _processed(now: int) -> dict[str, bytes]:
    """The end of a value by operation: what happened, and when that was told."""
    return {
        code: b',"op":"%b","ts_ms":%d,"ts_us":%d,"ts_ns":%d}'
        % (code.encode(), now // 1_000_000, now // 1000, now)
        for code in ("c", "u", "d", "t", "r")
    }
