"""pgoutput's stream, from CopyData payloads to batches. No I/O: the source feeds it.

Protocol version 1 sends a transaction whole, after its commit: BEGIN, rows and COMMIT are never
mixed with another's. Only commit positions grow; positions of rows are shared and go backwards,
so a change is named by its commit position and its number in the transaction.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from penstock.errors import ProtocolError
from penstock.model import (
    UNCHANGED,
    Batch,
    Change,
    Checkpoint,
    Mark,
    Message,
    Operation,
    Origin,
    Raw,
    Table,
    Transaction,
    TransactionBegin,
    TransactionEnd,
)
from penstock.model.assembly import Assembly
from penstock.model.projection import Projection, ProjectionOf, whole
from penstock.model.stream import MAIN
from penstock.sources.postgres.wire.binary import TextOf, text_of
from penstock.sources.postgres.wire.copies import Payloads
from penstock.sources.postgres.wire.lsn import format_lsn
from penstock.sources.postgres.wire.messages import (
    XLOG_HEADER,
    Begin,
    Commit,
    Keepalive,
    LogicalMessage,
    Reader,
    Relation,
    Truncate,
    check_origin,
    check_type,
)
from penstock.sources.postgres.wire.relations import RelationFacts
from penstock.sources.postgres.wire.tables import Reading, Tables
from penstock.sources.postgres.wire.tuples import read_tuple, row_reader

_XLOG_DATA, _KEEPALIVE = b"wk"
_BEGIN, _COMMIT, _ORIGIN, _RELATION, _TYPE = b"BCORY"
_INSERT, _UPDATE, _DELETE, _TRUNCATE, _MESSAGE = b"IUDTM"
_NEW, _KEY, _OLD = b"NKO"
_HEAD: Final = XLOG_HEADER + 8  # after the message's tag, relation, `N` and number of columns

_Direct = dict[bytes, tuple[Operation, Table, str, Callable[[bytes], list[Raw]]]]


class Decoder:
    """Turns a session's payloads into batches of the stream ``main``.

    Parameters
    ----------
    database, system, timeline: where the log comes from, for changes and checkpoints.
    wanted: says of ``(schema, name)`` whether the table is captured; None captures all.
    messages: prefixes of the logical messages that are wanted; None for all.
    known: tables as they were known before this session.
    max_bytes: how large a batch may get before it is cut inside a transaction.
    projection_of: what goes on of each version of a table.
    binary: the version of the server where values come in binary; 0 where they come as text.

    A change's ordinal counts all rows, truncated tables and transactional messages that the
    server sent of its transaction, wanted or not.
    """

    def __init__(
        self,
        *,
        database: str,
        system: str,
        timeline: int,
        wanted: Callable[[str, str], bool] | None = None,
        messages: Collection[str] | None = (),
        known: Iterable[Table] = (),
        max_bytes: int = 1 << 20,
        projection_of: ProjectionOf = whole,
        binary: int = 0,
    ) -> None:
        self.needs: Relation | None = None
        """The relation that :meth:`describe` must be called for before feeding goes on."""
        self.received = 0
        """The highest position seen: of commits, keepalives and the last payload of each feed."""
        self._database = database
        self._messages = messages
        self._max_bytes = max_bytes

        self._waiting: Sequence[bytes] = ()
        self._binary = binary
        self._tables = Tables(wanted, known, projection_of, binary)
        self._texts: dict[int, list[TextOf]] = {}  # by relation, where values come in binary
        self._undecided: set[int] = set()  # relations without a row since they were announced
        self._readings: dict[int, Reading] = {}  # of the others
        self._rows: _Direct = {}  # how to read the common row messages, by their first bytes
        self._direct: _Direct = {}  # the same, but empty outside a begun transaction

        def checkpoint_at(position: int) -> Checkpoint:
            return Checkpoint.of(MAIN, lsn=format_lsn(position), system=system, timeline=timeline)

        self._assembly = Assembly(MAIN, checkpoint_at)

        self._last_commit = 0
        self._commit_lsn = 0
        self._origin: Origin | None = None
        self._begun = False
        self._ordinal = 0
        self._counts: defaultdict[str, int] = defaultdict(int)

    @property
    def shapes(self) -> deque[Table]:
        """For every SchemaChange in turn the table as the log has it; see :class:`Tables`."""
        return self._tables.shapes

    @property
    def in_transaction(self) -> bool:
        """Whether the last payload left a transaction open."""
        return self._origin is not None

    def feed(self, payloads: Payloads) -> list[Batch]:
        """Decode CopyData payloads in the order of their arrival; the batches that are finished.

        What is complete is handed over. The rest of an open transaction is kept, up to
        ``max_bytes``. When :attr:`needs` is set afterwards, the payloads behind that relation are
        kept too: call :meth:`describe`, then ``feed([])``.

        Raises ProtocolError for bytes that the protocol does not allow. The decoder is of no use
        then: begin a new session at the last checkpoint. So it is for TextNeeded, which says that
        this one should not have been in binary.
        """
        if not isinstance(payloads, list):
            raise TypeError("the Python kernel takes payloads one by one")
        if payloads:
            self._waiting = [*self._waiting, *payloads] if self._waiting else payloads
        if self.needs is None:
            self._decode()
            self._assembly.close_sealed()
        return self._assembly.take()

    def describe(self, facts: RelationFacts) -> None:
        """Give the catalog's facts of the relation that :attr:`needs` names.

        Raises SchemaError when they do not fit the relation, and TextNeeded as :meth:`feed`.
        """
        relation = self.needs
        if relation is None:
            raise ValueError("no relation needs facts")
        self._read(relation.oid, self._tables.describe(relation, facts))
        self.needs = None

    def _decode(self) -> None:
        """Decode what waits. Rows that are all there is to most streams take the direct way: their
        first bytes, with relation and number of columns, lead to what reads the rest.
        """
        waiting = iter(self._waiting)
        self._waiting = ()
        payload = b""
        assembly, enough = self._assembly, self._max_bytes
        direct, events, counts = self._direct, assembly.events, self._counts
        origin, ordinal, size = self._origin, self._ordinal, assembly.size
        for payload in waiting:
            found = direct.get(payload[XLOG_HEADER:_HEAD])
            if found is not None and payload[0] == _XLOG_DATA:
                operation, table, name, read = found
                assert origin is not None
                events.append(Change(operation, table, origin, ordinal, None, read(payload)))
                counts[name] += 1
                ordinal += 1
                size += len(payload)
                if size < enough:
                    continue
                self._ordinal, assembly.size = ordinal, size
            else:
                self._ordinal, assembly.size = ordinal, size
                self._frame(payload)
            if assembly.size >= enough:
                assembly.cut(enough)
            direct, events, counts = self._direct, assembly.events, self._counts
            origin, ordinal, size = self._origin, self._ordinal, assembly.size
            if self.needs is not None:
                self._waiting = [payload, *waiting]
                break
        self._ordinal, assembly.size = ordinal, size
        if self.needs is None and payload[:1] == b"w":
            self.received = max(self.received, Reader(payload, 1).position())

    def _frame(self, payload: bytes) -> None:
        """Decode one payload of any kind; not at all when :attr:`needs` is set afterwards."""
        frame = payload[0] if payload else 0
        if frame == _KEEPALIVE:
            keepalive = Keepalive.parse(payload)
            self.received = max(self.received, keepalive.wal_end)
            if self._origin is None:
                self._assembly.advance(keepalive.wal_end)
            return
        if frame != _XLOG_DATA:
            raise ProtocolError(f"unknown frame {frame}", offset=0)
        if len(payload) <= XLOG_HEADER:
            raise ProtocolError("a frame without a message", offset=len(payload))
        tag = payload[XLOG_HEADER]
        reader = Reader(payload, XLOG_HEADER + 1)
        if tag in (_INSERT, _UPDATE, _DELETE):
            oid = reader.unsigned()
            if not self._decided(oid):
                return
            self._row(tag, oid, reader)
        elif tag == _BEGIN:
            self._begin(Begin.parse(reader))
        elif tag == _COMMIT:
            self._commit(Commit.parse(reader))
        elif tag == _RELATION:
            self._relation(Relation.parse(reader))
        elif tag == _TRUNCATE:
            truncate = Truncate.parse(reader)
            if not all(map(self._decided, truncate.oids)):
                return
            self._truncate(truncate, reader)
        elif tag == _MESSAGE:
            self._message(LogicalMessage.parse(reader))
        elif tag == _ORIGIN:
            check_origin(reader)
        elif tag == _TYPE:
            check_type(reader)
        else:
            raise ProtocolError(f"unknown message {tag}", offset=XLOG_HEADER)
        reader.end()

    # -- transactions

    def _begin(self, begin: Begin) -> None:
        if self._origin is not None:
            raise ProtocolError(f"BEGIN {begin.xid} inside the transaction {self._origin.mark}")
        if begin.commit_lsn <= self._last_commit:
            raise ProtocolError(
                f"the transaction at {format_lsn(begin.commit_lsn)} follows the one at "
                f"{format_lsn(self._last_commit)}: commits do not go back"
            )
        lsn = format_lsn(begin.commit_lsn)
        self._commit_lsn = begin.commit_lsn
        self._origin = Origin(
            lsn,
            Transaction(str(begin.xid), begin.committed_us),
            begin.commit_lsn,
            {"type": "postgres", "database": self._database, "lsn": lsn},
        )
        self._ordinal = 0

    def _commit(self, commit: Commit) -> None:
        origin = self._open("COMMIT")
        if commit.commit_lsn != self._commit_lsn or commit.end_lsn <= commit.commit_lsn:
            raise ProtocolError(
                f"COMMIT at {format_lsn(commit.commit_lsn)}, ending at "
                f"{format_lsn(commit.end_lsn)}, does not fit the BEGIN of {origin.mark}"
            )
        if self._begun:
            self._assembly.events.append(TransactionEnd(origin, dict(self._counts)))
        self._origin = None
        self._begun = False
        self._direct = {}
        self._last_commit = commit.commit_lsn
        self._assembly.advance(commit.end_lsn)
        self.received = max(self.received, commit.end_lsn)
        self._assembly.seal()

    def _open(self, what: str) -> Origin:
        if self._origin is None:
            raise ProtocolError(f"{what} outside a transaction", offset=XLOG_HEADER)
        return self._origin

    def _wanted_event(self) -> None:
        """Announce the transaction before its first event."""
        if not self._begun:
            self._begun = True
            self._counts = defaultdict(int)
            self._direct = self._rows
            self._assembly.events.append(TransactionBegin(self._open("a row")))

    # -- tables

    def _relation(self, relation: Relation) -> None:
        self._tables.announce(relation)
        self._undecided.add(relation.oid)
        self._forget_direct(relation.oid)

    def _decided(self, oid: int) -> bool:
        """Whether rows of the relation can be read; else :attr:`needs` says what is missing."""
        if oid in self._undecided:
            reading = self._tables.reading(oid)
            if isinstance(reading, Relation):
                self.needs = reading
                return False
            self._read(oid, reading)
        return True

    def _read(self, oid: int, reading: Reading) -> None:
        """Read a relation's rows so from now on; a batch of its own begins with the news."""
        if reading.news is not None:
            self._assembly.close_all()
            self._assembly.events.append(reading.news)
        self._undecided.discard(oid)
        self._readings[oid] = reading
        if reading.table is not None:
            self._read_direct(oid, reading.table, reading.projection)

    def _read_direct(self, oid: int, table: Table, projection: Projection | None) -> None:
        arity = len(table.columns)
        if self._binary:
            self._texts[oid] = [t for c in table.columns if (t := text_of(c.type)) is not None]
        read = row_reader(arity, _HEAD, self._texts.get(oid))
        if projection is not None:
            table, read = projection.table, projection.after(read)
        tail = oid.to_bytes(4, "big") + b"N" + arity.to_bytes(2, "big")
        self._rows[b"I" + tail] = ("insert", table, table.text, read)
        self._rows[b"U" + tail] = ("update", table, table.text, read)

    def _forget_direct(self, oid: int) -> None:
        for head in [head for head in self._rows if head[1:5] == oid.to_bytes(4, "big")]:
            del self._rows[head]

    def _reading(self, oid: int, offset: int) -> Reading:
        if oid not in self._readings:
            raise ProtocolError(f"a row of relation {oid}, which was not described", offset=offset)
        return self._readings[oid]

    # -- rows

    def _row(self, tag: int, oid: int, reader: Reader) -> None:
        origin = self._open("a row")
        reading = self._reading(oid, reader.at - 4)
        table = reading.shown
        ordinal = self._ordinal
        self._ordinal += 1
        if table is None:
            reader.at = len(reader.data)
            return
        form = reader.byte()
        old: list[Raw] | None = None
        whole = form == _OLD
        if tag != _INSERT and form in (_KEY, _OLD):
            old = self._tuple(reading, reader)
            form = reader.byte() if tag == _UPDATE else 0
        if form != (0 if tag == _DELETE and old is not None else _NEW) or (
            tag == _DELETE and old is None
        ):
            raise ProtocolError(f"a row has no tuple {form}", offset=reader.at - 1)
        change: Change
        if tag == _DELETE:
            assert old is not None
            change = (
                Change("delete", table, origin, ordinal, old)
                if whole
                else Change("delete", table, origin, ordinal, key=_pick(table, old))
            )
        else:
            new = self._tuple(reading, reader)
            if old is None:
                operation: Operation = "insert" if tag == _INSERT else "update"
                change = Change(operation, table, origin, ordinal, None, new)
            else:
                change = _update(table, origin, ordinal, old, new, whole)
        self._wanted_event()
        self._assembly.events.append(change)
        self._counts[table.text] += 1
        self._assembly.size += len(reader.data)

    def _tuple(self, reading: Reading, reader: Reader) -> list[Raw]:
        table, projection = reading.table, reading.projection
        assert table is not None
        arity = reader.short()
        if arity != len(table.columns):
            raise ProtocolError(
                f"a row of {arity} columns, but RELATION announced {len(table.columns)}",
                offset=reader.at - 2,
                table=table.text,
            )
        values, reader.at = read_tuple(reader.data, reader.at, arity, self._texts.get(table.oid))
        return values if projection is None else projection.values(values)

    def _truncate(self, truncate: Truncate, reader: Reader) -> None:
        origin = self._open("TRUNCATE")
        headers = {}
        if truncate.cascade:
            headers["cascade"] = "true"
        if truncate.restart_identity:
            headers["restart_identity"] = "true"
        for oid in truncate.oids:
            table = self._reading(oid, XLOG_HEADER).shown
            if table is not None:
                self._wanted_event()
                change: Change = Change("truncate", table, origin, self._ordinal)
                change.headers = headers
                self._assembly.events.append(change)
                self._counts[table.text] += 1
            self._ordinal += 1
        self._assembly.size += len(reader.data)

    def _message(self, message: LogicalMessage) -> None:
        wanted = self._messages is None or message.prefix in self._messages
        if not message.transactional:
            if wanted:
                # Its position is its end, where the next commit may stand: the mark is before that.
                mark = Mark(format_lsn(message.lsn - 1), 0)
                self._assembly.events.append(Message(message.prefix, message.content, mark, None))
                self._assembly.size += len(message.content)
                if self._origin is None:
                    self._assembly.advance(message.lsn)
                    self._assembly.seal()
            return
        origin = self._open("a transactional message")
        if wanted:
            self._wanted_event()
            mark = Mark(origin.mark, self._ordinal)
            self._assembly.events.append(
                Message(message.prefix, message.content, mark, origin.transaction)
            )
            self._assembly.size += len(message.content)
        self._ordinal += 1


def _pick(table: Table, values: Sequence[Raw]) -> list[Raw] | None:
    return [values[i] for i in table.key_indexes] if table.key_columns else None


def _update(
    table: Table,
    origin: Origin,
    ordinal: int,
    old: list[Raw],
    new: list[Raw],
    whole: bool,
) -> Change:
    """An update that came with an old tuple: of all columns (``whole``), or of the key's only.

    Large values that the new tuple does not repeat are taken from the old one.
    """
    carried = range(len(old)) if whole else table.key_indexes
    for i in carried:
        if new[i] is UNCHANGED:
            new[i] = old[i]
    old_key = _pick(table, old)
    if old_key == _pick(table, new):
        old_key = None
    return Change("update", table, origin, ordinal, old if whole else None, new, None, old_key)
