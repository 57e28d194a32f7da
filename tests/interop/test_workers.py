"""Three worker processes in one group, killed, added, frozen and thawed: nothing is lost, and the
order of each key holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from penstock.embedded.server import Server
from tests.support import topics
from tests.support.kafka import fresh_name
from tests.support.postgres import execute, fetch, fresh_database
from tests.support.waiting import eventually
from tools.brokers import Kafka as Broker
from tools.servers import versions

KEYS = 40
FILE = """
name = "{name}"

[source]
type = "kafka"
brokers = "{brokers}"
topics = ["{topic}"]
session_timeout = 6

[[sinks]]
type = "sql"
url = "{url}"

[[sinks]]
type = "jsonl"
path = "{lines}"
"""


class Worker:
    """``penstock run`` in a process of its own."""

    def __init__(self, directory: Path, name: str, number: int, **facts: str) -> None:
        path = directory / f"worker{number}.toml"
        self.lines = directory / f"worker{number}.jsonl"
        path.write_text(FILE.format(name=name, lines=self.lines, **facts))
        self.log = directory / f"worker{number}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock.cli.main", "run", str(path)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PENSTOCK_KERNEL": "python"},
            )

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.mark.server
@pytest.mark.slow
def test_workers_that_die_come_freeze_and_thaw(
    kafka: Broker, shared_server: Callable[[str], Server], tmp_path: Path
) -> None:
    version = "16" if "16" in versions() else versions()[0]
    writer = topics.Writer(fresh_name())
    name = writer.topic.partition(".")[0]
    topics.create(kafka.url, writer.topic, 6)
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(shared_server(version)))
        execute(
            url,
            "CREATE TABLE items (id int PRIMARY KEY, n bigint, note text)",
            "CREATE TABLE history (at serial, id int, n bigint)",
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO history (id, n) VALUES (NEW.id, NEW.n); RETURN NEW; END $$",
            "CREATE TRIGGER note AFTER INSERT OR UPDATE ON items FOR EACH ROW "
            "EXECUTE FUNCTION note()",
        )

        def start(number: int) -> Worker:
            worker = Worker(tmp_path, name, number, brokers=kafka.url, topic=writer.topic, url=url)
            stack.callback(worker.end)
            return worker

        def write(count: int = 200) -> None:
            records = []
            for n in range(writer.count, writer.count + count):
                records += writer.update(n % KEYS, n)
            topics.produce(kafka.url, records)

        def delivered() -> bool:
            for worker in workers:
                if worker.process.poll() not in (None, -signal.SIGKILL):
                    raise AssertionError(worker.log.read_text())
            last = range(writer.count - KEYS, writer.count)
            return sorted(fetch(url, "SELECT n FROM items")) == [(n,) for n in last]

        def settled(members: int) -> None:
            eventually(
                lambda: topics.members(kafka.url, f"penstock.{name}") == members,
                within=120,
                what="members",
            )

        workers = [start(i) for i in range(3)]
        settled(3)
        write()
        eventually(delivered, within=120, what="the first")
        workers[0].signal(signal.SIGKILL)
        write()
        settled(2)
        eventually(delivered, within=120, what="what was written beside the death")
        workers.append(start(3))
        write()
        settled(3)
        workers[1].signal(signal.SIGSTOP)
        write()
        settled(2)
        eventually(delivered, within=120, what="what was written beside the frozen one")
        write()
        workers[1].signal(signal.SIGCONT)
        write()
        settled(3)
        eventually(delivered, within=120, what="all")
        for key in range(KEYS):
            seen = [
                n for (n,) in fetch(url, "SELECT n FROM history WHERE id = %s ORDER BY at", key)
            ]
            assert seen == sorted(set(seen)), f"key {key} went back, or was repeated: {seen}"
        for worker in workers:
            worker.end()
        lines = b"".join(worker.lines.read_bytes() for worker in workers)
        for n in range(writer.count):
            assert b'"n":%d,' % n in lines, f"{n} is missing"
