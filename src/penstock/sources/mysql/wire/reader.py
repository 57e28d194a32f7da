"""Reads the integers and texts of events; never beyond the bytes that are there."""

from __future__ import annotations

from penstock.errors import ProtocolError


class Reader:
    """A place in the bytes of an event. All integers are little-endian.

    ``base`` is added to the offsets that errors tell.
    """

    __slots__ = ("at", "base", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None, base: int = 0) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end
        self.base = base

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return self.end - self.at

    def take(self, length: int) -> bytes:
        """The next bytes. Raises ProtocolError when there are not so many."""
        start = self.at
        if length > self.end - start:
            raise ProtocolError(
                f"{length} bytes are announced, {self.end - start} are left",
                offset=self.base + start,
            )
        self.at = start + length
        return self.data[start : self.at]

    def integer(self, length: int) -> int:
        """An unsigned integer of so many bytes."""
        return int.from_bytes(self.take(length), "little")

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def packed(self) -> int:
        """A length-encoded integer.

        https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html
        """
        first = self.byte()
        if first < 0xFB:
            return first
        if first in _WIDTH:
            return self.integer(_WIDTH[first])
        raise ProtocolError(f"a length cannot begin with {first}", offset=self.base + self.at - 1)

    def text(self) -> bytes:
        """Bytes behind their length-encoded length."""
        return self.take(self.packed())

    def varint(self) -> int:
        """An unsigned integer of the serialization library: the ones that the first byte ends in
        are the number of further bytes.

        https://dev.mysql.com/doc/dev/mysql-server/latest/PageLibsMysqlSerialization.html
        """
        first = self.byte()
        more = (~first & (first + 1)).bit_length() - 1
        value = int.from_bytes(bytes((first,)) + self.take(more), "little")
        return value >> (more + 1) if more < 8 else value >> 8

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def finish(self) -> None:
        """Raises ProtocolError when bytes are left."""
        if self.left:
            raise ProtocolError(f"{self.left} bytes follow the event", offset=self.base + self.at)


_WIDTH = {0xFC: 2, 0xFD: 3, 0xFE: 8}
