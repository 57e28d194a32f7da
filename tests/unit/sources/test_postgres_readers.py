"""Several readers of one snapshot, without a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.errors import ConnectionLostError, PenstockError, SourceError
from penstock.sources.postgres import readers as module
from penstock.sources.postgres.parts import Part
from penstock.sources.postgres.reader import Task
from penstock.sources.postgres.readers import Readers

WITHIN = 30.0


class Scripted:
    """A reader whose parts are blocks of lines; an exception among them is raised."""

    def __init__(self, parts: dict[str, Any]) -> None:
        self.parts = parts
        self.given_up = threading.Event()
        self.closed = False

    def lock(self, tables: Any, timeout: float | None) -> None:
        if timeout is None and tables == ["taken"]:
            raise SourceError("a statement waits for it")

    def blocks(self, task: Task) -> Iterator[list[bytes]]:
        for block in self.parts[task.part.relation]:
            if isinstance(block, BaseException):
                raise block
            yield block

    def give_up(self) -> None:
        self.given_up.set()

    def close(self) -> None:
        self.closed = True


def tasks(*parts: tuple[str, str]) -> list[Any]:
    return [(name, Task(table(name), None, False, Part(part))) for name, part in parts]  # type: ignore[arg-type]


def table(name: str) -> Any:
    return SimpleNamespace(text=name)


def readers(count: int, parts: dict[str, Any]) -> Readers:
    found = Readers(Scripted(parts))  # type: ignore[arg-type]
    for _ in range(count - 1):
        assert found.add(Scripted(parts), []) == ""  # type: ignore[arg-type]
    return found


def drain(reading: Readers, name: str) -> list[bytes]:
    lines: list[bytes] = []
    while found := reading.next(name):
        block, _ = found
        assert isinstance(block, list)
        lines += block
    return lines


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_table_gets_its_rows_whoever_read_them(count: int) -> None:
    names = [f"{name}{i}" for name in "abc" for i in range(3)]
    parts: dict[str, Any] = {name: [[name.encode()] * 3] * 4 for name in names}
    parts["d"] = []
    reading = readers(count, parts)
    reading.read(tasks(*((part[0], part) for part in parts)))
    try:
        for name in "abc":
            expected = [part.encode() for part in names if part[0] == name for _ in range(12)]
            assert sorted(drain(reading, name)) == expected
        assert drain(reading, "d") == []
    finally:
        reading.close()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_waits_is_bounded_and_the_wanted_table_goes_on(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUFFER", 100)
    hold = threading.Event()

    class Holding(list[Any]):
        """A part whose rows come only once all others were read as far as they may be."""

        def __iter__(self) -> Iterator[Any]:
            assert hold.wait(WITHIN)
            return iter([[b"x" * 10]] * 50)

    ahead = [[b"y" * 10]] * 50
    parts: dict[str, Any] = {"first": Holding(), "second": ahead, "third": ahead}
    reading = readers(count, parts)
    reading.read(tasks(("a", "first"), ("b", "second"), ("c", "third")))
    try:
        if count > 1:  # one reader holds the first table; the others stop when ten blocks wait
            with reading._changed:
                assert reading._changed.wait_for(lambda: reading._size >= 100, WITHIN)
        hold.set()
        assert len(drain(reading, "a")) == 50
        assert reading._size <= 100 + 10 * count
        assert len(drain(reading, "b")) == len(drain(reading, "c")) == 50
        assert reading._size == 0
    finally:
        hold.set()
        reading.close()


def test_the_error_of_any_reader_ends_all() -> None:
    parts: dict[str, Any] = {"good": repeat([b"row"]), "bad": [[b"row"], SourceError("it broke")]}
    reading = readers(2, parts)
    reading.read(tasks(("a", "good"), ("b", "bad")))
    with pytest.raises(PenstockError, match="it broke"):
        drain(reading, "a")
    reading.close()
    assert all(reader.given_up.is_set() and reader.closed for reader in reading._all)  # type: ignore[attr-defined]
    assert not any(thread.is_alive() for thread in reading._threads)


def test_closing_wakes_who_waits_for_rows() -> None:
    begun = threading.Event()

    class Silent(Scripted):
        def blocks(self, task: Task) -> Iterator[list[bytes]]:
            begun.set()
            assert self.given_up.wait(WITHIN)
            raise ConnectionLostError("the snapshot was given up")
            yield []

    reading = Readers(Silent({}))  # type: ignore[arg-type]
    reading.read(tasks(("a", "a")))
    assert begun.wait(WITHIN)
    failures: list[BaseException] = []

    def take() -> None:
        try:
            reading.next("a")
        except ConnectionLostError as error:
            failures.append(error)

    taker = threading.Thread(target=take)
    taker.start()
    reading.close()
    taker.join(WITHIN)
    assert len(failures) == 1


def test_a_reader_that_gets_no_locks_is_not_waited_for() -> None:
    reading = readers(1, {"p": [[b"row"]]})
    late = Scripted({})
    assert "waits" in reading.add(late, ["taken"])  # type: ignore[arg-type, list-item]
    assert late.closed
    reading.read(tasks(("a", "p")))
    assert drain(reading, "a") == [b"row"]
    reading.close()
