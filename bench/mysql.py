"""How fast does penstock read the binlog, next to python-mysql-replication and mariadb-binlog?

Two workloads on MariaDB and on MySQL: 1M rows of 8 columns by one INSERT … SELECT, and 200,000
transactions of one row. The same log is read, in turn, by python-mysql-replication (its rows are
iterated, nothing more), by the server's own client (`mariadb-binlog` or `mysqlbinlog`, which turns
rows to text into /dev/null), and by penstock: into JSON lines under both kernels (format `change`,
and `row`, which has the columns alone), and into Arrow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import pymysql

sys.path.append(str(Path(__file__).parent.parent))

from bench.installed import compile_modules
from bench.report import publish
from tools.mysql import FLAVORS, PACKAGES, Flavor, MySQL
from tools.packages import Package

HERE: Final = Path(__file__).parent
PEER: Final = "python-mysql-replication"
CLIENTS: Final[dict[Flavor, tuple[Package, str]]] = {
    "mariadb": (Package("mariadb-client", "bookworm"), "usr/bin/mariadb-binlog"),
    "mysql": (PACKAGES["mysql"], "usr/bin/mysqlbinlog"),
}
OURS: Final = {
    "penstock, Python kernel → jsonl": ("python", "caught-up"),
    "penstock, native kernel → jsonl": ("native", "caught-up"),
    "penstock, native kernel → jsonl (row)": ("native", "row"),
    "penstock, native kernel → Arrow": ("native", "arrow"),
}
"""What the table calls it, the kernel, and what the measured process does."""
TABLE: Final = """
CREATE TABLE bench (
    id bigint PRIMARY KEY, customer int, status varchar(20), note varchar(80),
    total decimal(12,2), paid boolean, placed datetime(6), details json
)
"""
VALUES: Final = """
{i}, {i} % 1000, CONCAT('status-', {i} % 5), CONCAT('note of order number ', {i}),
({i} % 10000) / 7, {i} % 2 = 0, '2026-01-01' + INTERVAL {i} SECOND,
JSON_OBJECT('sku', CONCAT('A-', {i} % 100), 'n', {i} % 10)
"""
BULK: Final = f"""
INSERT INTO bench WITH RECURSIVE numbers (i) AS (
    SELECT %s UNION ALL SELECT i + 1 FROM numbers WHERE i < %s
) SELECT {VALUES.format(i="i")} FROM numbers
"""
SINGLE: Final = f"""
CREATE PROCEDURE one_by_one(n bigint, last bigint)
WHILE n <= last DO
    INSERT INTO bench VALUES ({VALUES.format(i="n")});
    SET n = n + 1;
END WHILE
"""


DEPTH: Final[dict[Flavor, str]] = {
    "mysql": "cte_max_recursion_depth",
    "mariadb": "max_recursive_iterations",
}


def bulk(connection: pymysql.Connection[Any], rows: int) -> None:
    """One transaction of all rows."""
    with connection.cursor() as cursor:
        cursor.execute(BULK.replace("%", "%%").replace("%%s", "%s"), (1, rows))


def single(connection: pymysql.Connection[Any], rows: int) -> None:
    """A transaction a row."""
    with connection.cursor() as cursor:
        cursor.execute("CALL one_by_one(1, %s)", (rows,))


def measured(command: list[str], **environment: str) -> dict[str, Any]:
    """Run a process that measures itself, and what it said."""
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment}
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(server: MySQL, folder: Path, kernel: str, mode: str) -> dict[str, Any]:
    """penstock in a process of its own."""
    command = [sys.executable, str(HERE / "child.py"), server.dsn("bench"), str(folder), mode]
    return measured(command, PENSTOCK_KERNEL=kernel)


def peer(server: MySQL, file: str) -> dict[str, Any]:
    """python-mysql-replication in a process of its own."""
    return measured([sys.executable, str(Path(__file__)), "--peer", str(server.port), file])


def iterate(port: int, file: str) -> None:
    """Iterate over all rows of the log from a file on, and tell how long it took."""
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import WriteRowsEvent

    begun, rows = time.perf_counter(), 0
    reader = BinLogStreamReader(
        connection_settings={"host": "127.0.0.1", "port": port, "user": "root", "password": ""},
        server_id=4711,
        log_file=file,
        log_pos=4,
        resume_stream=True,
        only_events=[WriteRowsEvent],
    )
    for event in reader:
        for _ in event.rows:
            rows += 1
    seconds = time.perf_counter() - begun
    reader.close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime
    print(
        json.dumps({"changes": rows, "seconds": seconds, "cpu": cpu, "rss": usage.ru_maxrss / 1024})
    )


def decode_rows(server: MySQL, file: str, *, remote: bool) -> dict[str, Any]:
    """The server's own client, from the server or from the file."""
    package, program = CLIENTS[server.flavor]
    command = [*package.command(program), "--no-defaults", "-v", "--base64-output=decode-rows"]
    if remote:
        command += ["-R", "-h127.0.0.1", f"-P{server.port}", "-uroot", file]
    else:
        command += [str(server.data / file)]
    before, begun = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - begun, os.times()
    cpu = after.children_user - before.children_user + after.children_system
    return {"seconds": seconds, "cpu": cpu - before.children_system}


def workload(
    server: MySQL, name: str, fill: Callable[..., None], rows: int, rounds: int
) -> list[dict[str, Any]]:
    """One workload, read by all in turn."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    base = folder.with_name(folder.name + "-base")
    with pymysql.connect(**server.parameters, database="bench", autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE bench")
            cursor.execute("FLUSH BINARY LOGS")
            cursor.execute("SHOW BINARY LOGS")
            file = cursor.fetchall()[-1][0]
        child(server, folder, "native", "caught-up")  # where reading begins
        shutil.copytree(folder, base)
        fill(connection, rows)
        with connection.cursor() as cursor:
            cursor.execute("FLUSH BINARY LOGS")
    program = CLIENTS[server.flavor][1].rpartition("/")[2]
    clients: dict[str, Callable[[], dict[str, Any]]] = {
        PEER: lambda: peer(server, file),
        f"{program}, from the server": lambda: decode_rows(server, file, remote=True),
        f"{program}, from the file": lambda: decode_rows(server, file, remote=False),
    }

    def ours(kernel: str, mode: str) -> dict[str, Any]:
        shutil.rmtree(folder)
        shutil.copytree(base, folder)
        return child(server, folder, kernel, mode)

    for client, (kernel, mode) in OURS.items():
        clients[client] = partial(ours, kernel, mode)
    runs: dict[str, list[dict[str, Any]]] = {client: [] for client in clients}
    for _ in range(rounds):
        for client, run in clients.items():
            found = run()
            if found.get("changes", rows) != rows:
                raise RuntimeError(f"{client} saw {found['changes']} of {rows} rows")
            runs[client].append(found)
    shutil.rmtree(folder)
    shutil.rmtree(base)
    table = []
    for client, mine in runs.items():
        pairs = zip(runs[PEER], mine, strict=True)
        table.append(
            {
                "client": f"{server.flavor}, {name}: {client}",
                "rows/s": rows / median(one["seconds"] for one in mine),
                "× the peer": median(theirs["seconds"] / one["seconds"] for theirs, one in pairs),
                "CPU µs/row": median(one["cpu"] for one in mine) / rows * 1e6,
                "peak RSS MB": max((one["rss"] for one in mine if "rss" in one), default=None),
            }
        )
    return table


def main() -> None:
    """Run both workloads on both servers and publish them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--transactions", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flavors", nargs="+", choices=FLAVORS, default=FLAVORS)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        iterate(int(options.peer[0]), options.peer[1])
        return
    compile_modules()
    rows: list[dict[str, Any]] = []
    for flavor in options.flavors:
        CLIENTS[flavor][0].fetch()
        with MySQL(flavor, settings={"innodb-buffer-pool-size": "512M"}) as server:
            with (
                pymysql.connect(**server.parameters, autocommit=True) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("CREATE DATABASE bench")
                connection.select_db("bench")
                cursor.execute(TABLE)
                cursor.execute(SINGLE)
                cursor.execute(f"SET GLOBAL {DEPTH[flavor]} = %s", (options.rows,))
            rows += workload(server, "bulk", bulk, options.rows, options.rounds)
            rows += workload(server, "single rows", single, options.transactions, options.rounds)
    facts = {"rows in bulk": options.rows, "transactions of one row": options.transactions}
    publish("mysql", "The binlog, one process", rows, facts, "rows/s")


if __name__ == "__main__":
    main()
