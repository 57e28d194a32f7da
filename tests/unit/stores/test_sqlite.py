"""What can happen to a state file: truncated, foreign, full disk, used twice, killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import StoreError
from penstock.model import Checkpoint
from penstock.ports import Context, Saved, StreamState
from penstock.stores.sqlite import SqliteStore, default_path

CONTEXT = Context("orders", "store")


def state(n: int) -> dict[tuple[str, str], StreamState]:
    return {("jsonl", "main"): StreamState(None, Checkpoint.of("main", at=n))}


def save(path: Path, n: int = 1, **facts: object) -> None:
    async def main() -> None:
        store = SqliteStore(path)
        await store.open(CONTEXT)
        await store.save(state(n), facts or None)
        await store.close()

    asyncio.run(main())


def load(path: Path, context: Context = CONTEXT) -> Saved | None:
    async def main() -> Saved | None:
        store = SqliteStore(path)
        try:
            await store.open(context)
            return await store.load()
        finally:
            await store.close()

    return asyncio.run(main())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def test_the_default_place_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    async def main() -> None:
        store = SqliteStore()
        await store.open(CONTEXT)
        await store.save(state(1))
        for file in (tmp_path / "penstock").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        await store.close()

    asyncio.run(main())
    assert default_path("orders") == tmp_path / "penstock" / "orders.db"
    assert stat.S_IMODE((tmp_path / "penstock").stat().st_mode) == 0o700
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_path("orders") == Path.home() / ".local/state/penstock/orders.db"


def test_a_truncated_file_is_never_taken_for_empty(path: Path, tmp_path: Path) -> None:
    save(path, 7, slot="penstock_orders", pad="x" * 9000)
    whole = path.read_bytes()
    cuts = {
        *range(120),
        *range(120, len(whole), 997),
        len(whole) - 1,
        *range(4096, len(whole), 4096),
    }
    for cut in sorted(cuts):
        copy = tmp_path / "cut.db"
        copy.write_bytes(whole[:cut])
        with pytest.raises(StoreError) as caught:
            load(copy)
        assert str(copy) in str(caught.value)
        assert caught.value.hint, cut
        assert copy.read_bytes() == whole[:cut], "a damaged file is left as it is"


def test_garbage_inside_is_found(path: Path, tmp_path: Path) -> None:
    save(path, 7, pad="x" * 9000)
    whole = path.read_bytes()
    for at in range(0, len(whole), 512):
        copy = tmp_path / "bad.db"
        copy.write_bytes(whole[:at] + b"\xaa" * 512 + whole[at + 512 :])
        try:
            found = load(copy)
        except StoreError:
            continue
        assert found is not None, f"taken for empty with garbage at {at}"
        assert dict(found.streams) == state(7)


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 5000], ids=["empty", "short", "long"])
def test_other_files_are_refused_and_kept(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"not a store of penstock|damaged"):
        load(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_kept(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a store of penstock"):
        load(path)
    assert path.read_bytes() == before


def test_a_newer_store_is_refused(path: Path) -> None:
    save(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreError, match="version 2, this penstock writes version 1"):
        load(path)


def test_another_pipelines_store_is_refused(path: Path) -> None:
    save(path)
    with pytest.raises(StoreError, match="belongs to pipeline 'orders', not to 'stock'"):
        load(path, Context("stock"))


def test_a_beginning_that_was_cut_short_is_begun_again(path: Path) -> None:
    path.with_name("state.db.new").write_bytes(b"half")
    path.with_name("state.db.new-journal").write_bytes(b"half")
    assert load(path) is None
    save(path, 3)
    found = load(path)
    assert found is not None
    assert dict(found.streams) == state(3)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        load(tmp_path / "file" / "state.db")


def test_two_users_at_once(path: Path) -> None:
    async def main() -> None:
        first, second = SqliteStore(path), SqliteStore(path)
        await first.open(CONTEXT)
        await first.save(state(1))
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
            await second.open(CONTEXT)
        peeked = await second.peek(CONTEXT)
        assert peeked is not None
        assert dict(peeked.streams) == state(1)
        await first.save(state(2))
        await first.close()
        await second.open(CONTEXT)
        await second.close()

    asyncio.run(main())


def test_peeking_makes_nothing(path: Path) -> None:
    assert asyncio.run(SqliteStore(path).peek(CONTEXT)) is None
    assert not list(path.parent.iterdir())


WRITER = """
import asyncio, sys
from penstock.model import Checkpoint
from penstock.ports import Context, StreamState
from penstock.stores.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open(Context("orders"))
    for n in range(10**9):
        safe = Checkpoint.of("main", at=n)
        await store.save({("jsonl", "main"): StreamState(None, safe)}, {"n": n})
        print(n, flush=True)

asyncio.run(main())
"""


def test_what_was_saved_before_a_kill_is_there(path: Path) -> None:
    said = -1
    for rounds in (1, 5, 40):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(rounds):
            said = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        said = max([said, *(int(line) for line in child.stdout.read().splitlines())])
        child.stdout.close()
        child.wait()
        found = load(path)
        assert found is not None
        n = found.facts["n"]
        assert n >= said
        assert dict(found.streams) == state(n), "a save is all or nothing"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; where mounting is not allowed, a limit in the file's own size."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        ).returncode
        == 0
    )
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_loses_nothing(tiny_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_disk / "state.db"

    async def main() -> None:
        store = SqliteStore(path)
        await store.open(CONTEXT)
        await store.save(state(1), {"small": True})
        if not os.path.ismount(tiny_disk):
            await store._run(lambda: store._connection.execute("PRAGMA max_page_count = 20"))  # type: ignore[union-attr]
        with pytest.raises(StoreError, match="full") as caught:
            await store.save(state(2), {"large": "x" * 1_000_000})
        assert "free some space" in caught.value.hint
        found = await store.load()
        assert found is not None
        assert dict(found.streams) == state(1)
        assert found.facts == {"small": True}
        await store.save(state(3))
        await store.close()

    asyncio.run(main())
    found = load(path)
    assert found is not None
    assert dict(found.streams) == state(3)
    assert found.facts == {"small": True}


def test_a_disk_that_is_full_from_the_start(tiny_disk: Path) -> None:
    if os.path.ismount(tiny_disk):
        with pytest.raises(OSError, match="No space"), open(tiny_disk / "filler", "wb") as filler:
            filler.write(b"x" * (1 << 20))
        with pytest.raises(StoreError, match="cannot be opened"):
            load(tiny_disk / "state.db")
        (tiny_disk / "filler").unlink()
    assert load(tiny_disk / "state.db") is None


def test_a_disk_error_closes_the_store(path: Path) -> None:
    """SQLite's own word for a failed sync is played."""

    async def main() -> None:
        store = SqliteStore(path)
        await store.open(CONTEXT)
        await store.save(state(1))

        class Failing:
            in_transaction = False

            def __init__(self, real: sqlite3.Connection) -> None:
                self.close = real.close

            def execute(self, *_: object) -> None:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                raise error

        assert store._connection is not None
        store._connection = Failing(store._connection)  # type: ignore[assignment]
        with pytest.raises(StoreError, match=r"disk I/O error.*\n.*free some space"):
            await store.save(state(2))
        with pytest.raises(StoreError, match="not open"):
            await store.save(state(3))
        await store.close()

    asyncio.run(main())
    found = load(path)
    assert found is not None
    assert dict(found.streams) == state(1)


def test_a_copy_of_the_file_alone_is_a_store(path: Path, tmp_path: Path) -> None:
    """Without its journal a store may be older, but it is never empty."""

    async def main() -> None:
        store = SqliteStore(path)
        await store.open(CONTEXT)
        await store.save(state(1))
        shutil.copy(path, tmp_path / "copy.db")
        await store.close()

    asyncio.run(main())
    load(tmp_path / "copy.db")


def test_a_journal_that_was_left_behind_is_not_taken_for_the_new_stores(path: Path) -> None:
    journal = path.with_name(path.name + "-wal")

    async def main() -> None:
        store = SqliteStore(path)
        await store.open(CONTEXT)
        for n in range(20):
            await store.save(state(n))
        left = journal.read_bytes()  # as a killed process leaves it
        await store.close()
        path.unlink()
        journal.write_bytes(left)

    asyncio.run(main())
    with pytest.raises(StoreError, match=r"its journal state\.db-wal is still there"):
        load(path)
    journal.unlink()
    assert load(path) is None
