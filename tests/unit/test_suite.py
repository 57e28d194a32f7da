"""What ``make test`` makes of tests that failed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import suite


def play(monkeypatch: pytest.MonkeyPatch, failed: Sequence[str], *codes: int) -> list[list[str]]:
    """Have pytest fail so; gives the options of each of its runs."""
    runs: list[list[str]] = []

    def run(kernel: str, options: Sequence[str]) -> tuple[int, str]:
        runs.append(list(options))
        cache = Path(options[-1].removeprefix("cache_dir="), "v", "cache")
        if len(runs) == 1 and failed:
            cache.mkdir(parents=True)
            (cache / "lastfailed").write_text(json.dumps(dict.fromkeys(failed, True)))
        return codes[len(runs) - 1], f"run {len(runs)}"

    monkeypatch.setattr(suite, "run", run)
    return runs


def test_what_passes_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = play(monkeypatch, [], 0)
    assert suite.judge("native", []) == (0, "run 1", [])
    assert len(runs) == 1


def test_what_fails_is_run_once_more_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = play(monkeypatch, ["a", "b"], 1, 1)
    assert suite.judge("native", []) == (1, "run 1; alone: run 2", [])
    assert "--last-failed" in runs[1]
    assert "--numprocesses=3" not in runs[1]


def test_what_then_passes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, ["a", "b"], 1, 0)
    assert suite.judge("native", []) == (0, "run 1; alone: run 2", ["a", "b"])


@pytest.mark.parametrize(
    ("failed", "code"),
    [(["a", "b", "c", "d"], 1), (["a"], 2), ([], 1)],
    ids=["too many", "interrupted", "unknown"],
)
def test_all_else_is_final(
    monkeypatch: pytest.MonkeyPatch, failed: Sequence[str], code: int
) -> None:
    runs = play(monkeypatch, failed, code)
    assert suite.judge("native", []) == (code, "run 1", [])
    assert len(runs) == 1
