"""What the fuzzer begins with: bytes of real servers, in the form that each target reads.

The forms are those of native/fuzz/src (pieces with their lengths, columns as OID and modifier).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from struct import pack
from typing import Final

from penstock.model import UNCHANGED, Change, Column, Raw
from penstock.sources.postgres.wire import Decoder, RelationFacts
from tools.capture_wire import CAPTURED, Captured, load

_COLUMNS: Final = 8  # that a table of a target has at most
_PIECE: Final = 0xFFFF
_FIRST_IS_KEY: Final = b"\x01"


def seeds(target: str) -> list[bytes]:
    """The seeds of a target; none where it has nothing to begin with."""
    make = _MAKERS.get(target)
    stored = sorted(CAPTURED.glob("*.bin.gz"))
    return [] if make is None else [seed for path in stored for seed in make(load(path))]


def _decoder(captured: Captured) -> Iterator[bytes]:
    """The log in runs of whole transactions, behind the byte that chooses settings."""
    announced = [p for p in captured.payloads if p[:1] == b"w" and p[25:26] in b"RY"]
    run: list[bytes] = []
    for payload in captured.payloads:
        run.append(payload)
        if payload[:1] == b"w" and payload[25:26] == b"C":
            yield b"\x00" + _pieces([run[0], *announced[-2:], *run[1:]])
            run = []


def _pieces(pieces: Iterable[bytes]) -> bytes:
    return b"".join(pack("!H", len(piece)) + piece for piece in pieces if len(piece) <= _PIECE)


def _rows(captured: Captured, gap: bytes = b"") -> Iterator[bytes]:
    """A table of some of a changed table's columns, and their values in packed rows.

    ``gap`` stands between them, once for every column.
    """
    decoder = Decoder(database="d", system="1", timeline=1, messages=None)
    batches = list(decoder.feed(captured.payloads))
    while decoder.needs is not None:
        decoder.describe(RelationFacts("0/1", (), ()))
        batches += decoder.feed([])
    for change in (event for batch in batches for event in batch):
        image = (change.after or change.before) if isinstance(change, Change) else None
        if image is not None:
            columns = image.table.columns
            for begin in range(0, len(columns), _COLUMNS):
                some = columns[begin : begin + _COLUMNS]
                row = packed([image.raw(column.name) for column in some])
                yield _columns(some) + gap * len(some) + 2 * row


def _binary(captured: Captured) -> Iterator[bytes]:
    """Types, with bytes that are the send form of a few."""
    for seed in _rows(captured):
        for column in range(seed[0] + 1):
            yield seed[1 + 6 * column :][:6] + bytes(16)


def _copy(captured: Captured) -> Iterator[bytes]:
    """Rows as COPY's text, of a table of texts; and a few in binary."""
    for table in captured.tables.values():
        columns = slice(0, _COLUMNS)
        described = bytes([len(table.columns[columns]) - 1])
        described += len(table.columns[columns]) * pack("!Hi", 25, -1) + _FIRST_IS_KEY
        rows = [[None if text is None else text.encode() for text in row] for row in table.rows]
        lines = (
            b"\t".join(b"\\N" if raw is None else _escaped(raw) for raw in row[columns]) + b"\n"
            for row in rows[:20]
        )
        yield b"\0" + described + _pieces(lines)
        binary = (
            pack("!h", len(row[columns]))
            + b"".join(
                b"\xff" * 4 if raw is None else pack("!I", len(raw)) + raw for raw in row[columns]
            )
            for row in rows[:20]
        )
        yield b"\1" + described + _pieces([b"PGCOPY\n\xff\r\n\0" + bytes(8), *binary, b"\xff\xff"])


def _escaped(raw: bytes) -> bytes:
    for plain, escape in ((b"\\", rb"\\"), (b"\t", rb"\t"), (b"\n", rb"\n"), (b"\r", rb"\r")):
        raw = raw.replace(plain, escape)
    return raw


def _columns(columns: Sequence[Column]) -> bytes:
    described = (pack("!Hi", column.type.oid & 0xFFFF, column.type.modifier) for column in columns)
    return bytes([len(columns) - 1]) + b"".join(described) + _FIRST_IS_KEY


def packed(values: Sequence[Raw]) -> bytes:
    """A packed row."""
    return b"".join(
        b"n"
        if value is None
        else b"u"
        if value is UNCHANGED
        else b"t" + pack("!I", len(value)) + value
        for value in values
    )


_MAKERS: Final[dict[str, Callable[[Captured], Iterator[bytes]]]] = {
    "decoder": _decoder,
    "json": _rows,
    "arrow": partial(_rows, gap=b"\0"),
    "copy": _copy,
    "loads": lambda captured: (b"\x01" + seed for seed in _rows(captured)),
    "binary": _binary,
}
