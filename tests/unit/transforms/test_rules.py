"""Select, mask and rename: what their configuration allows, and what they compile to."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from penstock.config import json_schema, parse
from penstock.errors import ConfigError, SchemaError
from penstock.model.projection import Masking, Projection
from penstock.transforms.mask import Mask
from penstock.transforms.rename import Rename
from penstock.transforms.select import Select
from tests.support.feed import column, table

KEY = "0123456789abcdef"
USERS = table("users", column("id"), column("email"), column("note"))
FILE = """\
name = "orders"
[source]
type = "postgres"
dsn = "postgresql://localhost/shop"
snapshot = "never"
[[sinks]]
type = "memory"
[[transforms]]
"""


def names(rule: Any) -> tuple[str, ...]:
    return tuple(output.name for output in rule.project(Projection.whole(USERS)).outputs)


def masking(rule: Mask) -> Masking | None:
    outputs = rule.project(Projection.whole(USERS)).outputs
    return next((output.masking for output in outputs if output.name == "email"), None)


def test_select_keeps_what_it_names_in_its_order() -> None:
    columns = ("public.users.note", "public.users.*d", "public.users.note", "public.other.x")
    assert names(Select(columns=columns)) == ("note", "id")


def test_select_leaves_other_tables_whole() -> None:
    assert names(Select(columns=("public.orders.id",))) == ("id", "email", "note")


def test_rename() -> None:
    rename = Rename(columns={"public.users.email": "mail", "public.orders.id": "number"})
    assert names(rename) == ("id", "mail", "note")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": "fixed"}, Masking("fixed", text=b"***")),
        ({"method": "fixed", "text": ""}, Masking("fixed", text=b"")),
        ({"method": "truncate", "length": 3}, Masking("truncate", length=3)),
        ({"method": "hmac", "key": KEY}, Masking("hmac", key=KEY.encode())),
    ],
)
def test_mask(options: dict[str, Any], expected: Masking) -> None:
    rule = Mask(columns=("*.email",), **options)
    assert masking(rule) == expected
    assert names(rule) == ("id", "email", "note")


def test_mask_by_dropping() -> None:
    assert names(Mask(columns=("*.e*", "public.users.note"), method="drop")) == ("id",)


def test_one_column_has_one_mask() -> None:
    projection = Mask(columns=("*.email",), method="fixed").project(Projection.whole(USERS))
    with pytest.raises(SchemaError, match=r"public\.users\.email is masked twice: by fixed"):
        Mask(columns=("public.users.*",), method="hmac", key=KEY).project(projection)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "hmac"}, "needs a key of at least 16 bytes"),
        ({"method": "hmac", "key": KEY[:-1]}, "needs a key of at least 16 bytes"),
        ({"method": "truncate"}, "needs a length"),
        ({"method": "truncate", "length": 0}, "needs a length"),
        ({"method": "fixed", "key": KEY}, "key belongs to the method hmac, not fixed"),
        ({"method": "drop", "text": "x"}, "text belongs to the method fixed, not drop"),
        ({"method": "hmac", "key": KEY, "length": 1}, "length belongs to the method truncate"),
    ],
)
def test_options_that_do_not_fit_the_method(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Mask(columns=("a.b",), **options)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("method", ["encrypt", "hash"])
def test_a_method_that_there_is_not(method: Any) -> None:
    with pytest.raises(ValidationError, match="method"):
        Mask(columns=("a.b",), method=method, key=KEY)


def test_a_mask_shows_no_key() -> None:
    mask = Mask(columns=("a.b",), method="hmac", key=KEY)
    for shown in (repr(mask), mask.model_dump_json(), repr(mask.masking)):
        assert KEY not in shown


@pytest.mark.parametrize("rule", [Select, Rename, Mask])
def test_columns_are_required(rule: Any) -> None:
    empty: Any = {} if rule is Rename else ()
    with pytest.raises(ValidationError):
        rule(columns=empty, **({"method": "drop"} if rule is Mask else {}))


def test_the_pipeline_file() -> None:
    text = f"""\
type = "mask"
columns = ["public.users.email"]
method = "hmac"
key = "{KEY}"
[[transforms]]
type = "rename"
columns = {{ "public.users.email" = "mail" }}
[[transforms]]
type = "select"
columns = ["public.users.id", "public.users.mail"]
"""
    mask, rename, select = parse(FILE + text).transforms
    assert mask == Mask(columns=("public.users.email",), method="hmac", key=KEY)
    assert rename == Rename(columns={"public.users.email": "mail"})
    assert select == Select(columns=("public.users.id", "public.users.mail"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'type = "mask"\ncolumns = ["email"]\nmethod = "drop"',
            ":10: transforms[0].columns: 'email' is no column: write it as schema.table.column",
        ),
        (
            'type = "mask"\ncolumns = ["a.b"]\nmethod = "encrypt"',
            ":11: transforms[0].method: 'encrypt' is not one of drop, fixed, truncate, hmac",
        ),
        (
            'type = "mask"\ncolumns = ["a.b"]\nmethod = "hmac"\nkey = "short"',
            ":8: transforms[0]: hmac needs a key of at least 16 bytes",
        ),
        ('type = "maks"', "there is no transform 'maks'; did you mean 'mask'?"),
        ('type = "select"', "transforms[0].columns: is required"),
    ],
)
def test_mistakes_in_the_pipeline_file(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(FILE + text)
    assert message in str(caught.value)
    assert "short" not in str(caught.value)


def test_the_json_schema_knows_them() -> None:
    choices = json_schema()["properties"]["transforms"]["items"]["oneOf"]
    assert {"$ref": "#/$defs/transform.mask"} in choices
