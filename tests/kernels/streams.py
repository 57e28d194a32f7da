"""Generated streams: what a walsender may send, in any order that it may, and some that it may not.

The draws are of whole messages, so that most streams are sound; :func:`damaged` breaks them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st

from penstock.model import UNCHANGED, Raw
from penstock.sources.postgres.wire import Relation, RelationFacts
from penstock.sources.postgres.wire.messages import XLOG_HEADER, Reader
from tests.wire.payloads import (
    begin,
    commit,
    delete,
    insert,
    keepalive,
    message,
    origin,
    relation,
    truncate,
    type_,
    update,
)

OIDS = (16401, 16402, 17000)
TYPES = (16, 17, 20, 23, 25, 114, 700, 1043, 1114, 1184, 1186, 1700, 2950, 3802, 1007, 1009, 90_001)
NAMES = ("orders", "lines", "a.b", 'quo"te', "Ünïcode", "select", " ", "x" * 63, "\t\n\\", "")
COLUMNS = ("id", "Id", "id2", "note", "a b", 'q"', "naïve", "_op", "ctid", "")
PREFIXES = ("a", "b", "", "penstock")

raws: st.SearchStrategy[Raw] = st.one_of(
    st.none(),
    st.just(UNCHANGED),
    st.sampled_from([b"", b"1", b"2", b"t", "é".encode(), b"\0", b"\\N"]),
    st.binary(max_size=12),
    st.integers(1000, 1100).map(lambda length: b"x" * length),
    st.just(b"y" * 70_000),
)


@dataclass(frozen=True)
class Shape:
    """What a RELATION message said last."""

    oid: int
    arity: int
    payload: bytes


@st.composite
def shapes(draw: st.DrawFn, oid: int | None = None) -> Shape:
    """A relation with any name, columns, types and identity."""
    oid = draw(st.sampled_from(OIDS)) if oid is None else oid
    names = draw(st.lists(st.sampled_from(COLUMNS), max_size=5, unique=True))
    columns = [(name, draw(st.sampled_from(TYPES))) for name in names]
    key = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
    payload = relation(
        oid,
        draw(st.sampled_from(NAMES[:3]) | st.sampled_from(NAMES)),
        columns,
        key=key,
        identity=draw(st.sampled_from("ddidfn")),
        schema=draw(st.sampled_from(["public", "public", "", "s.t"])),
        modifiers={name: draw(st.sampled_from([-1, 24, 655_366])) for name in names[:1]},
    )
    return Shape(oid, len(columns), payload)


@st.composite
def _row(draw: st.DrawFn, shape: Shape) -> bytes:
    """A row's message. The same few values come again, so that keys stay and change."""
    arity = shape.arity if draw(st.integers(0, 40)) else draw(st.integers(0, 6))
    values = st.lists(raws, min_size=arity, max_size=arity)
    new, old = draw(values), draw(values)
    kinds: dict[str, Callable[[], bytes]] = {
        "insert": lambda: insert(shape.oid, *new),
        "update": lambda: update(shape.oid, *new),
        "update with key": lambda: update(shape.oid, *new, key=old),
        "update with old": lambda: update(shape.oid, *new, old=old),
        "delete by key": lambda: delete(shape.oid, key=old),
        "delete": lambda: delete(shape.oid, old=old),
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))]()


@st.composite
def _transaction(draw: st.DrawFn, lsn: int, announced: dict[int, Shape]) -> list[bytes]:
    payloads = [begin(lsn, draw(st.integers(0, 2**32 - 1)))]
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.sampled_from("rrrrrrsstmmoykn"))
        if kind == "s" or not announced:
            shape = draw(shapes())
            announced[shape.oid] = shape
            payloads.append(shape.payload)
        elif kind == "n":  # the server says the same again
            payloads.append(draw(st.sampled_from(sorted(announced.items())))[1].payload)
        elif kind == "r":
            payloads.append(draw(_row(announced[draw(st.sampled_from(sorted(announced)))])))
        elif kind == "t":
            oids = draw(st.lists(st.sampled_from(sorted(announced)), max_size=3, unique=True))
            payloads.append(truncate(*oids, flags=draw(st.integers(0, 3))))
        else:
            payloads.append(draw(_aside(kind, lsn)))
    payloads.append(commit(lsn, lsn + draw(st.integers(1, 3))))
    return payloads


@st.composite
def _aside(draw: st.DrawFn, kind: str, lsn: int) -> bytes:
    """What is neither row nor table."""
    if kind == "m":
        content = draw(st.binary(max_size=20))
        prefix = draw(st.sampled_from(PREFIXES))
        return message(prefix, content, lsn=lsn, transactional=draw(st.booleans()))
    if kind == "o":
        return origin(draw(st.sampled_from(NAMES)))
    if kind == "y":
        return type_(90_001, draw(st.sampled_from(NAMES)))
    return keepalive(lsn + draw(st.integers(-2, 2)))


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """The payloads of a session."""
    payloads: list[bytes] = []
    announced: dict[int, Shape] = {}
    lsn = draw(st.sampled_from([0x10, 0xFFFF_FFF0, 2**63]))
    for _ in range(draw(st.integers(1, 4))):
        for kind in draw(st.text("mk", max_size=2)):
            payloads.append(draw(_aside(kind, lsn)))
        lsn += draw(st.integers(1, 4))
        payloads += draw(_transaction(lsn, announced))
        lsn += 4
    return payloads


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """A session's payloads with one thing wrong, or several."""
    payloads = draw(streams())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(payloads) - 1))
        payload = payloads[at]
        kind = draw(st.sampled_from(["cut", "byte", "bytes", "more", "lost", "twice", "swap"]))
        if kind == "lost" and len(payloads) > 1:
            del payloads[at]
        elif kind == "twice":
            payloads.insert(at, payload)
        elif kind == "swap":
            payloads.append(payloads.pop(at))
        elif kind == "cut":
            payloads[at] = payload[: draw(st.integers(0, len(payload)))]
        elif kind == "more":
            payloads[at] = payload + draw(st.binary(min_size=1, max_size=3))
        elif payload:
            # most of what decides stands behind the frame's head
            place = draw(st.integers(0, min(len(payload) - 1, 120)) | st.just(XLOG_HEADER))
            place = min(place, len(payload) - 1)
            new = draw(st.binary(min_size=1, max_size=1 if kind == "byte" else 5))
            payloads[at] = payload[:place] + new + payload[place + len(new) :]
    return payloads


@st.composite
def feeds(draw: st.DrawFn, payloads: Sequence[bytes]) -> list[list[bytes]]:
    """The payloads cut into reads of the socket: anywhere between them, and some are empty."""
    cuts = draw(st.lists(st.integers(0, len(payloads)), max_size=6))
    places = [0, *sorted(cuts), len(payloads)]
    return [list(payloads[a:b]) for a, b in pairwise(places)]


def relations(payloads: Sequence[bytes]) -> list[Relation]:
    """The sound RELATION messages among payloads."""
    head = slice(XLOG_HEADER, XLOG_HEADER + 1)
    found = [payload for payload in payloads if payload[head] == b"R"]
    return [Relation.parse(Reader(payload, XLOG_HEADER + 1)) for payload in found]


@st.composite
def catalogs(draw: st.DrawFn) -> Callable[[Relation], RelationFacts]:
    """What the catalog says of any relation; it may be of another time than the stream."""
    reverse = draw(st.booleans())
    keyed = draw(st.sampled_from(["flagged", "first", "none", "gone"]))

    def facts(relation: Relation) -> RelationFacts:
        key = {
            "flagged": relation.flagged,
            "first": relation.names[:1],
            "none": (),
            "gone": ("not there",),
        }[keyed]
        key = tuple(reversed(key)) if reverse else key
        return RelationFacts("0/99", primary_key=key, identity_index=key)

    return facts
