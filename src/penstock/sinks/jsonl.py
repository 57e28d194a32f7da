"""JSON lines in a file or on standard output.

Each line is ``{"topic": …, "key": …, "value": …, "headers": {…}}``; key and value are the format's
own JSON. A flush ends in fsync, so whatever stands after the last newline of a file was never
acknowledged: it is cut off when the file is opened.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from penstock.component import SinkComponent
from penstock.errors import ConfigError, SinkError, SinkUnavailableError
from penstock.failpoints import Failpoint
from penstock.model import Batch, Checkpoint, Mark
from penstock.model.batch import RecordFormat
from penstock.model.lines import HEAD
from penstock.ports import Context, Finding

_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BLOCK: Final = 64 * 1024
_STDOUT: Final = 1
_MUCH: Final = 256 * 1024
"""Bytes of a batch beside which a thread costs little."""


class Jsonl(SinkComponent):
    """Writes JSON lines.

    Parameters
    ----------
    path: the file, made when missing and appended to otherwise; ``-`` is standard output.
    """

    type: Literal["jsonl"] = "jsonl"
    path: str

    def build(self) -> JsonlSink:
        """The sink, not open yet."""
        return JsonlSink(self.path)


class JsonlSink:
    """Appends records to one file, which it locks against other writers while it is open.

    Writing is one system call a batch. Only a regular file is locked, repaired and synced; a pipe
    or a terminal takes its bytes and that is all that can be known of them.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._fd: int | None = None
        self._regular = False
        self._durable = 0
        self._dirty = False
        self._last: Mark | None = None
        self._context: Context | None = None
        self._busy: asyncio.Future[None] | None = None

    @property
    def _where(self) -> str:
        return "standard output" if self.path == "-" else self.path

    async def open(self, context: Context) -> None:
        """Open, lock and repair the file.

        Raises SinkError when it is locked by another writer or is no file of ours, and
        SinkUnavailableError when the disk is full or nobody reads a named pipe.
        """
        if context.format is None:
            raise ConfigError(f"the sink for {self._where} has no format")
        if getattr(context.format, "binary", False):
            raise ConfigError(
                f"the sink for {self._where} writes JSON, which its format does not make",
                hint="leave out schema_registry",
            )
        await self.close()
        self._context = context
        try:
            await asyncio.to_thread(self._open, context)
        except OSError as error:
            await self.close()
            raise self._failure("cannot open", error) from error
        except BaseException:
            await self.close()
            raise

    def _open(self, context: Context) -> None:
        self._regular = False
        if self.path == "-":
            if sys.__stdout__ is None:  # its number may be another file's by now
                raise SinkError("standard output is closed", hint="name a file, or redirect it")
            self._fd = _STDOUT
            return
        new = not os.path.exists(self.path)
        if not new and not stat.S_ISREG(os.stat(self.path).st_mode):
            # a named pipe without a reader answers at once, and can be tried again
            self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            os.set_blocking(self._fd, True)
            return
        self._regular = True
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        if new:
            _sync_folder(self.path)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError(
                f"{self.path} is in use: another pipeline writes to it",
                hint="give each pipeline a file of its own, or stop the other one",
            ) from None
        self._durable = self._repair(self._fd, context)

    def _repair(self, fd: int, context: Context) -> int:
        """Cut off a torn last line; where the file ends now."""
        size = os.fstat(fd).st_size
        end = _end_of_last_line(fd, size)
        if end < size:
            torn = os.pread(fd, len(HEAD), end)
            if torn.strip(b"\0") and not (torn.startswith(HEAD) or HEAD.startswith(torn)):
                raise SinkError(
                    f"{self.path} ends in something that this sink did not write: {torn!r}…",
                    hint="name another file, or end this one with a newline",
                )
            os.ftruncate(fd, end)
            os.fsync(fd)
            context.logger.warning(
                "%s: cut off a torn last line of %d bytes; it is written again",
                self.path,
                size - end,
            )
        return end

    async def check(self, context: Context) -> list[Finding]:
        """Whether the file, or the folder that it will be in, is there and may be written to."""
        if self.path == "-":
            return []
        place = Path(self.path) if os.path.exists(self.path) else Path(self.path).absolute().parent
        if place.exists() and os.access(place, os.W_OK):
            return []
        code = errno.EACCES if place.exists() else errno.ENOENT
        failure = self._failure("cannot open", OSError(code, os.strerror(code)))
        return [Finding("error", failure.message, failure.hint, failure.code)]

    async def resume(self, stream: str) -> Checkpoint | None:
        """None: a file of lines stores no checkpoints."""
        return None

    async def write(self, batch: Batch) -> None:
        """Append the batch's records.

        Raises SinkUnavailableError when the disk is full; the file then ends where the last flush
        left it.
        """
        fd, context = self._opened()
        assert context.format is not None
        if len(batch):
            self._dirty = True
            try:
                # A pipe that nobody reads blocks, and must not block the loop; while much is
                # written, the next batch is decoded.
                if self._regular and batch.size < _MUCH:
                    _append(fd, batch, context.format)
                else:
                    await self._in_thread(_append, fd, batch, context.format)
            except OSError as error:
                raise await self._cut_back("cannot write", error) from error
        self._last = batch.last or self._last

    async def flush(self) -> Mark | None:
        """Sync the file.

        Raises SinkError, for good, when the disk cannot say that it is safe, and
        SinkUnavailableError when the file was deleted meanwhile.
        """
        fd, context = self._opened()
        context.failpoints.hit(Failpoint.SINK_COMMIT)
        if self._dirty and self._regular:
            try:
                end = os.fstat(fd).st_size
                await self._in_thread(os.fsync, fd)
            except OSError as error:
                raise await self._cut_back("cannot sync", error) from error
            if not os.fstat(fd).st_nlink:
                await self.close()
                raise SinkUnavailableError(
                    f"{self.path} was deleted, with the last lines in it",
                    hint="they are written again to a new file; what stood there before is gone",
                )
            self._durable = end
        self._dirty = False
        last, self._last = self._last, None
        return last

    async def close(self) -> None:
        """Close the file and so unlock it; standard output stays open."""
        fd, self._fd = self._fd, None
        self._last, self._dirty = None, False
        if fd is None or fd == _STDOUT:
            return
        busy = self._busy
        if busy is None or busy.done():
            os.close(fd)
        elif self._regular:
            await asyncio.wait({busy})
            os.close(fd)
        else:  # a pipe may block for ever: its number is free when the thread has left it
            busy.add_done_callback(lambda _: os.close(fd))

    async def _in_thread(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do what may block. It goes on when we are cancelled, and keeps the file open so long."""
        future = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._busy = future
        await asyncio.shield(future)

    def _opened(self) -> tuple[int, Context]:
        if self._fd is None or self._context is None:
            raise SinkError(f"{self._where} is not open")
        return self._fd, self._context

    async def _cut_back(self, what: str, error: OSError) -> SinkError:
        """Close the file after a failure; what to raise.

        A full disk loses nothing once the file ends at its last flush: the rest is fed again.
        After any other failure the kernel may have dropped what it could not write and would call
        the next sync a success, so there is no next one.
        """
        fd = self._fd
        if fd is not None and self._regular and error.errno in _NO_SPACE:
            try:
                os.ftruncate(fd, min(self._durable, os.fstat(fd).st_size))
                os.fsync(fd)
            except OSError as second:
                error = second
        await self.close()
        return self._failure(what, error)

    def _failure(self, what: str, error: OSError) -> SinkError:
        text = f"{what} {self._where}: {error.strerror or error}"
        if isinstance(error, BrokenPipeError):
            return SinkError(f"nobody reads {self._where} any more", hint="the reader has ended")
        if error.errno in _NO_SPACE:
            return SinkUnavailableError(text, hint="free some space: writing goes on by itself")
        if error.errno == errno.ENXIO:
            return SinkUnavailableError(text, hint="it goes on when the pipe has a reader")
        hint = {
            errno.ENOENT: "make the folder, or name another file",
            errno.EACCES: "let our user write there, or name another file",
            errno.EPERM: "let our user write there, or name another file",
            errno.EROFS: "name a file on a disk that can be written to",
            errno.EISDIR: "name a file in it",
        }.get(error.errno or 0, "")
        return SinkError(text, hint=hint)


def _append(fd: int, batch: Batch, format: RecordFormat) -> None:
    data = batch.lines(format)
    written = os.write(fd, data) if data else 0
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(fd, rest) :]


def _end_of_last_line(fd: int, size: int) -> int:
    end = size
    while end:
        begin = max(0, end - _BLOCK)
        newline = os.pread(fd, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


def _sync_folder(path: str) -> None:
    """Make a new file's name as durable as its content."""
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
