"""What every benchmark ends with: a table on the terminal, JSON, and a picture."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

RESULTS: Final = Path(__file__).parent.parent / "docs" / "explanation" / "figures"

Row = Mapping[str, Any]


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, columns as in the first row."""
    columns = list(rows[0])
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
    lines = [" | ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True))]
    lines.append(" | ".join("-" * w for w in widths))
    lines += [" | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value if value is not None else "")


def publish(name: str, title: str, rows: Sequence[Row], facts: Mapping[str, Any], bar: str) -> None:
    """Print the table and write ``name``.json, .md and .svg.

    Parameters
    ----------
    facts: what else was found; goes into the JSON and under the table.
    bar: the column that the picture shows.
    """
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = "python " + " ".join(
        [Path(sys.argv[0]).parent.name + "/" + Path(sys.argv[0]).name, *sys.argv[1:]]
    )
    meta = {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    text = table(rows)
    print(text)
    for key, value in facts.items():
        print(f"{key}: {_cell(value)}")
    data = {**meta, "rows": [dict(row) for row in rows], "facts": dict(facts)}
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=2) + "\n")
    notes = "".join(f"* {key}: {_cell(value)}\n" for key, value in facts.items())
    (RESULTS / f"{name}.md").write_text(
        f"{text}\n\n{notes}\n`{command}`, {meta['date']}, {meta['machine']}\n"
    )
    (RESULTS / f"{name}.svg").write_text(_picture(title, rows, bar))


def _picture(title: str, rows: Sequence[Row], bar: str) -> str:
    """Horizontal bars, one a row; the first column is the label."""
    label = next(iter(rows[0]))
    bars = [(str(row[label]), float(row[bar])) for row in rows if row.get(bar)]
    most = max(value for _, value in bars)
    height = 44 + 30 * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="720" height="{height}" fill="#fff"/>',
        '<text x="12" y="24" font-size="15" font-weight="bold">'
        f"{escape(title)} ({escape(bar)})</text>",
    ]
    for i, (name, value) in enumerate(bars):
        y = 40 + 30 * i
        width = 330 * value / most
        colour = "#2b6777" if "penstock" in name else "#b0bec5"
        parts.append(f'<text x="250" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="260" y="{y}" width="{width:.0f}" height="22" fill="{colour}"/>')
        parts.append(f'<text x="{268 + width:.0f}" y="{y + 16}">{_cell(value)}</text>')
    return "\n".join([*parts, "</svg>", ""])
