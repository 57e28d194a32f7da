"""GTID sets and positions: what is in which, in text and in bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire.gtid import GtidPosition, GtidSet
from penstock.sources.mysql.wire.reader import Reader

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"

SOURCES = (A, B, f"{A}:tag", f"{B}:other_tag")
sets = st.sets(st.tuples(st.sampled_from(SOURCES), st.integers(1, 30)), max_size=40)


def made(gtids: set[tuple[str, int]]) -> GtidSet:
    found = GtidSet()
    for source, number in gtids:
        found.add(f"{source}:{number}")
    return found


@given(sets, sets)
def test_a_set_is_what_sets_are(a: set[tuple[str, int]], b: set[tuple[str, int]]) -> None:
    assert made(a) | made(b) == made(a | b)
    assert made(a) & made(b) == made(a & b)
    assert made(a) - made(b) == made(a - b)
    assert (made(a) <= made(b)) == (a <= b)
    assert bool(made(a)) == bool(a)
    assert all((f"{s}:{n}" in made(a)) == ((s, n) in a) for s in SOURCES for n in range(1, 31))


@given(sets)
def test_a_set_survives_text_and_bytes(a: set[tuple[str, int]]) -> None:
    assert GtidSet.parse(str(made(a))) == made(a)
    reader = Reader(made(a).encode())
    assert GtidSet.decode(reader) == made(a)
    assert reader.left == 0


def test_texts_as_servers_write_them() -> None:
    text = f"{A}:1-5:7,\n{B}:3:tag:1-2:9"
    assert str(GtidSet.parse(text)) == f"{A}:1-5:7,{B}:3,{B}:tag:1-2:9"
    assert f"{B}:tag:9" in GtidSet.parse(text)
    assert f"{B}:9" not in GtidSet.parse(text)
    for wrong in ("x", A, f"{A}:0", f"{A}:5-3", f"{A}:tag-", f"{A}:1-2-3"):
        with pytest.raises(ValueError, match="not"):
            GtidSet.parse(wrong)


def test_a_copy_is_another() -> None:
    first = GtidSet.parse(f"{A}:1-5")
    second = first.copy()
    second.add(f"{A}:6")
    assert str(first) == f"{A}:1-5"


@given(st.binary(max_size=80))
def test_hostile_bytes_are_refused(data: bytes) -> None:
    try:
        found = GtidSet.decode(Reader(data))
    except ProtocolError:
        return
    assert GtidSet.parse(str(found)) == found


def test_a_position_knows_each_domain() -> None:
    position = GtidPosition.parse("0-1-42,7-2-3")
    assert "0-9-42" in position
    assert "0-1-43" not in position
    assert "8-1-1" not in position
    position.add("0-2-43")
    assert str(position) == "0-2-43,7-2-3"
    other = GtidPosition.parse("0-1-40,8-1-1")
    assert str(position & other) == "0-1-40"
    assert not other <= position
    assert GtidPosition.parse("7-2-2") <= position
    with pytest.raises(ValueError, match="not a GTID"):
        GtidPosition.parse("0-1")
