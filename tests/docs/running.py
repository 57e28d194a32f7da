"""Runs the code blocks of a page, one after the other, as its reader would.

A page is one story: its blocks share a directory, a database and Python's names. `python` blocks
run, `sql` blocks go to the database, `console` blocks are typed into a shell and must answer what
the page shows ("…" stands for anything), blocks with a title become the file of that name. Blocks
in any other language are not run.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, Final

from tests.docs.pages import Block
from tests.support.postgres import execute

TIMEOUT: Final = 120.0
RUN: Final = {"python", "sql", "console", "toml"}


class _Enough(BaseException):
    """Ends a block that would run for ever; no example catches it."""


class _Output:
    """Standard output that ends its block after a number of lines (0: never)."""

    def __init__(self, lines: int) -> None:
        self.text = ""
        self._lines = lines

    def write(self, text: str) -> int:
        self.text += text
        if self._lines and self.text.count("\n") >= self._lines:
            raise _Enough
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


class Story:
    """The running of one page.

    Parameters
    ----------
    page: the file, for messages and tracebacks.
    directory: where the story happens.
    dsn: its database; blocks find it as DATABASE_URL.
    """

    def __init__(self, page: Path, directory: Path, dsn: str) -> None:
        self.page = page
        self.directory = directory
        self.dsn = dsn
        self.names: dict[str, Any] = {"__name__": "__page__"}

    def run(self, block: Block) -> None:
        """Run one block; raises what it raises, AssertionError for a wrong answer."""
        if block.not_run or block.language not in RUN:
            return
        if block.sql:
            execute(self.dsn, block.sql)
        if block.python:
            self._python(block.python, Block("python", block.python, block.line))
        if block.title:
            path = self.directory / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code)
            if block.language == "python":
                self._compile(block.code, block)
            return
        with self._meanwhile(block):
            if block.language == "python":
                self._python(block.code, block)
            elif block.language == "sql":
                execute(self.dsn, block.code)
            elif block.language == "console":
                self._console(block)

    def _compile(self, code: str, block: Block) -> CodeType:
        padded = "\n" * (block.line - 1) + code
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compiled: CodeType = compile(padded, str(self.page), "exec", flags, dont_inherit=True)
        return compiled

    def _python(self, code: str, block: Block) -> None:
        output = _Output(block.lines)
        with contextlib.suppress(_Enough), contextlib.redirect_stdout(output):
            result = eval(self._compile(code, block), self.names)
            if inspect.iscoroutine(result):
                asyncio.run(asyncio.wait_for(result, TIMEOUT))
        assert output.text.count("\n") >= block.lines, "it ended before it printed enough"

    def _console(self, block: Block) -> None:
        binaries = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "NO_COLOR": "1"}
        for typed, shown in _dialogue(block.code):
            done = subprocess.run(
                typed,
                shell=True,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
            assert done.returncode == 0, f"$ {typed}\n{done.stdout}{done.stderr}"
            if shown:
                pattern = ".*".join(map(re.escape, shown.split("…")))
                answer = (done.stdout + done.stderr).strip()
                assert re.fullmatch(pattern, answer, re.DOTALL), f"$ {typed}\n{answer}"

    @contextlib.contextmanager
    def _meanwhile(self, block: Block) -> Iterator[None]:
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(0.1):
                execute(self.dsn, block.meanwhile)

        thread = threading.Thread(target=repeat)
        if block.meanwhile:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if block.meanwhile:
                thread.join()


def _dialogue(code: str) -> Iterator[tuple[str, str]]:
    """Each command of a `console` block with the answer that it shows."""
    for part in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        typed, _, shown = part.partition("\n")
        while typed.endswith("\\"):
            more, _, shown = shown.partition("\n")
            typed += "\n" + more
        yield typed, shown.strip()
