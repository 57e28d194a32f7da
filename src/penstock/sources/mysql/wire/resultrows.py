"""Rows of queries, in the same exact texts as the log's rows.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset.html
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Collection
from struct import Struct
from typing import Any, Final, TypeAlias

from penstock.errors import ProtocolError
from penstock.model import Column, Kind, Raw, Table
from penstock.sources.mysql.wire.numbers import float_text
from penstock.sources.mysql.wire.packets import StreamError

Row: TypeAlias = list[Raw]
_Text: TypeAlias = Callable[[bytes], bytes]
_Read: TypeAlias = Callable[[bytes, int, int, list[Row]], int]

_FLOAT32: Final = Struct("<f")
_HEAD: Final = 4
_FULL: Final = 0xFFFFFF
_END, _ERROR = 0xFE, 0xFF
_SHORT: Final = 9  # bytes of a packet below which that is the end, not a value
_WIDTHS: Final = {0xFC: 2, 0xFD: 3, 0xFE: 8}


def selected(column: Column) -> str:
    """How a column is asked for, so that its text is exact."""
    name = "`" + column.name.replace("`", "``") + "`"
    return f"CAST({name} AS DOUBLE)" if column.type.name.startswith("float") else name


class ResultRows:
    """The rows of one query of all of a table's columns, from the bytes behind the columns'
    descriptions.

    Parameters
    ----------
    filled: the columns that are shown with zeros before their digits (ZEROFILL).

    Attributes
    ----------
    done: whether the last row has been read.
    """

    def __init__(self, table: Table, filled: Collection[int] = ()) -> None:
        self.done = False
        self._texts = [_text_of(column, i in filled) for i, column in enumerate(table.columns)]
        self._read = _compiled(self._texts)
        self._rest = b""
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[Row]:
        """The rows that are complete.

        Raises
        ------
        StreamError: what the server says instead of a row.
        ProtocolError: bytes that are none.
        """
        if self._rest:
            data = self._rest + data
        rows: list[Row] = []
        at, end = 0, len(data)
        while not self.done:
            if not self._parts:
                at = self._read(data, at, end, rows)
            size = int.from_bytes(data[at : at + 3], "little")
            begin, stop = at + _HEAD, at + _HEAD + size
            if end - at < _HEAD or stop > end:
                break
            at = stop
            self._take(data[begin:stop], size == _FULL, rows)
        if self.done and at < end:
            raise ProtocolError("bytes behind the end of a query's rows", offset=at)
        self._rest = data[at:]
        return rows

    def _take(self, packet: bytes, continued: bool, rows: list[Row]) -> None:
        """A packet that is no row in its usual form."""
        if continued or self._parts:
            self._parts.append(packet)
            if not continued:
                rows.append(self._carefully(b"".join(self._parts)))
                self._parts.clear()
        elif packet[:1] == b"\xff" and len(packet) > 2:
            text = packet[3:].decode("utf-8", "replace")
            number = int.from_bytes(packet[1:3], "little")
            raise StreamError(number, text[6:] if text[:1] == "#" else text)
        elif packet[:1] == b"\xfe" and len(packet) < _SHORT:
            self.done = True
        else:
            rows.append(self._carefully(packet))

    def _carefully(self, packet: bytes) -> Row:
        row: Row = []
        at, end = 0, len(packet)
        for text in self._texts:
            length = packet[at] if at < end else _ERROR
            at += 1
            if length == 0xFB:
                row.append(None)
                continue
            if length > 0xFA:
                width = _WIDTHS.get(length)
                if width is None:
                    raise ProtocolError("a row of a query ends too early", offset=at)
                length = int.from_bytes(packet[at : at + width], "little")
                at += width
            value = packet[at : at + length]
            at += length
            row.append(value if text is None or at > end else text(value))
        if at != end:
            raise ProtocolError(f"a row of {end} bytes has values of {at}", offset=at)
        return row


def _compiled(texts: list[_Text | None]) -> _Read:
    """A function that reads rows up to the first packet that is none in the usual form: with a
    value of more than 250 bytes, damaged, incomplete, or the end. Only numbers go into its source.
    """
    scope: dict[str, Any] = {}
    lines = []
    for i, text in enumerate(texts):
        shown = "d[p:p+n]"
        if text is not None:
            scope[f"t{i}"] = text
            shown = f"t{i}(d[p:p+n])"
        lines.append(
            f"   n = d[p]; p += 1\n"
            f"   if n < 251: v{i} = {shown}; p += n\n"
            f"   elif n == 251: v{i} = None\n"
            f"   else: return at\n"
        )
    values = ", ".join(f"v{i}" for i in range(len(texts)))
    source = f"""
def read(d, at, end, rows):
 append = rows.append
 try:
  while end - at > {_HEAD}:
   p = at + {_HEAD}
   stop = p + (d[at] | d[at + 1] << 8 | d[at + 2] << 16)
   if stop > end:
    return at
{"".join(lines)}   if p != stop:
    return at
   append([{values}])
   at = stop
 except IndexError:
  pass
 return at
"""
    exec(source, scope)
    read: _Read = scope["read"]
    return read


def _text_of(column: Column, filled: bool) -> _Text | None:
    kind, name = column.type.kind, column.type.name
    if kind is Kind.BYTES:
        return lambda raw: b"\\x" + hexlify(raw)
    if kind is Kind.TIMESTAMPTZ:
        return lambda raw: raw if raw.startswith(b"0000") else raw + b"+00"
    if name.startswith("float"):
        return lambda raw: float_text(_FLOAT32.unpack(_FLOAT32.pack(float(raw)))[0])
    if filled or name == "year":
        return _without_zeros
    return None


def _without_zeros(raw: bytes) -> bytes:
    """Without what ZEROFILL adds, and the year 0000 as a number."""
    if raw[:1] != b"0" or len(raw) == 1:
        return raw
    left = raw.lstrip(b"0")
    return left if left[:1].isdigit() else b"0" + left
