"""What a person or a script sees: payload on stdout, everything else on stderr.

Nothing that leaves here shows a password: :func:`redact` goes over every error and log line.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from penstock.errors import PenstockError

_URL_PASSWORD = re.compile(r"(\b[\w+.-]+://[^\s:/@]*:)[^\s'\"]*(?=@)")
_KEYWORD_PASSWORD = re.compile(r"(\b(?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'&]+)", re.I)


@dataclass(slots=True)
class Settings:
    """The global options."""

    json: bool = False
    log_format: str = "text"
    log_level: str = ""

    @property
    def debug(self) -> bool:
        """Whether tracebacks are wanted."""
        return self.log_level == "debug"


settings = Settings()


def redact(text: str) -> str:
    """The text with stars for every password in a URL or connection string."""
    text = _URL_PASSWORD.sub(r"\1***", text)
    text = _KEYWORD_PASSWORD.sub(r"\1***", text)
    secret = os.environ.get("PGPASSWORD")
    return text.replace(secret, "***") if secret else text


def colours(stream: TextIO) -> bool:
    """Whether ANSI colours are wanted: a terminal, and NO_COLOR is not set."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, codes: str, stream: TextIO | None = None) -> str:
    """The text in an ANSI style such as ``1;31``, where colours are wanted."""
    return f"\x1b[{codes}m{text}\x1b[0m" if colours(stream or sys.stdout) else text


def wrapped(text: str, indent: int, stream: TextIO) -> str:
    """The text broken between words at the width of the terminal, later lines indented; as it is
    where the stream is no terminal."""
    lines = text.splitlines()
    if stream.isatty():
        width = max(shutil.get_terminal_size().columns - indent, 40)
        wrap = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False).wrap
        lines = [part for line in lines for part in wrap(line) or [""]]
    return ("\n" + " " * indent).join(lines)


def payload(text: str) -> bool:
    """A line on stdout; False when nobody reads any more (``| head``)."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still printed, also at exit, goes nowhere and fails no more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def payload_json(value: Any) -> None:
    """A value as JSON on stdout: indented for a person, one line for a program."""
    payload(json.dumps(value, indent=2 if sys.stdout.isatty() else None, default=str))


def note(text: str) -> None:
    """A line for the person at the terminal, on stderr; among JSON logs, a JSON line."""
    if settings.log_format == "json":
        now = datetime.now(UTC).isoformat()
        _write(json.dumps({"time": now, "level": "info", "message": redact(text)}))
    else:
        _write(redact(text))


def _write(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    """A warning, on stderr."""
    label = "warning" if settings.log_format == "json" else paint("warning", "33", sys.stderr)
    note(f"{label}  {text}")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, as wide as the terminal allows."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        numbers = all(row[number].replace(",", "").isdigit() for row in rows)
        shown.add_column(heading, justify="right" if numbers else "left")
    for row in rows:
        shown.add_row(*(Text.from_ansi(cell) for cell in row))
    width = None if sys.stdout.isatty() else 120
    Console(file=sys.stdout, width=width, highlight=False).print(shown)


def show_error(error: PenstockError) -> None:
    """What happened, where, what to do, and the code to look up."""
    if settings.json or settings.log_format == "json":
        fields = {
            "error": error.code,
            "message": error.message,
            "hint": error.hint,
            "table": error.table,
            "mark": str(error.mark) if error.mark is not None else None,
        }
        _write(json.dumps({key: redact(value) for key, value in fields.items() if value}))
        return
    where = " ".join(str(part) for part in (error.table, error.mark) if part is not None)
    parts = [
        (paint("error", "1;31", sys.stderr), wrapped(redact(error.message), 7, sys.stderr)),
        ("where", redact(where) if where not in error.message else ""),
        # Often SQL, to be copied: not broken.
        (paint(" hint", "36", sys.stderr), redact(error.hint).replace("\n", "\n       ")),
        (" code", error.code),
    ]
    for label, text in parts:
        if text:
            _write(f"{label}  {text}")


def warn_of_password(argument: str) -> None:
    """Say so when a connection string in an argument holds a password."""
    if redact(argument) != argument:
        warn(
            "a password in an argument shows in the shell's history and in ps; "
            "set DATABASE_URL instead"
        )


def counted(number: int, noun: str) -> str:
    """``1 change``, ``2,000 changes``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def confirmed(question: str) -> bool:
    """Ask on the terminal; no answer is no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
