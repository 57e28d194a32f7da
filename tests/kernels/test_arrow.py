"""Both kernels make the same record batches of any rows, and their values are those of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from random import Random
from struct import pack
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError, ProtocolError
from penstock.kernel import native
from penstock.model import UNCHANGED, Batch, Change, Column, Table, Type
from penstock.model.projection import Masking, Output, Projection
from penstock.sources.postgres.wire import Decoder, RelationFacts
from penstock.sources.postgres.wire.binary import text_of
from penstock.sources.postgres.wire.copies import NativeCopyDecoder, PythonCopyDecoder
from penstock.sources.postgres.wire.native import NativeDecoder
from penstock.sources.postgres.wire.types import builtin, make_type
from tests.support.forms import forms_of_chance
from tests.support.hostile import VALUES
from tests.wire.payloads import begin, commit, delete, insert, relation, truncate, update, xlog
from tests.wire.test_copytext import write

OID: Final = 16401
NUMERIC: Final = 1700


def numeric(precision: int, scale: int) -> int:
    """The modifier of ``numeric(precision, scale)``."""
    return (precision << 16 | scale & 0x7FF) + 4


def a(oid: int, modifier: int = -1) -> Type:
    type = builtin(oid, modifier)
    assert type is not None
    return type


def own(oid: int, name: str, **facts: Any) -> Type:
    return make_type(oid, f"public.{name}", name, **facts)


DIGITS: Final = [(1, 0), (5, 2), (12, 2), (18, 18), (19, 0), (20, 5), (38, 0), (38, 38), (39, 1)]
PRICE: Final = own(90_001, "price", typtype="d", base=a(NUMERIC, numeric(10, 2)))
OWN: Final = [
    own(90_002, "mood", typtype="e", labels=("sad", "a,b")),
    PRICE,
    own(90_003, "prices", typtype="b", category="A", element=PRICE),
    own(90_004, "small", typtype="d", base=a(21)),
    own(90_005, "many", typtype="d", base=a(1231, numeric(5, 1))),
    own(90_006, "pair", typtype="c"),
]
SCALARS: Final = [type for oid in range(7000) if (type := builtin(oid)) and not type.element]
ARRAYS: Final = [type for oid in range(7000) if (type := builtin(oid)) and type.element]
TYPES: Final = [
    *SCALARS,
    *ARRAYS,
    *OWN,
    *(a(oid, numeric(*digits)) for oid in (NUMERIC, 1231) for digits in (*DIGITS, (3, -2), (2, 5))),
]


# -- texts that a server writes for a type, and (wild) some that it never does


def texts(type: Type, wild: bool) -> st.SearchStrategy[bytes]:
    if type.element is not None:
        return arrays(type.element, wild) | anything if wild else arrays(type.element, wild)
    pool = [text.encode() for text in VALUES.get(type.name, ())]
    likely = _LIKELY.get(type.arrow or type.kind.value, words).map(str.encode)
    if pool:
        likely = st.one_of(likely, st.sampled_from(pool))
    return st.one_of(likely, anything, digits.map(str.encode)) if wild else likely


@st.composite
def arrays(draw: st.DrawFn, element: Type, wild: bool) -> bytes:
    """An array of one dimension, sometimes of two or with bounds of its own."""
    delimiter = b";" if element.name == "box" else b","
    values = draw(st.lists(st.none() | texts(element, wild), max_size=4))
    cells = [b"NULL" if value is None else quoted(value) for value in values]
    if cells and wild:
        cells[0] = draw(st.sampled_from([b"{1}", b"", b'"', b"\\", b" 1", b'"a"b', b"null"]))
    array = b"{" + delimiter.join(cells) + b"}"
    bounds = draw(st.sampled_from([b""] * 6 + [b"[0:1]=", b"[1:2][1:1]="]))
    return bounds + array


def quoted(value: bytes) -> bytes:
    plain = value and not set(value) & set(b'{}",;\\ \t\n\r\v\f') and value.upper() != b"NULL"
    if plain:
        return value
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def fraction(micros: int) -> str:
    return f".{micros:06}".rstrip("0").rstrip(".") if micros else ""


def numbers(bits: int) -> st.SearchStrategy[str]:
    small = st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)
    return small.map(str)


def floats(width: Literal[32, 64]) -> st.SearchStrategy[str]:
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False).map(repr)
    return st.one_of(finite, finite.map(lambda text: text.removesuffix(".0")), digits)


words = st.text(max_size=20)
anything = st.binary(max_size=12)
digits = st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,10})?", fullmatch=True)
moments = st.datetimes(datetime(1, 1, 1)).map(
    lambda moment: f"{moment.replace(microsecond=0)}" + fraction(moment.microsecond)
)
zones = st.sampled_from(["", "+00", "-08", "+05:30", "-00:19:32", "+15:59:59", "+24", "+01:60"])
_LIKELY: Final[dict[str, st.SearchStrategy[str]]] = {
    "boolean": st.sampled_from("tf"),
    "int16": numbers(16),
    "int32": numbers(32),
    "integer": numbers(64),
    "uint32": st.integers(0, (1 << 32) - 1).map(str),
    "float32": floats(32),
    "float": floats(64),
    "numeric": digits,
    **{
        f"decimal128({precision}, {scale})": st.one_of(
            digits,
            st.decimals(-(10 ** (precision - scale)), 10 ** (precision - scale), places=scale).map(
                lambda number: f"{number:f}"
            ),
        )
        for precision, scale in DIGITS[:-1]
    },
    "bytes": st.binary(max_size=20).map(lambda value: "\\x" + value.hex()),
    "json": st.sampled_from(['{"a": [1, null]}', "1e400", '"\\u0000"']),
    "uuid": st.uuids().map(str),
    "date": st.dates().map(str) | st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]", fullmatch=True),
    "time": moments.map(lambda text: text[11:]),
    "timestamp": moments,
    "timestamptz": st.tuples(moments, zones).map("".join),
}


# -- streams of one table


class Stream(NamedTuple):
    """A table's columns, its key, its identity, and what happened to it."""

    types: Sequence[Type]
    key: tuple[str, ...]
    identity: str
    rows: list[bytes]


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    types = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
    names = [f"c{i}" for i in range(len(types))]
    key = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    wild = draw(st.sampled_from([False, False, False, True]))
    cells = [st.one_of(texts(type, wild), st.sampled_from([None, UNCHANGED])) for type in types]
    rows: list[bytes] = []
    for kind in draw(st.text("iiuokdxt", min_size=1, max_size=6)):
        new, old = draw(st.tuples(*cells)), draw(st.tuples(*cells))
        if kind == "i":
            rows.append(insert(OID, *new))
        elif kind == "u":
            rows.append(update(OID, *new))
        elif kind == "o":
            rows.append(update(OID, *new, old=old))
        elif kind == "k":
            rows.append(update(OID, *new, key=old))
        elif kind == "d":
            rows.append(delete(OID, key=old))
        elif kind == "x":
            rows.append(delete(OID, old=old))
        else:
            rows.append(truncate(OID))
    return Stream(types, tuple(key), draw(st.sampled_from("dfn")), rows)


def decode(stream: Stream, make: Any, **settings: Any) -> Batch:
    """The batch with the stream's rows."""
    names = [f"c{i}" for i in range(len(stream.types))]
    columns = [(name, type.oid) for name, type in zip(names, stream.types, strict=True)]
    modifiers = {name: type.modifier for name, type in zip(names, stream.types, strict=True)}
    shape = relation(
        OID, "t", columns, key=stream.key, identity=stream.identity, modifiers=modifiers
    )
    decoder = make(database="shop", system="7", timeline=1, **settings)
    batches = decoder.feed([begin(0x100), shape, *stream.rows, commit(0x100)])
    types = {type.oid: type for type in OWN}
    decoder.describe(RelationFacts("0/99", primary_key=stream.key, types=types))
    batches += decoder.feed([])
    assert isinstance(batches[-1], Batch)
    return batches[-1]


def build(batch: Batch) -> list[pa.RecordBatch] | str:
    """The record batches, or what the error says."""
    try:
        return batch.to_arrow()
    except PenstockError as error:
        return f"{error!r} {error.hint} {error.table}"


@settings(deadline=None, max_examples=200)
@given(streams())
@example(Stream([a(700)], (), "d", [insert(OID, b"1.00000005960464477539062500001")]))
@example(Stream([a(25)], (), "d", [insert(OID, b"\xff")]))
@example(Stream([a(1082)], ("c0",), "d", [update(OID, b"2024-01-01", key=[b"infinity"])]))
@example(Stream([a(1082)], ("c0",), "d", [update(OID, b"2024-01-01", key=[b"\xff"])]))
def test_both_kernels_make_the_same(stream: Stream) -> None:
    native, reference = (build(decode(stream, make)) for make in (NativeDecoder, Decoder))
    event("an error" if isinstance(reference, str) else "record batches")
    equal(native, reference)


def masked(table: Table) -> Projection:
    """The columns backwards, under other names, the first one but of the key masked."""
    names = list(enumerate(table.names))[::-1]
    first = next((i for i, name in names[::-1] if name not in table.key_columns), None)
    masking = Masking("fixed", text=b"***")
    return Projection(
        table, tuple(Output(i, name + "_", masking if i == first else None) for i, name in names)
    )


@settings(deadline=None, max_examples=50)
@given(streams())
def test_projected_rows(stream: Stream) -> None:
    projections: dict[Table, Projection] = {}

    def of(table: Table) -> Projection:
        return projections.setdefault(table, masked(table))

    made = [build(decode(stream, make, projection_of=of)) for make in (NativeDecoder, Decoder)]
    equal(*made)


@settings(deadline=None, max_examples=50)
@given(streams(), st.data())
def test_copied_rows(stream: Stream, data: st.DataObject) -> None:
    columns = tuple(Column(f"c{i}", type) for i, type in enumerate(stream.types))
    table = Table("public", "t", columns, stream.key, oid=OID)
    cells = st.tuples(*(st.none() | texts(type, wild=False) for type in stream.types))
    rows = data.draw(st.lists(cells, min_size=1, max_size=5))
    lines = [b"\t".join(map(write, row)) + b"\n" for row in rows]
    options: Any = {"at": 9, "database": "shop", "projection": None, "binary": False}
    made = [
        build(make(table, 1, **options).feed(lines))
        for make in (NativeCopyDecoder, PythonCopyDecoder)
    ]
    equal(*made)


def equal(native: list[pa.RecordBatch] | str, reference: list[pa.RecordBatch] | str) -> None:
    """The same record batches, or the same error."""
    if isinstance(reference, str) or isinstance(native, str):
        assert native == reference
    else:
        same(native, reference)


def same(native: list[pa.RecordBatch], reference: list[pa.RecordBatch]) -> None:
    assert len(native) == len(reference) == 1
    for ours, theirs in zip(native, reference, strict=True):
        ours.validate(full=True)
        theirs.validate(full=True)
        assert ours.schema.equals(theirs.schema, check_metadata=True)
        assert repr(ours.to_pylist()) == repr(theirs.to_pylist())  # NaN is as NaN does


FORMS: Final = forms_of_chance(Random(3)) | {
    "bool": [b"\0", b"\1"],
    "int4": [pack(">i", number) for number in (0, -1, 2**31 - 1, -(2**31))],
    "oid": [pack(">I", number) for number in (0, 2**32 - 1)],
    "text": [text.encode() for text in VALUES["text"]],
    "json": [b'{"a": 1}'],
    "jsonb": [b'\1{"a": 1}', b"\1null"],
    "bytea": [b"", bytes(range(256))],
    "date": [
        *(pack(">i", days) for days in (-(2**31), 2**31 - 1, -730_119, -730_120)),
        *(pack(">i", days) for days in (2_921_939, 2_921_940, -1, 0)),
    ],
    "time": [pack(">q", micros) for micros in (0, 86_399_999_999, 86_400_000_000)],
    "timestamp": [
        *(pack(">q", micros) for micros in (-(2**63), 2**63 - 1, 0, -1)),
        *(pack(">q", 86_400_000_000 * days) for days in (-730_119, 2_921_940)),
        *(pack(">q", 86_400_000_000 * days - 1) for days in (-730_119, 2_921_940)),
    ],
    "_int4": [
        pack(">iiI", 0, 0, 23),
        pack(">iiIiiii", 1, 1, 23, 2, 1, 4, 7) + pack(">i", -1),
        pack(">iiIiiii", 1, 0, 23, 1, 0, 4, 7),
    ],
}
"""Send forms by type."""
SENT: Final = [type for type in TYPES if type.name in FORMS]


def sent(form: bytes) -> bytes:
    """The insert of a row whose one value came in binary."""
    return xlog(pack(">cIcHcI", b"I", OID, b"N", 1, b"b", len(form)) + form)


def sent_values(type: Type) -> Stream:
    """Rows of one column, each with a value that came in binary."""
    return Stream([type], (), "d", [sent(form) for form in sent_forms(type)])


def sent_forms(type: Type) -> list[bytes]:
    """Forms that are no nonsense."""
    text = text_of(type)
    assert text is not None
    forms = []
    for form in FORMS[type.name][:500]:
        with suppress(ValueError):
            text(form)
            forms.append(form)
    return forms


@pytest.mark.parametrize("type", SENT, ids=[type.sql for type in SENT])
def test_values_that_came_in_binary(type: Type) -> None:
    stream = sent_values(type)
    same(
        decode(stream, NativeDecoder, binary=180_000).to_arrow(),
        decode(stream, Decoder, binary=180_000).to_arrow(),
    )


def decode_copied(
    types: Sequence[Type], rows: Sequence[Sequence[bytes | None]], kind: Any = PythonCopyDecoder
) -> Batch:
    """Rows copied in binary, as messages of a stream for the native kernel."""
    columns = tuple(Column(f"c{i}", type) for i, type in enumerate(types))
    payloads: Any = [
        len(row).to_bytes(2)
        + b"".join(b"\xff" * 4 if raw is None else len(raw).to_bytes(4) + raw for raw in row)
        for row in rows
    ]
    if kind is NativeCopyDecoder:
        stream = b"".join(b"d" + (len(one) + 4).to_bytes(4) + one for one in payloads)
        payloads = native().Frames(stream)
    options: Any = {"at": 9, "database": "shop", "projection": None, "binary": True}
    table = Table("public", "t", columns, ("c0",), oid=OID)
    batch: Batch = kind(table, 1, **options).feed(payloads)
    return batch


def compare_copied(types: Sequence[Type], rows: Sequence[Sequence[bytes | None]]) -> None:
    made = [
        build(decode_copied(types, rows, kind)) for kind in (NativeCopyDecoder, PythonCopyDecoder)
    ]
    equal(*made)


TILED: Final = [
    *(a(oid) for oid in (16, 17, 20, 21, 23, 25, 26, 114, 700, 701, 1082, 1083, 1114, 1184)),
    *(a(oid) for oid in (2950, 3802)),
    a(NUMERIC, numeric(12, 2)),
    a(NUMERIC, numeric(30, 10)),
]
"""Types whose values are read column by column where that can be done."""


def forms_of(type: Type, random: Random) -> list[bytes]:
    """Send forms that the server writes for columns of a type."""
    if type.base != NUMERIC:
        return sent_forms(type)[:300]
    scale = type.modifier - 4 & 0x7FF
    steps = 10 ** (-scale % 4)  # the last digit to the base 10000 ends with so many zeros
    groups = [random.choices(range(10_000), k=1 + -(-scale // 4)) for _ in range(300)]
    return [
        pack(f">HhHH{len(group) + 1}H", len(group) + 1, 1, sign, scale, *group, last * steps)
        for group in groups
        for sign in (0, 0x4000)
        for last in (0, 1, random.randrange(10_000 // steps))
    ]


@pytest.mark.parametrize("seed", range(20))
def test_many_rows_in_binary(seed: int) -> None:
    """Odd seeds have only values that their columns can hold."""
    random = Random(seed)
    types = random.choices(TILED, k=5)
    pools: list[list[bytes | None]] = []
    for type in types:
        forms = forms_of(type, random)
        if seed % 2:
            (built,) = decode_copied([type], [[form] for form in forms]).to_arrow()
            misfits = built.column("_text").is_valid().to_pylist()
            forms = [form for form, misfit in zip(forms, misfits, strict=True) if not misfit]
        pools.append([*forms, None])
    compare_copied(types, [[random.choice(pool) for pool in pools] for _ in range(300)])


@pytest.mark.parametrize("at", [0, 8, 254, 255])
def test_a_character_in_two_halves(at: int) -> None:
    rows: list[list[bytes | None]] = [[b"a"] for _ in range(260)]
    rows[at], rows[at + 1] = [b"\xc3"], [b"\xa9"]
    compare_copied([a(25)], rows)


@pytest.mark.parametrize("kind", [NativeDecoder, Decoder])
def test_a_boolean_is_0_or_1(kind: Any) -> None:
    with pytest.raises(ProtocolError, match="neither 0 nor 1"):
        decode(Stream([a(16)], (), "d", [sent(b"\2")]), kind, binary=180_000).to_arrow()


@st.composite
def values(draw: st.DrawFn) -> tuple[Type, bytes]:
    type = draw(st.sampled_from(TYPES))
    return type, draw(texts(type, wild=draw(st.booleans())))


@settings(deadline=None)
@given(values())
@example((a(651), b'{""}'))
def test_values_are_those_of_rows(value: tuple[Type, bytes]) -> None:
    type, raw = value
    batch = decode(Stream([type], (), "d", [insert(OID, raw)]), NativeDecoder)
    built = build(batch)
    if isinstance(built, str):
        return
    (cells,) = built[0].to_pylist()
    (change,) = (event for event in batch if isinstance(event, Change))
    if cells["_text"]:
        assert (cells["_text"], cells["c0"]) == ([("c0", raw.decode())], None)
    elif isinstance(cells["c0"], str):
        assert cells["c0"] == raw.decode()
    elif built[0].schema.field("c0").type != pa.list_(pa.string()):  # Row parses what these show
        assert alike(cells["c0"], change.row["c0"])


def alike(ours: Any, theirs: Any) -> bool:
    """Floats of 32 bits are nearly those of 64."""
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    if isinstance(ours, float):
        return (math.isnan(ours) and math.isnan(theirs)) or math.isclose(
            ours, theirs, rel_tol=1e-6, abs_tol=1e-40
        )
    return bool(ours == theirs)
