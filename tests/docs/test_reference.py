"""The reference holds every public name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tools.reference import PLACE, markdown_of, on_page_markdown, public

PAGES = sorted((Path(__file__).parents[2] / "docs" / "reference").glob("*.md"))


def test_every_public_module_has_a_page() -> None:
    asked = {name for page in PAGES for name in PLACE.findall(page.read_text())}
    assert asked == {"penstock", "penstock.model", "penstock.ports", "penstock.testing"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_public_name_is_there_and_explained(page: Path) -> None:
    text = page.read_text()
    (module,) = PLACE.findall(text)
    made = on_page_markdown(text)
    for name in public(import_module(module)):
        _, heading, entry = made.partition(f"\n## {name}\n")
        assert heading, name
        body = entry.partition("\n## ")[0].replace("```", "").strip()
        assert body != f"text\n{module}.{name}", f"{name} has no docstring"


def test_a_docstring_becomes_markdown() -> None:
    made = markdown_of("""Does it; see :meth:`run`.

Parameters
----------
name: the ``name``,
    in two lines.

Example
-------
::

    go()
""")
    assert "see `run`" in made
    assert "**Parameters**\n\n* `name`: the `name`,\n    in two lines." in made
    assert "```text\ngo()\n```" in made
