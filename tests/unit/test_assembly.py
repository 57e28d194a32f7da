"""From a TARGET to a pipeline."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.assembly import from_file, from_target
from penstock.errors import ConfigError

FILE = """\
name = "orders"
store = "{store}"
[source]
type = "postgres"
dsn = "postgresql://localhost/shop"
snapshot = "never"
[[sinks]]
type = "memory"
"""
MODULE = """\
from penstock.pipeline import Pipeline
from penstock.sinks.memory import Memory
from penstock.sources.postgres.config import Postgres
from penstock.stores.memory import MemoryStore

line = Pipeline("line", Postgres(dsn="postgresql://x/y"), [Memory()], store=MemoryStore())

class Face:
    pipeline = line

app = Face()
number = 5
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of its own, with nothing of it left in sys.modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if not name.startswith("penstock"):
            del sys.modules[name]


def test_a_file(here: Path) -> None:
    path = here / "orders.toml"
    path.write_text(FILE.format(store=here / "state.db"))
    for pipeline in (from_file(path), from_target("orders.toml")):
        assert pipeline.name == "orders"
        assert list(pipeline.sinks) == ["memory"]


def test_an_app_in_the_working_directory(here: Path) -> None:
    (here / "faces.py").write_text(MODULE)
    assert from_target("faces:line").name == "line"
    assert from_target("faces:app").name == "line"
    assert from_target("faces:Face.pipeline").name == "line"


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("orders", "'orders' is neither a file nor module:app", "orders.toml"),
        ("faces:", "'faces:' is neither a file nor module:app", "orders.toml"),
        ("none.toml", "there is no such file", "penstock init"),
        ("postgresql://u:pw@h/d", "a database URL is not a pipeline", "penstock tail"),
        ("nofaces:app", "there is no module 'nofaces'", "run from the directory"),
        ("faces:ap", "faces has no 'ap'", "did you mean faces:app?"),
        ("faces:number", "faces:number is a int, not an App or a Pipeline", "penstock.App"),
        ("wants:app", "No module named 'not_there'", "install it"),
        ("raises:app", "raises.py:2: ZeroDivisionError", ""),
    ],
)
def test_a_target_that_is_none(here: Path, target: str, message: str, hint: str) -> None:
    (here / "faces.py").write_text(MODULE)
    (here / "wants.py").write_text("import not_there")
    (here / "raises.py").write_text("\n1 / 0")
    with pytest.raises(ConfigError) as caught:
        from_target(target)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "pw" not in str(caught.value)


def test_django_is_set_up_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "django.py").write_text("ready = False\ndef setup():\n    global ready; ready = True\n")
    (here / "faces.py").write_text("import django\nassert django.ready\n" + MODULE)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop.settings")
    assert from_target("faces:app").name == "line"
