"""Projections: both kernels while they decode, and afterwards on events, give the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.model import Event, Table
from penstock.model.projection import Masking, Output, Projection, ProjectionOf, project_event
from penstock.sources.postgres.wire import LogDecoder, Relation, RelationFacts
from penstock.sources.postgres.wire.copies import NativeCopyDecoder, PythonCopyDecoder
from penstock.sources.postgres.wire.decoder import Decoder
from penstock.sources.postgres.wire.native import NativeDecoder
from tests.kernels.comparing import batch_data, drive, event_data
from tests.kernels.streams import catalogs, damaged, feeds, streams
from tests.support.feed import column, table

FROM: dict[str, Any] = {"database": "shop", "system": "7", "timeline": 1, "messages": None}

maskings = st.one_of(
    st.builds(Masking, st.just("fixed"), text=st.binary(max_size=5)),
    st.builds(Masking, st.just("truncate"), length=st.integers(1, 9)),
    st.builds(Masking, st.just("hmac"), key=st.binary(min_size=16, max_size=200)),
)
kept = st.none() | st.binary(min_size=16, max_size=20).map(lambda key: Masking("hmac", key=key))


@st.composite
def projections(draw: st.DrawFn) -> ProjectionOf:
    """What goes on of any table: the same of the same one, and at least what has to."""
    dropped = draw(st.sets(st.integers(0, 4)))
    masked = draw(st.lists(st.none() | maskings, min_size=6, max_size=6))
    keys = draw(st.lists(kept, min_size=6, max_size=6))
    backwards, renamed = draw(st.booleans()), draw(st.booleans())
    made: dict[Table, Projection | None] = {}

    def of(table: Table) -> Projection | None:
        if table not in made:
            key = set(table.key_indexes)
            outputs = [
                Output(i, name + "_" if renamed else name, (keys if i in key else masked)[i])
                for i, name in enumerate(table.names)
                if i in key or i not in dropped
            ]
            projection = Projection(table, tuple(outputs[::-1] if backwards else outputs))
            made[table] = projection if outputs and not projection.trivial else None
        return made[table]

    return of


def test_a_projection_that_is_drawn_does_something() -> None:
    """Else the tests below would compare nothing."""
    users = table("users", column("id"), column("a"), column("b"))
    seen = set()

    @settings(max_examples=50, database=None, derandomize=True)
    @given(projections())
    def look(of: ProjectionOf) -> None:
        projection = of(users)
        seen.add(None if projection is None else projection.table.names)

    look()
    assert len(seen) > 5


@settings(deadline=None)
@given(st.data(), streams() | damaged(), catalogs(), projections())
def test_logs(
    data: st.DataObject,
    payloads: list[bytes],
    facts: Callable[[Relation], RelationFacts],
    of: ProjectionOf,
) -> None:
    reads = data.draw(feeds(payloads))
    python, native = (make(**FROM, projection_of=of) for make in (Decoder, NativeDecoder))
    assert drive(native, reads, facts) == drive(python, reads, facts)
    assert native.shapes == python.shapes


def events(
    decoder: LogDecoder, payloads: list[bytes], facts: Callable[[Relation], RelationFacts]
) -> list[Event]:
    """All events before the first error."""
    found: list[Event] = []
    with contextlib.suppress(PenstockError):
        for payload in payloads:
            batches = decoder.feed([payload])
            while decoder.needs is not None:
                decoder.describe(facts(decoder.needs))
                batches += decoder.feed([])
            found += [event for batch in batches for event in batch]
    return found


@settings(deadline=None)
@given(streams(), catalogs(), projections())
def test_on_events(
    payloads: list[bytes], facts: Callable[[Relation], RelationFacts], of: ProjectionOf
) -> None:
    whole = events(Decoder(**FROM), payloads, facts)
    projected = events(NativeDecoder(**FROM, projection_of=of), payloads, facts)
    assert [event_data(project_event(event, of)) for event in whole] == list(
        map(event_data, projected)
    )


@given(
    st.lists(st.lists(st.none() | st.text(max_size=12), min_size=5, max_size=5), max_size=5),
    projections(),
    st.lists(st.integers(0, 4), unique=True, max_size=2),
)
def test_copies(rows: list[list[str | None]], of: ProjectionOf, key: list[int]) -> None:
    names = [f"c{i}" for i in range(5)]
    whole = table("t", *map(column, names), key=[names[i] for i in key])
    options: dict[str, Any] = {
        "at": 9,
        "database": "shop",
        "projection": of(whole),
        "binary": False,
    }
    lines = [_line(row) for row in rows]
    python, native = (
        batch_data(make(whole, 2, **options).feed(lines, None))
        for make in (PythonCopyDecoder, NativeCopyDecoder)
    )
    assert native == python
    unprojected = PythonCopyDecoder(whole, 2, **(options | {"projection": None})).feed(lines)
    assert [event_data(project_event(event, of)) for event in unprojected] == python["events"]


def _line(row: list[str | None]) -> bytes:
    escapes = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
    fields = ("\\N" if value is None else value.translate(escapes) for value in row)
    return "\t".join(fields).encode() + b"\n"
