"""Reads the tables of a Markdown page."""

from __future__ import annotations

import re
from collections.abc import Iterator


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Each table's header cells and rows, without backticks around whole cells."""
    for match in re.finditer(r"(?m)^(\|.*\|\n)\|[-| :]+\|\n((?:\|.*\|\n?)+)", text):
        yield _cells(match[1]), [_cells(line) for line in match[2].splitlines()]


def table(text: str, first: str) -> list[list[str]]:
    """The rows of the one table whose first header cell is ``first``."""
    (rows,) = [rows for header, rows in tables(text) if header[0] == first]
    return rows


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip()[1:-1])
    return [re.sub(r"^`(.*)`$", r"\1", cell.strip()).replace("\\|", "|") for cell in cells]
