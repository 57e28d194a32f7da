"""What a walsender sends, but for the rows: frames, and pgoutput's messages about transactions.

Facts: PostgreSQL manual, *Streaming Replication Protocol* and *Logical Replication Message
Formats*, protocol version 1. Every length is checked against the bytes that are left before
anything is made from it; a message must end where its bytes end.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from penstock.errors import ProtocolError

EPOCH_US: Final = 946_684_800_000_000
"""PostgreSQL counts microseconds from 2000-01-01 UTC; this is that moment since 1970."""

_YEAR_1_US: Final = -62_135_596_800_000_000
_YEAR_10000_US: Final = 253_402_300_800_000_000

XLOG_HEADER: Final = 25
"""Where the message begins in an XLogData frame: after ``w``, start, end and clock."""

_U8: Final = Struct(">B")
_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")
_KEEPALIVE: Final = Struct(">QqB")
_BEGIN: Final = Struct(">QqI")
_COMMIT: Final = Struct(">BQQq")
_COLUMN_TYPE: Final = Struct(">Ii")


class Reader:
    """Reads fields off a payload; raises ProtocolError with the place when bytes are missing."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def numbers(self, layout: Struct) -> tuple[int, ...]:
        """Numbers of fixed sizes, one after the other."""
        at = self.at
        if len(self.data) - at < layout.size:
            raise ProtocolError(
                f"the message ends inside {layout.size} bytes of numbers", offset=at
            )
        self.at = at + layout.size
        return layout.unpack_from(self.data, at)

    def byte(self) -> int:
        """An unsigned byte."""
        return self.numbers(_U8)[0]

    def short(self) -> int:
        """An unsigned number of 2 bytes."""
        return self.numbers(_U16)[0]

    def unsigned(self) -> int:
        """An unsigned number of 4 bytes: an OID, a length."""
        return self.numbers(_U32)[0]

    def position(self) -> int:
        """A log sequence number."""
        return self.numbers(_U64)[0]

    def bytes(self, length: int) -> bytes:
        """So many bytes."""
        end = self.at + length
        if end > len(self.data):
            left = len(self.data) - self.at
            raise ProtocolError(f"{length} bytes announced, {left} left", offset=self.at)
        start, self.at = self.at, end
        return self.data[start:end]

    def text(self) -> str:
        """A text that ends with a zero byte."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise ProtocolError("a text has no end", offset=self.at)
        start, self.at = self.at, end + 1
        try:
            return self.data[start:end].decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(
                f"a text is not UTF-8: {error.reason}",
                offset=start + error.start,
                hint="the session must have client_encoding=UTF8",
            ) from error

    def end(self) -> None:
        """Raises ProtocolError unless all was read."""
        if self.at != len(self.data):
            raise ProtocolError(
                f"{len(self.data) - self.at} bytes follow the message", offset=self.at
            )


def _moment(since_2000: int, offset: int) -> int:
    """Microseconds since 1970 of a time stamp, which must be of a year that a calendar has."""
    moment = since_2000 + EPOCH_US
    if not _YEAR_1_US <= moment < _YEAR_10000_US:
        raise ProtocolError(f"{since_2000} is no time stamp", offset=offset)
    return moment


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The server's word between rows: all before ``wal_end`` has been sent."""

    wal_end: int
    sent_us: int
    reply: bool

    @classmethod
    def parse(cls, payload: bytes) -> Keepalive:
        """Read a ``k`` frame."""
        reader = Reader(payload, 1)
        wal_end, sent, reply = reader.numbers(_KEEPALIVE)
        reader.end()
        return cls(wal_end, _moment(sent, 9), reply != 0)


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction begins; it is sent whole, after its commit."""

    commit_lsn: int
    committed_us: int
    xid: int

    @classmethod
    def parse(cls, reader: Reader) -> Begin:
        """Read what follows ``B``."""
        commit_lsn, committed, xid = reader.numbers(_BEGIN)
        return cls(commit_lsn, _moment(committed, reader.at - 12), xid)


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction ends. Reading from ``end_lsn`` on does not show it again."""

    commit_lsn: int
    end_lsn: int

    @classmethod
    def parse(cls, reader: Reader) -> Commit:
        """Read what follows ``C``."""
        at = reader.at
        flags, commit_lsn, end_lsn, _ = reader.numbers(_COMMIT)
        if flags:
            raise ProtocolError(f"COMMIT has unknown flags {flags:#x}", offset=at)
        return cls(commit_lsn, end_lsn)


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column as RELATION tells it; ``key`` when it belongs to the replica identity."""

    key: bool
    name: str
    type_oid: int
    modifier: int


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's shape at this point of the log.

    ``identity`` is ``d`` (default), ``n`` (nothing), ``f`` (full) or ``i`` (index).
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names in order."""
        return tuple(column.name for column in self.columns)

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of the columns of the replica identity, in column order."""
        return tuple(column.name for column in self.columns if column.key)

    @classmethod
    def parse(cls, reader: Reader) -> Relation:
        """Read what follows ``R``."""
        oid = reader.unsigned()
        schema = reader.text() or "pg_catalog"
        name = reader.text()
        identity = chr(reader.byte())
        if identity not in "dnfi":
            number = ord(identity)
            raise ProtocolError(f"unknown replica identity {number}", offset=reader.at - 1)
        columns = tuple(
            RelationColumn(bool(reader.byte() & 1), reader.text(), *reader.numbers(_COLUMN_TYPE))
            for _ in range(reader.short())
        )
        if len({column.name for column in columns}) < len(columns):
            raise ProtocolError(f"{schema}.{name} has two columns of one name", offset=reader.at)
        return cls(oid, schema, name, identity, columns)


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables were emptied by one statement."""

    oids: tuple[int, ...]
    cascade: bool
    restart_identity: bool

    @classmethod
    def parse(cls, reader: Reader) -> Truncate:
        """Read what follows ``T``."""
        count = reader.unsigned()
        flags = reader.byte()
        if flags > 3:
            raise ProtocolError(f"TRUNCATE has unknown flags {flags:#x}", offset=reader.at - 1)
        if count * 4 != len(reader.data) - reader.at:
            raise ProtocolError(f"TRUNCATE announces {count} tables", offset=reader.at)
        oids = tuple(reader.unsigned() for _ in range(count))
        return cls(oids, bool(flags & 1), bool(flags & 2))


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """What ``pg_logical_emit_message`` wrote."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes

    @classmethod
    def parse(cls, reader: Reader) -> LogicalMessage:
        """Read what follows ``M``."""
        flags = reader.byte()
        if flags > 1:
            raise ProtocolError(f"MESSAGE has unknown flags {flags:#x}", offset=reader.at - 1)
        lsn = reader.position()
        if lsn == 0:
            raise ProtocolError("MESSAGE stands nowhere in the log", offset=reader.at - 8)
        return cls(flags == 1, lsn, reader.text(), reader.bytes(reader.unsigned()))


def check_origin(reader: Reader) -> None:
    """Read what follows ``O`` (where a replicated transaction came from); nobody asks for it."""
    reader.position()
    reader.text()


def check_type(reader: Reader) -> None:
    """Read what follows ``Y`` (a type's name); types are described by the catalog's facts."""
    reader.unsigned()
    reader.text()
    reader.text()
