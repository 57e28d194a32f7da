"""The page of the format tells what the comparison with Debezium finds."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from penstock.connect.registry import SchemaRegistry
from penstock.formats.debezium import Debezium
from penstock.formats.debezium.outbox import Outbox
from penstock.formats.debezium.route import Route
from penstock.formats.debezium.unwrap import Unwrap
from tests.docs.tables import tables
from tests.interop.remaining import BINLOG, OF_MARIADB, REMAINING

PAGE = Path(__file__).parents[2] / "docs" / "formats" / "debezium.md"


def test_the_page_lists_what_differs() -> None:
    _, *parts = PAGE.read_text().split("| where | Debezium | penstock |\n|---|---|---|\n")
    listed = [part.partition("\n\n")[0].splitlines() for part in parts]
    assert listed == [
        [f"| {entry.what} | {entry.theirs} | {entry.ours} |" for entry in entries]
        for entries in (REMAINING, (*BINLOG, *OF_MARIADB))
    ]


def test_the_page_lists_the_options() -> None:
    (rows,) = [rows for header, rows in tables(PAGE.read_text()) if header[0] == "option"]
    assert [name for name, *_ in rows] == [name for name in Debezium.model_fields if name != "type"]


def test_the_pages_of_its_parts_list_their_options() -> None:
    pages = "".join(
        (PAGE.parent / name).read_text() for name in ("avro.md", "debezium-transforms.md")
    )
    listed = [
        name.strip(" `")
        for header, rows in tables(pages)
        if header[0] == "option"
        for cell, *_ in rows
        for name in cell.split(",")
    ]
    models: list[type[BaseModel]] = [SchemaRegistry, Outbox, Route, Unwrap]
    assert listed == [name for model in models for name in model.model_fields]
