"""Parked changes are listed, shown, replayed in order and discarded."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.cli import main
from penstock.model.archive import dump_change
from penstock.parking import keys
from penstock.ports import Context, Parked
from penstock.stores.sqlite import SqliteStore
from penstock.testing import insert, update

MODULE = """\
from penstock.app import App

app = App("mail", source="postgresql://h/d", store="state.db")
seen = []

@app.on("public.orders")
def announce(change):
    if change.row["status"] == "bad":
        raise ValueError("no")
    print("seen", change.row["id"], change.row["status"])
"""
CHANGES = [
    insert("public.orders", {"id": 1, "status": "new"}),
    insert("public.orders", {"id": 2, "status": "bad"}),
    update("public.orders", {"id": 2, "status": "paid"}),
]
IDS = [change.id for change in CHANGES]


async def hold(act: Callable[[], int]) -> int:
    """Do something while the store is open, as in a running pipeline."""
    store = SqliteStore("state.db")
    await store.open(Context("mail"))
    try:
        return await asyncio.to_thread(act)
    finally:
        await store.close()


async def park() -> None:
    store = SqliteStore("state.db")
    await store.open(Context("mail"))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    await store.park(
        [Parked("handlers", c.id, c.table, keys(c), "failed", at, dump_change(c)) for c in CHANGES]
    )
    await store.close()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with an App whose store holds three parked changes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "parking_mail", raising=False)
    Path("parking_mail.py").write_text(MODULE)
    asyncio.run(park())


def parked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["penstock", "parked", "parking_mail:app", *arguments])
    with pytest.raises(SystemExit) as caught:
        main.main()
    return int(caught.value.code or 0)


def left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert parked(monkeypatch, "--json") == 0
    return [one["id"] for one in json.loads(capsys.readouterr().out)]


def test_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert left(monkeypatch, capsys) == IDS
    assert parked(monkeypatch) == 0
    assert all(id in capsys.readouterr().out for id in IDS[:1])


def test_show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert parked(monkeypatch, "show", IDS[1]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["change"]["after"] == {"id": 2, "status": "bad"}
    assert shown["reason"] == "failed"


def test_replay_keeps_what_fails_and_what_waits_behind_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parked(monkeypatch, "replay") == 1
    out = capsys.readouterr().out
    assert "seen 1 new" in out
    assert "seen 2" not in out
    assert "replayed 1, still parked 2" in out
    assert left(monkeypatch, capsys) == IDS[1:]


def test_replay_counts_all_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parked(monkeypatch, "replay", IDS[0]) == 0
    assert "replayed 1, still parked 2" in capsys.readouterr().out


def test_replay_of_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("parking_mail.py").write_text(MODULE.replace('"bad"', '"other"'))
    assert parked(monkeypatch, "replay") == 0
    assert capsys.readouterr().out.startswith("seen 1 new\nseen 2 bad\nseen 2 paid\n")
    assert left(monkeypatch, capsys) == []


def test_discard_asks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdin, "readline", lambda: "\n")
    assert parked(monkeypatch, "discard", IDS[0]) == 1
    assert left(monkeypatch, capsys) == IDS
    assert parked(monkeypatch, "discard", IDS[0], "--yes") == 0
    assert left(monkeypatch, capsys) == IDS[1:]


def test_an_unknown_id(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert parked(monkeypatch, "discard", "0/0:0", "--yes") == 2
    assert "nothing parked has the id 0/0:0" in capsys.readouterr().err
    assert left(monkeypatch, capsys) == IDS


@pytest.mark.parametrize("action", ["list", "show"])
def test_looking_works_while_the_pipeline_runs(
    action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asyncio.run(hold(lambda: parked(monkeypatch, action))) == 0
    assert IDS[1] in capsys.readouterr().out


@pytest.mark.parametrize("action", [["replay"], ["discard", "--yes"]])
def test_acting_needs_the_pipeline_stopped(
    action: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asyncio.run(hold(lambda: parked(monkeypatch, *action))) == 1
    assert f"{action[0]} needs the pipeline stopped" in capsys.readouterr().err
    assert left(monkeypatch, capsys) == IDS
