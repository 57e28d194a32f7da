"""Which columns a pattern names."""

from __future__ import annotations

import pytest

from penstock.model.pattern import ColumnPattern, matches


@pytest.mark.parametrize(
    ("text", "table", "column"),
    [
        ("public.orders.email", "public.orders", "email"),
        ("*.email", "*", "email"),
        ("public.orders.*", "public.orders", "*"),
        ('public.orders."e.mail"', "public.orders", "e.mail"),
        ('"my.shop".orders.email', '"my.shop".orders', "email"),
        ('a."b.c".d."x""y"', 'a."b.c".d', 'x"y'),
        ("orders.email", "orders", "email"),
    ],
)
def test_a_column(text: str, table: str, column: str) -> None:
    pattern = ColumnPattern.parse(text)
    assert (pattern.table, pattern.column, str(pattern)) == (table, column, text)


@pytest.mark.parametrize("text", ["", "email", ".", "a.", ".b", 'public."orders.email', 'a.b"c'])
def test_no_column(text: str) -> None:
    with pytest.raises(ValueError, match=r"schema\.table\.column"):
        ColumnPattern.parse(text)


@pytest.mark.parametrize(
    ("text", "table", "column", "fits"),
    [
        ("public.orders.email", "public.orders", "email", True),
        ("public.orders.email", "public.orders", "Email", False),
        ("public.orders.email", "public.orders_old", "email", False),
        ("public.*.email", "public.orders", "email", True),
        ("*.e*l", "public.orders", "email", True),
        ("*.e*l", "public.orders", "mail", False),
        ("public.orders.a?", "public.orders", "ab", False),
    ],
)
def test_names(text: str, table: str, column: str, fits: bool) -> None:
    assert ColumnPattern.parse(text).names(table, column) is fits


def test_only_without_a_star_it_is_exact() -> None:
    assert ColumnPattern.parse("public.orders.email").exact
    assert not ColumnPattern.parse("public.*.email").exact
    assert not ColumnPattern.parse("public.orders.e*").exact


def test_any_characters_are_any() -> None:
    assert matches("public.*", "public.x\ny")
    assert not matches("public.a[b]", "public.ab")
