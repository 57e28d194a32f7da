"""Both kernels make the same of a binlog: of what servers wrote, of made-up rows, of damage."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.formats.change import ChangeFormat
from penstock.formats.debezium import Debezium
from penstock.formats.debezium.format import DebeziumFormat
from penstock.formats.row import RowFormat
from penstock.model import Batch, Change, Table
from penstock.model.loads import Load, copy_text
from penstock.model.projection import Masking, Output, Projection, ProjectionOf, whole
from penstock.sources.mysql.position import main_checkpoint
from penstock.sources.mysql.wire.decoder import Decoder
from penstock.sources.mysql.wire.events import EventType as E
from penstock.sources.mysql.wire.gtid import GtidPosition, Gtids, GtidSet
from penstock.sources.mysql.wire.layouts import TypesNeeded
from penstock.sources.mysql.wire.native import NativeDecoder
from penstock.sources.mysql.wire.place import Place
from penstock.sources.mysql.wire.tablemap import Code
from tests.kernels.comparing import error_data, event_data
from tests.support.binlog import decode, event, events
from tools.capture_binlog import BINLOGS, DATABASE, load
from tools.mysql import FLAVORS, Flavor

STREAMS: dict[Flavor, list[bytes]] = {
    flavor: list(events(*load(BINLOGS / f"{flavor}.gz").files)) for flavor in FLAVORS
}
ALWAYS, NEVER = 1, 1 << 30  # when a batch is cut inside a transaction
UUID = bytes(range(16))


def make(kind: type[Decoder], flavor: Flavor, **options: Any) -> Decoder:
    gtids: Gtids = GtidSet() if flavor == "mysql" else GtidPosition()
    gtids = options.pop("gtids", gtids)
    return kind(
        gtids=gtids,
        checkpoint=lambda gtids, file, place: (
            main_checkpoint(flavor, gtids),
            file,
            place,
        ),  # type: ignore[arg-type,return-value] # the place is to be compared, too
        source={"type": flavor, "more": None, "number": -1},
        **options,
    )


def told(decoder: Decoder, feeds: Iterable[Sequence[bytes]]) -> list[Any]:
    """What came of the feeds, each time that no transaction is open, to the first error."""
    seen: list[Any] = []
    now: list[Any] = []
    checkpoint = None
    try:
        for feed in feeds:
            for batch in decode(decoder, feed):
                now += [event_data(event) for event in batch]
                checkpoint = batch.checkpoint or checkpoint
            if not decoder.in_transaction:
                place = (decoder.file, decoder.position, decoder.prepared, checkpoint)
                seen.append([now, place, list(decoder.notices), list(decoder.shapes)])
                now = []
    except PenstockError as error:
        seen.append(error_data(error))
    return seen


def both(flavor: Flavor, feeds: Sequence[Sequence[bytes]], **options: Any) -> list[Any]:
    """What both kernels make of it, which is the same."""
    ours = told(make(Decoder, flavor, **options), feeds)
    theirs = told(make(NativeDecoder, flavor, **options), feeds)
    for mine, other in zip(ours, theirs, strict=True):
        assert other == mine
    return ours


def captured(schema: str, name: str) -> bool:
    return schema == DATABASE


def chunks(stream: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("max_bytes", [ALWAYS, NEVER])
def test_what_servers_wrote(flavor: Flavor, size: int, max_bytes: int) -> None:
    feeds = chunks(STREAMS[flavor], size)
    seen = both(flavor, feeds, wanted=captured, max_bytes=max_bytes)
    assert sum(len(events) for events, *_ in seen) > 100


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_transactions_without_names(flavor: Flavor, size: int) -> None:
    feeds = chunks(STREAMS[flavor], size)
    place = Place("0" * 36, "binlog.000001", 4)
    seen = both(flavor, feeds, wanted=captured, max_bytes=ALWAYS, gtids=place)
    assert len({checkpoint for _, (*_, checkpoint), *_ in seen}) > 5 or size > 7


def masked(table: Table) -> Projection | None:
    """The columns turned round, all but the key hashed."""
    outputs = [
        Output(i, name, None if name in table.key_columns else Masking("hmac", key=b"k"))
        for i, name in enumerate(table.names)
    ]
    return Projection(table, tuple(outputs[::-1]))


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("projection_of", [whole, masked])
def test_what_goes_out(flavor: Flavor, projection_of: ProjectionOf) -> None:
    options = {"wanted": captured, "projection_of": projection_of}
    ours, theirs = (
        [batch for batch in decode(make(kind, flavor, **options), STREAMS[flavor]) if len(batch)]
        for kind in (Decoder, NativeDecoder)
    )
    debezium = Debezium(topic_prefix="sh")
    formats = (ChangeFormat(), RowFormat(), DebeziumFormat(debezium, lambda: 17, "run"))
    for format in formats:
        assert lines(theirs, format) == lines(ours, format)
        records = [
            [r for batch in batches for r in batch.records(format)] for batches in (theirs, ours)
        ]
        assert records[0] == records[1]
    assert arrow(theirs) == arrow(ours)
    assert loads(theirs) == loads(ours)


def loads(batches: Iterable[Batch]) -> list[Any]:
    """The changes that a target is given which can COPY; runs of them end where a batch does."""
    found: list[Any] = []
    for batch in batches:
        for one in batch.loads(2):
            if isinstance(one, Load):
                rows = list(one.changes())
                assert one.text == copy_text([row.values_after or () for row in rows])
                found += map(event_data, rows)
            elif isinstance(one, Change):
                found.append(event_data(one))
    return sorted(found, key=lambda change: change["of"])


def test_what_most_transactions_consist_of_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[bytes] = []
    read = Decoder._read

    def noted(self: Decoder, event: bytes) -> Iterator[Batch | TypesNeeded]:
        left.append(event)
        return read(self, event)

    monkeypatch.setattr(Decoder, "_read", noted)
    decoder = make(NativeDecoder, "mysql")
    first = row_of("long", bytes(4))
    decode(decoder, first)
    assert left == first[2:4]  # the table, and its first row
    decode(decoder, [gtid(2), *first[1:]])
    assert left == first[2:4]


def lines(batches: Iterable[Batch], format: Any) -> bytes:
    return b"".join(batch.lines(format) for batch in batches)


def arrow(batches: Iterable[Batch]) -> dict[str, list[Any]]:
    """The rows of all record batches, by table, and how their columns are described."""
    found: dict[str, list[Any]] = {}
    for batch in batches:
        for rows in batch.to_arrow():
            shown = found.setdefault(rows.schema.metadata[b"penstock.table"].decode(), [])
            shown += [(rows.schema, row) for row in rows.to_pylist()]
    return found


# -- rows that are made up


def gtid(number: int) -> bytes:
    return event(E.GTID, b"\0" + UUID + number.to_bytes(8, "little"))


def query(statement: str) -> bytes:
    return event(E.QUERY, struct.pack("<IIBHH", 1, 0, 1, 0, 0) + b"d\0" + statement.encode())


def packed(value: bytes) -> bytes:
    assert len(value) < 251
    return bytes((len(value),)) + value


KINDS: dict[str, tuple[int, bytes]] = {
    "tiny": (Code.TINY, b""),
    "short": (Code.SHORT, b""),
    "medium": (Code.INT24, b""),
    "long": (Code.LONG, b""),
    "big": (Code.LONGLONG, b""),
    "float": (Code.FLOAT, b"\4"),
    "double": (Code.DOUBLE, b"\x08"),
    "date": (Code.DATE, b""),
    "year": (Code.YEAR, b""),
    "old": (Code.DATETIME, b""),
    **{f"timestamp{n}": (Code.TIMESTAMP2, bytes((n,))) for n in range(7)},
    **{f"datetime{n}": (Code.DATETIME2, bytes((n,))) for n in range(7)},
    **{f"time{n}": (Code.TIME2, bytes((n,))) for n in range(7)},
    **{f"decimal{p}.{s}": (Code.NEWDECIMAL, bytes((p, s))) for p, s in ((5, 2), (9, 0), (20, 20))},
    "decimal65": (Code.NEWDECIMAL, bytes((65, 30))),
    "bits": (Code.BIT, b"\3\1"),
    "enum": (Code.STRING, bytes((Code.ENUM, 1))),
    "set": (Code.STRING, bytes((Code.SET, 1))),
    "varchar": (Code.VARCHAR, (40).to_bytes(2, "little")),
    "wide": (Code.VARCHAR, (400).to_bytes(2, "little")),
    "blob": (Code.BLOB, b"\3"),
    "json": (Code.JSON, b"\4"),
    "point": (Code.GEOMETRY, b"\4"),
    "array": (Code.TYPED_ARRAY, bytes((Code.LONG,))),
}
NUMBERS = ("tiny", "short", "medium", "long", "big", "float", "double", "year")
TEXTS = ("varchar", "wide", "blob")
COLLATIONS = st.sampled_from([33, 45, 63, 8, 11, 28, 9])  # utf8, binary, latin1, ascii, gbk, latin2
FIXED = {
    **{"tiny": 1, "short": 2, "medium": 3, "long": 4, "big": 8, "date": 3, "year": 1, "old": 8},
    **{"bits": 2, "enum": 1, "set": 1, "float": 4, "double": 8},
    **{f"timestamp{n}": 4 + (n + 1) // 2 for n in range(7)},
    **{f"datetime{n}": 5 + (n + 1) // 2 for n in range(7)},
    **{f"time{n}": 3 + (n + 1) // 2 for n in range(7)},
    **{"decimal5.2": 3, "decimal9.0": 4, "decimal20.20": 9, "decimal65": 30},
}
PREFIX = {"varchar": 1, "wide": 2, "blob": 3, "json": 4, "point": 4, "array": 4}
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def value(kind: str) -> st.SearchStrategy[bytes]:
    """Bytes of a value, right and wrong ones."""
    if kind == "float":
        some = st.floats(width=32) | st.integers(-99999, 99999).map(lambda n: n / 100)
        return some.map(lambda f: struct.pack("<f", f))
    if kind == "double":
        some = FLOATS | st.integers(-(10**17), 10**17).map(lambda n: n / 1000)
        return some.map(lambda f: struct.pack("<d", f))
    if kind in FIXED:
        plain = st.binary(min_size=FIXED[kind], max_size=FIXED[kind])
        if kind.startswith("decimal"):  # few bytes are a decimal's by luck
            return plain | st.just(b"\x80".ljust(FIXED[kind], b"\0"))
        if kind.startswith("datetime"):
            small = st.integers(0, (1 << 24) - 1)
            head = st.integers(0, 9999 * 13 * 32).map(lambda day: (day << 17) + (1 << 39))
            moment = st.tuples(head, st.integers(0, 1 << 17)).map(sum)
            rest = FIXED[kind] - 5
            made = st.tuples(moment, small).map(
                lambda m: m[0].to_bytes(5, "big") + m[1].to_bytes(3, "big")[3 - rest :]
            )
            return plain | made
        return plain
    texts = st.binary(max_size=20) | st.text(max_size=9).map(str.encode)
    if kind in ("json", "array"):
        texts = st.binary(max_size=20) | st.sampled_from(DOCUMENTS)
    return texts.map(lambda raw: len(raw).to_bytes(PREFIX[kind], "little") + raw)


DOCUMENTS = [
    b"",
    b"\4\1",
    b"\5\xff\xff",
    b"\x0b" + struct.pack("<d", 0.1),
    b"\x0b" + struct.pack("<d", 7.0),
    b'\x0c\5a"\\\n\xc3',
    b'\x0c\4\xc3\xa4"\1',
    b"\x0f\xf6\5\5\2\x80\1\2",
    b"\x0f\x0c\x08" + (0x19B6E7A1F2000000 + 5).to_bytes(8, "little"),
    b"\x0f\x0b\x08" + (-(5 << 24)).to_bytes(8, "little", signed=True),
    b"\x0f\x01\3abc",
    b"\0\1\0\x0c\0\x0b\0\1\0\5\1\0a",
    b"\0\2\0\x15\0\x12\0\1\0\x13\0\2\0\5\1\0\4\0\0abb",
    b"\0\2\0\x15\0\x12\0\1\0\x12\0\1\0\5\1\0\4\0\0abb",  # a name twice
    b"\2\2\0\x0c\0\5\1\0\x0c\x0a\0\1x",
    b"\2\1\0\7\0\2\4\0",  # in itself
    b"\3\1\0\0\0\x0d\0\0\0\7\1\0\0\0",
]


@st.composite
def made_up(draw: st.DrawFn) -> list[bytes]:
    """Transactions of one table: its description, and events of rows."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
    names = [f"c{i}".encode() for i in range(len(kinds))]
    numbers = [kind for kind in kinds if kind in NUMBERS or kind.startswith("decimal")]
    signs = draw(st.binary(min_size=(len(numbers) + 7) // 8, max_size=(len(numbers) + 7) // 8))
    collations = [draw(COLLATIONS) for kind in kinds if kind in TEXTS]
    key = draw(st.lists(st.integers(0, len(kinds) - 1), unique=True, max_size=2))
    labels = [b"", b"a", b"\xc3\xa4", b"x,y"]
    body = b"\1d\0\1t\0" + packed(bytes(KINDS[kind][0] for kind in kinds))
    body += packed(b"".join(KINDS[kind][1] for kind in kinds))
    body += bytes(((1 << len(kinds)) - 1,))
    body += b"\1" + packed(signs) + b"\3" + packed(bytes(collations))
    body += b"\4" + packed(b"".join(map(packed, names)))
    for kind, number in (("set", 5), ("enum", 6)):
        told = bytes((len(labels),)) + b"".join(map(packed, labels))
        body += bytes((number,)) + packed(told * kinds.count(kind))
    both_labelled = sum(kind in ("enum", "set") for kind in kinds)
    body += b"\x0b" + packed(bytes([45] * both_labelled))
    if key:
        body += b"\x08" + packed(bytes(key))
    stream = []
    full = (1 << len(kinds)) - 1
    for number in range(1, draw(st.integers(1, 2)) + 1):
        stream += [gtid(number), query("BEGIN")]
        stream.append(event(E.TABLE_MAP, (7).to_bytes(6, "little") + b"\1\0" + body))
        for _ in range(draw(st.integers(1, 2))):
            operation = draw(st.sampled_from([E.WRITE_ROWS, E.UPDATE_ROWS, E.DELETE_ROWS]))
            images = 1 + (operation == E.UPDATE_ROWS)
            bitmaps = [
                draw(st.sampled_from([full] * 5 + [draw(st.integers(0, full))]))
                for _ in range(images)
            ]
            rows = b""
            for _ in range(draw(st.integers(1, 2))):
                for bitmap in bitmaps:
                    present = [k for i, k in enumerate(kinds) if bitmap >> i & 1]
                    nulls = draw(st.sampled_from([0] * 5 + [255]) | st.integers(0, 255))
                    rows += bytes((nulls,)) if present else b""
                    for i, k in enumerate(present):
                        rows += b"" if nulls >> i & 1 else draw(value(k))
            rows = rows[: len(rows) - draw(st.sampled_from([0] * 20 + [1]))]
            head = (7).to_bytes(6, "little") + b"\0\0" + b"\2\0" + bytes((len(kinds),))
            stream.append(event(operation, head + bytes(bitmaps) + rows))
        stream.append(event(E.XID, bytes(8)))
    return stream


@given(stream=made_up(), max_bytes=st.sampled_from([ALWAYS, NEVER]))
def test_rows_that_are_made_up(stream: list[bytes], max_bytes: int) -> None:
    feeds = chunks(stream, 1)
    both("mysql", feeds, max_bytes=max_bytes)
    both("mysql", feeds, max_bytes=max_bytes, projection_of=masked)


def row_of(kind: str, raw: bytes) -> list[bytes]:
    """A transaction of two rows of one column, the first of which is news."""
    code, details = KINDS[kind]
    body = b"\1d\0\1t\0" + packed(bytes((code,))) + packed(details) + b"\1" + b"\4" + packed(b"\1c")
    head = (7).to_bytes(6, "little")
    return [
        gtid(1),
        query("BEGIN"),
        event(E.TABLE_MAP, head + b"\1\0" + body),
        event(E.WRITE_ROWS, head + b"\0\0" + b"\2\0" + b"\1\1" + b"\0" + raw),
        event(E.WRITE_ROWS, head + b"\1\0" + b"\2\0" + b"\1\1" + b"\0" + raw),
        event(E.XID, bytes(8)),
    ]


@given(FLOATS | st.integers(0, 1 << 20).map(lambda n: n / (1 << 17)))
@example(131071 / 131072)
@example(1125899906842624.25)
@example(5e-324)
@example(1.7976931348623157e308)
@example(-0.0)
@example(1e15)
@example(123456789012345.6)
@example(1e-15)
def test_every_double_has_its_text(number: float) -> None:
    both("mysql", [row_of("double", struct.pack("<d", number))])


@given(st.binary(min_size=4, max_size=4))
@example(struct.pack("<f", 16777216.0))
@example(struct.pack("<f", 0.1))
@example(struct.pack("<I", 1))
def test_every_float_has_its_text(raw: bytes) -> None:
    both("mysql", [row_of("float", raw)])


# -- damage


def resealed(data: bytes) -> bytes:
    """An event whose length and checksum are right again."""
    body = bytearray(data[:-4])
    body[9:13] = (len(body) + 4).to_bytes(4, "little")
    return bytes(body) + zlib.crc32(body).to_bytes(4, "little")


@st.composite
def damaged(draw: st.DrawFn, flavor: Flavor) -> list[bytes]:
    """A piece of a log with one event that no server wrote."""
    stream = STREAMS[flavor]
    i = draw(st.integers(0, len(stream) - 1))
    wrong = bytearray(stream[i])
    for _ in range(draw(st.integers(0, 3))):
        wrong[draw(st.integers(4, len(wrong) - 5))] = draw(st.integers(0, 255))
    wrong = wrong[: max(len(wrong) - draw(st.integers(0, 8)), 23)]
    sealed = resealed(bytes(wrong)) if draw(st.booleans()) else bytes(wrong)
    return [*stream[max(0, i - 12) : i], sealed, *stream[i + 1 : i + 4]]


@pytest.mark.parametrize("flavor", FLAVORS)
@given(data=st.data())
def test_damage(flavor: Flavor, data: st.DataObject) -> None:
    stream = data.draw(damaged(flavor))
    size = data.draw(st.sampled_from([1, len(stream)]))
    max_bytes = data.draw(st.sampled_from([ALWAYS, NEVER]))
    both(flavor, chunks(stream, size), checksums=True, max_bytes=max_bytes)
