"""``penstock demo``: the whole way in a quarter of a minute, with nothing to set up."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import threading
import time
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
    from penstock.ports import Context, Sink

_PATIENCE = 60.0


def demo(
    seconds: Annotated[float, typer.Option(min=1, help="How long the shop is open.")] = 15.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Transactions a second.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Another seed, another day in the shop.")] = 1,
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
        shop = Shop(server.dsn(), Random(seed))
        shop.set_up()
        replica = Path(folder) / "replica.db"
        _introduce(server.version, server.port, replica)
        watched, report_seconds = _follow(server.dsn(), shop, replica, seconds, rate)
        comparisons = [compare(shop, replica, name) for name in TABLES]
        shop.close()
    _conclude(comparisons, watched, report_seconds)
    if not all(comparison.equal for comparison in comparisons):
        raise typer.Exit(1)


def _introduce(version: str, port: int, replica: Path) -> None:
    note("")
    note(
        paint("penstock", "1", sys.stderr)
        + ": a shop writes to PostgreSQL, and every change it commits flows on, live."
    )
    note("")
    note(f"  {'source':<9} PostgreSQL {version} on 127.0.0.1:{port}, started for this demo")
    note(f"  {'pipeline':<9} write-ahead log → penstock → the sql sink")
    note(f"  {'replica':<9} SQLite, {replica}")
    note("")
    note("First the rows that exist are copied, then each change is shown as it is applied.")
    note("")


def _follow(
    dsn: str, shop: Shop, replica: Path, seconds: float, rate: float
) -> tuple[Watched, float]:
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
    opened = 0.0

    async def shop_day() -> None:
        nonlocal opened
        await watched.copied.wait()
        opened = time.monotonic()
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
    return watched, time.monotonic() - opened


def _conclude(comparisons: list[Comparison], watched: Watched, seconds: float) -> None:
    equal = all(comparison.equal for comparison in comparisons)
    result = {
        "equal": equal,
        "changes": watched.changes,
        "transactions": len(watched.applied),
        "changes_per_second": round(watched.changes / seconds, 1),
        "latency_ms": {"p50": watched.percentile(50), "p99": watched.percentile(99)},
        "tables": {
            one.table: {"source": one.source, "replica": one.replica} for one in comparisons
        },
    }
    if settings.json:
        payload_json(result)
        return
    payload("")
    payload("The shop is closed. Source and replica compared, every row and every column:")
    payload("")
    table(
        ["table", "rows in the source", "rows in the replica", "equal"],
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
    payload(
        f"{watched.changes:,} changes in {len(watched.applied):,} transactions, "
        f"{watched.changes / seconds:.1f} changes/s"
    )
    middle, late = watched.percentile(50), watched.percentile(99)
    payload(f"commit → applied: p50 {middle:.1f} ms, p99 {late:.1f} ms")
    payload(
        paint("The replica equals the source.", "1;32") if equal else paint("THEY DIFFER.", "1;31")
    )
    payload("")
    payload("What next, with a database of yours (DATABASE_URL=postgresql://…):")
    payload("  penstock check      what it needs, and the SQL for it")
    payload("  penstock tail       its changes, live; nothing is left on the server")
    payload("  penstock init       a pipeline file, for penstock run")


class Watched:
    """A sink that shows what passes to the sink behind it, and when that had applied it."""

    name = "replica"

    def __init__(self, sink: Sink) -> None:
        self.copied = asyncio.Event()
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

    def percentile(self, percent: float) -> float:
        """A percentile of the latency, in milliseconds."""
        if not self._latencies:
            return 0.0
        place = min(len(self._latencies) - 1, int(len(self._latencies) * percent / 100))
        return round(self._latencies[place] * 1000, 2)
