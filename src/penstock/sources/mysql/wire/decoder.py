"""The binlog, from events to batches. No I/O: the source feeds it.

The server sends transactions whole and in the order of their commits. A transaction is known by its
GTID, which counts as read at its commit only; a change is known by that and its number among the
changes of captured tables. Events of one transaction are handed over as they come, so that its size
does not matter; those of an XA transaction are held until it is known how it ended.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from penstock.errors import GapError, ProtocolError, SourceError
from penstock.model import (
    UNCHANGED,
    Batch,
    Change,
    Checkpoint,
    Event,
    Operation,
    Origin,
    Table,
    Transaction,
    TransactionBegin,
    TransactionEnd,
)
from penstock.model.assembly import Assembly
from penstock.model.projection import ProjectionOf, whole
from penstock.model.stream import MAIN
from penstock.sources.mysql.wire import statements
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
from penstock.sources.mysql.wire.layouts import Hidden, Layout, Layouts
from penstock.sources.mysql.wire.partial import partial_rows
from penstock.sources.mysql.wire.reader import Reader
from penstock.sources.mysql.wire.rows import Row, Rows
from penstock.sources.mysql.wire.statements import Kind, Statement

MOST_HELD: Final = 64 << 20
"""Bytes of an XA transaction that is neither committed nor rolled back."""
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


class _Held:
    """An XA transaction that is prepared, or being so: its events, and before rows their layout."""

    def __init__(self) -> None:
        self.gtids: list[str] = []
        self.events: list[Event | Layout] = []
        self.size = 0


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

    Attributes
    ----------
    file, position: the place in the log.
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
    ) -> None:
        self.file = ""
        self.position = 0
        self.notices: deque[str] = deque()
        self._gtids = gtids.copy()
        self._checkpoint = checkpoint
        self._facts = dict(source)
        self._max_bytes = max_bytes
        self._checksums = checksums
        self._layouts = Layouts(wanted, known, projection_of, hidden)
        self._tables: dict[int, Layout] = {}  # of this statement
        self._assembly = Assembly(MAIN, lambda _: self._checkpoint_now())
        self._committed = 0
        self._read: list[str] = []  # transactions that wait for an earlier one
        self._safe_place = ("", 0)

        self._gtid: Gtid | None = None
        self._origin: Origin | None = None
        self._explicit = False  # whether the transaction ends by an event of its own
        self._begun = False
        self._ordinal = 0
        self._since_savepoint: dict[str, int] = {}
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._xa: str | None = None  # the XA transaction whose rows come now
        self._held: dict[str, _Held] = {}

    @property
    def shapes(self) -> deque[Table]:
        """For every SchemaChange in turn the table as the log has it; see :class:`Layouts`."""
        return self._layouts.shapes

    @property
    def in_transaction(self) -> bool:
        """Whether the last event left a transaction open."""
        return self._gtid is not None

    @property
    def prepared(self) -> int:
        """How many XA transactions are neither committed nor rolled back."""
        return len(self._held)

    def feed(self, events: Iterable[bytes]) -> Iterator[Batch]:
        """Decode whole events in the order of the log; batches as soon as they are full, the rest
        of what is complete at the end.

        Raises
        ------
        ProtocolError: bytes that the log does not allow, or an event that we do not know and that
            may carry rows.
        GapError: the log says that rows were written which it does not show.
        SchemaError: it does not show the columns' names.
        DecodeError: a text that its character set does not know.
        TypesNeeded: ``hidden`` lacks a table.

        The decoder is of no use then: begin a new session at the last checkpoint.
        """
        assembly, enough = self._assembly, self._max_bytes
        for event in events:
            for inner in self._frame(event):
                self._event(*inner)
                if assembly.size >= enough and self._xa is None:
                    assembly.cut(enough)
                    yield from assembly.take()
        assembly.close_sealed()
        if self._waits and self._gtid is None:
            assembly.close_all()
        yield from assembly.take()

    @property
    def _waits(self) -> bool:
        """Whether no checkpoint can be made before a prepared transaction ends: positions of
        MariaDB cannot leave one out."""
        return bool(self._held) and not self._gtids.gaps

    # -- framing

    def _frame(self, event: bytes) -> Iterator[tuple[Header, Reader]]:
        """An event of the log, or those that it holds."""
        head = header(event)
        if head.type == _T.FORMAT_DESCRIPTION:
            self._checksums = FormatDescription.parse(event).checksums
            return
        end = len(event)
        if self._checksums:
            verify(event)
            end -= CHECKSUM
        reader = Reader(event, HEADER, end)
        if head.type == _T.TRANSACTION_PAYLOAD:
            for inner in payload_events(reader):
                inner_head = header(inner)
                if inner_head.type == _T.TRANSACTION_PAYLOAD:
                    raise ProtocolError("a compressed transaction in another", offset=0)
                yield inner_head, Reader(inner, HEADER)
            if head.end:
                self.position = head.end
            return
        if head.end and head.type not in (_T.ROTATE, _T.HEARTBEAT, _T.HEARTBEAT_V2):
            self.position = head.end
        yield head, reader

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
            self._explicit = not gtid.standalone
            if gtid.prepares:
                self._start_xa(gtid.prepares)
        elif kind == _T.QUERY:
            self._query(Query.parse(reader), head)
        elif kind == _T.QUERY_COMPRESSED:
            query = Query.parse(reader)
            text = inflate(query.statement.encode("utf-8", "surrogateescape"))
            statement = text.decode("utf-8", "surrogateescape")
            self._query(query._replace(statement=statement), head)
        elif kind == _T.XID:
            self._open("a commit")
            self._commit()
        elif kind == _T.XA_PREPARE:
            self._prepare(XaPrepare.parse(reader))
        elif kind == _T.ROTATE:
            rotate = Rotate.parse(reader)
            self.file, self.position = rotate.file, rotate.position
        elif kind in (_T.HEARTBEAT, _T.HEARTBEAT_V2):
            self._heartbeat(kind, reader, head)
        elif kind == _T.INCIDENT:
            incident = Incident.parse(reader)
            raise GapError(
                f"the server lost events before {self._place()}: {incident.message or 'no reason'}",
                hint="a new snapshot is the only way to know what its tables hold",
            )
        elif kind == _T.START_ENCRYPTION:
            raise ProtocolError("an encrypted log, which a server opens for its readers", offset=4)
        elif kind not in _WITHOUT_ROWS and not head.flags & IGNORABLE:
            raise ProtocolError(
                f"an event of type {kind} at {self._place()} may carry rows, and is not known",
                offset=4,
                hint="nothing was skipped; a newer penstock may know it",
            )

    def _place(self) -> str:
        return f"{self.file or '?'}/{self.position}"

    # -- transactions

    def _begin(self, gtid: Gtid, head: Header) -> None:
        if self._gtid is not None:
            raise ProtocolError(
                f"a transaction begins at {self._place()} inside {self._name()}", offset=HEADER
            )
        self._gtid = gtid
        self._explicit = False
        self._ordinal = 0
        self._set_origin(gtid, head)

    def _set_origin(self, gtid: Gtid, head: Header) -> None:
        committed = gtid.committed_us or head.timestamp * 1_000_000
        name = gtid.text or f"{self.file}/{self.position}"
        facts = {**self._facts, "server_id": head.server_id}
        if gtid.text:
            facts["gtid"] = gtid.text
        self._origin = Origin(name, Transaction(name, committed), None, facts)

    def _open(self, what: str) -> Origin:
        if self._gtid is None or self._origin is None:
            raise ProtocolError(f"{what} outside a transaction at {self._place()}", offset=HEADER)
        return self._origin

    def _name(self) -> str:
        return self._origin.mark if self._origin is not None else "no transaction"

    def _commit(self) -> None:
        """The transaction has ended, and is in the log with all that it did."""
        assembly = self._assembly
        if self._begun:
            assembly.events.append(TransactionEnd(self._open("a commit"), dict(self._counts)))
        self._done([self._gtid.text] if self._gtid is not None else [])

    def _done(self, gtids: Iterable[str]) -> None:
        """Transactions have been read; those that wait for a prepared one are as parts of it."""
        self._read += filter(None, gtids)
        self._leave()
        if self._waits:
            return
        for gtid in self._read:
            self._gtids.add(gtid)
        self._read.clear()
        self._committed += 1
        self._safe_place = (self.file, self.position)
        self._assembly.advance(self._committed)
        self._assembly.seal()

    def _leave(self) -> None:
        self._gtid = self._origin = None
        self._begun = self._explicit = False
        self._tables.clear()
        self._since_savepoint.clear()

    def _checkpoint_now(self) -> Checkpoint:
        return self._checkpoint(self._gtids, *self._safe_place)

    def _wanted_event(self) -> None:
        """Announce the transaction before its first event."""
        if not self._begun:
            self._begun = True
            self._counts = defaultdict(int)
            self._add(TransactionBegin(self._open("a row")))

    def _add(self, event: Event) -> None:
        if self._xa is None:
            self._assembly.events.append(event)
        else:
            self._held[self._xa].events.append(event)

    # -- statements

    def _query(self, query: Query, head: Header) -> None:
        if self._gtid is None:  # a log without GTIDs
            self._begin(Gtid(""), head)
        statement = statements.parse(query.statement)
        kind = statement.kind
        if kind is Kind.BEGIN:
            self._explicit = True
        elif kind is Kind.COMMIT:
            self._commit()
            return
        elif kind is Kind.ROLLBACK:
            self._rollback()
            return
        elif kind is Kind.SAVEPOINT:
            self._since_savepoint[statement.subject] = self._ordinal
        elif kind is Kind.ROLLBACK_TO:
            self._rollback_to(statement.subject)
        elif kind is Kind.XA_START:
            self._explicit = True
            self._start_xa(statement.subject)
        elif kind is Kind.XA_END:
            pass
        elif kind in (Kind.XA_COMMIT, Kind.XA_ROLLBACK):
            self._resolve(statement.subject, committed=kind is Kind.XA_COMMIT)
            return
        elif kind is Kind.TRUNCATE:
            self._truncate(query, statement)
        elif kind is Kind.WRITES:
            self._refuse_unseen(query, statement)
        elif kind is Kind.EMPTIES and (tables := self._concerned(query, statement)):
            self.notices.append(
                f"{', '.join(tables)}: a change of partitions in {self._name()} removed or "
                "replaced rows, which the log does not show"
            )
        if not self._explicit:
            self._commit()

    def _rollback(self) -> None:
        if self._begun:
            raise GapError(
                f"{self._name()} wrote rows and was rolled back: which of them stayed, those of "
                "tables without transactions, the log does not tell",
                hint="do not mix engines in a transaction; a new snapshot shows what is there",
            )
        self._commit()

    def _rollback_to(self, savepoint: str) -> None:
        if self._ordinal != self._since_savepoint.get(savepoint, 0):
            raise GapError(
                f"{self._name()} was rolled back to a savepoint after it had written to a table "
                "without transactions: which rows stayed the log does not tell",
                hint="do not mix engines in a transaction; a new snapshot shows what is there",
            )

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
                f"{self._name()} at {self._place()} has a statement instead of its rows: "
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
            self._wanted_event()
            self._add(Change("truncate", table, self._open("TRUNCATE"), self._ordinal))
            self._counts[table.text] += 1
            self._ordinal += 1

    # -- XA

    def _start_xa(self, xid: str) -> None:
        if self._xa is not None or xid in self._held:
            raise ProtocolError(f"the XA transaction {xid} begins again", offset=HEADER)
        self._xa = xid
        self._held[xid] = _Held()

    def _prepare(self, prepare: XaPrepare) -> None:
        """The rows of an XA transaction are known, but not yet how it ends."""
        self._open("XA PREPARE")
        if self._xa != prepare.xid:
            raise ProtocolError(f"XA PREPARE of {prepare.xid} inside {self._xa}", offset=HEADER)
        if prepare.committed:
            self._resolve(prepare.xid, committed=True)
            return
        held = self._held[prepare.xid]
        gtid = self._gtid.text if self._gtid is not None else ""
        if self._gtids.gaps:
            held.gtids.append(gtid)
        elif gtid:
            self._read.append(gtid)
        if self._begun:
            held.events.append(TransactionEnd(self._open("XA"), dict(self._counts)))
        self._xa = None
        self._leave()

    def _resolve(self, xid: str, *, committed: bool) -> None:
        """An XA transaction ends. Its rows bear the name of its prepare: they came with that."""
        gtid = self._gtid.text if self._gtid is not None else ""
        held = self._held.pop(xid, None)
        self._xa = None
        if held is None:
            if committed:
                raise GapError(
                    f"{self._name()} commits the XA transaction {xid}, which was prepared before "
                    "this log began for us",
                    hint="a new snapshot shows what it wrote",
                )
            self._done([gtid])
            return
        if committed:
            if held.events and not isinstance(held.events[-1], TransactionEnd):
                held.events.append(TransactionEnd(self._open("XA"), dict(self._counts)))
            for event in held.events:
                if isinstance(event, Layout):
                    self._tell(event)
                else:
                    self._assembly.events.append(event)
            self._assembly.size += held.size
        self._done([*held.gtids, gtid])

    # -- rows

    def _table_map(self, reader: Reader) -> None:
        self._open("a table")
        number = reader.integer(6)
        reader.take(2)
        offset = reader.at
        self._tables[number] = self._layouts.of(reader.rest(), offset)

    def _rows(self, kind: int, reader: Reader) -> None:
        operation, second, compressed = _ROWS[kind]
        origin = self._open("a row")
        number, flags = reader.integer(6), reader.integer(2)
        if second:
            extra = reader.integer(2)
            if extra < 2:
                raise ProtocolError("a row event's header is too short", offset=reader.at)
            reader.take(extra - 2)
        if number == _NO_TABLE:  # the end of a statement, without rows
            self._tables.clear()
            return
        layout = self._tables.get(number)
        if layout is None:
            raise ProtocolError(
                f"rows at {self._place()} of table {number}, which was not described",
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
                self._announce(layout)
                self._changes(operation, layout, origin, rows, images)
                self._grow(max(size, reader.end) + _OBJECT * len(rows) * width)
        if flags & _STATEMENT_END:
            self._tables.clear()

    def _announce(self, layout: Layout) -> None:
        if self._xa is None:
            self._tell(layout)
        else:
            self._held[self._xa].events.append(layout)
        self._wanted_event()

    def _tell(self, layout: Layout) -> None:
        """Tell the table's shape where it is news, in a batch that begins with it."""
        news = self._layouts.news(layout)
        if news is not None:
            self._assembly.close_all()
            self._assembly.events.append(news)

    def _grow(self, size: int) -> None:
        if self._xa is None:
            self._assembly.size += size
            return
        held = self._held[self._xa]
        held.size += size
        if held.size > MOST_HELD:
            raise SourceError(
                f"the XA transaction {self._xa} has more than {MOST_HELD >> 20} MiB of rows, which "
                "must be held until it ends",
                hint="commit it in parts; nothing was skipped",
            )

    def _changes(
        self, operation: Operation, layout: Layout, origin: Origin, rows: Rows, images: list[bytes]
    ) -> None:
        table, projection, ordinal = layout.shown, layout.projection, self._ordinal
        assert table is not None
        events: list[Any] = (
            self._assembly.events if self._xa is None else self._held[self._xa].events
        )
        first = layout.image(images[0])
        if operation == "insert":
            if not first.whole:
                raise _incomplete(table, "an insert", origin)
            if projection is not None:
                rows = [projection.values(row) for row in rows]
            for row in rows:
                events.append(Change("insert", table, origin, ordinal, None, row))
                ordinal += 1
        else:
            make = _deleted if operation == "delete" else _updated
            step = len(images)
            for i in range(0, len(rows), step):
                change = make(layout, origin, ordinal, rows[i : i + step], first.whole)
                events.append(change)
                ordinal += 1
        self._counts[table.text] += ordinal - self._ordinal
        self._ordinal = ordinal

    def _heartbeat(self, kind: int, reader: Reader, head: Header) -> None:
        beat = (
            Heartbeat.parse_v2(reader)
            if kind == _T.HEARTBEAT_V2
            else Heartbeat.parse(reader, head.end)
        )
        self.file, self.position = beat.file or self.file, beat.position


def _deleted(layout: Layout, origin: Origin, ordinal: int, rows: Rows, complete: bool) -> Change:
    table = layout.shown
    assert table is not None
    before = rows[0]
    key = _key(layout, before)
    if not complete and key is None:
        raise _incomplete(table, "a delete", origin)
    if complete:
        return Change("delete", table, origin, ordinal, _projected(layout, before))
    return Change("delete", table, origin, ordinal, key=_projected_key(layout, key))


def _updated(layout: Layout, origin: Origin, ordinal: int, rows: Rows, complete: bool) -> Change:
    """An update; columns that one image leaves out are taken from the other, where they are."""
    table = layout.shown
    assert table is not None
    before, after = rows
    if UNCHANGED in after:
        after = [old if new is UNCHANGED else new for old, new in zip(before, after, strict=True)]
    old_key, new_key = _key(layout, before), _key(layout, after)
    if layout.mapped.key and new_key is None:
        raise _incomplete(table, "an update", origin)
    return Change(
        "update",
        table,
        origin,
        ordinal,
        _projected(layout, before) if complete else None,
        _projected(layout, after),
        None,
        _projected_key(layout, old_key) if old_key != new_key else None,
    )


def _key(layout: Layout, row: Row) -> Row | None:
    """The key's values; None where there is no key, or not all of it is there."""
    key = [row[i] for i in layout.mapped.key]
    return None if not key or UNCHANGED in key else key


def _projected(layout: Layout, row: Row) -> Row:
    return row if layout.projection is None else layout.projection.values(row)


def _projected_key(layout: Layout, key: Row | None) -> Row | None:
    if key is None or layout.projection is None:
        return key
    return layout.projection.key_values(key)


def _incomplete(table: Table, what: str, origin: Origin) -> GapError:
    return GapError(
        f"{origin.mark} has {what} in {table.text} without all of its columns",
        hint="some session has binlog_row_image other than FULL; a new snapshot shows what it "
        "wrote",
        table=table.text,
    )
