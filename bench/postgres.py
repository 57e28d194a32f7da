"""How fast does penstock read PostgreSQL's log, next to PostgreSQL's own client?

1M rows of 8 columns in 100 transactions are read by `pg_recvlogical -f /dev/null` and by penstock
into a JSON-lines file and into Arrow record batches, in turn, from copies of one slot, so that all
read the same log. Then the memory of a transaction of 5M rows and of a sink that stands still, and
the latency from a commit to a handler at 1,000 transactions a second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

sys.path.append(str(Path(__file__).parent.parent))

from bench.installed import compile_modules
from bench.report import publish
from penstock.embedded.binaries import require
from penstock.embedded.server import Server

HERE: Final = Path(__file__).parent
MODES: Final = {"caught-up": "penstock → jsonl (change)", "arrow": "penstock → Arrow"}
"""What the process that is measured does, and what the table calls it."""
TABLE: Final = """
CREATE TABLE bench (
    id bigint PRIMARY KEY, customer int, status text, note varchar(80),
    total numeric(12,2), paid boolean, placed timestamptz, details jsonb
)
"""
FILL: Final = """
INSERT INTO bench
SELECT i, i %% 1000, 'status-' || i %% 5, 'note of order number ' || i, (i %% 10000) / 7.0,
       i %% 2 = 0, '2026-01-01'::timestamptz + i * interval '1 second',
       jsonb_build_object('sku', 'A-' || i %% 100, 'n', i %% 10)
FROM generate_series(%s::bigint, %s::bigint) i
"""


def fill(dsn: str, rows: int, transactions: int) -> None:
    """Insert ``rows`` rows in equal transactions."""
    each = rows // transactions
    with psycopg.connect(dsn, autocommit=True) as connection:
        first = connection.execute("SELECT coalesce(max(id), 0) FROM bench").fetchone()
        assert first is not None
        for i in range(transactions):
            begin = first[0] + i * each
            connection.execute(FILL, (begin + 1, begin + each))


def child(dsn: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run penstock in a process of its own; what it measured of itself."""
    result = subprocess.run(
        [sys.executable, str(HERE / "child.py"), dsn, str(folder), *arguments],
        check=True,
        stdout=subprocess.PIPE,
    )
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return measured


def recvlogical(bin: Path, dsn: str, slot: str, end: str) -> tuple[float, float]:
    """Seconds and CPU seconds of PostgreSQL's own client."""
    begun, before = time.perf_counter(), os.times()
    subprocess.run(
        [
            str(bin / "pg_recvlogical"), "-d", dsn, "--slot", slot, "--start", "-f", "/dev/null",
            "-o", "proto_version=1", "-o", "publication_names=penstock_bench", "--endpos", end,
            "--no-loop",
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return time.perf_counter() - begun, cpu


def throughput(server: Server, bin: Path, rows: int, rounds: int) -> list[dict[str, Any]]:
    """All clients over the same log, in turn."""
    dsn = server.dsn()
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    child(dsn, folder, "caught-up")  # makes slot, publication and state
    theirs: list[tuple[float, float]] = []
    ours: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    with psycopg.connect(dsn, autocommit=True) as c:
        c.execute("SELECT pg_copy_logical_replication_slot('penstock_bench', 'base')")
        shutil.copytree(folder, folder.with_name(folder.name + "-base"))
        fill(dsn, rows, 100)
        end = c.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert end is not None
        for _ in range(rounds):
            c.execute("SELECT pg_copy_logical_replication_slot('base', 'peer')")
            theirs.append(recvlogical(bin, dsn, "peer", end[0]))
            c.execute("SELECT pg_drop_replication_slot('peer')")
            for mode in MODES:
                c.execute("SELECT pg_drop_replication_slot('penstock_bench')")
                c.execute("SELECT pg_copy_logical_replication_slot('base', 'penstock_bench')")
                shutil.rmtree(folder)
                shutil.copytree(folder.with_name(folder.name + "-base"), folder)
                measured = child(dsn, folder, mode)
                assert measured["changes"] == rows, measured
                ours[mode].append(measured)
        c.execute("SELECT pg_drop_replication_slot('base')")
    shutil.rmtree(folder.with_name(folder.name + "-base"))
    shutil.rmtree(folder)
    peer = median(seconds for seconds, _ in theirs)
    result: list[dict[str, Any]] = [
        {
            "client": "pg_recvlogical -f /dev/null",
            "rows/s": rows / peer,
            "ratio": 1.0,
            "CPU µs/row": median(cpu for _, cpu in theirs) / rows * 1e6,
            "peak RSS MB": None,
        }
    ]
    for mode, client in MODES.items():
        mine = median(run["seconds"] for run in ours[mode])
        pairs = zip(theirs, ours[mode], strict=True)
        result.append(
            {
                "client": client,
                "rows/s": rows / mine,
                "ratio": median(seconds / run["seconds"] for (seconds, _), run in pairs),
                "CPU µs/row": median(run["cpu"] for run in ours[mode]) / rows * 1e6,
                "peak RSS MB": max(run["rss"] for run in ours[mode]),
            }
        )
    return result


def memory(server: Server, rows: int) -> dict[str, float]:
    """Peak RSS with one huge transaction, and with a sink that stands still."""
    dsn = server.dsn()
    found: dict[str, float] = {}
    for name, mode in (("one transaction", "caught-up"), ("frozen sink", "frozen")):
        with psycopg.connect(dsn, autocommit=True) as c:
            c.execute("TRUNCATE bench")
        folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        child(dsn, folder, "caught-up")
        count = rows if mode == "caught-up" else rows // 5
        fill(dsn, count, 1)
        measured = child(dsn, folder, mode)
        label = f"peak RSS MB, {name} ({count:,} rows)"
        found[label] = measured["rss"]
        child(dsn, folder, "teardown", "bench")
        shutil.rmtree(folder)
    return found


def latency(server: Server, seconds: float, rate: int) -> dict[str, float]:
    """Commit to handler, in milliseconds, at ``rate`` transactions a second."""
    dsn = server.dsn()
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    with psycopg.connect(dsn, autocommit=True) as c:
        c.execute("CREATE TABLE ticks (id bigint PRIMARY KEY, t double precision)")
    process = subprocess.Popen(
        [sys.executable, str(HERE / "child.py"), dsn, str(folder), "latency"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()  # it listens
    committed: dict[int, float] = {}
    writers = 4
    count = int(seconds * rate / writers)

    def write(worker: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            begun = time.perf_counter()
            for i in range(count):
                due = begun + i * writers / rate
                if (wait := due - time.perf_counter()) > 0:
                    time.sleep(wait)
                id = i * writers + worker
                connection.execute("INSERT INTO ticks VALUES (%s, 0)", (id,))
                committed[id] = time.time()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    time.sleep(1)
    output, _ = process.communicate("stop\n")
    seen: dict[str, float] = json.loads(output.splitlines()[-1])
    assert len(seen) == count * writers, f"{len(seen)} of {count * writers} arrived"
    # A handler may run before the client has the server's answer to its COMMIT: that counts as 0.
    delays = sorted(max(seen[str(id)] - at, 0.0) * 1000 for id, at in committed.items())
    child(dsn, folder, "teardown", "ticks")
    shutil.rmtree(folder)
    return {
        "latency, transactions/s reached": count * writers / took,
        "latency p50 ms, commit → handler": delays[len(delays) // 2],
        "latency p99 ms, commit → handler": delays[int(len(delays) * 0.99)],
        "latency max ms, commit → handler": delays[-1],
    }


def start_up() -> dict[str, float]:
    """Seconds until penstock is imported, and until its help is on the screen."""

    def best(*command: str) -> float:
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - begun)
        return min(times)

    bare = best(sys.executable, "-c", "pass")
    return {
        "import penstock, s": best(sys.executable, "-c", "import penstock") - bare,
        "penstock --help, s": best(str(Path(sys.executable).parent / "penstock"), "--help"),
    }


def main() -> None:
    """Run all parts and publish them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--huge", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--version", default="16", help="of PostgreSQL: 15, 16 or 18")
    options = parser.parse_args()
    compile_modules()
    settings = {"max_wal_size": "8GB", "shared_buffers": "512MB", "checkpoint_timeout": "30min"}
    facts: dict[str, Any] = {"PostgreSQL": options.version, "rows": options.rows}
    with Server(options.version, settings=settings) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(TABLE)
        rows = throughput(server, require(options.version), options.rows, options.rounds)
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("SELECT pg_drop_replication_slot('penstock_bench')")
            connection.execute("DROP PUBLICATION penstock_bench")
        facts |= latency(server, options.seconds, options.rate)
        if options.huge:
            facts |= memory(server, options.huge)
    facts |= start_up()
    publish("postgres", "PostgreSQL's log, one process", rows, facts, "rows/s")


if __name__ == "__main__":
    main()
