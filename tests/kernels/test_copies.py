"""Copied rows: both kernels make the same batches of them, and refuse the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.kernel import native
from penstock.model import Checkpoint, Column, Table
from penstock.sources.postgres.position import snapshot_checkpoint
from penstock.sources.postgres.wire.copies import (
    CopyDecoder,
    Frames,
    NativeCopyDecoder,
    Payloads,
    PythonCopyDecoder,
    joined,
)
from penstock.sources.postgres.wire.types import builtin
from tests.kernels.comparing import batch_data, error_data
from tests.wire.test_copytext import write

TEXT = builtin(25)
END = snapshot_checkpoint("public.t", 7, 0x1000)


def table(arity: int) -> Table:
    assert TEXT is not None
    columns = tuple(Column(f"c{i}", TEXT) for i in range(arity))
    return Table("public", "t", columns, ("c0",) if arity else (), oid=1)


def results(decoder: CopyDecoder, feeds: Iterable[tuple[Payloads, Checkpoint | None]]) -> list[Any]:
    """What came of each feed, to the first error."""
    seen: list[Any] = []
    try:
        for payloads, end in feeds:
            seen.append((batch_data(decoder.feed(payloads, end)), decoder.rows))
    except PenstockError as error:
        seen.append(error_data(error))
    return seen


def compare(arity: int, blocks: list[list[bytes]], *, binary: bool = False) -> list[Any]:
    """Feed both, the native one also what it takes besides; what came of it."""
    options: Any = {"at": 0x1000, "database": "shop", "projection": None, "binary": binary}
    options |= {"first": True, "last": False}
    ends = [None] * (len(blocks) - 1) + [END]
    python = PythonCopyDecoder(table(arity), 7, **options)
    native = NativeCopyDecoder(table(arity), 7, **options)
    direct = NativeCopyDecoder(table(arity), 7, **options)
    made = results(python, zip(blocks, ends, strict=True))
    assert results(native, zip(blocks, ends, strict=True)) == made
    assert results(direct, zip(map(framed, blocks), ends, strict=True)) == made
    return made


def framed(payloads: list[bytes]) -> Frames:
    """Payloads as they stand in the stream; the native kernel takes them so too."""
    stream = b"".join(b"d" + (len(one) + 4).to_bytes(4) + one for one in payloads)
    frames: Frames = native().Frames(stream)
    return frames


values = st.one_of(st.none(), st.binary(max_size=12), st.text(max_size=12).map(str.encode))


@given(st.data(), st.integers(0, 5))
def test_what_the_server_writes(data: st.DataObject, arity: int) -> None:
    row = st.lists(values, min_size=arity, max_size=arity)
    line = row.map(lambda raws: b"\t".join(map(write, raws)) + b"\n")
    blocks = data.draw(st.lists(st.lists(line, max_size=4), min_size=1, max_size=4))
    made = compare(arity, blocks)
    assert len(made) == len(blocks)
    assert made[-1][0]["checkpoint"] == END


escapes = st.sampled_from(
    [b"\\", b"\\\\", b"\\N", b"\\x", b"\\x4", b"\\x41f", b"\\7", b"\\18", b"\\777", b"\t", b"\n"]
)
scraps = st.lists(st.one_of(escapes, st.binary(max_size=3)), max_size=8).map(b"".join)


@given(st.lists(scraps, min_size=1, max_size=3), st.integers(0, 3))
@example([b"\\N\n"], 0)
@example([b"\\N\n", b"\n", b""], 1)
@example([b"a\\\tb\n"], 2)
@example([b"\\x\t\\8\n"], 2)
def test_whatever_comes(lines: list[bytes], arity: int) -> None:
    compare(arity, [lines])
    compare(arity, [[line + b"\n" for line in lines]])


@given(st.lists(values, min_size=1, max_size=3))
def test_a_row_cut_anywhere(raws: list[bytes | None]) -> None:
    line = b"\t".join(map(write, raws)) + b"\n"
    for end in range(len(line)):
        compare(len(raws), [[line], [line[:end]]])


HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


def binary(raws: list[bytes | None]) -> bytes:
    """A row in binary format."""
    fields = [b"\xff" * 4 if raw is None else len(raw).to_bytes(4) + raw for raw in raws]
    return len(raws).to_bytes(2) + b"".join(fields)


@given(st.data(), st.integers(0, 5))
def test_binary_says_the_same_as_text(data: st.DataObject, arity: int) -> None:
    row = st.lists(values, min_size=arity, max_size=arity)
    rows = data.draw(st.lists(row, max_size=4))
    payloads = [HEADER, *map(binary, rows), TRAILER]
    if data.draw(st.booleans()):
        payloads = [b"".join(payloads)]
    lines = [b"\t".join(map(write, raws)) + b"\n" for raws in rows]
    (text, _), (made, _) = (*compare(arity, [lines]), *compare(arity, [payloads], binary=True))
    assert made | {"size": 0} == text | {"size": 0}


@given(st.lists(values, min_size=1, max_size=3), st.binary(max_size=4))
@example([b"a"], b"\xff\xffx")
@example([b"a"], b"\xff\xfe")
@example([b"a"], b"PGCOPY\n")
def test_binary_cut_anywhere_or_longer(raws: list[bytes | None], more: bytes) -> None:
    whole = HEADER + binary(raws)
    for end in range(len(whole)):
        compare(len(raws), [[whole], [whole[:end]]], binary=True)
    compare(len(raws), [[whole + more]], binary=True)
    compare(len(raws), [[HEADER[:11] + more + HEADER[11:] + binary(raws)]], binary=True)


def test_what_was_read_is_not_read_again() -> None:
    options: Any = {"at": 0x1000, "database": "shop", "projection": None, "binary": False}
    decoder = NativeCopyDecoder(table(1), 7, **options)
    frames = framed([b"a\n"])
    assert (len(frames), decoder.feed(frames).changes) == (7, 1)
    with pytest.raises(ValueError, match="read before"):
        decoder.feed(frames)


def test_messages_are_joined() -> None:
    first, second = framed([b"a\n"]), framed([b"b\n"])
    options: Any = {"at": 0x1000, "database": "shop", "projection": None, "binary": False}
    decoder = NativeCopyDecoder(table(1), 7, **options)
    assert decoder.feed(joined(first, second)).changes == 2
    with pytest.raises(ValueError, match="read before"):
        decoder.feed(second)
