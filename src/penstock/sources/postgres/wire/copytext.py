"""Rows of ``COPY … TO STDOUT`` in text format, as raw values.

Facts: PostgreSQL manual, *COPY*, File Formats, Text Format. A tab inside a value is written as
a backslash and a ``t``, so every real tab stands between columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from penstock.errors import ProtocolError
from penstock.model import Raw

_ESCAPE: Final = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.)|\Z)", re.DOTALL)
_LETTERS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def read_copy_row(line: bytes, arity: int) -> Sequence[Raw]:
    """The raw values of one row of ``arity`` columns, as it came: with its line end.

    Raises ProtocolError for a line that is not such a row.
    """
    if line[-1:] != b"\n":
        raise ProtocolError("a copied row has no line end", offset=len(line))
    fields = line[:-1].split(b"\t")
    if len(fields) != arity:
        if arity == 0 and line == b"\n":
            return []
        raise ProtocolError(f"a copied row of {len(fields)} columns where {arity} were asked for")
    if b"\\" not in line:
        return fields
    return [
        None if field == b"\\N" else _ESCAPE.sub(_unescape, field) if b"\\" in field else field
        for field in fields
    ]


def _unescape(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = match.groups()
    if octal:
        return bytes((int(octal, 8) & 0xFF,))
    if hexadecimal:
        return bytes((int(hexadecimal, 16),))
    if letter is None:
        raise ProtocolError("a copied value ends inside an escape")
    return _LETTERS.get(letter, letter)
