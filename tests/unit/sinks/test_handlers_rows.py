"""Columns as the fields of users' types."""

from __future__ import annotations

import dataclasses
import sys
import types
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, BeforeValidator, Field

from penstock import UNCHANGED, Change, ConfigError, DecodeError, SchemaError, Unchanged
from penstock.model import Column, Kind, Table, Type
from penstock.sinks.handlers.fitting import Annotation
from penstock.sinks.handlers.rows import RowType, row_type
from penstock.testing import delete, insert, truncate, update

Sku = NewType("Sku", str)


class Status(Enum):
    NEW = "new"
    PAID = "paid"


def column(kind: Kind, *, element: Type | None = None) -> Type:
    parse = {Kind.INTEGER: int}.get(kind, bytes.decode)
    return Type(kind.value, kind, kind.value, parse, element=element)


INTEGERS = column(Kind.ARRAY, element=column(Kind.INTEGER))
TEXTS = column(Kind.ARRAY, element=column(Kind.TEXT))


@dataclass
class Order:
    id: int
    status: str
    note: str | None = None


class Model(BaseModel):
    id: int
    state: str = Field(alias="status")


class Dict(TypedDict):
    id: int
    status: str
    note: NotRequired[str]


ROW = {"id": 7, "status": "new", "total": Decimal("1.5")}


@pytest.mark.parametrize(
    ("type", "expected"),
    [
        (Order, Order(7, "new")),
        (Model, Model(id=7, status="new")),
        (Dict, {"id": 7, "status": "new"}),
    ],
)
def test_each_sort_of_type_is_filled_by_name(type: Any, expected: Any) -> None:
    typed = RowType(type).typed(insert("public.orders", ROW))
    assert typed.row == expected
    assert typed.after == ROW


def test_a_struct_is_filled_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """msgspec describes a Struct's fields so (msgspec.structs.fields)."""

    class Struct:
        __struct_fields__ = ("id", "note")
        id: int
        note: str

        def __init__(self, id: int, note: str = "-") -> None:
            self.id, self.note = id, note

    fields = [
        types.SimpleNamespace(name="id", required=True),
        types.SimpleNamespace(name="note", required=False),
    ]
    msgspec = types.SimpleNamespace(structs=types.SimpleNamespace(fields=lambda type: fields))
    monkeypatch.setitem(sys.modules, "msgspec", msgspec)
    made = RowType(Struct).typed(insert("public.orders", ROW)).row
    assert (made.id, made.note) == (7, "-")


def test_plain_rows_need_no_type() -> None:
    assert row_type(Any) is None
    with pytest.raises(ConfigError, match="no type of rows"):
        row_type(int)


def test_the_change_itself_stays_as_it_is() -> None:
    change = insert("public.orders", ROW)
    change.headers = {"a": "b"}
    change.route = "elsewhere"
    typed = RowType(Order).typed(change)
    assert change.typed_row is None
    assert (typed.id, typed.headers, typed.route) == (change.id, {"a": "b"}, "elsewhere")


def test_a_delete_gives_its_old_row_and_a_truncate_none() -> None:
    rows = RowType(Order)
    assert rows.typed(delete("public.orders", ROW)).row == Order(7, "new")
    table = insert("public.orders", ROW).definition
    with pytest.raises(DecodeError, match="carries no row"):
        rows.typed(truncate(table)).row  # noqa: B018


def test_a_missing_column_is_a_schema_error_once_per_version() -> None:
    rows = RowType(Order)
    with pytest.raises(SchemaError, match=r"no column for the field Order\.status"):
        rows.maker(insert("public.orders", {"id": 1}).definition)
    table = insert("public.orders", ROW).definition
    assert rows.maker(table) is rows.maker(table)
    narrower = dataclasses.replace(table, columns=table.columns[:1])
    with pytest.raises(SchemaError):
        rows.maker(narrower)


def test_a_field_that_is_not_an_argument_is_left_alone() -> None:
    @dataclass
    class Computed:
        id: int
        label: str = field(init=False)

        def __post_init__(self) -> None:
            self.label = f"#{self.id}"

    assert RowType(Computed).typed(insert("t", {"id": 3})).row.label == "#3"


@pytest.mark.parametrize(
    ("hint", "type", "fits"),
    [
        (int, column(Kind.INTEGER), True),
        (int, column(Kind.TEXT), False),
        (int, column(Kind.NUMERIC), False),
        (float, column(Kind.FLOAT), True),
        (float, column(Kind.NUMERIC), False),
        (Decimal, column(Kind.NUMERIC), True),
        (str, column(Kind.TEXT), True),
        (str, column(Kind.ENUM), True),
        (str, column(Kind.INTEGER), False),
        (bool, column(Kind.BOOLEAN), True),
        (bool, column(Kind.INTEGER), False),
        (bytes, column(Kind.BYTES), True),
        (UUID, column(Kind.UUID), True),
        (UUID, column(Kind.TEXT), False),
        (datetime, column(Kind.TIMESTAMPTZ), True),
        (datetime, column(Kind.DATE), False),
        (date, column(Kind.TIMESTAMP), False),
        (Any, column(Kind.BYTES), True),
        (object, column(Kind.BYTES), True),
        (int | None, column(Kind.INTEGER), True),
        (int | str, column(Kind.TEXT), True),
        (int | Unchanged, column(Kind.TEXT), False),
        (Annotated[int, "positive"], column(Kind.INTEGER), True),
        (Sku, column(Kind.TEXT), True),
        (Sku, column(Kind.INTEGER), False),
        (Status, column(Kind.ENUM), True),
        (Status, column(Kind.INTEGER), False),
        (Literal["new", "paid"], column(Kind.TEXT), True),
        (Literal["new", "paid"], column(Kind.INTEGER), False),
        (dict[str, Any], column(Kind.JSON), True),
        (dict[str, Any], column(Kind.TEXT), False),
        (Dict, column(Kind.JSON), True),
        (list[int], INTEGERS, True),
        (list[list[int]], INTEGERS, True),
        (list[str], INTEGERS, False),
        (list[str], TEXTS, True),
        (list[str | None], TEXTS, True),
        (list, TEXTS, True),
        (tuple[str, ...], TEXTS, False),
        (IPv4Address, column(Kind.OTHER), True),
        (IPv4Address, column(Kind.TEXT), False),
    ],
)
def test_which_kind_fits_which_annotation(hint: Any, type: Type, fits: bool) -> None:
    assert Annotation.of(hint).fits(type) is fits


@pytest.mark.parametrize(
    ("hint", "type"),
    [
        (float, column(Kind.NUMERIC)),
        (tuple[str, ...], TEXTS),
        (IPv4Address, column(Kind.TEXT)),
    ],
)
def test_pydantic_converts_more(hint: Any, type: Type) -> None:
    assert not Annotation.of(hint).fits(type)
    assert Annotation.of(hint).fits(type, converts=True)


def test_a_field_that_cannot_hold_its_column_is_a_schema_error() -> None:
    @dataclass
    class Wrong:
        id: str
        total: float

    problems = RowType(Wrong).problems(insert("public.orders", ROW).definition)
    assert [str(problem).splitlines()[0] for problem in problems] == [
        f"public.orders.id is bigint: it does not fit the field {Wrong.__qualname__}.id",
        f"public.orders.total is numeric: it does not fit the field {Wrong.__qualname__}.total",
    ]
    assert "Decimal" in problems[1].hint

    class WrongModel(BaseModel):
        id: UUID

    with pytest.raises(SchemaError):
        RowType(WrongModel).maker(insert("public.orders", ROW).definition)


def test_a_field_with_a_validator_of_its_own_is_left_to_it() -> None:
    class Own(BaseModel):
        status: Annotated[int, BeforeValidator(len)]

    assert RowType(Own).typed(insert("public.orders", ROW)).row.status == 3


def test_enums_are_made() -> None:
    @dataclass
    class Typed:
        status: Status

    rows = RowType(Typed)
    assert rows.typed(insert("t", {"status": "paid"})).row == Typed(Status.PAID)
    with pytest.raises(DecodeError, match="'lost' is not a valid Status"):
        rows.typed(insert("t", {"status": "lost"}))


def test_null_needs_an_optional_field() -> None:
    rows = RowType(Order)
    table = insert("public.orders", {"id": 1, "status": "x", "note": "y"}).definition
    assert rows.typed(insert(table, {"id": 1, "status": "x", "note": None})).row.note is None
    with pytest.raises(DecodeError, match=r"public.orders.status is null.*\n.*| None"):
        rows.typed(insert(table, {"id": 1, "status": None, "note": None}))


def test_unchanged_needs_a_field_that_can_hold_it() -> None:
    @dataclass
    class Holding:
        id: int
        status: str | Unchanged

    change = update("public.orders", {"id": 1, "status": UNCHANGED})
    assert RowType(Holding).typed(change).row == Holding(1, UNCHANGED)
    with pytest.raises(DecodeError, match="UNCHANGED") as caught:
        RowType(Order).typed(change)
    assert caught.value.mark == change.mark
    assert "REPLICA IDENTITY FULL" in caught.value.hint


def test_a_value_that_only_text_can_hold_needs_a_field_for_text() -> None:
    @dataclass
    class Exact:
        day: date

    @dataclass
    class Lenient:
        day: date | str

    type = Type("date", Kind.DATE, "date", bytes.decode)
    table = Table("public", "days", (Column("day", type),))
    change: Change = Change(
        "insert", table, insert("t", {}, key=()).origin, 0, None, (b"infinity",)
    )
    assert RowType(Lenient).typed(change).row.day == "infinity"
    with pytest.raises(DecodeError, match="'infinity'"):
        RowType(Exact).typed(change)


def test_what_a_type_itself_refuses_is_a_decode_error() -> None:
    class Strict(BaseModel):
        id: int = Field(gt=10)

    with pytest.raises(DecodeError, match="greater than 10"):
        RowType(Strict).typed(insert("public.orders", ROW))


def test_a_check_tells_what_may_fail() -> None:
    table = Table(
        "public",
        "orders",
        (
            Column("id", column(Kind.INTEGER), nullable=False),
            Column("status", column(Kind.TEXT), nullable=True),
        ),
        ("id",),
    )
    found = RowType(Order).findings(table)
    assert [(f.severity, f.code) for f in found] == [("warning", "decode"), ("info", "decode")]
    assert "may be null" in found[0].message
    assert "UNCHANGED" in found[1].message
    assert found[1].fix == "ALTER TABLE public.orders REPLICA IDENTITY FULL"
    full = dataclasses.replace(table, identity="full")
    assert [f.severity for f in RowType(Order).findings(full)] == ["warning"]
    keyless = dataclasses.replace(table, columns=table.columns[1:], key_columns=())
    assert RowType(Order).findings(keyless)[0].severity == "error"


def test_annotations_that_cannot_be_found_are_told() -> None:
    @dataclass
    class Broken:
        id: Missing  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigError, match="'Missing', which cannot be found"):
        RowType(Broken)
