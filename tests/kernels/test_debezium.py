"""Records of the format ``debezium`` are the same by both kernels, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.formats.debezium import Debezium
from penstock.formats.debezium.format import DebeziumFormat
from penstock.model import UNCHANGED, Record, Type
from penstock.sources.postgres.wire.decoder import Decoder
from penstock.sources.postgres.wire.native import NativeDecoder
from tests.kernels import test_exits
from tests.kernels.test_arrow import OID, SENT, TYPES, Stream, decode, sent_values, texts
from tests.kernels.test_exits import _NAMES, BOTH, LSN, pairs, transactions
from tests.wire.payloads import begin, commit, delete, insert, update

OPTIONS: tuple[dict[str, Any], ...] = (
    {"schemas": False, "skipped_operations": ["t", "c"]},
    {"schemas": False},
    {"skipped_operations": [], "tombstones_on_delete": False, "context_headers": False},
    {
        "schemas": False,
        "decimal_handling_mode": "string",
        "binary_handling_mode": "hex",
        "time_precision_mode": "connect",
        "skipped_operations": ["d"],
        "message_key_columns": {"*": ["flag", "id"]},
        "unavailable_value_placeholder": "gone",
    },
    {
        "schemas": False,
        "binary_handling_mode": "base64-url-safe",
        "decimal_handling_mode": "double",
    },
)


def both(options: dict[str, Any]) -> tuple[DebeziumFormat, DebeziumFormat]:
    """The same format twice, since each remembers the tables that it saw."""
    made = [
        DebeziumFormat(
            Debezium(topic_prefix="sh", **options), lambda: 1_700_000_000_123_456_789, "run"
        )
        for _ in range(2)
    ]
    return made[0], made[1]


def outcome(make: Any) -> Any:
    """What it gives, or what its error says."""
    try:
        return test_exits.outcome(make)
    except UnicodeDecodeError:  # of a key that no server sends
        return "undecodable"


@given(transactions(), st.sampled_from(OPTIONS))
@example([begin(LSN), update(BOTH, *([UNCHANGED] * len(_NAMES))), commit(LSN)], OPTIONS[0])
def test_lines_and_records_are_the_same(payloads: list[bytes], options: dict[str, Any]) -> None:
    ours, theirs = both(options)
    for python, native in pairs(payloads):
        records = outcome(lambda p=python: list(p.records(ours)))
        found = outcome(lambda n=native: list(n.records(theirs)))
        assert found == records
        if isinstance(found, list):
            assert all(type(record) is Record for record in found)
            assert [list(one.headers) for one in found] == [list(one.headers) for one in records]
        assert outcome(lambda n=native: n.lines(theirs)) == outcome(lambda p=python: p.lines(ours))


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("type", SENT, ids=[type.sql for type in SENT])
def test_values_that_came_in_binary(type: Type, options: dict[str, Any]) -> None:
    stream = sent_values(type)
    ours, theirs = both(options)
    python, native = (decode(stream, kind, binary=180_000) for kind in (Decoder, NativeDecoder))
    assert outcome(lambda: native.lines(theirs)) == outcome(lambda: python.lines(ours))


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@settings(max_examples=50)
@given(st.data())
def test_values_of_any_type(options: dict[str, Any], data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
    wild = data.draw(st.integers(0, 3)) == 0
    row = st.tuples(*(st.none() | texts(type, wild) for type in types))
    rows = data.draw(st.lists(row, min_size=1, max_size=3))
    stream = Stream(types, ("c0",), "f", [insert(OID, *values) for values in rows])
    stream.rows.append(update(OID, *rows[0], old=rows[-1]))
    stream.rows.append(delete(OID, old=rows[0]))
    ours, theirs = both(options)
    python, native = (decode(stream, kind) for kind in (Decoder, NativeDecoder))
    assert outcome(lambda: native.lines(theirs)) == outcome(lambda: python.lines(ours))


def test_regular_values_are_encoded_by_the_kernel() -> None:
    values = {
        16: b"t", 17: rb"\x00ff", 20: b"1", 21: b"1", 23: b"1", 25: b"a", 114: b"{}", 700: b"1.5",
        701: b"NaN", 790: b"$1.50", 1007: b"{1,NULL}", 1009: b'{"a b"}', 1043: b"a",
        1082: b"2026-01-01", 1083: b"10:00:00.5", 1114: b"2026-01-01 10:00:00",
        1184: b"2026-01-01 10:00:00.5+00", 1186: b"1 mon -00:00:01.5", 1266: b"10:00:00+02",
        1560: b"1", 1562: b"101",
        1700: b"12.50", 2950: b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", 3802: b"{}",
    }  # fmt: skip
    types = [type for type in TYPES if type.oid in values and type.modifier == -1]
    row = [values[type.oid] for type in types]
    rows = [insert(OID, *row), update(OID, *row, old=row), delete(OID, old=row)]
    ours, theirs = both({})
    assert len(types) == len(values)
    theirs._one = None  # type: ignore[assignment,method-assign] # what would be asked otherwise
    python, native = (
        decode(Stream(types, ("c2",), "f", rows), kind) for kind in (Decoder, NativeDecoder)
    )
    assert list(native.records(theirs)) == list(python.records(ours))
