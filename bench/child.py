"""The process that bench/postgres.py, bench/mysql.py and bench/replica.py measure: prints one JSON
line about itself."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from penstock import App, Change, Pipeline
from penstock.model import Batch, Checkpoint, Mark
from penstock.ports import Context
from penstock.sinks.jsonl import Jsonl
from penstock.sinks.sql import Sql
from penstock.sources.mysql.config import MySQL
from penstock.sources.postgres.config import Postgres


class Frozen:
    """A sink that takes one batch and never comes back."""

    name = "jsonl"  # it stands in for the sink that the state knows

    async def open(self, context: Context) -> None:
        """Nothing to open."""
        self._clock = context.clock

    async def resume(self, stream: str) -> Checkpoint | None:
        """Nothing is stored."""
        return None

    async def write(self, batch: Batch) -> None:
        """Stand still."""
        await self._clock.sleep(3600)

    async def flush(self) -> Mark | None:
        """Never reached."""
        return None

    async def close(self) -> None:
        """Nothing to close."""


class ToArrow:
    """A sink that makes record batches and lets them go."""

    name = "jsonl"  # as above

    def __init__(self) -> None:
        self.rows = 0
        self._last: Mark | None = None

    async def open(self, context: Context) -> None:
        """Nothing to open."""

    async def resume(self, stream: str) -> Checkpoint | None:
        """Nothing is stored."""
        return None

    async def write(self, batch: Batch) -> None:
        """Make the record batches beside the event loop."""
        made = await asyncio.to_thread(batch.to_arrow)
        self.rows += sum(len(rows) for rows in made)
        self._last = batch.last or self._last

    async def flush(self) -> Mark | None:
        """All is made."""
        return self._last

    async def close(self) -> None:
        """Nothing to close."""


def measured(**found: Any) -> None:
    """Print what was found, and what the process used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found["rss"] = usage.ru_maxrss / 1024
    found["cpu"] = usage.ru_utime + usage.ru_stime
    print(json.dumps(found), flush=True)


def pipeline(dsn: str, folder: Path, sink: Any) -> Pipeline:
    """The pipeline under measurement."""
    source: Postgres | MySQL = Postgres(dsn=dsn, tables=("public.bench",))
    if not dsn.startswith("postgresql"):
        source = MySQL(dsn=dsn, tables=("bench.bench",))
    return Pipeline("bench", source, [sink], store=str(folder / "state.db"), drain_timeout=1)


def replica(dsn: str, folder: Path, target: str) -> None:
    """Follow the log into another PostgreSQL."""
    source = Postgres(dsn=dsn, tables=("public.bench",))
    sink = Sql(url=target)
    pipeline = Pipeline("replica", source, [sink], store=str(folder / "state.db"))
    import_module("sqlalchemy.dialects.postgresql")  # the servers, too, have been loaded before
    import_module("psycopg")
    print("starting", flush=True)
    report = pipeline.run(until_caught_up=True)
    measured(changes=report.changes, seconds=report.seconds)


def latency(dsn: str, folder: Path) -> None:
    """Note when the handler saw each row, until told to stop."""
    seen: dict[int, float] = {}
    app = App("ticks", source=dsn, store=str(folder / "state.db"))

    @app.on("public.ticks", "insert")
    async def note(change: Change) -> None:
        seen[change.row["id"]] = time.time()

    runner = threading.Thread(target=app.run, daemon=True)
    runner.start()
    while app.pipeline.state != "running":
        time.sleep(0.05)
    print("listening", flush=True)
    sys.stdin.readline()
    app.stop()
    runner.join(30)
    print(json.dumps(seen), flush=True)


def main() -> None:
    """Do what the arguments say."""
    dsn, folder, mode = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if mode == "latency":
        latency(dsn, folder)
    elif mode == "replica":
        replica(dsn, folder, sys.argv[4])
    elif mode == "frozen":
        frozen = pipeline(dsn, folder, Frozen())
        threading.Timer(15, frozen.stop).start()
        report = frozen.run()
        measured(changes=report.changes)
    elif mode == "teardown":
        name = sys.argv[4]
        source = Postgres(dsn=dsn, tables=(f"public.{name}",))
        Pipeline(name, source, [Frozen()], store=str(folder / "state.db")).teardown()
        measured()
    elif mode == "arrow":
        import_module("pyarrow")  # whoever uses it has loaded it
        sink = ToArrow()
        report = pipeline(dsn, folder, sink).run(until_caught_up=True)
        measured(changes=sink.rows, seconds=report.seconds)
    else:
        lines = Jsonl(path=str(folder / "out.jsonl"), format="row" if mode == "row" else "change")
        report = pipeline(dsn, folder, lines).run(until_caught_up=True)
        measured(changes=report.changes, seconds=report.seconds)


if __name__ == "__main__":
    main()
