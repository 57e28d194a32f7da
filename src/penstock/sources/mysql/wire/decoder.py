"""The binlog, from events to batches. No I/O: the source feeds it.

The server sends transactions whole and in the order of their commits. A transaction is known by its
GTID, which counts as read at its commit only; a change is known by that and its number among the
changes of captured tables. Events of one transaction are handed over as they come, so that its size
does not matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from penstock.errors import GapError, ProtocolError
from penstock.model import Batch, Change, Checkpoint, Operation, Table
from penstock.model.projection import ProjectionOf, whole
from penstock.sources.mysql.wire import statements
from penstock.sources.mysql.wire.changes import changes
from penstock.sources.mysql.wire.compressed import payload_events
from penstock.sources.mysql.wire.events import (
    CHECKSUM,
    HEADER,
    IGNORABLE,
    EventType,
    FormatDescription,
    Gtid,
    Header,
    Heartbeat,
    Incident,
    Query,
    Rotate,
    XaPrepare,
    header,
    verify,
)
from penstock.sources.mysql.wire.fields import inflate
from penstock.sources.mysql.wire.gtid import Gtids
from penstock.sources.mysql.wire.layouts import Hidden, Layout, Layouts, TypesNeeded, as_told
from penstock.sources.mysql.wire.partial import partial_rows
from penstock.sources.mysql.wire.reader import Reader
from penstock.sources.mysql.wire.shapes import Schemas
from penstock.sources.mysql.wire.statements import Kind, Statement
from penstock.sources.mysql.wire.transactions import Transactions

_OBJECT: Final = 48
"""Bytes that a value takes beside those of the log, which are few: budgets are there for memory."""
_STATEMENT_END: Final = 1
_NO_TABLE: Final = 0xFFFFFF

_T = EventType
_ROWS: Final[dict[int, tuple[Operation, bool, bool]]] = {
    # (operation, version 2, compressed)
    _T.WRITE_ROWS_V1: ("insert", False, False),
    _T.UPDATE_ROWS_V1: ("update", False, False),
    _T.DELETE_ROWS_V1: ("delete", False, False),
    _T.WRITE_ROWS: ("insert", True, False),
    _T.UPDATE_ROWS: ("update", True, False),
    _T.DELETE_ROWS: ("delete", True, False),
    _T.PARTIAL_UPDATE_ROWS: ("update", True, False),
    _T.WRITE_ROWS_COMPRESSED_V1: ("insert", False, True),
    _T.UPDATE_ROWS_COMPRESSED_V1: ("update", False, True),
    _T.DELETE_ROWS_COMPRESSED_V1: ("delete", False, True),
    _T.WRITE_ROWS_COMPRESSED: ("insert", True, True),
    _T.UPDATE_ROWS_COMPRESSED: ("update", True, True),
    _T.DELETE_ROWS_COMPRESSED: ("delete", True, True),
}
_ALTERING: Final = (Kind.OTHER, Kind.EMPTIES, Kind.WRITES)
_WITHOUT_ROWS: Final = frozenset(
    {
        _T.STOP,
        _T.INTVAR,
        _T.RAND,
        _T.USER_VAR,
        _T.IGNORABLE,
        _T.ROWS_QUERY,
        _T.PREVIOUS_GTIDS,
        _T.TRANSACTION_CONTEXT,
        _T.VIEW_CHANGE,
        _T.ANNOTATE_ROWS,
        _T.BINLOG_CHECKPOINT,
        _T.GTID_LIST,
    }
)


class Decoder:
    """Turns a session's events into batches of the stream ``main``.

    Parameters
    ----------
    gtids: the transactions that were read before.
    checkpoint: makes the checkpoint of transactions that were read and the place in the log,
        a file and a position.
    source: facts about the source, for changes.
    wanted: says of ``(schema, name)`` whether the table is captured; None captures all.
    known: tables as they were known before this session.
    max_bytes: how large a batch may get before it is cut inside a transaction.
    projection_of: what goes on of each version of a table.
    checksums: whether events end in a checksum until a format description says so.
    hidden: types that the log does not tell (:data:`~.layouts.Hidden`).
    schemas: follows the tables of a log that does not tell their columns; None where it must.
    complete: adds to a table what the catalog says of it.

    Attributes
    ----------
    notices: what a person should know, in words; whoever feeds the decoder takes them out.
    """

    def __init__(
        self,
        *,
        gtids: Gtids,
        checkpoint: Callable[[Gtids, str, int], Checkpoint],
        source: Mapping[str, Any],
        wanted: Callable[[str, str], bool] | None = None,
        known: Iterable[Table] = (),
        max_bytes: int = 1 << 20,
        projection_of: ProjectionOf = whole,
        checksums: bool = False,
        hidden: Hidden | None = None,
        schemas: Schemas | None = None,
        complete: Callable[[Table], Table] = as_told,
    ) -> None:
        self.notices: deque[str] = deque()
        self._max_bytes = max_bytes
        self._checksums = checksums
        self._layouts = Layouts(wanted, known, projection_of, hidden, schemas, complete)
        self._log = Transactions(gtids, checkpoint, source, self._layouts)
        self._tables: dict[int, Layout] = {}  # of this statement

    @property
    def file(self) -> str:
        """The file of the log that is being read."""
        return self._log.file

    @property
    def position(self) -> int:
        """The place in it."""
        return self._log.position

    @property
    def shapes(self) -> deque[Table]:
        """For every SchemaChange in turn the table as the log has it; see :class:`Layouts`."""
        return self._layouts.shapes

    @property
    def in_transaction(self) -> bool:
        """Whether the last event left a transaction open."""
        return self._log.is_open

    @property
    def prepared(self) -> int:
        """How many XA transactions are neither committed nor rolled back."""
        return self._log.prepared

    def feed(self, events: Iterable[bytes]) -> Iterator[Batch | TypesNeeded]:
        """Decode whole events in the order of the log; batches as soon as they are full, the rest
        of what is complete at the end. Where the catalog must be asked, the question comes in
        between; let ``hidden`` and ``complete`` know the answer before going on.

        Raises
        ------
        ProtocolError: bytes that the log does not allow, or an event that we do not know and that
            may carry rows.
        GapError: the log says that rows were written which it does not show.
        SchemaError: it does not show the columns' names, and they are not known otherwise.
        DecodeError: a text that its character set does not know.
        TypesNeeded: a question was not answered.
        ShapesNeeded: ``schemas`` must ask the catalog.

        The decoder is of no use then: begin a new session at the last checkpoint.
        """
        for event in events:
            yield from self._read(event)
        yield from self._complete()

    def _complete(self) -> Iterator[Batch]:
        """What is complete of all that was read."""
        assembly = self._log.assembly
        self._log.rest()
        assembly.close_sealed()
        if self._log.waits and not self._log.is_open:
            assembly.close_all()
        yield from assembly.take()

    def _full(self) -> Iterator[Batch]:
        """The batches that are full."""
        assembly, enough = self._log.assembly, self._max_bytes
        if assembly.size >= enough and not self._log.in_xa:
            assembly.cut(enough)
            yield from assembly.take()

    # -- framing

    def _read(self, event: bytes) -> Iterator[Batch | TypesNeeded]:
        """Decode an event of the log, or those that it holds."""
        head = header(event)
        if head.type == _T.FORMAT_DESCRIPTION:
            self._checksums = FormatDescription.parse(event).checksums
            if head.end:  # else it only tells a reader that begins farther on
                self._log.position = head.end
            return
        end = len(event)
        if self._checksums:
            verify(event)
            end -= CHECKSUM
        reader = Reader(event, HEADER, end)
        if head.type == _T.TRANSACTION_PAYLOAD:
            yield from self._inner(payload_events(reader))
            if head.end:
                self._log.position = head.end
            return
        if head.end and head.type not in (_T.ROTATE, _T.HEARTBEAT, _T.HEARTBEAT_V2):
            self._log.position = head.end
        yield from self._take(head, reader)
        yield from self._full()

    def _inner(self, events: Iterator[bytes]) -> Iterator[Batch | TypesNeeded]:
        """Decode the events that another one holds, without checksums."""
        for event in events:
            head = header(event)
            if head.type == _T.TRANSACTION_PAYLOAD:
                raise ProtocolError("a compressed transaction in another", offset=0)
            yield from self._take(head, Reader(event, HEADER))
            yield from self._full()

    def _take(self, head: Header, reader: Reader) -> Iterator[TypesNeeded]:
        """Decode an event, and again with the answers that it needs."""
        begin, asked = reader.at, None
        while True:
            try:
                self._event(head, reader)
            except TypesNeeded as needed:
                if needed.args == asked:
                    raise
                reader.at, asked = begin, needed.args
                yield needed
            else:
                return

    def _event(self, head: Header, reader: Reader) -> None:
        kind = head.type
        if kind in _ROWS:
            self._rows(kind, reader)
        elif kind == _T.TABLE_MAP:
            self._table_map(reader)
        elif kind in (_T.GTID, _T.ANONYMOUS_GTID):
            gtid = Gtid.parse(reader, anonymous=kind == _T.ANONYMOUS_GTID)
            self._begin(gtid, head)
        elif kind == _T.GTID_TAGGED:
            self._begin(Gtid.parse_tagged(reader), head)
        elif kind == _T.MARIADB_GTID:
            gtid = Gtid.parse_mariadb(reader, head.server_id)
            self._begin(gtid, head)
            self._log.explicit = not gtid.standalone
            if gtid.prepares:
                self._log.start_xa(gtid.prepares)
        elif kind == _T.QUERY:
            self._query(Query.parse(reader), head)
        elif kind == _T.QUERY_COMPRESSED:
            query = Query.parse(reader)
            text = inflate(query.statement.encode("utf-8", "surrogateescape"))
            statement = text.decode("utf-8", "surrogateescape")
            self._query(query._replace(statement=statement), head)
        elif kind == _T.XID:
            self._log.open("a commit")
            self._log.commit()
        elif kind == _T.XA_PREPARE:
            self._log.prepare(XaPrepare.parse(reader))
        elif kind == _T.ROTATE:
            rotate = Rotate.parse(reader)
            self._log.file, self._log.position = rotate.file, rotate.position
        elif kind in (_T.HEARTBEAT, _T.HEARTBEAT_V2):
            self._heartbeat(kind, reader, head)
        elif kind == _T.INCIDENT:
            incident = Incident.parse(reader)
            raise GapError(
                f"the server lost events before {self._log.place}: "
                f"{incident.message or 'no reason'}",
                hint="a new snapshot is the only way to know what its tables hold",
            )
        elif kind == _T.START_ENCRYPTION:
            raise ProtocolError("an encrypted log, which a server opens for its readers", offset=4)
        elif kind not in _WITHOUT_ROWS and not head.flags & IGNORABLE:
            raise ProtocolError(
                f"an event of type {kind} at {self._log.place} may carry rows, and is not known",
                offset=4,
                hint="nothing was skipped; a newer penstock may know it",
            )

    def _begin(self, gtid: Gtid, head: Header) -> None:
        self._log.begin(gtid, head)
        self._end_statement()

    # -- statements

    def _query(self, query: Query, head: Header) -> None:
        if not self._log.is_open:  # a log without GTIDs
            self._begin(Gtid(""), head)
        self._log.ran_in(query.thread)
        statement = statements.parse(query.statement)
        kind = statement.kind
        if kind is Kind.BEGIN:
            self._log.explicit = True
        elif kind is Kind.COMMIT:
            self._log.commit()
            return
        elif kind is Kind.ROLLBACK:
            self._log.roll_back()
            return
        elif kind is Kind.SAVEPOINT:
            self._log.savepoint(statement.subject)
        elif kind is Kind.ROLLBACK_TO:
            self._log.roll_back_to(statement.subject)
        elif kind is Kind.XA_START:
            self._log.explicit = True
            self._log.start_xa(statement.subject)
        elif kind is Kind.XA_END:
            pass
        elif kind in (Kind.XA_COMMIT, Kind.XA_ROLLBACK):
            self._log.resolve(statement.subject, committed=kind is Kind.XA_COMMIT)
            return
        elif kind is Kind.TRUNCATE:
            self._truncate(query, statement)
        elif kind is Kind.WRITES:
            self._refuse_unseen(query, statement)
        elif kind is Kind.EMPTIES and (tables := self._concerned(query, statement)):
            self.notices.append(
                f"{', '.join(tables)}: a change of partitions in {self._log.name} removed or "
                "replaced rows, which the log does not show"
            )
        if kind in _ALTERING:
            self._altered(self._log.name, query)
        if not self._log.explicit:
            self._log.commit()

    def _altered(self, transaction: str, query: Query) -> None:
        """A statement may alter tables."""
        self._layouts.statement(transaction, query.database, query.statement)

    def _concerned(self, query: Query, statement: Statement) -> list[str]:
        named = ((schema or query.database, name) for schema, name in statement.tables)
        known = {
            f"{schema}.{name}"
            for schema, name in named
            if schema and self._layouts.wants(schema, name)
        }
        return sorted(known)

    def _refuse_unseen(self, query: Query, statement: Statement) -> None:
        """A statement that was logged as such has no rows here.

        What it writes to is not worked out: any of its names that may be a captured table's counts.
        """
        if tables := self._concerned(query, statement):
            raise GapError(
                f"{self._log.name} at {self._log.place} has a statement instead of its rows: "
                f"{query.statement.strip()[:200]!r} may concern {', '.join(tables[:3])}",
                hint="some session has binlog_format other than ROW; a new snapshot shows what "
                "it wrote",
                table=tables[0],
            )

    def _truncate(self, query: Query, statement: Statement) -> None:
        for schema, name in statement.tables:
            schema = schema or query.database
            if not self._layouts.wants(schema, name):
                continue
            last = self._layouts.last(schema, name)
            table = last.shown if last is not None else None
            if table is None:
                table = self._layouts.known(schema, name) or Table(schema, name, ())
            log = self._log
            log.announce()
            change = Change("truncate", table, log.open("TRUNCATE"), log.ordinal)
            log.add(table.text, [change], 0)

    # -- rows

    def _table_map(self, reader: Reader) -> None:
        self._log.open("a table")
        number = reader.integer(6)
        reader.take(2)
        offset = reader.at
        self._describe(number, reader.rest(), offset)

    def _describe(self, number: int, description: bytes, offset: int) -> None:
        """A number stands for a table in this statement."""
        self._tables[number] = self._layouts.of(description, offset)

    def _described(self, number: int) -> Layout | None:
        return self._tables.get(number)

    def _end_statement(self) -> None:
        self._tables.clear()

    def _rows(self, kind: int, reader: Reader) -> None:
        operation, second, compressed = _ROWS[kind]
        origin = self._log.open("a row")
        number, flags = reader.integer(6), reader.integer(2)
        if second:
            extra = reader.integer(2)
            if extra < 2:
                raise ProtocolError("a row event's header is too short", offset=reader.at)
            reader.take(extra - 2)
        if number == _NO_TABLE:  # the end of a statement, without rows
            self._end_statement()
            return
        layout = self._described(number)
        if layout is None:
            raise ProtocolError(
                f"rows at {self._log.place} of table {number}, which was not described",
                offset=HEADER,
            )
        if layout.table is not None:
            size = reader.end
            width = reader.packed()
            if width != len(layout.mapped.columns):
                raise ProtocolError(
                    f"rows of {width} columns, but {len(layout.mapped.columns)} were described",
                    offset=reader.at,
                    table=layout.table.text,
                )
            images = [reader.take((width + 7) // 8) for _ in range(1 + (operation == "update"))]
            if compressed:
                reader = Reader(inflate(reader.rest()))
            if kind == _T.PARTIAL_UPDATE_ROWS:
                before, after = map(layout.image, images)
                rows = partial_rows(before, after, layout.mapped, reader)
            else:
                rows = layout.reader(*images)(reader.data, reader.at, reader.end)
            if rows:
                self._log.announce(layout)
                assert layout.shown is not None
                self._log.add(
                    layout.shown.text,
                    changes(operation, layout, origin, self._log.ordinal, rows, images[0]),
                    max(size, reader.end) + _OBJECT * len(rows) * width,
                )
        if flags & _STATEMENT_END:
            self._end_statement()

    def _heartbeat(self, kind: int, reader: Reader, head: Header) -> None:
        beat = (
            Heartbeat.parse_v2(reader)
            if kind == _T.HEARTBEAT_V2
            else Heartbeat.parse(reader, head.end)
        )
        self._log.file = beat.file or self._log.file
        self._log.position = beat.position
