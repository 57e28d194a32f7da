"""What the documentation shows works: every page's code blocks run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import blocks, pages
from tests.docs.running import Story

ROOT: Final = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", pages(ROOT), ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    imported = set(sys.modules)
    story = Story(page, tmp_path, database)
    try:
        for block in blocks(page.read_text("utf-8")):
            story.run(block)
    finally:
        for name in set(sys.modules) - imported:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
