"""Reading a send form: fixed fields, and parts with a length before them."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, TypeAlias

TextOf: TypeAlias = Callable[[bytes], bytes]
"""Makes the server's text of a send form; raises ValueError, with the reason, for other bytes."""

_LENGTH: Final = Struct(">i")


def fixed(form: str) -> Callable[[bytes], tuple[Any, ...]]:
    """A function that unpacks a form which is exactly these fields."""
    fields = Struct(">" + form)

    def unpack(raw: bytes) -> tuple[Any, ...]:
        if len(raw) != fields.size:
            raise ValueError(f"{len(raw)} bytes where {fields.size} are due")
        return fields.unpack(raw)

    return unpack


class Parts:
    """Reads a form field by field."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes that were not read."""
        return len(self.raw) - self.at

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > self.left:
            raise ValueError(f"{self.left} bytes left where {size} are due")
        start, self.at = self.at, self.at + size
        return self.raw[start : self.at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def integer(self) -> int:
        """The next four bytes as a signed integer."""
        return int(_LENGTH.unpack(self.take(4))[0])

    def part(self) -> bytes | None:
        """A part behind its length; None for null, whose length is -1."""
        length = self.integer()
        if length == -1:
            return None
        if length < 0:
            raise ValueError(f"a length of {length}")
        return self.take(length)

    def end(self) -> None:
        """Check that nothing is left."""
        if self.left:
            raise ValueError(f"{self.left} bytes too many")
