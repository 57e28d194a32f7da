"""Reads the code blocks of a Markdown page, with what the page tells the tests about them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DIRECTIVE: Final = re.compile(r"<!-- test\n(.*?)-->", re.DOTALL)
FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
TITLE: Final = re.compile(r'title="([^"]+)"')
KEYS: Final = {"not_run", "sql", "python", "meanwhile", "lines"}


@dataclass(frozen=True)
class Block:
    """One code block.

    ``title`` is the file that it shows, if it shows one. The other fields come from a comment
    right before it, ``<!-- test`` and TOML:

    not_run: why this block cannot run.
    sql: statements that prepare the database for it.
    python: code that runs before it, unseen by the reader.
    meanwhile: a statement executed again and again while it runs.
    lines: it runs for ever, and has proved itself once it printed so many lines.
    """

    language: str
    code: str
    line: int
    title: str = ""
    not_run: str = ""
    sql: str = ""
    python: str = ""
    meanwhile: str = ""
    lines: int = 0


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page, in order. Raises ValueError for a directive without its block."""
    directives = list(DIRECTIVE.finditer(text))
    for fence in FENCE.finditer(text):
        facts: dict[str, Any] = {}
        if directives and directives[0].end() <= fence.start():
            directive = directives.pop(0)
            if text[directive.end() : fence.start()].strip():
                raise ValueError(f"a test directive without its block: {directive[0]}")
            facts = tomllib.loads(directive[1])
            if unknown := facts.keys() - KEYS:
                raise ValueError(f"unknown in a test directive: {', '.join(sorted(unknown))}")
        title = TITLE.search(fence["info"])
        indent = fence["indent"]
        yield Block(
            language=fence["language"],
            code="".join(
                line.removeprefix(indent) for line in fence["code"].splitlines(keepends=True)
            ),
            line=text.count("\n", 0, fence.start("code")) + 1,
            title=title[1] if title else "",
            **facts,
        )
    if directives:
        raise ValueError(f"a test directive without its block: {directives[0][0]}")


def pages(root: Path) -> list[Path]:
    """All pages whose code blocks are tests."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
