"""Rows whose values come in binary: both kernels make the same of them, by whichever exit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from struct import pack
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.model import UNCHANGED, Batch, Change, Raw, Table
from penstock.model.projection import Masking, Output, Projection, ProjectionOf, whole
from penstock.sources.postgres.wire import Relation, RelationFacts
from penstock.sources.postgres.wire.binary import text_of
from penstock.sources.postgres.wire.decoder import Decoder
from penstock.sources.postgres.wire.native import NativeDecoder
from penstock.sources.postgres.wire.types import builtin
from tests.kernels.comparing import drive
from tests.kernels.streams import feeds
from tests.kernels.test_exits import FORMATS, load_data, outcome
from tests.wire.payloads import Sent, begin, commit, delete, insert, relation, truncate, update

OID: Final = 16401
NANS: Final = [bytes.fromhex(form) for form in ("7ff8000000000000", "fff8000000000001")]
LISTS: Final = [pack(">iiIiiii", 1, nulls, 23, 1, 1, 4, 7) for nulls in (0, 1)]
FORMS: Final[dict[int, list[bytes]]] = {
    20: [pack(">q", number) for number in (-1, 0, 1)],
    25: [b"", "é".encode(), b"x" * 300],
    701: [pack(">d", number) for number in (0.1, -0.0)] + NANS,
    1007: LISTS,
    16: [b"\0", b"\1"],
    17: [b"", b"\0\xff"],
    1184: [pack(">q", micros) for micros in (0, -(2**63))],
    1700: [pack(">HhHH", 0, 0, 0, 2), pack(">HhHHH", 1, 0, 0x4000, 0, 7)],
    2950: [bytes(16)],
    3802: [b"\1{}"],
}


def column(oid: int) -> st.SearchStrategy[Raw]:
    """A value in either form; the same few come again, so that keys stay and change."""
    type = builtin(oid)
    text = text_of(type) if type is not None else None
    assert text is not None
    forms = st.sampled_from(FORMS[oid])
    return st.one_of(forms.map(Sent), forms.map(Sent), forms.map(text), st.none())


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], tuple[str, ...], str]:
    """Columns, key and identity."""
    oids = draw(st.lists(st.sampled_from(list(FORMS)), min_size=1, max_size=5))
    names = [f"c{i}" for i in range(len(oids))]
    key = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    return oids, tuple(key), draw(st.sampled_from("ddf"))


@st.composite
def rows(draw: st.DrawFn, oids: Sequence[int]) -> list[bytes]:
    """Changes of a table."""
    old = st.tuples(*map(column, oids))
    new = st.tuples(*(column(oid) | st.just(UNCHANGED) for oid in oids))
    kinds: dict[str, Callable[[], bytes]] = {
        "insert": lambda: insert(OID, *draw(old)),
        "update": lambda: update(OID, *draw(new)),
        "update with key": lambda: update(OID, *draw(new), key=draw(old)),
        "update with old": lambda: update(OID, *draw(new), old=draw(old)),
        "delete by key": lambda: delete(OID, key=draw(old)),
        "delete": lambda: delete(OID, old=draw(old)),
    }
    drawn = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=6))
    return [kinds[kind]() for kind in drawn]


def backwards(table: Table) -> Projection:
    """The columns the other way round, and masked where they are not of the key."""
    outputs = [
        Output(i, name, None if name in table.key_columns else Masking("truncate", length=3))
        for i, name in enumerate(table.names)
    ]
    return Projection(table, tuple(outputs[::-1]))


def arrow_data(batch: Batch) -> list[Any]:
    """Its record batches; NaN is as NaN does."""
    return [repr(made.to_pylist()) for made in batch.to_arrow()]


KINDS: Final[tuple[Any, ...]] = (Decoder, NativeDecoder)
EXITS: Final[list[Callable[[Batch], Any]]] = [
    *(lambda batch, f=format: batch.lines(f) for format in FORMATS),
    *(lambda batch, f=format: list(batch.records(f)) for format in FORMATS),
    lambda batch: load_data(batch, 1),
    arrow_data,
]


@given(st.data(), tables(), st.sampled_from([whole, backwards]), st.sampled_from([1 << 20, 1]))
def test_rows(
    data: st.DataObject,
    shape: tuple[list[int], tuple[str, ...], str],
    projection_of: ProjectionOf,
    max_bytes: int,
) -> None:
    oids, key, identity = shape
    changes = data.draw(rows(oids))
    columns = [(f"c{i}", oid) for i, oid in enumerate(oids)]
    announced = relation(OID, "t", columns, key=key, identity=identity)
    made: dict[Table, Projection | None] = {}

    def of(table: Table) -> Projection | None:
        return made.setdefault(table, projection_of(table))

    def facts(_: Relation) -> RelationFacts:
        return RelationFacts("0/99", primary_key=key)

    options: Any = {"database": "shop", "system": "7", "timeline": 1, "binary": 180_000}
    options |= {"projection_of": of, "max_bytes": max_bytes}
    cut = data.draw(feeds([begin(0x100), announced, *changes, commit(0x100)]))
    python, native = (drive(kind(**options), cut, facts) for kind in KINDS)
    assert native == python

    made_of = [batches(kind(**options), announced, changes, facts) for kind in KINDS]
    for theirs, ours in zip(made_of[0], made_of[1], strict=True):
        for leave in EXITS:
            expected = outcome(partial(leave, theirs))
            assert outcome(partial(leave, ours)) == expected


def batches(
    decoder: Any,
    announced: bytes,
    changes: Sequence[bytes],
    facts: Callable[[Any], RelationFacts],
) -> list[Batch]:
    """The batches with the changes."""
    decoder.feed([begin(0x10), announced, truncate(OID), commit(0x10)])
    decoder.describe(facts(None))
    decoder.feed([])
    made: list[Batch] = decoder.feed([begin(0x100), *changes, commit(0x100)])
    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("oid", "forms"), [(701, NANS), (1007, LISTS)])
def test_a_key_is_the_same_whose_text_is(kind: Any, oid: int, forms: list[bytes]) -> None:
    decoder = kind(database="shop", system="7", timeline=1, binary=180_000)
    announced = relation(OID, "t", [("id", oid)], key=("id",))
    old, new = map(Sent, forms)
    facts = RelationFacts("0/99", primary_key=("id",))
    (batch,) = batches(decoder, announced, [update(OID, new, key=[old])], lambda _: facts)
    (change,) = (event for event in batch if isinstance(event, Change))
    assert change.old_key is None
