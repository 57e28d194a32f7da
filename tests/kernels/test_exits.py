"""What leaves a batch without objects is the same, byte for byte, as what is made of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.errors import DecodeError, PenstockError
from penstock.formats.change import ChangeFormat
from penstock.formats.row import RowFormat
from penstock.model import UNCHANGED, Batch, EventBatch, PackedBatch, Raw, Record, Type
from penstock.model.loads import Load
from penstock.ports import Format
from penstock.sources.postgres.wire import RelationFacts
from penstock.sources.postgres.wire.decoder import Decoder
from penstock.sources.postgres.wire.native import NativeDecoder
from tests.kernels.comparing import error_data, event_data
from tests.kernels.test_arrow import SENT, decode, sent_values
from tests.wire.payloads import (
    begin,
    commit,
    delete,
    insert,
    message,
    relation,
    truncate,
    update,
)

FORMATS: tuple[Format, ...] = (ChangeFormat(), RowFormat())
BOTH, KEYLESS = 16401, 16402
LSN = 0x1_0000_0010

_texts = st.text() | st.sampled_from(['"', "\\", "\x7f", "\x00\x1f\b\t\n\f\r", "ünï\u2028", "🦭"])
_raw = _texts.map(str.encode)
_copied = st.sampled_from([b"\\N", b"a\tb", b"\n", b"\r\\", b"0123456\t", b"01234567\n"])
_VALUES: dict[str, tuple[int, st.SearchStrategy[bytes]]] = {
    "id": (20, st.integers(-3, 3).map(lambda n: b"%d" % n)),
    'na"me\n': (25, _raw | _copied),
    "flag": (16, st.sampled_from([b"t", b"f"])),
    "float": (701, st.sampled_from([b"1.5e-300", b"-0", b"NaN", b"Infinity", b"-Infinity"])),
    "number": (1700, st.sampled_from([b"1.50", b"NaN", b"9" * 200])),
    "doc": (114, st.sampled_from([b'{"a":\r\n[1,\n2]}\n', b"1e400", b' "\\ud800" '])),
    "docb": (3802, st.sampled_from([b"{}", b'{"k": "\\\\"}'])),
    "bytes": (17, st.binary(max_size=9).map(lambda b: b"\\x" + b.hex().encode())),
    "at": (1184, st.sampled_from([b"2026-01-01 00:00:00+00", b"infinity"])),
    "ünïque": (2950, st.just(b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    "many": (1009, _raw),
}
_NAMES = tuple(_VALUES)
_COLUMNS = [(name, oid) for name, (oid, _) in _VALUES.items()]


@st.composite
def rows(draw: st.DrawFn, *, sound: bool) -> list[Raw]:
    """A row's values; not ``sound``, some are none of their types, or UNCHANGED."""
    values: list[Raw] = [draw(st.none() | strategy) for _, strategy in _VALUES.values()]
    if draw(st.booleans()):
        values[0] = draw(_VALUES["id"][1])
    if not sound:
        at = draw(st.integers(0, len(values) - 1))
        values[at] = draw(st.just(UNCHANGED) | st.binary(max_size=90))
    return values


@st.composite
def changes(draw: st.DrawFn, inserts: int) -> bytes:
    """A change's message, of a table with a key of two columns or of one without; ``inserts`` to
    five others are inserts."""
    oid = draw(st.sampled_from((BOTH, KEYLESS)))
    row = rows(sound=draw(st.integers(0, 9)) > 0)
    others = ["update", "old", "key", "delete", "truncate"]
    kind = draw(st.sampled_from(["insert"] * inserts + others))
    if kind == "insert":
        return insert(oid, *draw(row))
    if kind == "update":
        return update(oid, *draw(row))
    if kind == "old":
        return update(oid, *draw(row), old=draw(row))
    if kind == "delete":
        old = {"old": draw(row)} if draw(st.booleans()) else {"key": draw(row)}
        return delete(oid, **old)
    if kind == "key":
        return update(BOTH, *draw(row), key=draw(row))
    return truncate(BOTH, KEYLESS, flags=draw(st.integers(0, 3)))


@st.composite
def transactions(draw: st.DrawFn, inserts: int = 5) -> list[bytes]:
    """Some transactions in a row."""
    payloads: list[bytes] = []
    for n in range(draw(st.integers(1, 3))):
        payloads.append(begin(LSN + 0x100 * n, xid=n))
        payloads += draw(st.lists(changes(inserts) | st.just(message("p", b"m")), max_size=6))
        payloads.append(commit(LSN + 0x100 * n))
    return payloads


def decoded(kind: type[Decoder | NativeDecoder], payloads: Sequence[bytes]) -> list[Batch]:
    """The batches of a session that begins with the two tables."""
    decoder = kind(database='sh"op', system="7", timeline=1, messages=None)
    key = ("bytes", "id")
    tables = [
        relation(BOTH, 'bo"th', _COLUMNS, key=key, schema="s.1"),
        relation(KEYLESS, "keyless", _COLUMNS, key=(), identity="f"),
    ]
    batches = list(decoder.feed([begin(1), *tables, truncate(BOTH, KEYLESS)]))
    for primary_key in (key, ()):
        decoder.describe(RelationFacts("0/99", primary_key=primary_key))
        batches += decoder.feed([])
    return [*batches, *decoder.feed([commit(1), *payloads])]


def pairs(payloads: Sequence[bytes]) -> list[tuple[EventBatch, PackedBatch]]:
    """The same batches of both kernels."""
    found = list(zip(decoded(Decoder, payloads), decoded(NativeDecoder, payloads), strict=True))
    for python, native in found:
        assert isinstance(python, EventBatch)
        assert isinstance(native, PackedBatch)
    return found  # type: ignore[return-value]


def outcome(make: Any) -> Any:
    """What it gives, or what its error says."""
    try:
        return make()
    except PenstockError as error:
        return error_data(error)


def load_data(batch: Batch, least: int) -> list[Any]:
    return [
        (
            item.definition,
            item.read,
            item.rows,
            item.text,
            [event_data(change) for change in item.changes()],
        )
        if isinstance(item, Load)
        else event_data(item)
        for item in batch.loads(least)
    ]


@given(transactions())
@example([begin(LSN), update(BOTH, *([UNCHANGED] * len(_NAMES))), commit(LSN)])
def test_lines_and_records_are_the_same(payloads: list[bytes]) -> None:
    for python, native in pairs(payloads):
        for format in FORMATS:
            lines = outcome(lambda p=python, f=format: p.lines(f))
            assert outcome(lambda n=native, f=format: n.lines(f)) == lines
            records = outcome(lambda p=python, f=format: list(p.records(f)))
            found = outcome(lambda n=native, f=format: list(n.records(f)))
            assert found == records
            if isinstance(found, list):
                assert all(type(record) is Record for record in found)


@given(transactions(inserts=40), st.integers(1, 3))
@example([begin(LSN), insert(KEYLESS, b"\xfd", *([None] * (len(_NAMES) - 1))), commit(LSN)], 1)
def test_loads_are_the_same(payloads: list[bytes], least: int) -> None:
    for python, native in pairs(payloads):
        assert load_data(native, least) == load_data(python, least)


@pytest.mark.parametrize("type", SENT, ids=[type.sql for type in SENT])
def test_values_that_came_in_binary(type: Type) -> None:
    stream = sent_values(type)
    python, native = (decode(stream, kind, binary=180_000) for kind in (Decoder, NativeDecoder))
    for format in FORMATS:
        assert native.lines(format) == python.lines(format)
    assert load_data(native, 1) == load_data(python, 1)


@pytest.mark.parametrize(
    "name", [name for name, (oid, _) in _VALUES.items() if oid in (16, 17, 25)]
)
@given(st.binary(max_size=100))
def test_unfit_values_are_told_in_the_same_words(name: str, raw: bytes) -> None:
    row: list[Raw] = [None] * len(_NAMES)
    row[_NAMES.index(name)] = raw
    for python, native in pairs([begin(LSN), insert(KEYLESS, *row), commit(LSN)]):
        expected = outcome(lambda p=python: p.lines(FORMATS[0]))
        assert outcome(lambda n=native: n.lines(FORMATS[0])) == expected


def test_a_format_that_refines_a_known_one_is_asked_itself() -> None:
    class Shouting(ChangeFormat):
        def records(self, batch: Batch) -> Any:
            return [Record("TOPIC", b"1", b"2", {"h": "v"})]

    (_, native), *_ = pairs([begin(LSN), insert(KEYLESS, *[None] * len(_NAMES)), commit(LSN)])
    assert native.lines(Shouting()) == b'{"topic":"TOPIC","key":1,"value":2,"headers":{"h":"v"}}\n'


def test_the_first_bad_value_stops_all_of_a_batch() -> None:
    row: list[Raw] = [None] * len(_NAMES)
    row[_NAMES.index("flag")] = b"perhaps"
    payloads = [begin(LSN), insert(KEYLESS, *row), commit(LSN)]
    *_, (_, native) = pairs(payloads)
    with pytest.raises(DecodeError, match="neither t nor f"):
        native.lines(FORMATS[0])
