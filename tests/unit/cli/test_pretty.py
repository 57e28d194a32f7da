"""Lines for people: what they show, and that data cannot drive the terminal."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from penstock.cli.pretty import line
from penstock.model import UNCHANGED, Origin, SchemaChange, SnapshotEnd, Transaction
from penstock.testing import delete, insert, message, read, table_of, truncate, update

NOON = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1_000_000)
ORIGIN = Origin("0/1", Transaction("7", NOON))


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal's clock shows UTC."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_an_insert_shows_key_and_columns() -> None:
    change = insert("public.orders", {"id": 1, "status": "new", "note": None}, origin=ORIGIN)
    assert line(change) == "12:00:00  + insert  orders       id=1  status=new note=null"


def test_another_schema_keeps_its_name() -> None:
    assert "+ insert  sales.orders  id=1" in (line(insert("sales.orders", {"id": 1})) or "")


def test_an_update_shows_what_changed_where_the_log_tells() -> None:
    old, new = {"id": 1, "status": "new", "n": 5}, {"id": 1, "status": "paid", "n": 5}
    told = line(update("public.orders", new, old, origin=ORIGIN))
    assert told == "12:00:00  ~ update  orders       id=1  status=new→paid"


def test_an_update_shows_all_columns_where_the_log_does_not_tell() -> None:
    change = update("public.orders", {"id": 1, "status": "paid", "big": UNCHANGED}, origin=ORIGIN)
    assert line(change) == "12:00:00  ~ update  orders       id=1  status=paid"


def test_a_changed_key_shows_both() -> None:
    change = update("public.orders", {"id": 2}, old_key={"id": 1}, origin=ORIGIN)
    assert line(change) == "12:00:00  ~ update  orders       id=2 (was 1)"


def test_a_delete_shows_its_key() -> None:
    change = delete("public.orders", {"id": 1, "status": "new"}, origin=ORIGIN)
    assert line(change) == "12:00:00  - delete  orders       id=1"


def test_others() -> None:
    before = table_of("public.orders", {"id": 1, "old": ""})
    after = table_of("public.orders", {"id": 1, "new": ""})
    assert line(truncate("public.orders", origin=ORIGIN)) == (
        "12:00:00  x trunc.  orders       all rows are gone"
    )
    assert line(read("public.orders", {"id": 1})) == "          . read    orders       id=1"
    assert line(message("audit", "hello", origin=ORIGIN)) == "12:00:00  » message audit  hello"
    assert line(SnapshotEnd(after, 1, 1234)) == "          . copied  orders       1,234 rows"
    assert line(SchemaChange(before, after)) == "          ! columns orders  +new -old"
    assert line(SchemaChange(None, after)) is None


def test_control_characters_are_shown_not_obeyed() -> None:
    told = line(insert("public.t", {"id": 1, "name": "a\x1b[2Jb\r\nc\u202e"}))
    assert told is not None
    assert r"name=a\x1b[2Jb\r\nc\u202e" in told
    assert told.isprintable()


@pytest.mark.parametrize("text", ["x" * 500, "日本語" * 100, "é" * 300])
@pytest.mark.parametrize("width", [20, 40, 79, 80])
def test_a_line_is_never_wider_than_the_terminal(text: str, width: int) -> None:
    change = insert("public.t", {"id": 1, "a": text, "b": text, "c": text}, origin=ORIGIN)
    told = line(change, width=width)
    assert told is not None
    assert told.endswith("…")
    assert sum(2 if c in "日本語" else 1 for c in told) <= width


def test_colours_change_nothing_else() -> None:
    change = insert("public.t", {"id": 1, "a": "x y"}, origin=ORIGIN)
    coloured = line(change, coloured=True)
    assert coloured is not None
    assert "\x1b[32m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == line(change)
