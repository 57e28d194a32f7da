"""Errors are short and whole; no password leaves."""

from __future__ import annotations

import io
import json
import logging

import pytest

from penstock.cli import console, logs
from penstock.cli.console import redact, show_error, wrapped
from penstock.errors import GapError
from penstock.model import Mark

CANARY = "canary-S3cr3t"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://shop:{CANARY}@db/shop",
        f"cannot reach 'postgresql+psycopg://shop:{CANARY}@db:5432/shop?x=1': refused",
        f"postgresql://shop:{CANARY}@x@db/shop",
        f"postgresql://:{CANARY}@db/shop",
        f"host=db password={CANARY} user=shop",
        f"host=db password = '{CANARY} \\' {CANARY}' user=shop",
        f"postgresql://db/shop?user=shop&password={CANARY}&x=1",
        f"sslpassword={CANARY}",
    ],
)
def test_passwords_become_stars(text: str) -> None:
    assert CANARY not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    ["postgresql://db:5432/shop", "see https://example.org/a:b", "key orders:5 at 0/1:2", "a@b: c"],
)
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text


def test_the_password_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", CANARY)
    assert redact(f"it said {CANARY}!") == "it said ***!"


def test_an_error_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(GapError("rows are gone\nfor ever", hint="begin anew", mark=Mark("0/15", 2)))
    assert capsys.readouterr() == (
        "",
        "error  rows are gone\n       for ever\nwhere  0/15:2\n hint  begin anew\n code  gap\n",
    )


def test_an_error_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    console.settings.json = True
    show_error(GapError(f"lost postgresql://u:{CANARY}@h", table="public.orders"))
    assert json.loads(capsys.readouterr().err) == {
        "error": "gap",
        "message": "lost postgresql://u:***@h",
        "table": "public.orders",
    }


@pytest.mark.parametrize("form", [logs.TextFormatter(), logs.JsonFormatter()])
def test_log_lines_hold_no_password(form: logging.Formatter) -> None:
    record = logging.makeLogRecord(
        {
            "msg": "connecting to %s",
            "args": (f"postgresql://u:{CANARY}@h/d",),
            "levelname": "DEBUG",
            "dsn": f"password={CANARY}",
        }
    )
    text = form.format(record)
    assert "connecting to postgresql://u:***@h/d" in text
    assert CANARY not in text


def test_among_json_logs_every_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    console.settings.log_format = "json"
    console.note(f"at postgresql://u:{CANARY}@h 'quoted \"")
    console.warn("mind")
    show_error(GapError(f'it said password="{CANARY}"'))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == [
        "at postgresql://u:***@h 'quoted \"",
        "warning  mind",
        "it said password=***",
    ]


def test_a_json_log_line_has_the_record_s_fields() -> None:
    record = logging.makeLogRecord({"msg": "saved", "levelname": "INFO", "sink": "jsonl"})
    fields = json.loads(logs.JsonFormatter().format(record))
    assert (fields["message"], fields["level"], fields["sink"]) == ("saved", "info", "jsonl")


def test_on_a_terminal_words_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    name = "a_name_that_is_longer_than_a_line_may_be_here"
    text = f"orders has no primary key or other replica identity\nand {name}"
    stream = io.StringIO()
    assert wrapped(text, 4, stream) == text.replace("\n", "\n    ")
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    assert wrapped(text, 4, stream).splitlines() == [
        "orders has no primary key or other replica",
        "    identity",
        "    and",
        f"    {name}",
    ]
