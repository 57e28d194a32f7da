"""How the server is asked for its log, from where we are.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_binlog_dump_gtid.html
https://mariadb.com/kb/en/3-binlog-network-stream/
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from penstock.errors import DivergedError, GapError, PenstockError, SlotInUseError, SourceError
from penstock.registry import driver
from penstock.sources.mysql.connection import Server, error_number, error_text
from penstock.sources.mysql.wire.gtid import GtidPosition, Gtids, GtidSet
from penstock.sources.mysql.wire.packets import StreamError
from penstock.sources.mysql.wire.place import Place

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection

_COM_BINLOG_DUMP: Final = 0x12
_COM_BINLOG_DUMP_GTID: Final = 0x1E
_HEARTBEAT_V2: Final = 2
_THROUGH_GTID: Final = 4
_BEGIN: Final = 4  # where the first event of a file is
_FATAL: Final = 1236
_REPLACED: Final = 4052
_PATIENCE: Final = 86400  # seconds that the server is to wait for us, while a sink is behind


@dataclass(frozen=True, slots=True)
class Replica:
    """What we are among the server's replicas: it ends the stream of who is the same as a newcomer,
    so that a connection that broke unseen leaves nobody behind.

    Parameters
    ----------
    heartbeat: seconds of silence after which the server is to say that it lives.
    """

    server_id: int
    uuid: UUID
    heartbeat: float

    @classmethod
    def named(cls, name: str, server_id: int | None, heartbeat: float) -> Replica:
        """The same for a name at each start; another's number only by a rare chance."""
        digest = hashlib.sha256(name.encode()).digest()
        uuid = UUID(bytes=hashlib.sha256(f"penstock {name}".encode()).digest()[:16])
        return cls(server_id or 1 << 31 | int.from_bytes(digest[:4], "big") >> 2, uuid, heartbeat)


def ask(connection: Connection, gtids: Gtids, replica: Replica) -> None:
    """Ask for all transactions but these. Raises the driver's error."""
    nanoseconds = int(replica.heartbeat * 1e9)
    settings = [
        f"@master_heartbeat_period = {nanoseconds}",
        f"@source_heartbeat_period = {nanoseconds}",
        "@master_binlog_checksum = @@global.binlog_checksum",
        "@source_binlog_checksum = @@global.binlog_checksum",
        f"SESSION net_write_timeout = {_PATIENCE}",
    ]
    if isinstance(gtids, GtidPosition):
        settings += [
            "@mariadb_slave_capability = 4",
            f"@slave_connect_state = '{gtids}'",
            "@slave_gtid_strict_mode = 0",
            "@slave_gtid_ignore_duplicates = 0",
        ]
    else:
        settings += [f"@slave_uuid = '{replica.uuid}'", f"@replica_uuid = '{replica.uuid}'"]
    with connection.cursor() as cursor:
        cursor.execute("SET " + ", ".join(settings))
    if isinstance(gtids, GtidSet):
        read = gtids.encode()
        flags = _THROUGH_GTID | _HEARTBEAT_V2
        request = struct.pack("<HII", flags, replica.server_id, 0)
        request += struct.pack("<QI", _BEGIN, len(read)) + read
        command = _COM_BINLOG_DUMP_GTID
    else:
        at, file = (gtids.position, gtids.file) if isinstance(gtids, Place) else (_BEGIN, "")
        request = struct.pack("<IHI", at, 0, replica.server_id) + file.encode()
        command = _COM_BINLOG_DUMP
    connection._execute_command(command, request)  # type: ignore[attr-defined] # not in its stubs


def probe(server: Server, gtids: Gtids, replica: Replica) -> None:
    """Ask for all transactions but these, read none.

    Raises GapError and DivergedError as the server refuses, and the driver's error.
    """
    pymysql = driver("pymysql", "mysql")
    connection = server.connect()
    try:
        ask(connection, gtids, replica)
        connection._read_packet()  # type: ignore[no-untyped-call] # not in its stubs
    except pymysql.Error as error:
        found = explain(StreamError(error_number(error), error_text(error)))
        raise found or error from None
    finally:
        connection._force_close()  # type: ignore[attr-defined] # no farewell: it sends its log


def explain(error: StreamError) -> PenstockError | None:
    """Our error for what ended the stream; None where it is worth trying again.

    The server's words tell one reason of error 1236 from another; none of them is translated.
    """
    words = error.text.lower()
    if error.number == _REPLACED or "same server_uuid" in words or "same server_id" in words:
        return SlotInUseError(
            f"another reader has our server_id: {error.text}",
            hint="is another copy of this pipeline running? else set server_id in the source",
        )
    if error.number != _FATAL:
        return None
    if "purged" in words or "could not find gtid state" in words or "not in the master" in words:
        if "not in the master's binlog" in words and "before the first" not in words:
            return DivergedError(
                f"the server does not know a transaction that we have: {error.text}",
                hint="it was promoted without it, or is another server; compare, then "
                "`penstock teardown` and a new snapshot",
            )
        return GapError(
            f"the server has removed a part of its log that we have not read: {error.text}",
            hint="`penstock teardown` and a new snapshot; keep the log longer than a pipeline "
            "may stand still (binlog_expire_logs_seconds)",
        )
    if "first log file name" in words:
        return GapError(
            f"the server has removed the file of its log that we are in: {error.text}",
            hint="`penstock teardown` and a new snapshot; keep the log longer than a pipeline "
            "may stand still (binlog_expire_logs_seconds)",
        )
    if "more gtids than" in words or "> file size" in words or "impossible position" in words:
        return DivergedError(
            f"the server does not know a transaction that we have: {error.text}",
            hint="it was promoted without it, or is another server; compare, then "
            "`penstock teardown` and a new snapshot",
        )
    return SourceError(f"the server cannot send its log: {error.text}")
