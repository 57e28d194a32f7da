"""Transactions that MySQL compressed, as the events that they are.

https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Transaction__payload__event.html
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import IO, Final

from penstock.errors import MissingExtraError, ProtocolError
from penstock.sources.mysql.wire.events import HEADER
from penstock.sources.mysql.wire.reader import Reader

_END, _SIZE, _COMPRESSION, _WHOLE = range(4)
_ZSTD: Final = 0
_NONE: Final = 255
_CHUNK: Final = 1 << 16


def payload_events(reader: Reader) -> Iterator[bytes]:
    """The events of a payload, in order, without checksums; a few are in memory at a time.

    Raises ProtocolError where it is none.
    """
    compression = _NONE
    size = None
    while (field := reader.packed()) != _END:
        value = Reader(reader.text(), base=reader.at)
        if field == _COMPRESSION:
            compression = value.packed()
        elif field == _SIZE:
            size = value.packed()
    if size is not None and size != reader.left:
        raise ProtocolError(f"a payload of {size} bytes has {reader.left}", offset=reader.at)
    if compression == _NONE:
        return _events(BytesIO(reader.rest()))
    if compression != _ZSTD:
        raise ProtocolError(f"unknown compression {compression}", offset=reader.at)
    return _inflated(reader.rest())


def _inflated(raw: bytes) -> Iterator[bytes]:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "the log is compressed, and zstandard is not installed",
            hint="pip install 'penstock[mysql]'",
        ) from error
    with zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        try:
            yield from _events(stream)
        except zstandard.ZstdError as error:
            raise ProtocolError(f"a compressed transaction is damaged: {error}") from None


def _events(stream: IO[bytes]) -> Iterator[bytes]:
    while head := _read(stream, HEADER):
        size = int.from_bytes(head[9:13], "little")
        if len(head) < HEADER or size < HEADER:
            raise ProtocolError("a compressed transaction ends inside an event")
        event = head + _read(stream, size - HEADER)
        if len(event) < size:
            raise ProtocolError("a compressed transaction ends inside an event")
        yield event


def _read(stream: IO[bytes], length: int) -> bytes:
    """So many bytes, or all that are left; memory grows only by what is there."""
    pieces = []
    while length and (piece := stream.read(min(length, _CHUNK))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)
