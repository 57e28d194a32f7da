"""What ``penstock init`` writes can be read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penstock.cli import main
from penstock.config import load

ENVIRON = {"DATABASE_URL": "postgresql://h/d"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and nobody at the terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    return tmp_path


def init(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["penstock", "init", *options])
    with pytest.raises(SystemExit) as caught:
        main.main()
    return int(caught.value.code or 0)


def test_defaults(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert init(monkeypatch) == 0
    config = load(here / "orders.toml", ENVIRON)
    assert config.name == "orders"
    assert [sink.type for sink in config.sinks] == ["jsonl"]


def test_a_variable_may_be_empty_until_it_is_needed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    test_defaults(here, monkeypatch)


def test_options(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--name=stock", "--snapshot=never", "-t", "public.a", "-t", "public.b", "--sink=sql"]
    assert init(monkeypatch, "s.toml", *options) == 0
    config = load(here / "s.toml", ENVIRON)
    source = config.source.model_dump()
    assert (config.name, source["tables"]) == ("stock", ("public.a", "public.b"))
    assert source["snapshot"] == "never"
    assert config.sinks[0].name == "replica"


def test_a_password_is_not_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = "--target=postgresql://u:hunter2@h/e"
    assert init(monkeypatch, "--dsn=postgresql://u:hunter2@h/d", "--sink=sql", target) == 0
    text = (here / "orders.toml").read_text()
    assert "hunter2" not in text
    assert 'dsn = "${DATABASE_URL}"' in text
    assert 'url = "${TARGET_URL}"' in text


def test_an_existing_file_stays(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "orders.toml").write_text("mine")
    assert init(monkeypatch) == 2
    assert (here / "orders.toml").read_text() == "mine"
    assert init(monkeypatch, "--force") == 0


@pytest.mark.parametrize("option", ["--name=Orders", "--snapshot=sometimes", "--sink=kafak"])
def test_what_would_not_be_valid_is_not_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    assert init(monkeypatch, "x.toml", option) == 2
    assert not (here / "x.toml").exists()


def test_tables_may_have_commas_between(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert init(monkeypatch, "--tables", "public.a, public.b", "--tables", "x.*") == 0
    assert 'tables = ["public.a", "public.b", "x.*"]' in (here / "orders.toml").read_text()


def test_a_name_that_is_none_is_the_option_s_fault(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(monkeypatch, "--name", "Bad Name") == 2
    assert capsys.readouterr().err.startswith("error  --name: 'Bad Name' is not")
