"""Copied rows: both kernels make the same batches of them, and refuse the same."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.model import Checkpoint, Column, Table
from penstock.sources.postgres.position import snapshot_checkpoint
from penstock.sources.postgres.wire.copies import (
    CopyDecoder,
    NativeCopyDecoder,
    PythonCopyDecoder,
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


def results(decoder: CopyDecoder, feeds: list[tuple[list[bytes], Checkpoint | None]]) -> list[Any]:
    """What came of each feed, to the first error."""
    seen: list[Any] = []
    try:
        for payloads, end in feeds:
            seen.append((batch_data(decoder.feed(payloads, end)), decoder.rows))
    except PenstockError as error:
        seen.append(error_data(error))
    return seen


def compare(arity: int, blocks: list[list[bytes]]) -> list[Any]:
    """Feed both; what came of it."""
    feeds = [(block, END if i == len(blocks) else None) for i, block in enumerate(blocks, 1)]
    python, native = (
        results(make(table(arity), 7, at=0x1000, database="shop"), feeds)
        for make in (PythonCopyDecoder, NativeCopyDecoder)
    )
    assert native == python
    return python


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
