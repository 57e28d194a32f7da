"""How fast does penstock keep a PostgreSQL replica, next to PostgreSQL's own subscription?

The same log goes from one server to another, in turn by `CREATE SUBSCRIPTION` (its defaults, no
initial copy) and by penstock into its `sql` sink, each into a fresh copy of the same database. The
time runs from the start until the last row is visible in the target.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

sys.path.append(str(Path(__file__).parent.parent))

from bench.installed import compile_modules
from bench.postgres import TABLE
from bench.report import publish
from penstock.embedded.server import Server
from penstock.kernel import kernel

HERE: Final = Path(__file__).parent
SLOT: Final = "penstock_replica"
FILL: Final = """
CREATE PROCEDURE fill(first bigint, last bigint, each bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR start IN first..last BY each LOOP
        INSERT INTO bench
        SELECT i, i % 1000, 'status-' || i % 5, 'note of order number ' || i, (i % 10000) / 7.0,
               i % 2 = 0, '2026-01-01'::timestamptz + i * interval '1 second',
               jsonb_build_object('sku', 'A-' || i % 100, 'n', i % 10)
        FROM generate_series(start, least(start + each - 1, last)) i;
        COMMIT;
    END LOOP;
END $$
"""
PATIENCE: Final = 600.0
"""Seconds after which a run that does not arrive is given up."""


@dataclass
class Pair:
    """Two servers, the target's `base` database ready to take what the source's log has."""

    source: Server
    target: Server
    state: Path
    runs: int = 0

    def prepare(self) -> None:
        """Let penstock make slot, publication and checkpoint; keep copies of all three."""
        self.on(self.source, "DROP TABLE IF EXISTS bench", TABLE)
        self.on(self.target, "DROP DATABASE IF EXISTS base", "CREATE DATABASE base")
        self.on(self.target, TABLE, database="base")
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir()
        self._child(self.state, "base")
        self.copy_slot(SLOT, "base")

    def copy_slot(self, of: str, to: str) -> None:
        """Copy a slot over another, if that is there."""
        gone = f"SELECT pg_drop_replication_slot('{to}') FROM pg_replication_slots"
        made = f"SELECT pg_copy_logical_replication_slot('{of}', '{to}')"
        self.on(self.source, f"{gone} WHERE slot_name = '{to}'", made)

    def on(self, server: Server, *statements: str, database: str = "postgres") -> None:
        """Run statements on one of the two."""
        with psycopg.connect(server.dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def database(self) -> str:
        """A fresh copy of the target."""
        self.runs += 1
        self.on(self.target, f"CREATE DATABASE run_{self.runs} TEMPLATE base", "CHECKPOINT")
        return f"run_{self.runs}"

    def subscription(self, last: int) -> tuple[float, None]:
        """Seconds that PostgreSQL takes."""
        database = self.database()
        self.copy_slot("base", "peer")
        begun = time.perf_counter()
        self.on(
            self.target,
            f"CREATE SUBSCRIPTION peer CONNECTION '{self.source.dsn()}' PUBLICATION {SLOT} "
            "WITH (create_slot = false, slot_name = 'peer', copy_data = false)",
            database=database,
        )
        seconds = self.wait(database, last, begun)
        self.on(
            self.target,
            "ALTER SUBSCRIPTION peer DISABLE",
            "ALTER SUBSCRIPTION peer SET (slot_name = NONE)",
            "DROP SUBSCRIPTION peer",
            database=database,
        )
        self.on(self.target, f"DROP DATABASE {database} WITH (FORCE)")
        return seconds, None

    def penstock(self, last: int) -> tuple[float, float]:
        """Seconds that penstock takes, and the CPU seconds of its process."""
        database = self.database()
        self.copy_slot("base", SLOT)
        folder = self.state.with_name(self.state.name + "-run")
        shutil.copytree(self.state, folder)
        with self._popen(folder, database) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it is imported, and starts
            seconds = self.wait(database, last, time.perf_counter())
            output = process.stdout.read()
        assert process.returncode == 0, process.returncode
        measured: dict[str, Any] = json.loads(output.splitlines()[-1])
        self.on(self.target, f"DROP DATABASE {database} WITH (FORCE)")
        shutil.rmtree(folder)
        return seconds, measured["cpu"]

    def wait(self, database: str, last: int, begun: float) -> float:
        """Seconds since ``begun`` until the last row is there, and with it all."""
        with psycopg.connect(self.target.dsn(database), autocommit=True) as connection:
            arrived = "SELECT 1 FROM bench WHERE id = %s"
            while not connection.execute(arrived, (last,)).fetchone():
                assert time.perf_counter() - begun < PATIENCE, "the rows do not arrive"
                time.sleep(0.02)
            seconds = time.perf_counter() - begun
            found = connection.execute("SELECT count(*) FROM bench").fetchone()
        assert found == (last,), found
        return seconds

    def _child(self, folder: Path, database: str) -> None:
        with self._popen(folder, database) as process:
            process.communicate()
        assert process.returncode == 0, process.returncode

    def _popen(self, folder: Path, database: str) -> subprocess.Popen[bytes]:
        program = str(HERE / "child.py")
        arguments = [self.source.dsn(), str(folder), "replica", self.target.dsn(database)]
        return subprocess.Popen([sys.executable, program, *arguments], stdout=subprocess.PIPE)


def compare(pair: Pair, rows: int, each: int, rounds: int) -> list[dict[str, Any]]:
    """Both over the same log, in turn."""
    pair.prepare()
    with psycopg.connect(pair.source.dsn(), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("CALL fill(1, %s, %s)", (rows, each))
    runs: dict[str, list[tuple[float, float | None]]] = {"theirs": [], "ours": []}
    ways: dict[str, Callable[[int], tuple[float, float | None]]] = {
        "theirs": pair.subscription,
        "ours": pair.penstock,
    }
    for _ in range(rounds):
        for name, run in ways.items():
            runs[name].append(run(rows))
    theirs, ours = ([seconds for seconds, _ in runs[name]] for name in ways)
    ratio = median(t / o for t, o in zip(theirs, ours, strict=True))
    label = f"{each:,} row{'s' if each > 1 else ''} per transaction"
    return [
        _row(f"PostgreSQL's subscription, {label}", rows, theirs, 1.0, None),
        _row(
            f"penstock → sql, {label}",
            rows,
            ours,
            ratio,
            median(cpu or 0 for _, cpu in runs["ours"]) / rows * 1e6,
        ),
    ]


def _row(
    name: str, rows: int, seconds: list[float], ratio: float, cpu: float | None
) -> dict[str, Any]:
    middle = median(seconds)
    return {
        "replica": name,
        "rows/s": rows / middle,
        "seconds": middle,
        "ratio": ratio,
        "CPU µs/row": cpu,
    }


def main() -> None:
    """Run both workloads and publish them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=50_000, help="of one row each")
    parser.add_argument("--rows", type=int, default=1_000_000, help="in transactions of 10,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--version", default="16", help="of PostgreSQL: 16 or 18")
    options = parser.parse_args()
    compile_modules()
    settings = {"max_wal_size": "8GB", "shared_buffers": "512MB", "checkpoint_timeout": "30min"}
    state = Path(tempfile.mkdtemp(prefix="penstock-bench-")) / "state"
    facts = {"PostgreSQL": options.version, "kernel": kernel(), "processors": os.cpu_count()}
    try:
        with (
            Server(options.version, settings=settings) as source,
            Server(options.version, settings=settings) as target,
        ):
            pair = Pair(source, target, state)
            pair.on(source, TABLE, FILL)
            rows: list[dict[str, Any]] = []
            for count, each in ((options.transactions, 1), (options.rows, 10_000)):
                if count:
                    rows += compare(pair, count, each, options.rounds)
                    pair.on(source, f"DROP PUBLICATION {SLOT}")
                    for slot in ("base", "peer", SLOT):
                        pair.on(source, f"SELECT pg_drop_replication_slot('{slot}')")
    finally:
        shutil.rmtree(state.parent)
    publish("replica", "From one PostgreSQL to another", rows, facts, "rows/s")


if __name__ == "__main__":
    main()
