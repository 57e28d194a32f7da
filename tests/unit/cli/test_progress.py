"""The snapshot's bar."""

from __future__ import annotations

import pytest

from penstock.cli.progress import line


@pytest.mark.parametrize(
    ("rows", "total", "left", "text"),
    [
        (0, 100, None, "snapshot ░░░░░░░░░░░░░░░░░░░░   0%  0 rows, 50 rows/s"),
        (50, 100, 1, "snapshot ██████████░░░░░░░░░░  50%  50 rows, 50 rows/s, 0:01 left"),
        (150, 100, 0, "snapshot ████████████████████ 100%  150 rows, 50 rows/s"),
        (
            1000,
            9000,
            7999.0,
            "snapshot ██░░░░░░░░░░░░░░░░░░  11%  1,000 rows, 50 rows/s, 2:13:19 left",
        ),
        (7, None, None, "snapshot  7 rows, 50 rows/s"),
    ],
)
def test_line(rows: int, total: int | None, left: float | None, text: str) -> None:
    progress = {"rows": rows, "rows_total": total, "seconds_left": left, "rows_per_second": 50}
    assert line(progress) == text
