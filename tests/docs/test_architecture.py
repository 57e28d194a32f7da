"""ARCHITECTURE.md names real files and real names."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
QUOTED = set(re.findall(r"`([A-Za-z_][\w./]*)`", TEXT)) | set(
    re.findall(r"^(penstock\.[\w.]+)", TEXT, re.MULTILINE)
)
NAMES = sorted(name for name in QUOTED if name.startswith("penstock."))
FILES = sorted(name for name in QUOTED if "/" in name)
METHODS = sorted(
    name for name in QUOTED if re.fullmatch(r"[A-Z]\w+\.\w+", name) and name != "ARCHITECTURE.md"
)


def _resolve(name: str) -> Any:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            if attribute in getattr(found, "__annotations__", {}):
                return found
            found = getattr(found, attribute)
        return found
    raise AssertionError(f"{name}: no such module")


def test_the_page_names_something() -> None:
    assert len(NAMES) > 25
    assert len(METHODS) >= 5
    assert FILES


@pytest.mark.parametrize("name", NAMES)
def test_names_exist(name: str) -> None:
    _resolve(name)


@pytest.mark.parametrize("path", FILES)
def test_files_exist(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", METHODS)
def test_methods_exist_on_a_class_of_this_page(name: str) -> None:
    owner, method = name.split(".")
    owners = [full for full in NAMES if owner in full.split(".")]
    assert owners, f"{owner} is not introduced by its full name"
    base = owners[0].split(".")
    cls = _resolve(".".join(base[: base.index(owner) + 1]))
    source = Path(import_module(cls.__module__).__file__ or "").read_text()
    assert hasattr(cls, method) or f"self.{method}" in source
