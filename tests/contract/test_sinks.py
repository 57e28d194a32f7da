"""The sink contract over the sinks that need no server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from penstock.formats.change import ChangeFormat
from penstock.model import Change, SnapshotBegin
from penstock.ports import Sink
from penstock.sinks.jsonl import JsonlSink
from penstock.sinks.memory import MemorySink, Target
from penstock.testing.contracts import SinkContract


def come_to(changes: Iterable[Mapping[str, Any]]) -> dict[int, str | None]:
    """What changes in the ``change`` format come to."""
    rows: dict[int, str | None] = {}
    for change in changes:
        match change["op"]:
            case "truncate":
                rows.clear()
            case "delete":
                rows.pop(change["key"]["id"], None)
            case _:
                if change["old_key"]:
                    rows.pop(change["old_key"]["id"], None)
                rows[change["after"]["id"]] = change["after"]["note"]
    return rows


def in_memory(target: Target) -> dict[int, str | None]:
    changes: list[dict[str, Any]] = []
    for event in target.events:
        if isinstance(event, SnapshotBegin):
            changes.clear()
        elif isinstance(event, Change):
            parts = {"key": event.key, "old_key": event.old_key, "after": event.after}
            changes.append({"op": event.operation, **parts})
    return come_to(changes)


class TestMemorySink(SinkContract):
    stores_checkpoints = False

    @pytest.fixture
    def target(self) -> Target:
        return Target()

    @pytest.fixture
    def connect(self, target: Target) -> Callable[[], Sink]:
        return lambda: MemorySink(target, stores_checkpoints=self.stores_checkpoints)

    @pytest.fixture
    def rows(self, target: Target) -> Callable[[], dict[int, str | None]]:
        return lambda: in_memory(target)


class TestMemorySinkThatStoresCheckpoints(TestMemorySink):
    stores_checkpoints = True


class TestJsonlSink(SinkContract):
    format = ChangeFormat()
    discards_attempts = False

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "out.jsonl"

    @pytest.fixture
    def connect(self, path: Path) -> Callable[[], Sink]:
        return lambda: JsonlSink(path)

    @pytest.fixture
    def rows(self, path: Path) -> Callable[[], dict[int, str | None]]:
        def read() -> dict[int, str | None]:
            return come_to(json.loads(line)["value"] for line in path.read_bytes().splitlines())

        return read
