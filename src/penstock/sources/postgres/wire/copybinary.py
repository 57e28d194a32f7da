"""Rows of ``COPY … TO STDOUT`` in binary format, as raw values: their text.

Facts: PostgreSQL manual, *COPY*, File Formats, Binary Format. The server sends each row as one
message; the first begins with the header, and the last is the trailer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.errors import ProtocolError
from penstock.model import Raw
from penstock.sources.postgres.wire.binary import TextOf
from penstock.sources.postgres.wire.messages import Reader

_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_CRITICAL: Final = 0xFFFF0000
"""Flags that a reader must know."""
_TRAILER: Final = 0xFFFF
"""What stands for the number of columns after the last row."""
_NULL: Final = 0xFFFFFFFF


def read_copy_binary(payload: bytes, texts: Sequence[TextOf]) -> Iterator[Sequence[Raw]]:
    """The rows of one payload, whose columns are turned into text by ``texts``.

    Raises ProtocolError for what is no such row.
    """
    reader = Reader(payload, 0)
    if payload.startswith(_SIGNATURE):
        _read_header(reader)
    while reader.at < len(payload):
        count = reader.short()
        if count == _TRAILER:
            reader.end()
            return
        if count != len(texts):
            count -= (count & 0x8000) << 1  # it has a sign
            raise ProtocolError(
                f"a copied row of {count} columns where {len(texts)} were asked for"
            )
        yield [_value(reader, column, texts) for column in range(count)]


def _read_header(reader: Reader) -> None:
    reader.bytes(len(_SIGNATURE))
    flags = reader.unsigned()
    if flags & _CRITICAL:
        raise ProtocolError(f"the copy has unknown flags {flags:#x}", offset=len(_SIGNATURE))
    reader.bytes(reader.unsigned())


def _value(reader: Reader, column: int, texts: Sequence[TextOf]) -> Raw:
    length = reader.unsigned()
    if length == _NULL:
        return None
    at = reader.at
    try:
        return texts[column](reader.bytes(length))
    except ValueError as error:
        raise ProtocolError(f"column {column + 1} of {len(texts)}: {error}", offset=at) from None
