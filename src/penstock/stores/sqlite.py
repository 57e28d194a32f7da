"""State in one SQLite file: the default store.

The file is made under another name and linked into place when it is whole, so an empty or
truncated file at its path is damage and never a beginning. Write-ahead journal with
``synchronous=FULL``: a save is one fsync, and durable when it returns.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from penstock.errors import StoreError
from penstock.ports import Context, Parked, Saved, StreamState
from penstock.stores.encoding import canonical, dump_parked, load_json, load_parked, load_stream

T = TypeVar("T")

APPLICATION_ID: Final = 0x70656E73  # "pens"
VERSION: Final = 1
_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
_MEND: Final = (
    "restore it from a backup; or, knowing that the pipeline then starts anew, move it away, "
    "with its -wal and -shm"
)
_SCHEMA: Final = (
    "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), pipeline TEXT NOT NULL,"
    " saved INTEGER NOT NULL, facts TEXT NOT NULL)",
    "CREATE TABLE streams (sink TEXT NOT NULL, stream TEXT NOT NULL, data TEXT, safe TEXT,"
    " PRIMARY KEY (sink, stream)) WITHOUT ROWID",
    "CREATE TABLE parked (number INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL,"
    " id TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (sink, id))",
)


def default_path(pipeline: str) -> Path:
    """Where a pipeline's state lies unless told: ``$XDG_STATE_HOME/penstock/<pipeline>.db``."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "penstock" / f"{pipeline}.db"


class SqliteStore:
    """A store in a SQLite file of its own; one file holds one pipeline.

    While it is open nobody else can open it, but may ``peek``. All work is done in one thread.

    Parameters
    ----------
    path: the file; by default :func:`default_path` of the pipeline.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._file = Path()
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._executor: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})" if self.path else "SqliteStore()"

    async def _run(self, work: Callable[[], T]) -> T:
        if self._executor is None:
            raise StoreError("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _place(self, context: Context) -> Path:
        return (self.path or default_path(context.pipeline)).absolute()

    async def open(self, context: Context) -> None:
        """Open the pipeline's file, or make it.

        Raises StoreError when it is in use, damaged, of another program, of another version of
        penstock or of another pipeline.
        """
        await self.close()
        self._file = self._place(context)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="penstock-store")
        try:
            await self._run(lambda: self._open(context.pipeline))
        except BaseException:
            await self.close()
            raise

    def _open(self, pipeline: str) -> None:
        file = self._file
        with _told(file, "cannot be opened"):
            file.parent.mkdir(0o700, parents=True, exist_ok=True)
            self._lock = _lock(file)
            if not os.path.lexists(file):
                _make(file, pipeline)
            self._connection = _connect(file, pipeline)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA fullfsync = ON")

    async def peek(self, context: Context) -> Saved | None:
        """What ``load`` would give, without ``open`` and beside a process that has it open."""
        return await self._peek(context, _load)

    async def peek_parked(self, context: Context) -> list[Parked]:
        """What ``parked`` would give, in the same way."""
        return await self._peek(context, _parked) or []

    async def _peek(
        self, context: Context, look: Callable[[sqlite3.Connection, Path], T]
    ) -> T | None:
        file = self._place(context)

        def peek() -> T | None:
            if not os.path.lexists(file):
                return None
            with _told(file, "cannot be read"):
                connection = _connect(file, context.pipeline)
                try:
                    connection.execute("PRAGMA query_only = ON")
                    return look(connection, file)
                finally:
                    connection.close()

        return await asyncio.to_thread(peek)

    async def load(self) -> Saved | None:
        """All that is saved of the pipeline; None when it was never saved."""
        return await self._run(self._load)

    def _load(self) -> Saved | None:
        with self._used() as connection:
            return _load(connection, self._file)

    async def save(
        self,
        streams: Mapping[tuple[str, str], StreamState] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge the streams and replace the facts, where given; durable on return."""
        rows = [
            (sink, stream, str(s.data) if s.data else None, s.safe.text if s.safe else None)
            for (sink, stream), s in (streams or {}).items()
        ]
        text = None if facts is None else canonical(facts)
        await self._run(lambda: self._save(rows, text))

    def _save(self, rows: list[tuple[str, str, str | None, str | None]], text: str | None) -> None:
        with self._changed() as connection:
            connection.executemany("INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)", rows)
            connection.execute("UPDATE state SET saved = 1, facts = coalesce(?, facts)", (text,))

    async def park(self, parked: Sequence[Parked]) -> None:
        """Set changes aside, durable on return. Parking the same id again changes nothing."""
        rows = [(one.sink, one.id, canonical(dump_parked(one))) for one in parked]
        await self._run(
            lambda: self._change(
                "INSERT OR IGNORE INTO parked (sink, id, record) VALUES (?, ?, ?)", rows
            )
        )

    async def parked(self, sink: str | None = None) -> list[Parked]:
        """What is set aside, in the order in which it was parked."""
        return await self._run(lambda: self._parked(sink))

    def _parked(self, sink: str | None) -> list[Parked]:
        with self._used() as connection:
            return _parked(connection, self._file, sink)

    async def unpark(self, sink: str, ids: Sequence[str]) -> None:
        """Forget parked changes."""
        rows = [(sink, id) for id in ids]
        await self._run(lambda: self._change("DELETE FROM parked WHERE sink = ? AND id = ?", rows))

    def _change(self, statement: str, rows: Sequence[tuple[str, ...]]) -> None:
        with self._changed() as connection:
            connection.executemany(statement, rows)

    async def clear(self) -> None:
        """Forget the pipeline; the file stays, empty."""
        await self._run(self._clear)

    def _clear(self) -> None:
        with self._changed() as connection:
            connection.execute("DELETE FROM streams")
            connection.execute("DELETE FROM parked")
            connection.execute("UPDATE state SET saved = 0, facts = '{}'")

    async def close(self) -> None:
        """Close the file and let others open it."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        try:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(executor, self._close))
        finally:
            executor.shutdown(wait=False)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                with suppress(sqlite3.Error):  # what was saved is durable without a clean close
                    connection.close()
        finally:
            if lock is not None:
                os.close(lock)

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            raise StoreError(f"the store {self._file} is not open")
        try:
            with _told(self._file, "cannot be used"):
                yield self._connection
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, sqlite3.Error) and _code(cause) == sqlite3.SQLITE_IOERR:
                self._close()  # after a failed sync only opening it again tells what it holds
            raise

    @contextmanager
    def _changed(self) -> Iterator[sqlite3.Connection]:
        """One transaction, durable when it is left."""
        with self._used() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with suppress(sqlite3.Error):  # the first error is the one to tell
                        connection.execute("ROLLBACK")
                raise


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _told(file: Path, what: str) -> Iterator[None]:
    """Turn the errors of SQLite and of the file system into StoreErrors that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        hint = {
            sqlite3.SQLITE_FULL: "free some space; nothing that was saved is lost",
            sqlite3.SQLITE_CORRUPT: _MEND,
            sqlite3.SQLITE_NOTADB: _MEND,
            sqlite3.SQLITE_IOERR: "the disk is full, or it fails: free some space, or look at the "
            "kernel's log",
        }.get(_code(error), "")
        raise StoreError(f"the store {file} {what}: {error}", hint=hint) from error
    except OSError as error:
        hint = "free some space" if error.errno == errno.ENOSPC else ""
        raise StoreError(
            f"the store {file} {what}: {error.strerror or error}", hint=hint
        ) from error


def _load(connection: sqlite3.Connection, file: Path) -> Saved | None:
    """Read everything, as of one moment."""
    where = f"the store {file}"
    connection.execute("BEGIN")
    try:
        saved, facts = connection.execute("SELECT saved, facts FROM state").fetchone()
        rows = connection.execute("SELECT sink, stream, data, safe FROM streams").fetchall()
    finally:
        connection.execute("ROLLBACK")
    if not saved:
        return None
    streams = {
        (sink, stream): load_stream(stream, data, safe, where) for sink, stream, data, safe in rows
    }
    return Saved(streams, load_json(facts, where))


def _parked(connection: sqlite3.Connection, file: Path, sink: str | None = None) -> list[Parked]:
    where = f"the store {file}"
    rows = connection.execute(
        "SELECT record FROM parked WHERE ?1 IS NULL OR sink = ?1 ORDER BY number", (sink,)
    ).fetchall()
    return [load_parked(load_json(record, where), where) for (record,) in rows]


def _lock(file: Path) -> int:
    """Lock the store against other processes; the lock file's descriptor, which holds it."""
    path = file.with_name(file.name + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreError(
            f"the store {file} is in use by process {holder or 'unknown'}",
            hint="one pipeline runs once: stop the other process, or give this one its own store",
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _make(file: Path, pipeline: str) -> None:
    """Make an empty store beside its place, whole and durable, then move it there."""
    for left in (file.with_name(file.name + "-wal"), file.with_name(file.name + "-journal")):
        if left.exists() and left.stat().st_size:  # SQLite would take it for the new file's
            raise StoreError(
                f"the store {file} is gone, and its journal {left.name} is still there", hint=_MEND
            )
    new = file.with_name(file.name + ".new")
    for left in (new, new.with_name(new.name + "-journal")):
        left.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO state VALUES (1, ?, 0, '{}')", (pipeline,))
        connection.execute("COMMIT")
    finally:
        connection.close()
    os.rename(new, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_header(file: Path) -> None:
    """Refuse what is no store of ours before SQLite touches it."""
    with open(file, "rb") as opened:
        header = opened.read(_HEADER)
    if len(header) < _HEADER:
        raise StoreError(
            f"the store {file} is damaged: of its header {len(header)} bytes are left", hint=_MEND
        )
    version, application = struct.unpack_from(">I4xI", header, 60)
    if not header.startswith(_MAGIC) or application != APPLICATION_ID:
        raise StoreError(
            f"{file} is not a store of penstock, or it is damaged",
            hint="name another file as the store; or, if it was one, restore it from a backup",
        )
    if version != VERSION:
        raise StoreError(
            f"the store {file} has version {version}, this penstock writes version {VERSION}",
            hint="use the penstock that wrote it, or a newer one",
        )


def _connect(file: Path, pipeline: str) -> sqlite3.Connection:
    """Connect to a store that is whole, and the pipeline's own."""
    _check_header(file)
    connection = sqlite3.connect(file, isolation_level=None, timeout=10.0)
    try:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        row = None
        if verdict == "ok":
            row = connection.execute("SELECT pipeline FROM state").fetchone()
        if row is None:
            raise StoreError(f"the store {file} is damaged: {verdict}", hint=_MEND)
        if row[0] != pipeline:
            raise StoreError(
                f"the store {file} belongs to pipeline {row[0]!r}, not to {pipeline!r}",
                hint="one file holds one pipeline: give each its own",
            )
    except BaseException:
        connection.close()
        raise
    return connection
