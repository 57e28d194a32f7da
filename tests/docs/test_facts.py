"""What the pages list is what there is: options, errors, types, names."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import psycopg
import pytest

import penstock
from penstock import errors
from penstock.app import App
from penstock.cli.http import metrics
from penstock.component import Component
from penstock.formats import json as formats
from penstock.model import Column, Row, Table
from penstock.pipeline.observe import SinkStatus, Status
from penstock.sources.postgres.catalog import types
from penstock.sources.postgres.wire.types import builtin
from tests.docs.tables import table

DOCS = Path(__file__).parents[2] / "docs"

OPTIONS: dict[str, type[Component]] = {
    "sources/mysql.md": penstock.MySQL,
    "sources/postgres.md": penstock.Postgres,
    "sinks/jsonl.md": penstock.Jsonl,
    "sinks/sql.md": penstock.Sql,
    "sinks/memory.md": penstock.Memory,
}
NONE = {"none", "the type", "penstock_<name>", "a SQLite file", "those of the handlers", "park"}
ERRORS: list[type[errors.PenstockError]] = sorted(
    (
        error
        for error in vars(errors).values()
        if inspect.isclass(error) and issubclass(error, errors.PenstockError)
    ),
    key=lambda error: error.code,
)


@pytest.mark.parametrize("page", OPTIONS)
def test_options(page: str) -> None:
    fields = OPTIONS[page].model_fields
    rows = table((DOCS / page).read_text(), "option")
    assert {row[0] for row in rows} == fields.keys() - {"type"}
    for name, shown, *_ in rows:
        field = fields[name]
        assert shown == "required" if field.is_required() else _is(shown, field.default), name


def test_extras() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    rows = table((DOCS / "install.md").read_text(), "extra")
    assert {row[0] for row in rows} == project["optional-dependencies"].keys()


@pytest.mark.parametrize("page", ["docs/install.md", "CONTRIBUTING.md"])
def test_the_rust_that_the_native_kernel_needs(page: str) -> None:
    workspace = tomllib.loads((DOCS.parent / "native" / "Cargo.toml").read_text())["workspace"]
    (named,) = re.findall(r"Rust (\d\S*)", (DOCS.parent / page).read_text())
    assert named == workspace["package"]["rust-version"]


@pytest.mark.parametrize("transform", [penstock.Mask, penstock.Rename, penstock.Select])
def test_options_of_the_transforms(transform: type[Component]) -> None:
    name = transform.model_fields["type"].default
    rows = table((DOCS / "how-to/transforms.md").read_text(), f"option of `{name}`")
    assert {row[0] for row in rows} == transform.model_fields.keys() - {"type"}
    for option, shown, *_ in rows:
        field = transform.model_fields[option]
        assert shown == "required" if field.is_required() else _is(shown, field.default), option


def _is(shown: str, default: Any) -> bool:
    """Whether a default is shown as a pipeline file would write it, or None in words."""
    return shown in NONE if default is None else shown == json.dumps(default)


def test_options_of_the_app() -> None:
    parameters = inspect.signature(App).parameters
    rows = table((DOCS / "sinks/handlers.md").read_text(), "option of `App`")
    assert {row[0] for row in rows} == parameters.keys() - {"name", "source"}
    for name, shown, *_ in rows:
        assert _is(shown, parameters[name].default), name


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_errors(error: type[errors.PenstockError]) -> None:
    page = (DOCS / "errors.md").read_text()
    _, heading, section = page.partition(f"### `{error.code}`\n\n")
    assert heading
    assert section.startswith(f"`{error.__name__}`, exit code {error.exit_code}.")


def test_no_error_is_invented() -> None:
    page = (DOCS / "errors.md").read_text()
    assert page.count("### `") == len(ERRORS)


def test_types(database: str) -> None:
    rows = table((DOCS / "sources/postgres.md").read_text(), "SQL type")
    assert len(rows) > 20
    options = "-c timezone=UTC -c lc_monetary=C"
    with psycopg.connect(database, autocommit=True, options=options) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
        connection.execute("CREATE TYPE point3 AS (x int, y int, z int)")
        connection.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
        assert [_shown(connection, sql, example) for sql, example, _, _ in rows] == rows


def _shown(connection: psycopg.Connection[Any], sql: str, example: str) -> list[str]:
    """The row that the page ought to have."""
    statement = f"SELECT v::{sql}, '{sql}'::regtype::oid::int8 FROM (SELECT '{example}' v) e"
    result = connection.execute(statement.encode()).pgresult
    assert result is not None
    text, number = result.get_value(0, 0), result.get_value(0, 1)
    assert text is not None
    assert number is not None
    oid = int(number)
    made = Table("public", "t", (Column("v", builtin(oid) or types(connection, [oid])[oid]),))
    shown, _ = formats.row(made, (text,))
    return [sql, example, repr(Row(made, (text,))["v"]), shown.decode()[5:-1]]


def test_metrics() -> None:
    sink = SinkStatus("running", None, None)
    figures = {"retained_bytes": 0, "lag_bytes": 0}  # names of the source's own status
    made = metrics(Status("p", "running", {"s": sink}, figures))
    for name, *_ in table((DOCS / "how-to/production.md").read_text(), "metric"):
        assert f"# TYPE {name} " in made
