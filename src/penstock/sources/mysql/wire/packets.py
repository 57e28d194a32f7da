"""Packets of the protocol, off a socket in large pieces: events of the log, or why it ended.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html
"""

from __future__ import annotations

from typing import Final

from penstock.errors import PenstockError, ProtocolError

_HEAD: Final = 4
_FULL: Final = 0xFFFFFF
_EVENT, _END, _ERROR = 0x00, 0xFE, 0xFF


class StreamError(Exception):
    """The server ended the stream: its number of the error (0: without one) and its words."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(number, text)
        self.number = number
        self.text = text


class Packets:
    """Cuts what comes from the socket into events.

    Attributes
    ----------
    end: what ended the stream, once all events before it have been taken.
    """

    def __init__(self, sequence: int = 1) -> None:
        self.end: StreamError | PenstockError | None = None
        self._sequence = sequence
        self._rest = b""
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete. Damaged packets end the stream."""
        if self._rest:
            data = self._rest + data
        events: list[bytes] = []
        at, end = 0, len(data)
        sequence = self._sequence
        while end - at >= _HEAD and self.end is None:
            length = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            stop = at + _HEAD + length
            if stop > end:
                break
            if data[at + 3] != sequence & 0xFF:
                self.end = ProtocolError(
                    f"packet {data[at + 3]} came where {sequence & 0xFF} was due", offset=at
                )
                break
            sequence += 1
            begin = at + _HEAD
            at = stop
            if length == _FULL or self._parts:
                self._parts.append(data[begin:stop])
                if length == _FULL:
                    continue
                whole = b"".join(self._parts)
                self._parts.clear()
                self._take(whole, 0, len(whole), events)
            else:
                self._take(data, begin, stop, events)
        self._sequence = sequence & 0xFF
        self._rest = data[at:]
        return events

    def _take(self, data: bytes, begin: int, stop: int, events: list[bytes]) -> None:
        kind = data[begin] if begin < stop else -1
        if kind == _EVENT:
            events.append(data[begin + 1 : stop])
        elif kind == _ERROR and stop - begin >= 3:
            number = int.from_bytes(data[begin + 1 : begin + 3], "little")
            text = data[begin + 3 : stop].decode("utf-8", "replace")
            self.end = StreamError(number, text[6:] if text[:1] == "#" else text)
        elif kind == _END:
            self.end = StreamError(0, "the server ended the stream")
        else:
            self.end = ProtocolError(f"a packet of unknown kind {kind}", offset=begin)
