"""``penstock demo``: the whole way in a quarter of a minute, with nothing to set up."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import pretty
from penstock.cli.console import colours, note, paint, payload, payload_json, settings, table
from penstock.cli.replica import Comparison, compare
from penstock.cli.serving import serve
from penstock.cli.shop import TABLES, Shop
from penstock.errors import StuckError
from penstock.model import Batch, Change, Checkpoint, Mark, SnapshotEnd

if TYPE_CHECKING:
    from penstock.embedded.server import Server
    from penstock.ports import Context, Sink

_PATIENCE = 60.0


def demo(
    seconds: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long the shop is open.")
    ] = 15.0,
    rate: Annotated[
        float, typer.Option(min=0.1, metavar="NUMBER", help="Transactions a second.")
    ] = 3.0,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="Another seed, another day in the shop.")
    ] = 1,
) -> None:
    """See it work: a shop, its changes, a replica proved equal.

    Starts a PostgreSQL of its own and throws it away at the end; needs nothing else.
    """
    from penstock.embedded.server import Server

    note("starting PostgreSQL …")
    with (
        tempfile.TemporaryDirectory(prefix="penstock-demo-") as folder,
        Server(fsync=False) as server,
    ):
        replica = Path(folder) / "replica.db"
        with closing(Shop(server.dsn(), Random(seed))) as shop:
            shop.set_up()
            _introduce(server, replica)
            watched = _follow(server.dsn(), shop, replica, seconds, rate)
            comparisons = [compare(shop, replica, name) for name in TABLES]
    _conclude(comparisons, watched)
    if not all(comparison.equal for comparison in comparisons):
        raise typer.Exit(1)


def _introduce(server: Server, replica: Path) -> None:
    name = paint("penstock", "1", sys.stderr)
    for text in (
        "",
        f"{name}: a shop writes to PostgreSQL; every change it commits flows on, live.",
        "",
        f"  source    PostgreSQL {server.version} on 127.0.0.1:{server.port}, only for this demo",
        "  pipeline  write-ahead log → penstock → sql sink",
        f"  replica   SQLite, {replica}",
        "",
        "The rows that exist are copied first; then each change shows as it is applied.",
        "",
    ):
        note(text)


def _follow(dsn: str, shop: Shop, replica: Path, seconds: float, rate: float) -> Watched:
    """Trade and replicate at the same time, until the replica has the shop's last transaction."""
    from penstock.pipeline import Pipeline
    from penstock.sinks.sql import Sql
    from penstock.sources.postgres.config import Postgres

    closed = threading.Event()
    watched = Watched(Sql(url=f"sqlite:///{replica}").build())
    pipeline = Pipeline(
        "demo",
        source=Postgres(dsn=dsn, tables=["public.*"], snapshot="initial"),
        sinks=[watched],
        store=str(replica.with_name("state.db")),
    )

    async def shop_day() -> None:
        await watched.copied.wait()
        watched.opened = time.monotonic()
        try:
            await asyncio.to_thread(shop.trade, seconds, rate, closed)
        finally:
            closed.set()
        until = time.monotonic() + _PATIENCE
        while shop.last is not None and shop.last not in watched.applied:
            if time.monotonic() > until:
                raise StuckError("the replica did not get the shop's last transaction")
            await asyncio.sleep(0.02)
        pipeline.stop()

    serve(pipeline, companion=shop_day, stop=closed.set, farewell="closing the shop")
    watched.measure(shop.committed)
    return watched


def _conclude(comparisons: list[Comparison], watched: Watched) -> None:
    equal = all(one.equal for one in comparisons)
    middle, late = watched.percentile(50), watched.percentile(99)
    if settings.json:
        payload_json(
            {
                "equal": equal,
                "changes": watched.changes,
                "transactions": len(watched.applied),
                "changes_per_second": round(watched.rate, 1),
                "latency_ms": {"p50": middle, "p99": late},
                "rows": {one.table: [one.source, one.replica] for one in comparisons},
            }
        )
        return
    payload("")
    payload("The shop is closed. Source and replica, compared row by row over all columns:")
    payload("")
    table(
        ["table", "rows in source", "rows in replica", "equal"],
        [
            [
                one.table,
                str(one.source),
                str(one.replica),
                paint("yes", "32") if one.equal else paint(f"no: {one.difference}", "31"),
            ]
            for one in comparisons
        ],
    )
    payload("")
    verdict = "✔ The replica equals the source." if equal else "✘ The replica differs."
    for text in (
        paint(verdict, "1;32" if equal else "1;31"),
        f"  {watched.changes:,} changes in {len(watched.applied):,} transactions, "
        f"{watched.rate:.1f} changes/s",
        f"  from COMMIT to applied in the replica: p50 {middle:.1f} ms, p99 {late:.1f} ms",
        "",
        "What next, with a database of yours (export DATABASE_URL=postgresql://…):",
        f"  {command()} check   what it needs, and the SQL for it",
        f"  {command()} tail    its changes, live; nothing is left on the server",
        f"  {command()} init    a pipeline file, for penstock run",
    ):
        payload(text)


def command() -> str:
    """How this command is called: by its name, or by its path where it is not on the PATH."""
    if shutil.which("penstock"):
        return "penstock"
    path = Path(sys.argv[0])
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


class Watched:
    """A sink that shows what passes to the sink behind it, and when that had applied it."""

    name = "replica"

    def __init__(self, sink: Sink) -> None:
        self.copied = asyncio.Event()
        self.opened = 0.0
        self.changes = 0
        self.applied: dict[str, float] = {}
        """When each transaction was durable in the replica, on the monotonic clock."""
        self._sink = sink
        self._tables = 0
        self._waiting: set[str] = set()
        self._lines: list[str] = []
        self._latencies: list[float] = []

    async def open(self, context: Context) -> None:
        """Open the sink."""
        await self._sink.open(context)

    async def resume(self, stream: str) -> Checkpoint | None:
        """What the sink has."""
        return await self._sink.resume(stream)

    async def write(self, batch: Batch) -> None:
        """Pass a batch on, and keep what is to be shown of it."""
        await self._sink.write(batch)
        coloured = colours(sys.stdout)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for event in batch:
            if isinstance(event, SnapshotEnd):
                self._tables += 1
            elif isinstance(event, Change):
                if event.transaction is None:
                    continue
                self.changes += 1
                self._waiting.add(event.transaction.id)
            text = pretty.line(event, width=width, coloured=coloured)
            if text is not None:
                self._lines.append(text)

    async def flush(self) -> Mark | None:
        """Flush the sink; what was waiting is then applied."""
        mark = await self._sink.flush()
        now = time.monotonic()
        self.applied |= dict.fromkeys(self._waiting - self.applied.keys(), now)
        self._waiting.clear()
        for text in self._lines:
            if not settings.json:
                payload(text)
        self._lines.clear()
        if self._tables == len(TABLES):
            self.copied.set()
        return mark

    async def close(self) -> None:
        """Close the sink."""
        await self._sink.close()

    def measure(self, committed: dict[str, float]) -> None:
        """Take the time from each COMMIT's return to its transaction's flush."""
        both = committed.keys() & self.applied.keys()
        self._latencies = sorted(max(0.0, self.applied[one] - committed[one]) for one in both)

    @property
    def rate(self) -> float:
        """Changes a second, from the shop's opening to the last one applied."""
        last = max(self.applied.values(), default=self.opened)
        return self.changes / (last - self.opened) if last > self.opened else 0.0

    def percentile(self, percent: float) -> float:
        """A percentile of the latency, in milliseconds."""
        if not self._latencies:
            return 0.0
        place = min(len(self._latencies) - 1, int(len(self._latencies) * percent / 100))
        return round(self._latencies[place] * 1000, 2)
