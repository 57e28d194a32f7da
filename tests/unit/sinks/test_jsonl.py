"""What can happen to a file of lines: torn ends, rivals, full disks, failing syncs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import ConfigError, SinkError, SinkUnavailableError
from penstock.formats.change import ChangeFormat
from penstock.model import Batch, Record
from penstock.model.lines import json_lines
from penstock.ports import Context
from penstock.sinks import jsonl
from penstock.sinks.jsonl import Jsonl, JsonlSink
from penstock.testing import batch, insert

CONTEXT = Context("orders", "jsonl", ChangeFormat())


def transaction(n: int, rows: int = 1, note: str = "x") -> Batch:
    return batch(n, *(insert("public.t", {"id": i, "note": note}) for i in range(rows)))


async def write(path: Path | str, *batches: Batch) -> None:
    sink = JsonlSink(path)
    await sink.open(CONTEXT)
    for one in batches:
        await sink.write(one)
    await sink.flush()
    await sink.close()


async def write_all(sink: JsonlSink, numbers: Iterable[int]) -> None:
    for n in numbers:
        await sink.write(transaction(n))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["value"]["id"] for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_a_line_has_four_parts_and_embeds_the_formats_own_json() -> None:
    records = [
        Record("a", b'{"id":1}', b'{"x": 1.0}', {}),
        Record("a", None, None, {}),
        Record('b"\u00e9', b"1", b"[]", {"h": '"'}),
    ]
    lines = json_lines(records).splitlines()
    assert lines[0] == b'{"topic":"a","key":{"id":1},"value":{"x": 1.0},"headers":{}}'
    assert json.loads(lines[1]) == {"topic": "a", "key": None, "value": None, "headers": {}}
    third = {"topic": 'b"\u00e9', "key": 1, "value": [], "headers": {"h": '"'}}
    assert json.loads(lines[2]) == third
    assert json_lines([]) == b""


def test_the_config_builds_the_sink(path: Path) -> None:
    assert Jsonl(path=str(path)).build().path == str(path)


def test_a_torn_last_line_is_cut_off_wherever_it_tore(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(write(path, transaction(1), transaction(2, note="é\n\\")))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            asyncio.run(write(path, transaction(2, note="é\n\\")))
        assert path.read_bytes() == whole, cut
        assert ("torn last line" in caplog.text) == (cut > first)


def test_a_torn_first_line_too_and_zeros_that_a_power_cut_left(path: Path) -> None:
    asyncio.run(write(path, transaction(1)))
    whole = path.read_bytes()
    for left in (b"{", whole[:9], whole[:-1], b"\0" * 70_000):
        path.write_bytes(left)
        asyncio.run(write(path, transaction(1)))
        assert path.read_bytes() == whole


def test_a_torn_line_longer_than_a_block(path: Path) -> None:
    asyncio.run(write(path, transaction(1)))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"topic":"' + b"x" * 200_000)
    asyncio.run(write(path))
    assert path.read_bytes() == whole


def test_a_strangers_file_is_kept(path: Path) -> None:
    path.write_bytes(b"first line\nsome notes without an end")
    with pytest.raises(SinkError, match="did not write"):
        asyncio.run(write(path, transaction(1)))
    assert path.read_bytes() == b"first line\nsome notes without an end"


def test_two_writers_at_once(path: Path) -> None:
    async def main() -> None:
        first, second = JsonlSink(path), JsonlSink(path)
        await first.open(CONTEXT)
        with pytest.raises(SinkError, match="in use") as caught:
            await second.open(CONTEXT)
        assert not isinstance(caught.value, SinkUnavailableError)
        await first.close()
        await second.open(CONTEXT)
        await second.close()

    asyncio.run(main())


def test_it_needs_a_format_and_a_folder(path: Path) -> None:
    with pytest.raises(ConfigError, match="no format"):
        asyncio.run(JsonlSink(path).open(Context("orders")))
    with pytest.raises(SinkError, match="cannot open"):
        asyncio.run(write(path / "no" / "folder"))


class Disk:
    """Plays a disk that fails: what a real one did not write, it did not write either."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.sync_error = 0
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, fd: int, data: Any) -> int:
        if self.room is None:
            return self._write(fd, data)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(fd, memoryview(data)[: self.room])
        self.room -= written
        return written

    def fsync(self, fd: int) -> None:
        if self.sync_error:
            code, self.sync_error = self.sync_error, 0
            raise OSError(code, os.strerror(code))
        self._fsync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("room", [0, 1, 100, 400, 1000])
def test_a_disk_that_fills_leaves_whole_lines_and_goes_on(
    path: Path, disk: Disk, room: int
) -> None:
    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        await sink.write(transaction(1))
        await sink.flush()
        durable = path.read_bytes()
        disk.room = room
        with pytest.raises(SinkUnavailableError, match="No space"):
            await write_all(sink, range(2, 9))
        assert path.read_bytes() == durable
        await sink.close()
        disk.room = None
        await sink.open(CONTEXT)
        await write_all(sink, range(2, 9))
        await sink.flush()
        await sink.close()

    asyncio.run(main())
    assert ids(path) == [f"{n}:0" for n in range(1, 9)]


def test_short_writes_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    asyncio.run(write(path, transaction(1, 5)))
    assert ids(path) == [f"1:{i}" for i in range(5)]


def test_a_file_that_was_emptied_is_not_filled_with_zeros(path: Path, disk: Disk) -> None:
    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        await sink.write(transaction(1))
        await sink.flush()
        os.truncate(path, 0)  # as a log rotation by copying does
        disk.room = 0
        with pytest.raises(SinkUnavailableError):
            await sink.write(transaction(2))

    asyncio.run(main())
    assert path.read_bytes() == b""


def test_lines_go_to_a_new_file_when_theirs_is_deleted(path: Path) -> None:
    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        await sink.write(transaction(1))
        await sink.flush()
        path.unlink()
        await sink.write(transaction(2))
        with pytest.raises(SinkUnavailableError, match="was deleted"):
            await sink.flush()
        await sink.open(CONTEXT)
        await sink.write(transaction(2))
        assert await sink.flush() == transaction(2).last
        await sink.close()

    asyncio.run(main())
    assert ids(path) == ["2:0"]


def test_a_sync_that_fails_is_final(path: Path, disk: Disk) -> None:
    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        await sink.write(transaction(1))
        disk.sync_error = errno.EIO
        with pytest.raises(SinkError) as caught:
            await sink.flush()
        assert not isinstance(caught.value, SinkUnavailableError)
        with pytest.raises(SinkError, match="not open"):
            await sink.flush()  # the kernel would call this one a success

    asyncio.run(main())


def test_a_sync_that_finds_the_disk_full_goes_back_to_the_last(path: Path, disk: Disk) -> None:
    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        await sink.write(transaction(1))
        await sink.flush()
        await sink.write(transaction(2))
        disk.sync_error = errno.ENOSPC
        with pytest.raises(SinkUnavailableError):
            await sink.flush()

    asyncio.run(main())
    assert ids(path) == ["1:0"]


def test_a_cancelled_flush_keeps_the_file_until_the_sync_is_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, synced = threading.Event(), threading.Event(), []

    def fsync(fd: int) -> None:
        begun.set()
        go.wait(30)
        synced.append(os.fstat(fd).st_ino)

    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        await sink.write(transaction(1))
        monkeypatch.setattr(os, "fsync", fsync)
        flushing = asyncio.create_task(sink.flush())
        await asyncio.to_thread(begun.wait, 30)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        closing = asyncio.create_task(sink.close())
        await asyncio.sleep(0)
        go.set()
        await closing
        await sink.open(CONTEXT)
        await sink.close()

    asyncio.run(main())
    assert synced == [path.stat().st_ino]


def test_nothing_is_synced_twice(path: Path, disk: Disk) -> None:
    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        await sink.write(transaction(1))
        await sink.flush()
        disk.sync_error = errno.EIO
        await sink.flush()
        await sink.close()

    asyncio.run(main())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; where mounting is not allowed, a full one is played elsewhere."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_really_full_disk(tiny_disk: Path, disk: Disk) -> None:
    path = tiny_disk / "out.jsonl"
    if not os.path.ismount(tiny_disk):
        disk.room = 64 * 1024

    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        for n in range(1, 4):
            await sink.write(transaction(n))
            await sink.flush()
        with pytest.raises(SinkUnavailableError):
            await write_all(sink, range(4, 10_000))
        await sink.close()

    asyncio.run(main())
    assert ids(path) == ["1:0", "2:0", "3:0"]


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    asyncio.run(write("-", transaction(1), transaction(2)))
    lines = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["value"]["id"] for line in lines] == ["1:0", "2:0"]


def test_a_closed_standard_output_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)  # so Python says it
    with pytest.raises(SinkError, match="standard output is closed"):
        asyncio.run(write("-", transaction(1)))


def test_a_pipe_waits_for_a_reader_without_blocking_the_loop(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(SinkUnavailableError):
        asyncio.run(write(path))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    async def main() -> None:
        sink = JsonlSink(path)
        await sink.open(CONTEXT)
        writing = asyncio.create_task(sink.write(transaction(1, 2000)))
        await asyncio.sleep(0)
        assert not writing.done()
        taken: list[bytes] = []
        loop = asyncio.get_running_loop()
        loop.add_reader(reader, lambda: taken.append(os.read(reader, 1 << 16)))
        await writing
        await sink.flush()
        loop.remove_reader(reader)
        with contextlib.suppress(BlockingIOError):
            while rest := os.read(reader, 1 << 16):
                taken.append(rest)
        await sink.close()
        assert b"".join(taken).count(b"\n") == 2000

    asyncio.run(main())
    os.close(reader)


def test_a_lost_reader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    read, out = os.pipe()
    os.close(read)
    monkeypatch.setattr(jsonl, "_STDOUT", out)

    async def main() -> None:
        sink = JsonlSink("-")
        await sink.open(CONTEXT)
        with pytest.raises(SinkError, match="nobody reads standard output") as caught:
            await sink.write(transaction(1))
        assert isinstance(caught.value.__cause__, BrokenPipeError)

    asyncio.run(main())
    os.close(out)


def test_check_finds_a_missing_folder_before_the_run_does(path: Path) -> None:
    sink = JsonlSink(path.parent / "nowhere" / "x.jsonl")
    (found,) = asyncio.run(sink.check(Context("p", "jsonl")))
    assert (found.severity, found.code) == ("error", "sink")
    with pytest.raises(SinkError) as refused:
        asyncio.run(sink.open(Context("p", "jsonl", format=ChangeFormat())))
    assert (refused.value.message, refused.value.hint) == (found.message, found.fix)
    assert "make the folder" in found.fix


def test_check_makes_no_file(path: Path) -> None:
    for place in (str(path), "-"):
        assert asyncio.run(JsonlSink(place).check(Context("p", "jsonl"))) == []
    assert not path.exists()
