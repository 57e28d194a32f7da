"""Changes as Arrow record batches."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from penstock.errors import DecodeError, MissingExtraError, SchemaError
from penstock.model import (
    UNCHANGED,
    Change,
    Column,
    Event,
    EventBatch,
    Origin,
    Raw,
    Table,
    Transaction,
)
from penstock.model.archive import dump_type, load_type
from penstock.model.table import Type
from penstock.sources.postgres.wire.types import builtin, make_type, unknown
from penstock.testing import delete, insert, message, read, truncate, update

COMMITTED_US = 1_700_000_000_123_456


def numeric(precision: int, scale: int) -> int:
    """The modifier of ``numeric(precision, scale)``."""
    return (precision << 16 | scale & 0x7FF) + 4


def a(oid: int, modifier: int = -1) -> Type:
    type = builtin(oid, modifier)
    assert type is not None
    return type


def table(*types: Type, key: tuple[str, ...] = ()) -> Table:
    columns = tuple(Column(f"c{i}", type) for i, type in enumerate(types))
    return Table("public", "t", columns, key)


def arrow(*changes: Change) -> pa.RecordBatch:
    (only,) = EventBatch("main", changes).to_arrow()
    only.validate(full=True)
    return only


def cell(type: Type, raw: Raw) -> tuple[Any, Any, Any]:
    """A value's Arrow type, the value, and its text if the type cannot hold it."""
    origin = Origin("0/99", Transaction("7", COMMITTED_US), 0x99)
    batch = arrow(Change("insert", table(type), origin, 0, None, [raw]))
    (row,) = batch.to_pylist()
    return batch.schema.field("c0").type, row["c0"], dict(row["_text"] or ()).get("c0")


MOOD = make_type(90_000, "public.mood", "mood", typtype="e", labels=("sad",))
PRICE = make_type(90_001, "public.price", "price", typtype="d", base=a(1700, numeric(10, 2)))
CHEAP = make_type(90_002, "public.cheap", "cheap", typtype="d", base=PRICE)
MANY = make_type(90_003, "public.many", "many", typtype="d", base=a(1007))
MANIES = make_type(90_004, "public._many", "many[]", typtype="b", category="A", element=MANY)
PRICES = make_type(90_005, "public._price", "price[]", typtype="b", category="A", element=PRICE)
UTC_US = pa.timestamp("us", "UTC")
OWNER = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


@pytest.mark.parametrize(
    ("type", "text", "arrow_type", "value"),
    [
        (a(16), "t", pa.bool_(), True),
        (a(16), "f", pa.bool_(), False),
        (a(21), "-32768", pa.int16(), -32768),
        (a(23), "2147483647", pa.int32(), 2147483647),
        (a(20), "-9223372036854775808", pa.int64(), -(2**63)),
        (a(26), "4294967295", pa.uint32(), 4294967295),
        (a(700), "1.1", pa.float32(), 1.100000023841858),
        (a(700), "-Infinity", pa.float32(), -float("inf")),
        (a(701), "5e-324", pa.float64(), 5e-324),
        (a(1700), "1.10", pa.string(), "1.10"),
        (a(1700, numeric(12, 2)), "-1234567890.10", pa.decimal128(12, 2), Decimal("-1234567890.1")),
        (a(1700, numeric(38, 0)), "9" * 38, pa.decimal128(38, 0), Decimal("9" * 38)),
        (a(1700, numeric(3, 3)), "0.123", pa.decimal128(3, 3), Decimal("0.123")),
        (a(1700, numeric(39, 2)), "1.10", pa.string(), "1.10"),
        (a(1700, numeric(3, 5)), "0.00123", pa.string(), "0.00123"),
        (a(1700, numeric(3, -2)), "12300", pa.string(), "12300"),
        (PRICE, "1.50", pa.decimal128(10, 2), Decimal("1.50")),
        (CHEAP, "1.50", pa.decimal128(10, 2), Decimal("1.50")),
        (a(25), "ä🐘", pa.string(), "ä🐘"),
        (MOOD, "sad", pa.string(), "sad"),
        (a(3802), '{"a": 1e400}', pa.string(), '{"a": 1e400}'),
        (a(17), "\\x00ff", pa.binary(), b"\x00\xff"),
        (a(2950), OWNER, pa.uuid(), UUID(OWNER)),
        (a(1082), "0001-01-01", pa.date32(), date(1, 1, 1)),
        (a(1082), "9999-12-31", pa.date32(), date(9999, 12, 31)),
        (a(1083), "23:59:59.9", pa.time64("us"), time(23, 59, 59, 900_000)),
        (a(1266), "24:00:00+00", pa.string(), "24:00:00+00"),
        (a(1186), "1 mon", pa.string(), "1 mon"),
        (a(1114), "2024-02-29 12:30:00", pa.timestamp("us"), datetime(2024, 2, 29, 12, 30)),
        (
            a(1184),
            "1900-01-01 00:00:00.5-00:19:32",
            UTC_US,
            datetime(1900, 1, 1, 0, 19, 32, 500_000, UTC),
        ),
        (a(869), "10.0.0.1/8", pa.string(), "10.0.0.1/8"),
        (unknown(99_999), "?", pa.string(), "?"),
        (a(1007), "{1,NULL,-3}", pa.list_(pa.int32()), [1, None, -3]),
        (a(1007), "{}", pa.list_(pa.int32()), []),
        (a(1009), '{"a,b",NULL,"NULL",""}', pa.list_(pa.string()), ["a,b", None, "NULL", ""]),
        (a(1020), "{(1,1),(0,0);(2,2),(1,1)}", pa.list_(pa.string()),
         ["(1,1),(0,0)", "(2,2),(1,1)"]),
        (a(1187), '{"1 mon"}', pa.list_(pa.string()), ["1 mon"]),
        (a(2951), f"{{{OWNER}}}", pa.list_(pa.string()), [OWNER]),
        (a(1001), '{"\\\\x00"}', pa.list_(pa.binary()), [b"\0"]),
        (PRICES, "{1.50}", pa.list_(pa.decimal128(10, 2)), [Decimal("1.50")]),
        (MANY, "{1,2}", pa.list_(pa.int32()), [1, 2]),
        (MANIES, '{"{1,2}"}', pa.list_(pa.string()), ["{1,2}"]),
    ],
)  # fmt: skip
def test_values_and_their_types(type: Type, text: str, arrow_type: Any, value: Any) -> None:
    assert cell(type, text.encode()) == (arrow_type, value, None)
    assert cell(type, None) == (arrow_type, None, None)
    assert cell(load_type(dump_type(type)), text.encode()) == (arrow_type, value, None)


@pytest.mark.parametrize(
    ("type", "text"),
    [
        *((a(1700, numeric(5, 2)), text) for text in ("NaN", "Infinity", "1000.00", "1.001")),
        *((a(1082), text) for text in ("infinity", "0044-03-15 BC", "10000-01-01", "2024-02-30")),
        *((a(1083), text) for text in ("24:00:00", "23:59:60", "1:00:00")),
        *((a(1114), text) for text in ("-infinity", "10000-01-01 00:00:00")),
        *((a(1184), text) for text in ("infinity", "0001-01-01 00:00:00+01")),
        (a(1184), "9999-12-31 23:59:59-00:00:01"),
        (a(1184), "2024-01-01 00:00:00"),
        *((a(1007), text) for text in ("{{1},{2}}", "[0:1]={5,6}", "{x}", "{1", "")),
        (a(1182), "{2024-01-01,infinity}"),
    ],
)
def test_what_a_type_cannot_hold_is_text(type: Type, text: str) -> None:
    _, value, exact = cell(type, text.encode())
    assert (value, exact) == (None, text)


@pytest.mark.parametrize(
    ("oid", "raw"),
    [
        *((16, raw) for raw in (b"true", b"")),
        *((21, raw) for raw in (b"32768", b"1.0", b" 1", b"1_0", b"", b"-", b"+1")),
        *((26, raw) for raw in (b"-1", b"4294967296")),
        *((701, raw) for raw in (b"nan", b"1e400", b"0x1", b"1.", b".5", b"1e", b"")),
        (700, b"1e39"),
        *((17, raw) for raw in (b"\\000", b"\\x0", b"00")),
        *((2950, raw) for raw in (b"a0eebc99", b"{" + OWNER.encode() + b"}")),
        (25, b"\xff"),
        (1082, b"\xff"),
    ],
)
def test_what_is_no_value_of_its_type_is_an_error(oid: int, raw: bytes) -> None:
    with pytest.raises(DecodeError, match=r"public\.t\.c0: cannot read") as caught:
        cell(a(oid), raw)
    assert caught.value.table == "public.t"
    assert "client_encoding" in caught.value.hint


def test_the_error_shows_the_value() -> None:
    with pytest.raises(DecodeError, match=r"c0: cannot read '\\xffx' as text\n"):
        cell(a(25), b"\xffx")


def test_a_float_of_32_bits_is_rounded_once() -> None:
    # just above the middle of two such numbers, which is also what 64 bits make of it
    assert cell(a(700), b"1.00000005960464477539062500001")[1] == 1.0000001192092896
    assert cell(a(700), b"1.000000059604644775390625")[1] == 1.0
    assert cell(a(700), b"-0")[1].hex() == "-0x0.0p+0"


def test_the_columns_that_are_added() -> None:
    definition = Table(
        "public", "t", (Column("b", a(25)), Column("a", a(23))), ("a", "b"), "default"
    )
    origin = Origin("0/99", Transaction("7", COMMITTED_US), 0x99)
    batch = arrow(
        Change("insert", definition, origin, 0, None, [b"x", b"1"]),
        Change("update", definition, origin, 1, None, [UNCHANGED, b"2"], None, [b"1", b"x"]),
        Change("delete", definition, origin, 2, key=[b"2", b"x"]),
        Change("truncate", definition, origin, 3),
    )
    rows = batch.to_pylist()
    assert [row["_op"] for row in rows] == ["insert", "update", "delete", "truncate"]
    assert [row["_id"] for row in rows] == ["0/99:0", "0/99:1", "0/99:2", "0/99:3"]
    assert batch.column("_mark").equals(batch.column("_id"))
    assert {row["_version"] for row in rows} == {0x99}
    assert [row["_ordinal"] for row in rows] == [0, 1, 2, 3]
    assert {row["_committed_at"] for row in rows} == {origin.transaction.committed_at}  # type: ignore[union-attr]
    assert [row["_unchanged"] for row in rows] == [None, ["b"], None, None]
    assert [row["_old_key"] for row in rows] == [None, {"a": 1, "b": "x"}, None, None]
    assert [row["_text"] for row in rows] == [None] * 4
    assert [(row["b"], row["a"]) for row in rows] == [("x", 1), (None, 2), ("x", 2), (None, None)]
    assert batch.schema.metadata == {
        b"penstock.table": b"public.t",
        b"penstock.key": b'["a", "b"]',
        b"penstock.identity": b"default",
    }
    assert batch.schema.field("b").metadata == {b"penstock.type": b"text"}


def test_a_snapshot_row_has_no_commit_time() -> None:
    (row,) = arrow(read("public.t", {"id": 1})).to_pylist()
    assert (row["_op"], row["_version"], row["_committed_at"]) == ("read", None, None)
    assert row["_id"] == "snapshot:public.t@1:0"


def test_a_delete_with_the_whole_row_has_it() -> None:
    (row,) = arrow(delete("public.t", {"id": 1, "status": "new"})).to_pylist()
    assert (row["id"], row["status"]) == (1, "new")


def test_an_old_key_that_its_type_cannot_hold_is_text() -> None:
    definition = Table("public", "t", (Column("d", a(1082)),), ("d",))
    change = Change(
        "update", definition, Origin("0/99"), 0, None, [b"2024-01-01"], None, [b"infinity"]
    )
    (row,) = arrow(change).to_pylist()
    assert row["d"] == date(2024, 1, 1)
    assert row["_old_key"] == {"d": None}
    assert row["_text"] == [("_old_key.d", "infinity")]


def test_a_table_without_a_key_has_no_old_key() -> None:
    batch = arrow(insert("public.t", {"id": 1}, key=()))
    assert "_old_key" not in batch.schema.names
    assert batch.schema.metadata[b"penstock.key"] == b"[]"


def test_one_record_batch_per_table_in_order_of_appearance() -> None:
    changes: list[Event] = [
        insert("public.b", {"id": 1}),
        insert("public.a", {"id": 2}),
        message("prefix", b"content"),
        update("public.b", {"id": 3}),
        truncate("public.a"),
    ]
    batches = EventBatch("main", changes).to_arrow()
    assert [batch.schema.metadata[b"penstock.table"] for batch in batches] == [
        b"public.b",
        b"public.a",
        b"public.a",  # the truncate's table is another version: its row says nothing of columns
    ]
    assert [batch.column("id").to_pylist() for batch in batches[:2]] == [[1, 3], [2]]


def test_a_batch_without_changes_has_no_record_batch() -> None:
    assert EventBatch("main", [message("prefix", b"content")]).to_arrow() == []


def test_a_column_of_an_added_name_is_an_error_until_they_are_named_otherwise() -> None:
    for name in ("_op", "_old_key.id"):
        batch = EventBatch("main", [insert("public.t", {"id": 1, name: "mine"})])
        with pytest.raises(SchemaError, match="which is a name that to_arrow"):
            batch.to_arrow()
        (renamed,) = batch.to_arrow(prefix="cdc_")
        assert renamed.column(name).to_pylist() == ["mine"]
        assert renamed.column("cdc_op").to_pylist() == ["insert"]


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'penstock\[arrow\]'"):
        EventBatch("main", [insert("public.t", {"id": 1})]).to_arrow()
