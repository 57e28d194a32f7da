"""Events of the binlog, but for those that carry rows: what they are, how they are framed.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html
https://mariadb.com/kb/en/replication-protocol/
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple
from uuid import UUID
from zlib import crc32

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire.gtid import tag_text
from penstock.sources.mysql.wire.reader import Reader

HEADER: Final = 19
CHECKSUM: Final = 4
IGNORABLE: Final = 0x80
"""The flag of events that a reader may pass over without knowing them."""
_IN_USE: Final = 1
_STANDALONE, _GROUP_COMMIT, _PREPARES = 1, 2, 64
MAGIC: Final = b"\xfebin"
"""How a binlog file begins."""


class EventType(IntEnum):
    """Types of events; those from 160 on are MariaDB's own."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    INTVAR = 5
    RAND = 13
    USER_VAR = 14
    FORMAT_DESCRIPTION = 15
    XID = 16
    BEGIN_LOAD_QUERY = 17
    EXECUTE_LOAD_QUERY = 18
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    INCIDENT = 26
    HEARTBEAT = 27
    IGNORABLE = 28
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    TRANSACTION_CONTEXT = 36
    VIEW_CHANGE = 37
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    HEARTBEAT_V2 = 41
    GTID_TAGGED = 42
    ANNOTATE_ROWS = 160
    BINLOG_CHECKPOINT = 161
    MARIADB_GTID = 162
    GTID_LIST = 163
    START_ENCRYPTION = 164
    QUERY_COMPRESSED = 165
    WRITE_ROWS_COMPRESSED_V1 = 166
    UPDATE_ROWS_COMPRESSED_V1 = 167
    DELETE_ROWS_COMPRESSED_V1 = 168
    WRITE_ROWS_COMPRESSED = 169
    UPDATE_ROWS_COMPRESSED = 170
    DELETE_ROWS_COMPRESSED = 171


class Header(NamedTuple):
    """What every event begins with. ``end`` is its end in the binlog file, modulo 2**32."""

    timestamp: int
    type: int
    server_id: int
    size: int
    end: int
    flags: int


_HEADER: Final = Struct("<IBIIIH").unpack_from


def header(event: bytes) -> Header:
    """The header of an event. Raises ProtocolError where it does not fit the event's length."""
    if len(event) < HEADER:
        raise ProtocolError(f"an event of {len(event)} bytes has no header", offset=0)
    found = Header(*_HEADER(event))
    if found.size != len(event):
        raise ProtocolError(f"an event of {len(event)} bytes says it has {found.size}", offset=9)
    return found


def verify(event: bytes) -> None:
    """Compare an event with the checksum that it ends in. Raises ProtocolError."""
    end = len(event) - CHECKSUM
    if end < HEADER:
        raise ProtocolError(f"an event of {len(event)} bytes has no checksum", offset=0)
    if crc32(memoryview(event)[:end]) != int.from_bytes(event[end:], "little"):
        raise ProtocolError("the checksum of an event is wrong", offset=end)


def _closed(event: bytes) -> bytes:
    """The first event of a file that is being written, as its checksum was made: without the flag
    that says so."""
    return event[:17] + bytes((event[17] & ~_IN_USE,)) + event[18:]


class FormatDescription(NamedTuple):
    """Describes the events that follow it. ``checksums``: whether they end in one."""

    server: str
    checksums: bool

    @classmethod
    def parse(cls, event: bytes) -> FormatDescription:
        """Read a whole event, checksum included: every server that we know writes one here."""
        reader = Reader(event, HEADER)
        version = reader.integer(2)
        if version != 4:
            raise ProtocolError(f"binlog format {version} is not 4", offset=HEADER)
        server = reader.take(50).rstrip(b"\0").decode("latin-1")
        reader.take(4)
        if reader.byte() != HEADER or reader.left < CHECKSUM + 1:
            raise ProtocolError("a format description without checksum", offset=reader.at)
        algorithm = event[-CHECKSUM - 1]
        if algorithm > 1:
            raise ProtocolError(f"unknown checksum {algorithm}", offset=len(event) - CHECKSUM - 1)
        if algorithm:
            verify(_closed(event))
        return cls(server, bool(algorithm))


class Rotate(NamedTuple):
    """The log goes on in another file."""

    position: int
    file: str

    @classmethod
    def parse(cls, reader: Reader) -> Rotate:
        return cls(reader.integer(8), _file(reader))


class Gtid(NamedTuple):
    """A transaction begins.

    Parameters
    ----------
    text: its GTID; empty for an anonymous one.
    committed_us: when it was committed where it came from, in µs since 1970; 0 where not told.
    standalone: one Query event follows, and no commit.
    prepares: the XA transaction that it prepares, where that is told here; else empty.
    """

    text: str
    committed_us: int = 0
    standalone: bool = False
    prepares: str = ""

    @classmethod
    def parse(cls, reader: Reader, *, anonymous: bool) -> Gtid:
        reader.byte()
        source, number = UUID(bytes=reader.take(16)), reader.integer(8)
        text = "" if anonymous else _named(str(source), number, reader)
        if reader.left < 17 or reader.byte() != 2:  # no logical clock, before MySQL 5.7
            return cls(text)
        reader.take(16)
        if reader.left < 7:
            return cls(text)
        committed = reader.integer(7)
        if committed >> 55:  # it was committed elsewhere before
            committed = reader.integer(7)
        return cls(text, committed)

    @classmethod
    def parse_tagged(cls, reader: Reader) -> Gtid:
        """Fields of the serialization library (``Gtid_event`` in MySQL's control_events.h)."""
        start = reader.at
        if reader.varint() != 1:
            raise ProtocolError("unknown serialization of a GTID", offset=start)
        if start + reader.varint() != reader.end:
            raise ProtocolError("a tagged GTID of another length", offset=start)
        needed = reader.varint()
        uuid, number, tag, committed, original = bytes(16), 0, "", 0, 0
        while reader.left:
            field = reader.varint()
            if field == 0:
                reader.varint()
            elif field == 1:
                uuid = bytes(reader.varint() & 0xFF for _ in range(16))
            elif field == 2:
                number = reader.varint() >> 1  # signed: the lowest bit is the sign
            elif field == 3:
                tag = tag_text(reader.take(length), reader) if (length := reader.varint()) else ""
            elif field in (4, 5):
                reader.varint()
            elif field == 6:
                committed = reader.varint()
            elif field == 7:
                original = reader.varint()
            elif field > needed:
                break
            else:
                reader.varint()
        source = f"{UUID(bytes=uuid)}:{tag}" if tag else str(UUID(bytes=uuid))
        return cls(_named(source, number, reader), original or committed)

    @classmethod
    def parse_mariadb(cls, reader: Reader, server_id: int) -> Gtid:
        """https://mariadb.com/kb/en/gtid_event/"""
        number, domain, flags = reader.integer(8), reader.integer(4), reader.byte()
        if flags & _GROUP_COMMIT:
            reader.take(8)
        prepares = ""
        if flags & _PREPARES:
            form, first, second = reader.integer(4), reader.byte(), reader.byte()
            prepares = _xid(form, reader.take(first), reader.take(second))
        standalone = bool(flags & _STANDALONE)
        return cls(f"{domain}-{server_id}-{number}", 0, standalone, prepares)


def _named(source: str, number: int, reader: Reader) -> str:
    if not 0 < number < 1 << 63:
        raise ProtocolError(f"{number} is no number of a GTID", offset=reader.at)
    return f"{source}:{number}"


class Query(NamedTuple):
    """A statement, with the database that its names are in by default, and the number of the
    session that it ran in."""

    database: str
    statement: str
    thread: int

    @classmethod
    def parse(cls, reader: Reader) -> Query:
        thread = reader.integer(4)
        reader.take(4)
        database, _, status = reader.byte(), reader.integer(2), reader.integer(2)
        reader.take(status)
        name = reader.take(database)
        reader.take(1)
        return cls(_text(name), _text(reader.rest()), thread)


def _file(reader: Reader) -> str:
    """The name of a file of the log, which is all that is left."""
    at = reader.at
    try:
        return reader.rest().decode()
    except UnicodeDecodeError:
        raise ProtocolError("the name of a log file is not UTF-8", offset=at) from None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


class XaPrepare(NamedTuple):
    """An XA transaction is prepared, or committed at once."""

    xid: str
    committed: bool

    @classmethod
    def parse(cls, reader: Reader) -> XaPrepare:
        committed, form = reader.byte(), reader.integer(4)
        first, second = reader.integer(4), reader.integer(4)
        return cls(_xid(form, reader.take(first), reader.take(second)), bool(committed))


def _xid(form: int, first: bytes, second: bytes) -> str:
    """The name of an XA transaction as statements in the log have it."""
    return f"X'{first.hex()}',X'{second.hex()}',{form}"


class Heartbeat(NamedTuple):
    """Nothing new: the log has been read up to here."""

    file: str
    position: int

    @classmethod
    def parse(cls, reader: Reader, end: int) -> Heartbeat:
        return cls(_file(reader), end)

    @classmethod
    def parse_v2(cls, reader: Reader) -> Heartbeat:
        file, position = "", 0
        while (field := reader.packed()) != 0:
            value = Reader(reader.text(), base=reader.at)
            if field == 1:
                file = _file(value)
            elif field == 2:
                position = value.packed()
        return cls(file, position)


class Incident(NamedTuple):
    """The server lost events before it could write them."""

    number: int
    message: str

    @classmethod
    def parse(cls, reader: Reader) -> Incident:
        number = reader.integer(2)
        return cls(number, _text(reader.take(reader.byte())) if reader.left else "")
