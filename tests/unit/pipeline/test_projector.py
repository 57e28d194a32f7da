"""Rules held against tables as they change: what is known, what is new, what never was there."""

from __future__ import annotations

import logging

import pytest

from penstock.errors import PenstockError, SchemaError
from penstock.model import Column, Table
from penstock.pipeline.projector import Projector
from penstock.ports import Rule
from penstock.transforms.mask import Mask
from penstock.transforms.rename import Rename
from penstock.transforms.select import Select
from tests.support.feed import column, table


def users(*names: str) -> Table:
    return table("users", *map(column, ("id", *names)))


def drop(*columns: str) -> Mask:
    return Mask(columns=columns, method="drop")


def fixed(*columns: str) -> Mask:
    return Mask(columns=columns, method="fixed")


def shown(projector: Projector, table: Table) -> tuple[str, ...]:
    projection = projector.of(table)
    return (table if projection is None else projection.table).names


def misfits(projector: Projector, *tables: Table) -> list[str]:
    return [str(error) for error in projector.check(tables)]


def test_rules_apply_one_after_the_other() -> None:
    projector = Projector(
        [
            fixed("public.users.email"),
            Rename(columns={"public.users.email": "mail"}),
            Select(columns=("public.users.mail", "public.users.id")),
        ]
    )
    projection = projector.of(users("email", "note"))
    assert projection is not None
    assert projection.table.names == ("mail", "id")
    assert projection.values([b"1", b"a@b", b"n"]) == [b"***", b"1"]


def test_a_table_that_no_rule_concerns_goes_on_as_it_is() -> None:
    assert Projector([fixed("public.users.email")]).of(table("orders", column("id"))) is None


def test_one_version_is_compiled_once() -> None:
    projector = Projector([fixed("public.users.email")])
    first = projector.of(users("email"))
    assert projector.of(users("email")) is first
    assert projector.of(users("email", "note")) is not first


# -- columns that come later


def test_a_new_column_of_a_masked_table_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    projector = Projector([fixed("public.users.email")])
    assert shown(projector, users("email", "note")) == ("id", "email", "note")
    with caplog.at_level(logging.WARNING, "penstock"):
        assert shown(projector, users("email", "note", "ssn")) == ("id", "email", "note")
        assert shown(projector, users("email", "ssn")) == ("id", "email")
    assert [record.getMessage() for record in caplog.records] == [
        "public.users: the new column 'ssn' is left out, since columns of this table are masked; "
        "name it in a mask, a rename or a select (public.users.* for all that come)"
    ]


def test_also_where_the_mask_drops_and_where_its_column_went() -> None:
    for rule in (drop("public.users.email"), fixed("public.users.email")):
        projector = Projector([rule])
        shown(projector, users("email"))
        assert shown(projector, users("mail")) == ("id",), "email under a new name"


def test_also_after_a_restart() -> None:
    before = Projector([fixed("*.email")])
    shown(before, users("email"))
    after = Projector([fixed("*.email")])
    after.remember(before.known)
    assert shown(after, users("email", "ssn")) == ("id", "email")


def test_a_rule_that_names_the_new_column_lets_it_on() -> None:
    for rule in (
        Select(columns=("public.users.*",)),
        Mask(columns=("public.users.ssn",), method="fixed"),
        Rename(columns={"public.users.ssn": "number"}),
    ):
        projector = Projector([fixed("public.users.email"), rule])
        projector.remember({"public.users": ("id", "email")})
        projection = projector.of(users("email", "ssn"))
        assert projection is not None
        assert len(projection.outputs) == 3


def test_a_select_without_it_leaves_it_out() -> None:
    projector = Projector([Select(columns=("public.users.id", "public.users.note"))])
    shown(projector, users("note"))
    assert shown(projector, users("note", "ssn")) == ("id", "note")


def test_a_table_without_a_mask_is_open_until_it_has_one() -> None:
    projector = Projector([fixed("*.email")])
    assert shown(projector, users("note")) == ("id", "note")
    assert shown(projector, users("note", "phone")) == ("id", "note", "phone")
    assert shown(projector, users("note", "phone", "email")) == ("id", "note", "phone", "email")
    assert shown(projector, users("note", "phone", "email", "ssn")) == (
        "id",
        "note",
        "phone",
        "email",
    )


def test_renaming_alone_closes_no_table() -> None:
    projector = Projector([Rename(columns={"public.users.email": "mail"})])
    shown(projector, users("email"))
    assert shown(projector, users("email", "note")) == ("id", "mail", "note")


def test_a_new_key_column_cannot_be_left_out() -> None:
    projector = Projector([fixed("public.users.email")])
    shown(projector, users("email"))
    altered = table("users", column("id"), column("email"), column("region"), key=("id", "region"))
    with pytest.raises(SchemaError, match=r"public\.users\.region is of the key"):
        projector.of(altered)


def test_what_is_known_is_news_once() -> None:
    projector = Projector([fixed("*.email")])
    projector.of(users("email"))
    assert projector.news
    projector.news = False
    projector.of(users("email"))
    projector.of(users("email", "ssn"))
    assert not projector.news, "what is left out is not known"
    assert projector.known == {"public.users": ("id", "email")}


# -- rules that do not fit


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [fixed("public.users.emial")],
            "public.users.emial, but the table has no such column\n  → did you mean 'email'?",
        ),
        (
            [drop("public.users.email"), fixed("public.users.email")],
            "public.users.email, but an earlier transform leaves it out",
        ),
        (
            [Select(columns=("public.users.id",)), fixed("public.users.email")],
            "public.users.email, but an earlier transform leaves it out",
        ),
        (
            [Rename(columns={"public.users.email": "mail"}), fixed("public.users.email")],
            "but an earlier transform renames it\n  → it is 'mail' from there on",
        ),
        ([drop("public.users.id")], "public.users.id is of the key, so it cannot be left out"),
        ([fixed("*.id")], "public.users.id is of the key: masked by fixed"),
        ([Rename(columns={"public.users.email": "id"})], "two columns of public.users"),
        ([Select(columns=("public.users.x*",))], "no column of public.users is left"),
    ],
)
def test_rules_that_do_not_fit_a_table(rules: list[Rule], message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Projector(rules).of(users("email"))
    assert message in str(caught.value)
    assert message in misfits(Projector(rules), users("email"))[0]


def test_a_column_that_was_there_once_may_be_named() -> None:
    projector = Projector(
        [
            fixed("public.users.email"),
            Rename(columns={"public.users.email": "mail"}),
            Select(columns=("public.users.id", "public.users.mail")),
        ]
    )
    assert shown(projector, users("email")) == ("id", "mail")
    assert shown(projector, users()) == ("id",)
    assert misfits(projector, users()) == []


def test_rules_that_concern_nothing() -> None:
    projector = Projector([fixed("public.user.email", "*.phone", "public.users.*")])
    assert misfits(projector, table("users", column("email"), key=())) == [
        "a transform names public.user.email, but no captured table is public.user\n"
        "  → did you mean public.users?",
        "a transform names *.phone, but no captured table has it",
    ]


@pytest.mark.parametrize("name", ["public.users.email", "*.email"])
def test_a_table_that_was_there_once_may_be_named(name: str) -> None:
    projector = Projector([fixed(name)])
    shown(projector, users("email"))
    assert misfits(projector, table("orders", column("id"))) == []


def test_a_pattern_behind_a_rename_knows_the_new_name_only() -> None:
    rules: list[Rule] = [Rename(columns={"public.users.email": "mail"}), fixed("*.email")]
    assert misfits(Projector(rules), users("email")) == [
        "a transform names *.email, but no captured table has it"
    ]


def test_a_check_looks_at_every_table() -> None:
    found = list(Projector([drop("*.id")]).check([users(), table("orders", column("id"))]))
    assert [type(error) for error in found] == [SchemaError, SchemaError]
    assert {error.table for error in found} == {"public.users", "public.orders"}


def test_a_key_that_is_not_captured_stays_an_error_of_its_own() -> None:
    broken = Table("public", "t", (Column("v", column("v").type),), ("id",))
    with pytest.raises(PenstockError, match="key column 'id'"):
        Projector([fixed("public.t.v")]).of(broken)
