"""How fast do one, two and three workers bring a topic of Debezium's records into a replica?

Rows of 8 columns, with their schemas, are in a topic of six partitions. The workers have joined
their group and stand frozen while the records are written; what counts begins when they are thawed
and ends when the last row is in PostgreSQL. Each number of workers has a topic and a group of its
own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import psycopg
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

sys.path.append(str(Path(__file__).parent.parent))

from bench.kafka import usage
from bench.report import publish
from penstock.formats.debezium import Debezium
from penstock.model import Change, Column, EventBatch, Origin, Record, Table, Transaction
from penstock.sources.postgres.wire.types import builtin
from tools.brokers import Kafka
from tools.servers import postgres

PARTITIONS: Final = 6
PATIENCE: Final = 900.0
SESSION: Final = 600
TYPES: Final = {
    "id": (20, -1),
    "customer": (23, -1),
    "status": (25, -1),
    "note": (1043, 84),
    "total": (1700, (12 << 16 | 2) + 4),
    "paid": (16, -1),
    "placed": (1184, -1),
    "details": (3802, -1),
}
EACH: Final = 10_000
"""Rows of a source transaction."""


def records(prefix: str, rows: int) -> Iterator[Record]:
    """What Debezium writes of inserted rows."""
    columns = []
    for name, (oid, modifier) in TYPES.items():
        type = builtin(oid, modifier)
        assert type is not None
        columns.append(Column(name, type, name != "id"))
    table = Table("public", "bench", tuple(columns), ("id",))
    format = Debezium(topic_prefix=prefix).build()
    for first in range(0, rows, EACH):
        origin = Origin(f"0/{first:X}", Transaction(str(first), 1_700_000_000_000_000))
        changes = [
            Change("insert", table, origin, i, None, _row(first + i))
            for i in range(min(EACH, rows - first))
        ]
        yield from format.records(EventBatch("main", changes))


def _row(i: int) -> list[bytes]:
    paid = b"t" if i % 2 == 0 else b"f"
    details = b'{"n": %d, "sku": "A-%d"}' % (i % 10, i % 100)
    texts = (b"%d" % i, b"%d" % (i % 1000), b"status-%d" % (i % 5), b"note of order number %d" % i)
    total = b"%d.%02d" % (i % 1428, i % 100)
    return [*texts, total, paid, b"2026-01-01 00:00:00+00", details]


def produce(url: str, topic: str, rows: int) -> None:
    """Write the records."""
    producer = Producer(
        {
            "bootstrap.servers": url,
            "compression.type": "lz4",
            "linger.ms": 20,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 0,
        }
    )
    for i, record in enumerate(records(topic.partition(".")[0], rows)):
        producer.produce(topic, record.value, record.key)
        if i % 1000 == 0:
            producer.poll(0)
            while len(producer) > 50_000:
                producer.poll(0.1)
    producer.flush()


def members(admin: Any, group: str) -> int:
    """How many workers have their share."""
    try:
        found = admin.describe_consumer_groups([group])[group].result()
    except KafkaException:
        return 0
    return len(found.members) if found.state.name == "STABLE" else 0


def wait(done: Any, what: str) -> float:
    """When it is so."""
    deadline = time.perf_counter() + PATIENCE
    while not done():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"not in time: {what}")
        time.sleep(0.02)
    return time.perf_counter()


def measure(dsn: str, url: str, workers: int, rows: int) -> dict[str, Any]:
    """One number of workers."""
    name = f"bench_{os.urandom(3).hex()}"
    topic, group = f"{name}.public.bench", f"penstock.{name}"
    admin = AdminClient({"bootstrap.servers": url, "log_level": 0})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    with psycopg.connect(dsn, autocommit=True) as connection, ExitStack() as stack:
        connection.execute("DROP TABLE IF EXISTS bench")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        path = folder / "bench.toml"
        path.write_text(
            f'name = "{name}"\n[source]\ntype = "kafka"\nbrokers = "{url}"\n'
            f'topics = ["{topic}"]\nsession_timeout = {SESSION}\n'
            f'[[sinks]]\ntype = "sql"\nurl = "{dsn}"\n'
        )
        log = stack.enter_context((folder / "log").open("wb"))
        command = [str(Path(sys.executable).parent / "penstock"), "run", str(path)]
        processes = [subprocess.Popen(command, stdout=log, stderr=log) for _ in range(workers)]
        try:
            wait(lambda: members(admin, group) == workers, "the group")
            time.sleep(1)
            for process in processes:
                process.send_signal(signal.SIGSTOP)
            produce(url, topic, rows)
            before = [usage(process.pid) for process in processes]
            begun = time.perf_counter()
            for process in processes:
                process.send_signal(signal.SIGCONT)

            def arrived() -> bool:
                there = connection.execute("SELECT to_regclass('bench')").fetchone()
                if there == (None,):
                    return False
                time.sleep(0.2)  # it costs something to count
                count = connection.execute("SELECT count(*) FROM bench").fetchone()
                return count == (rows,)

            seconds = wait(arrived, "the rows") - begun
            after = [usage(process.pid) for process in processes]
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait()
    admin.delete_topics([topic])[topic].result()
    cpu = sum(after[i][0] - before[i][0] for i in range(workers))
    line = {
        "workers": f"penstock, {workers}",
        "rows/s": rows / seconds,
        "CPU µs/row": cpu / rows * 1e6,
        "peak RSS MB, each": max(peak for _, peak in after),
    }
    print(line, file=sys.stderr, flush=True)
    return line


def main() -> None:
    """Run one, two and three workers, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 3])
    options = parser.parse_args()
    with Kafka(heap=512) as kafka, postgres("16") as server:
        rows = [measure(server.dsn(), kafka.url, n, options.rows) for n in options.workers]
    facts = {"rows": options.rows, "cores": os.cpu_count()}
    publish("kafka_workers", "Kafka to a replica, by workers", rows, facts, "rows/s")


if __name__ == "__main__":
    main()
