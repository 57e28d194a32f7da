"""How fast does penstock copy a table, next to PostgreSQL's own client?

5M rows of 8 columns become Arrow record batches, by two connections on one snapshot; and psql
drains `COPY … TO STDOUT` of the same ranges of pages into /dev/null, also by two connections: in
the form that it has by itself, text, which the ratio is of, and in binary, as we read such a table.
In turn, so that all meet the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

sys.path.append(str(Path(__file__).parent.parent))

import penstock
from bench.installed import compile_modules
from bench.postgres import FILL, TABLE
from bench.report import publish
from penstock.embedded.binaries import require
from penstock.embedded.server import Server
from penstock.sources.postgres import catalog, parts

CONNECTIONS: Final = 2
FORMS: Final = {"": "text", " (FORMAT binary)": "binary"}
"""Of what psql drains: what COPY is told, and what the table calls it."""


def fill(dsn: str, rows: int) -> None:
    """A table of so many rows, at rest."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLE)
        for first in range(1, rows + 1, 1_000_000):
            connection.execute(FILL, (first, min(first + 999_999, rows)))
        connection.execute("VACUUM (ANALYZE, FREEZE) bench")
        connection.execute("CHECKPOINT")


def scripts(dsn: str, form: str) -> list[str]:
    """The COPY commands of each psql: the parts that penstock makes, in turn."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        (table,) = catalog.captured(connection, ["public.bench"])
        names = ", ".join(
            name
            for (name,) in connection.execute(
                "SELECT quote_ident(attname) FROM pg_attribute"
                " WHERE attrelid = 'bench'::regclass AND attnum > 0 ORDER BY attnum"
            )
        )
        commands = [
            f"COPY (SELECT {names} FROM {part.relation} WHERE {part.condition or 'true'})"
            f" TO STDOUT{form};\n"
            for part in parts.cut(connection, table).parts
        ]
    return ["".join(commands[i::CONNECTIONS]) for i in range(CONNECTIONS)]


def psql(bin: Path, dsn: str, commands: list[str]) -> dict[str, float]:
    """Drain the same by PostgreSQL's own client."""
    begun, before = time.perf_counter(), os.times()
    clients = [
        subprocess.Popen(
            [str(bin / "psql"), "-qXd", dsn], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        for _ in commands
    ]
    for client, text in zip(clients, commands, strict=True):
        assert client.stdin is not None
        client.stdin.write(text.encode())
        client.stdin.close()
    assert all(client.wait() == 0 for client in clients)
    after = os.times()
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return {"seconds": time.perf_counter() - begun, "cpu": cpu}


def ours(dsn: str) -> dict[str, float]:
    """Copy in a process of its own; what it measured of itself."""
    result = subprocess.run(
        [sys.executable, __file__, "--child", dsn], check=True, stdout=subprocess.PIPE
    )
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def child(dsn: str) -> None:
    """The process under measurement: prints one JSON line about itself."""
    begun = time.perf_counter()
    rows = 0
    with penstock.stream(dsn, tables=["public.bench"], snapshot="only") as stream:
        for batch in stream.batches():
            rows += sum(made.num_rows for made in batch.to_arrow())
    seconds = time.perf_counter() - begun
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": cpu, "rss": usage.ru_maxrss / 1024}))


def main() -> None:
    """Measure both in turn, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--version", default="16", help="of PostgreSQL: 15, 16 or 18")
    parser.add_argument("--child", metavar="DSN", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    compile_modules()
    settings = {"max_wal_size": "8GB", "shared_buffers": "512MB", "checkpoint_timeout": "30min"}
    with Server(options.version, settings=settings) as server:
        dsn = server.dsn()
        fill(dsn, options.rows)
        commands = {form: scripts(dsn, form) for form in FORMS}
        peers: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
        runs = []
        for _ in range(options.rounds):
            for form, found in peers.items():
                found.append(psql(require(options.version), dsn, commands[form]))
            runs.append(ours(dsn))
            assert runs[-1]["rows"] == options.rows, runs[-1]
    count = options.rows

    def row(client: str, found: list[dict[str, float]]) -> dict[str, Any]:
        both = zip(peers[""], found, strict=True)
        return {
            "client": client,
            "rows/s": count / median(one["seconds"] for one in found),
            "ratio": median(peer["seconds"] / one["seconds"] for peer, one in both),
            "CPU µs/row": median(one["cpu"] for one in found) / count * 1e6,
            "peak RSS MB": max(one.get("rss", 0.0) for one in found) or None,
        }

    publish(
        "snapshot",
        "A table of 5M rows, two connections",
        [
            *(row(f"psql > /dev/null, {FORMS[form]}", found) for form, found in peers.items()),
            row("penstock → Arrow", runs),
        ],
        {"PostgreSQL": options.version, "rows": count},
        "rows/s",
    )


if __name__ == "__main__":
    main()
