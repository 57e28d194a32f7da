"""``penstock tail``: look at a database's changes; nothing of it is left on the server."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import pretty
from penstock.cli.check import selected, source_of
from penstock.cli.console import colours, note, payload, settings
from penstock.cli.serving import serve
from penstock.errors import ConfigError
from penstock.model import OPERATIONS, Batch, Change, Checkpoint, Event, Mark, Message, SchemaChange

if TYPE_CHECKING:
    from penstock.ports import Context, Format


def tail(
    url: Annotated[str, typer.Argument(help="The database; default $DATABASE_URL.")] = "",
    format: Annotated[
        str, typer.Option(metavar="NAME", help="pretty, change, row, debezium or cloudevents.")
    ] = "",
    tables: Annotated[
        list[str] | None,
        typer.Option("--tables", "-t", metavar="NAMES", help="schema.table, …; * allowed."),
    ] = None,
    operations: Annotated[
        list[str] | None,
        typer.Option("--operations", "-o", metavar="NAMES", help="insert, update, delete, …"),
    ] = None,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Show the rows that exist first.")
    ] = False,
    count: Annotated[
        int, typer.Option("-n", min=0, metavar="NUMBER", help="End after so many; 0: never.")
    ] = 0,
    until_caught_up: Annotated[
        bool,
        typer.Option("--until-caught-up", help="End when all committed before the start is shown."),
    ] = False,
) -> None:
    """Show a database's changes as they are committed.

    Reads through a temporary slot: nothing is left on the server.
    """
    from penstock.pipeline import Pipeline
    from penstock.stores.memory import MemoryStore

    wanted = frozenset(
        _operation(name) for text in operations or OPERATIONS for name in text.split(",")
    )
    source = source_of(
        url,
        temporary=True,
        snapshot="initial" if snapshot else "never",
        **selected(tables),
    )
    sink = Screen(_format(format), wanted, count)
    pipeline = Pipeline("tail", source=source, sinks=[sink], store=MemoryStore())
    sink.full = pipeline.stop
    if sys.stderr.isatty() and not until_caught_up:
        note("waiting for changes; Ctrl-C ends")
    serve(pipeline, until_caught_up=until_caught_up, farewell="ending")


def _operation(name: str) -> str:
    if name not in OPERATIONS:
        raise ConfigError(f"--operations: {name!r} is not one of {', '.join(OPERATIONS)}")
    return name


def _format(name: str) -> Format | None:
    """The named format, or None for lines for people."""
    from penstock import registry

    name = name or ("change" if settings.json else "pretty")
    if name == "pretty":
        return None
    if name not in (known := registry.names("format")):
        raise ConfigError(f"--format: {name!r} is not one of pretty, {', '.join(known)}")
    format: Format = registry.format_of(name, "penstock")
    return format


class Screen:
    """A sink that prints.

    Parameters
    ----------
    format: makes a line of JSON of each change; None for lines for people.
    operations: which to show.
    count: how many to show before ``full`` is called; 0 for all.
    """

    name = "screen"

    def __init__(self, format: Format | None, operations: frozenset[str], count: int) -> None:
        self.full: Callable[[], None] = lambda: None
        self._format = format
        self._operations = operations
        self._count = count
        self._shown = 0
        self._last: Mark | None = None

    async def open(self, context: Context) -> None:
        """Nothing to open."""

    async def resume(self, stream: str) -> Checkpoint | None:
        """A screen remembers nothing."""
        return None

    async def write(self, batch: Batch) -> None:
        """Print what is wanted of a batch."""
        for event in batch:
            if self._count and self._shown >= self._count:
                break
            text = self._text(event)
            if text is None:
                continue
            if not payload(text):
                self._count = self._shown = 1
                self.full()
                break
            if isinstance(event, Change | Message):
                self._shown += 1
                if self._shown == self._count:
                    self.full()
        self._last = batch.last or self._last

    async def flush(self) -> Mark | None:
        """All that was written is on the screen already."""
        last, self._last = self._last, None
        return last

    async def close(self) -> None:
        """Nothing to close."""

    def _text(self, event: Event) -> str | None:
        if isinstance(event, Change):
            if event.operation not in self._operations:
                return None
            if self._format is not None:
                value = self._format.record(event).value
                return "null" if value is None else value.decode()
        elif self._format is not None or not isinstance(event, Message | SchemaChange):
            return None
        coloured = colours(sys.stdout)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        return pretty.line(event, width=width, coloured=coloured)
