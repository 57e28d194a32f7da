"""Global options, usage, and what leaves at the last door."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NoReturn

import pytest

from penstock import __version__
from penstock.cli import check, console, main
from penstock.errors import DivergedError, PenstockError
from penstock.kernel import kernel


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command line."""
    monkeypatch.setattr(sys, "argv", ["penstock", *arguments])
    with pytest.raises(SystemExit) as caught:
        main.main()
    code = caught.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        (["run", "x", "--json"], ["--json", "run", "x"]),
        (["run", "--log-level", "debug", "x"], ["--log-level", "debug", "run", "x"]),
        (["run", "x", "--log-format=json"], ["--log-format=json", "run", "x"]),
        (["tail", "--format", "row"], ["tail", "--format", "row"]),
        (["run", "--", "--json"], ["run", "--", "--json"]),
        (["run", "--log-level"], ["--log-level", "run"]),
    ],
)
def test_global_options_may_follow_the_verb(given: list[str], moved: list[str]) -> None:
    assert main.globals_first(given) == moved


@pytest.mark.kernel
def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"penstock {__version__}, {kernel()} kernel, Python 3.")
    assert run(monkeypatch, "--version", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["penstock"], shown["kernel"]) == (__version__, kernel())


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu", "x.toml"],
        ["run"],
        ["run", "x.toml", "--no-such"],
        ["status", "--log-level", "loud", "x.toml"],
        ["--log-format", "xml", "schema"],
        ["run", "neither"],
        ["run", "none.toml"],
        ["tail", "oracle://h/d"],
        ["tail", "postgresql://h/d", "--operations", "insrt"],
        ["tail", "postgresql://h/d", "--format", "xml"],
        ["run", "x.toml", "--http", "0.0.0.0:80"],
    ],
)
def test_usage_and_configuration_end_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert err
    assert "Traceback" not in out + err


def test_a_database_must_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert run(monkeypatch, "tail") == 2
    assert "DATABASE_URL" in capsys.readouterr().err


def test_a_password_in_an_argument_warns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "tail", "oracle://u:hunter2@h/d") == 2
    err = capsys.readouterr().err
    assert "warning  a password in an argument" in err
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("error", "code"), [(DivergedError("other history"), 4), (ValueError("odd"), 1)]
)
@pytest.mark.parametrize("level", ["", "debug"])
def test_an_error_ends_in_a_short_block(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    level: str,
) -> None:
    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr("penstock.config.json_schema", fail)
    arguments = ["schema", *(["--log-level", level] if level else [])]
    assert run(monkeypatch, *arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert ("Traceback" in err) == (level == "debug")
    assert str(error) in err
    assert f" code  {error.code if isinstance(error, PenstockError) else 'error'}\n" in err


def test_help_loads_no_driver_and_no_model() -> None:
    """What makes a command slow to start is loaded when it is needed."""
    code = (
        "import sys, penstock.cli.main; heavy = {'pydantic', 'rich', 'orjson', 'psycopg',"
        " 'sqlalchemy', 'penstock.pipeline', 'penstock.embedded'}; print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_settings_are_those_of_the_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "schema", "--json", "--log-format", "json")
    assert console.settings.json
    run(monkeypatch, "schema")
    assert not console.settings.json


def test_tables_of_check_may_have_commas_between() -> None:
    assert check.selected(["public.a, b.*", "c.*"]) == {"tables": ["public.a", "b.*", "c.*"]}
    assert check.selected(None) == {}


def test_an_unknown_format_names_all_that_tail_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "tail", "postgresql://h/d", "--format", "xml") == 2
    assert (
        "'xml' is not one of pretty, change, cloudevents, debezium, row" in capsys.readouterr().err
    )
