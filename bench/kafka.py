"""How much does it cost to bring PostgreSQL's log to Kafka, by penstock and by Debezium?

1M rows of 8 columns in 100 transactions go through each client in turn, into a topic of one
partition. A client is started, has delivered rows, and is frozen while the others are inserted;
what counts begins when it is thawed and ends when the last record is in Kafka. Then each client
meets 1,000 transactions of one row a second, for the time from a commit until its record can be
read.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

sys.path.append(str(Path(__file__).parent.parent))

from bench.postgres import TABLE, fill
from bench.report import publish
from penstock.embedded.server import Server
from tools.brokers import Kafka
from tools.peer import Peer, properties

TICKS: Final = "CREATE TABLE ticks (id bigint PRIMARY KEY, t double precision)"
BATCHES: Final = {"producer__batch__size": "1000000", "producer__linger__ms": "5"}
WRITERS: Final = 4
PATIENCE: Final = 900.0
"""Seconds until a client that brings nothing is given up."""


@dataclass(frozen=True)
class Penstock:
    """``penstock run`` with a pipeline file.

    Parameters
    ----------
    sink, format: options that are not the default.
    """

    label: str
    sink: Mapping[str, Any] = field(default_factory=dict)
    format: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def running(self, dsn: str, url: str, prefix: str, folder: Path) -> Iterator[int]:
        """Capture; gives the process id."""
        options = {"brokers": url, **self.sink}
        format = {"type": "debezium", "topic_prefix": prefix, **self.format}
        (folder / "bench.toml").write_text(
            f'name = "{prefix}"\n[source]\ntype = "postgres"\ndsn = "{dsn}"\n'
            'tables = ["public.*"]\nsnapshot = "never"\n'
            f'[store]\ntype = "sqlite"\npath = "{folder}/state.db"\n'
            '[[sinks]]\ntype = "kafka"\n'
            + "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
            + "[sinks.format]\n"
            + "".join(f"{name} = {json.dumps(value)}\n" for name, value in format.items())
        )
        command = str(Path(sys.executable).parent / "penstock")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [command, "run", str(folder / "bench.toml")], stdout=log, stderr=log
            )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()
            subprocess.run(
                [command, "teardown", str(folder / "bench.toml"), "--yes"],
                check=True,
                capture_output=True,
            )


@dataclass(frozen=True)
class Debezium:
    """Debezium's connector in its embedded engine, into Kafka's Java producer.

    Parameters
    ----------
    settings: of connector and producer, with ``__`` for dots, that are not the default.
    heap: the largest heap, in MiB.
    """

    label: str
    heap: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, dsn: str, url: str, prefix: str, folder: Path) -> Iterator[int]:
        """Capture; gives the process id."""
        given = {
            "topic.prefix": prefix,
            "slot.name": prefix,
            "publication.name": prefix,
            "publication.autocreate.mode": "filtered",
            "snapshot.mode": "no_data",
            "table.include.list": "public.bench,public.ticks",
            "poll.interval.ms": "500",
            "producer.bootstrap.servers": url,
            **self.settings,
        }
        peer = Peer(properties(dsn, given), folder, heap=self.heap, options=())
        try:
            yield peer.java.process.pid
        finally:
            peer.stop()
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(f"DROP PUBLICATION IF EXISTS {prefix}")


CLIENTS: Final[tuple[Penstock | Debezium, ...]] = (
    Penstock("penstock, defaults"),
    Debezium("Debezium, defaults", 2048),
    Penstock("penstock, tuned", {}, {"schemas": False}),
    Penstock("penstock, tuned, transactions", {"transactions": True}, {"schemas": False}),
    Debezium(
        "Debezium, tuned",
        512,
        {
            "key__converter__schemas__enable": "false",
            "value__converter__schemas__enable": "false",
            "max__batch__size": "20480",
            "max__queue__size": "81920",
            "poll__interval__ms": "10",
            "producer__compression__type": "lz4",
            **BATCHES,
        },
    ),
)


def usage(pid: int) -> tuple[float, float]:
    """CPU seconds of a process with all its threads, and its peak RSS in MB."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(stat[11]) + int(stat[12])
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return ticks / os.sysconf("SC_CLK_TCK"), int(peak.split()[1]) / 1024


class Topic:
    """A topic of one partition, seen by a reader."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._consumer = Consumer({"bootstrap.servers": url, "group.id": "bench", "log_level": 0})

    def end(self) -> int:
        """The offset after the last record."""
        try:
            partition = TopicPartition(self.name, 0)
            return int(self._consumer.get_watermark_offsets(partition, timeout=5)[1])
        except KafkaException:
            return 0

    def wait(self, end: int, pid: int) -> float:
        """When it has come to an offset. Raises RuntimeError when the client brings no more."""
        deadline = time.perf_counter() + PATIENCE
        while self.end() < end:
            if time.perf_counter() > deadline or not Path(f"/proc/{pid}/fd/0").exists():
                raise RuntimeError(f"{self.name}: {self.end()} of {end}")
            time.sleep(0.02)
        return time.perf_counter()

    def close(self) -> None:
        """Let go."""
        self._consumer.close()


def throughput(dsn: str, url: str, client: Penstock | Debezium, rows: int) -> dict[str, float]:
    """One client, one million rows."""
    prefix = f"bench_{os.urandom(3).hex()}"
    topic = Topic(url, f"{prefix}.public.bench")
    with psycopg.connect(dsn, autocommit=True) as c:
        c.execute("TRUNCATE bench")
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder,
        client.running(dsn, url, prefix, Path(folder)) as pid,
    ):
        await_start(dsn, topic, prefix, pid)
        first = topic.end()
        os.kill(pid, signal.SIGSTOP)
        fill(dsn, rows, 100)
        before, _ = usage(pid)
        begun = time.perf_counter()
        os.kill(pid, signal.SIGCONT)
        seconds = topic.wait(first + rows, pid) - begun
        after, peak = usage(pid)
    topic.close()
    admin = AdminClient({"bootstrap.servers": url})
    admin.delete_topics([topic.name])[topic.name].result()
    return {"rows/s": rows / seconds, "CPU s": after - before, "peak RSS MB": peak}


def await_start(dsn: str, topic: Topic, prefix: str, pid: int) -> None:
    """Write rows until one of them has come through."""
    deadline = time.perf_counter() + PATIENCE
    with psycopg.connect(dsn, autocommit=True) as c:
        while not topic.end():
            if time.perf_counter() > deadline or not Path(f"/proc/{pid}/fd/0").exists():
                raise RuntimeError(f"{prefix} does not start")
            c.execute("INSERT INTO bench SELECT -coalesce(max(-id), 0) - 1 FROM bench WHERE id < 0")
            time.sleep(0.5)
        time.sleep(3)


def latency(
    dsn: str, url: str, client: Penstock | Debezium, seconds: float, rate: int
) -> dict[str, float]:
    """Commit to readable, in milliseconds, at ``rate`` transactions a second."""
    prefix = f"bench_{os.urandom(3).hex()}"
    topic = Topic(url, f"{prefix}.public.bench")
    with psycopg.connect(dsn, autocommit=True) as c:
        c.execute("TRUNCATE bench, ticks")
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder,
        client.running(dsn, url, prefix, Path(folder)) as pid,
    ):
        await_start(dsn, topic, prefix, pid)
        warm = commit_ticks(dsn, 3, rate, 0)
        count = int(seconds * rate)
        reader = subprocess.Popen(
            [sys.executable, __file__, "--read", url, f"{prefix}.public.ticks"],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )
        assert reader.stdout is not None
        reader.stdout.readline()  # it listens
        committed = commit_ticks(dsn, seconds, rate, len(warm))
        output, _ = reader.communicate(f"{len(warm) + count}\n")
    topic.close()
    seen = {int(id): at for id, at in json.loads(output.splitlines()[-1]).items()}
    delays = sorted(max(seen[id] - at, 0.0) * 1000 for id, at in committed.items())
    return {"p50 ms": delays[len(delays) // 2], "p99 ms": delays[int(len(delays) * 0.99)]}


def commit_ticks(dsn: str, seconds: float, rate: int, first: int) -> dict[int, float]:
    """Insert one row in each transaction; when each commit returned."""
    committed: dict[int, float] = {}
    count = int(seconds * rate / WRITERS)

    def write(worker: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            begun = time.perf_counter()
            for i in range(count):
                due = begun + i * WRITERS / rate
                if (wait := due - time.perf_counter()) > 0:
                    time.sleep(wait)
                id = first + i * WRITERS + worker
                connection.execute("INSERT INTO ticks VALUES (%s, 0)", (id,))
                committed[id] = time.time()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return committed


def read(url: str, topic: str) -> None:
    """Note when each record could be read, until as many as standard input says have come."""
    consumer = Consumer(
        {"bootstrap.servers": url, "group.id": "bench", "isolation.level": "read_committed"}
    )
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    seen: dict[int, float] = {}
    wanted: list[int] = []
    threading.Thread(target=lambda: wanted.append(int(sys.stdin.readline())), daemon=True).start()
    quiet = 0.0
    while not wanted or (len(seen) < wanted[0] and quiet < 60):
        message = consumer.poll(0.5)
        if message is None or message.error():
            quiet += 0.5
            continue
        if not seen:
            print("reading", flush=True)
        quiet = 0.0
        key = json.loads(message.key() or b"{}")
        seen.setdefault(key.get("payload", key)["id"], time.time())
    consumer.close()
    print(json.dumps(seen))


def measure(
    server: Server, url: str, client: Penstock | Debezium, options: argparse.Namespace
) -> dict[str, Any]:
    """One line of the table."""
    dsn = server.dsn()
    runs = [throughput(dsn, url, client, options.rows) for _ in range(options.rounds)]
    cpu = median(run["CPU s"] for run in runs)
    late = latency(dsn, url, client, options.seconds, options.rate)
    line = {
        "client": client.label,
        "rows/s": median(run["rows/s"] for run in runs),
        "rows per CPU s": options.rows / cpu,
        "CPU µs/row": cpu / options.rows * 1e6,
        "peak RSS MB": max(run["peak RSS MB"] for run in runs),
        **late,
    }
    print(line, file=sys.stderr, flush=True)
    return line


def main() -> None:
    """Run all clients and publish what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--only", default="", help="clients whose name has this in it")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(*options.read)
        return
    settings: dict[str, Any] = {
        "max_wal_size": "8GB",
        "shared_buffers": "512MB",
        "checkpoint_timeout": "30min",
        "wal_sender_timeout": 0,
    }
    broker = {"file.delete.delay.ms": "1000", "log.retention.bytes": str(8 << 30)}
    with Server("16", settings=settings) as server, Kafka(heap=512, settings=broker) as kafka:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(TABLE)
            connection.execute(TICKS)
        clients = [client for client in CLIENTS if options.only in client.label]
        rows = [measure(server, kafka.url, client, options) for client in clients]
    facts: dict[str, Any] = {"rows": options.rows, "transactions/s for latency": options.rate}
    for mode in ("defaults", "tuned"):
        pair = {row["client"]: row for row in rows if str(row["client"]).endswith(mode)}
        if len(pair) == 2:
            ours, theirs = pair[f"penstock, {mode}"], pair[f"Debezium, {mode}"]
            facts[f"rows per CPU second, times Debezium's, {mode}"] = (
                ours["rows per CPU s"] / theirs["rows per CPU s"]
            )
            facts[f"memory, part of Debezium's, {mode}"] = (
                ours["peak RSS MB"] / theirs["peak RSS MB"]
            )
    publish("kafka", "PostgreSQL to Kafka", rows, facts, "rows per CPU s")


if __name__ == "__main__":
    main()
