"""The process that is killed: one pipeline from PostgreSQL to JSON lines, to a replica, to a
function and, where there is a broker, to Kafka.

It runs in a fork of a server process that has imported everything, so a life begins within
milliseconds and a kill can hit its very start. Nothing of an earlier life is left in it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final

from penstock.app import App
from penstock.errors import PenstockError, SinkUnavailableError
from penstock.failpoints import Failpoint, Failpoints
from penstock.model import Change, Mark
from penstock.pipeline.pipeline import Pipeline
from penstock.ports import Context, Sink
from penstock.sinks.handlers.policy import Park
from penstock.sinks.jsonl import JsonlSink
from penstock.sinks.kafka import Kafka
from penstock.sinks.sql.config import Sql
from penstock.sources.postgres.config import Postgres
from penstock.testing import Fault, FlakySink
from tests.crash.mutants import MUTANTS
from tests.support.kafka import Single

PRELOAD = [
    "confluent_kafka.admin",
    "orjson",
    "psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "penstock.sources.postgres.source",
    "penstock.sinks.kafka.sink",
    "penstock.sinks.sql.sink",
    "penstock.app",
    "penstock.stores.sqlite",
    "penstock.formats.change",
    "tests.crash.child",
    "tests.crash.harness",
]


HANDLED_TABLE: Final = "public.code"
KAFKA: Final = {"plain": False, "exact": True}
"""The sinks that write to Kafka, by whether they use transactions."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What one life is to do.

    Parameters
    ----------
    armed: the failpoint that kills, and at which pass of it.
    flaky: the seed of its sinks' failures; None for sinks that do not fail.
    drain: end once everything committed before the start is delivered.
    kafka: the brokers; none when empty.
    """

    pipeline: str
    dsn: str
    folder: Path
    replica: str
    armed: tuple[str, int] | None = None
    flaky: int | None = None
    mutant: str | None = None
    drain: bool = False
    kafka: str = ""

    @property
    def lines(self) -> Path:
        """The JSON lines."""
        return self.folder / "changes.jsonl"

    @property
    def durable(self) -> Path:
        """Holds how many bytes of them are safe."""
        return self.folder / "durable"

    @property
    def handled(self) -> Path:
        """What the function was called for, one id in a line."""
        return self.folder / "handled"

    @property
    def state(self) -> Path:
        """The pipeline's store."""
        return self.folder / "state.db"


class NotingSink(JsonlSink):
    """Tells the harness how much of the file would survive a power cut."""

    def __init__(self, path: Path, durable: Path) -> None:
        super().__init__(path)
        self._note = os.open(durable, os.O_WRONLY | os.O_CREAT, 0o644)

    async def flush(self) -> Mark | None:
        mark = await super().flush()
        os.pwrite(self._note, b"%20d" % self._durable, 0)
        return mark


def live(orders: Orders, reports: Connection) -> None:
    """Run the pipeline until killed, drained or failed."""
    logging.basicConfig(
        filename=orders.folder / "child.log",
        level=logging.INFO,
        format=f"%(asctime)s {os.getpid()} %(levelname)s %(message)s",
        force=True,
    )
    if orders.mutant is not None:
        MUTANTS[orders.mutant]()
    try:
        report = _pipeline(orders, reports).run(until_caught_up=orders.drain)
    except BaseException as error:
        logging.exception("the pipeline failed")
        code = error.code if isinstance(error, PenstockError) else "bug"
        reports.send(("failed", code, str(error)))
        os._exit(1)
    reports.send(("done", report.caught_up, ""))
    reports.close()


def _pipeline(orders: Orders, reports: Connection) -> Pipeline:
    random = Random(orders.flaky)
    source = Postgres(
        dsn=orders.dsn,
        tables=("public.*",),
        snapshot="initial",
        messages=("crash",),
    )
    lines = FlakySink(
        NotingSink(orders.lines, orders.durable), _faults(random, orders, ["write", "open"])
    )
    lines.name, lines.format = "lines", "change"  # type: ignore[attr-defined]
    replica = FlakySink(
        Sql(url=orders.replica).build(),
        _faults(random, orders, ["write", "open", "flush"]),
    )
    replica.name, replica.stores_checkpoints = "replica", True  # type: ignore[attr-defined]
    return Pipeline(
        orders.pipeline,
        source,
        [lines, replica, _handled(orders), *_to_kafka(orders, random)],
        store=str(orders.state),
        context=Context(orders.pipeline, failpoints=_failpoints(orders, reports)),
    )


def topic_of(pipeline: str, sink: str) -> str:
    """Where a sink's records are, all in one partition: so they have an order."""
    return f"{pipeline}.{sink}"


def _to_kafka(orders: Orders, random: Random) -> list[Sink]:
    if not orders.kafka:
        return []
    made: list[Sink] = []
    for name, transactions in KAFKA.items():
        config = Kafka(
            brokers=orders.kafka,
            transactions=transactions,
            delivery_timeout=5,
            settings={"reconnect.backoff.max.ms": 500},
        )
        sink = FlakySink(config.build(), _faults(random, orders, ["write", "open", "flush"]))
        sink.name, sink.stores_checkpoints = name, transactions  # type: ignore[attr-defined] # as a configuration
        sink.format = Single(topic_of(orders.pipeline, name))  # type: ignore[attr-defined] # as a configuration
        made.append(sink)
    return made


def _handled(orders: Orders) -> Sink:
    """Calls a function that sets a change aside now and then."""
    app = App(orders.pipeline, orders.dsn, retries=0, max_parked=100_000)
    file = os.open(orders.handled, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    @app.on(HANDLED_TABLE, "read", "insert", "update", "delete")
    def handle(change: Change) -> None:
        if change.after is not None and int(change.after.text("ver") or 0) % 3 == 2:
            raise Park("the harness says so")
        os.write(file, f"{change.id}\n".encode())

    sink = app.sink()
    sink.name = "handled"
    return sink


def _faults(random: Random, orders: Orders, methods: list[Any]) -> list[Fault]:
    """Failures of a sink: before it did anything, or after it did all."""
    if orders.flaky is None:
        return []
    down = SinkUnavailableError("the harness says so")
    faults = []
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        when = random.choice(["error", "after"])
        number = random.randint(1, 30)
        faults.append(Fault(random.choice(methods), number, **{when: down}))  # type: ignore[arg-type]
    return faults


def _failpoints(orders: Orders, reports: Connection) -> Failpoints:
    failpoints = Failpoints()
    if orders.armed is not None:
        name, number = orders.armed

        def kill(passed: int) -> None:
            if passed == number:
                os.kill(os.getpid(), signal.SIGKILL)

        failpoints.arm(Failpoint(name), kill)
    armed = orders.armed[0] if orders.armed is not None else None
    for point, news in ((Failpoint.LINK_RECEIVED, "started"), (Failpoint.AFTER_SAVE, "recovered")):
        if armed != point.value:
            failpoints.arm(point, _first_time(reports, news))
    return failpoints


def _first_time(reports: Connection, news: str) -> Callable[[int], None]:
    def tell(passed: int) -> None:
        if passed == 1:
            reports.send((news, time.monotonic(), ""))

    return tell
