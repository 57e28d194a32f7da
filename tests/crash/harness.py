"""Runs a pipeline under random writers, and lets it die again and again.

An :class:`Episode` is one database, one pipeline, many lives. Afterwards the writers stop, a last
life catches up, and the checker judges. A failed episode tells its seed, its timeline and where
its files are.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, TypeAlias

import psycopg

from penstock.embedded.server import Server, Setting
from penstock.failpoints import Failpoint
from penstock.ports import Context
from penstock.stores import store_for
from tests.crash.checker import (
    SUM,
    Contents,
    Handled,
    Promise,
    Row,
    Truth,
    Verdict,
    judge,
    position,
)
from tests.crash.checker import compare_replica as compare
from tests.crash.child import HANDLED_TABLE, KAFKA, PRELOAD, Orders, live, topic_of
from tests.crash.workload import TABLES, Workload, finish, prepare
from tests.support.kafka import consume
from tests.support.postgres import execute, fetch, fresh_database
from tests.support.proxy import Proxy
from tests.support.waiting import eventually
from tools.brokers import Kafka

SETTINGS: Final[dict[str, Setting]] = {
    "max_prepared_transactions": 20,
    "deadlock_timeout": "50ms",
    "wal_sender_timeout": "4s",
    "autovacuum_naptime": "5s",
}
STARTING: Final = (
    Failpoint.INTENT_SAVED,
    Failpoint.PUBLICATION_CREATED,
    Failpoint.SLOT_CREATED,
    Failpoint.SNAPSHOT_BEGUN,
    Failpoint.SNAPSHOT_BLOCK,
    Failpoint.SNAPSHOT_READ,
)
RUNNING: Final = tuple(point for point in Failpoint if point not in STARTING)
ALIVE_WITHIN: Final = 30.0
"""Seconds until progress, once a fault has ended."""
BROKER_WITHIN: Final = 120.0
"""The same behind a broker, which on busy cores takes half a minute to begin to serve."""
PASSED_WITHIN: Final = 4.0
"""Seconds for a busy pipeline to pass any of its failpoints; one that it misses is tried again."""
CAUGHT_UP_WITHIN: Final = 90.0

Fault: TypeAlias = Literal[
    "server", "walsender", "terminate", "freeze", "tail", "power", "flaky", "network", "broker"
]
Sabotage: TypeAlias = Literal["drop", "advance", "recreate"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an episode does.

    Parameters
    ----------
    kills: lives that end by SIGKILL.
    failpoints: where lives are to end, in this order; the rest end at random moments.
    faults: what else happens, each now and then.
    replica: ``sqlite``, or ``postgres`` for another database of the same server.
    sabotage: what is done to the slot in the middle; the pipeline must then declare a gap.
    """

    kills: int
    failpoints: Sequence[Failpoint] = ()
    faults: frozenset[Fault] = frozenset()
    replica: Literal["sqlite", "postgres"] = "sqlite"
    sabotage: Sabotage | None = None
    mutant: str | None = None
    writers: int = 4
    ddl_every: float = 2.5


@dataclass(slots=True)
class Figures:
    """What was counted, over one or many episodes."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    topics: Counter[str] = field(default_factory=Counter)
    committed: int = 0
    aborted: int = 0
    transactions: int = 0
    changes: int = 0
    repeats: list[int] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    liveness: list[float] = field(default_factory=list)
    gaps: int = 0
    seconds: float = 0.0

    @property
    def killed(self) -> int:
        """How often our process was killed."""
        return sum(self.kills.values())

    def add(self, other: Figures) -> None:
        """Count another episode in."""
        for name in ("kills", "faults", "topics"):
            getattr(self, name).update(getattr(other, name))
        for name in ("repeats", "recovery", "liveness"):
            getattr(self, name).extend(getattr(other, name))
        for name in ("committed", "aborted", "transactions", "changes", "gaps", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Violated(AssertionError):
    """An invariant did not hold; ``first`` is what was noticed first."""

    def __init__(self, story: str, first: str, folder: Path) -> None:
        super().__init__(story)
        self.first = first
        self._folder = folder

    def discard(self) -> None:
        """Remove the files of an episode that was meant to fail."""
        shutil.rmtree(self._folder)


def start_forking() -> Any:
    """The context whose processes are forks of a server that has everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


class Life:
    """One process."""

    def __init__(self, context: Any, orders: Orders) -> None:
        self.orders = orders
        self.started = False
        """It reads the log: its start, with all snapshots, is over."""
        self.recovered: float | None = None
        self.end: tuple[str, Any, str] | None = None
        self.began = time.monotonic()
        self._reports, sending = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(
            target=live, args=(orders, sending), daemon=True
        )
        self.process.start()
        sending.close()

    @property
    def alive(self) -> bool:
        """Whether it runs still."""
        return self.process.is_alive()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it has come."""
        deadline = time.monotonic() + seconds
        while self.alive and time.monotonic() < deadline:
            self._listen()
            time.sleep(0.005)
        return not self.alive

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.process.pid is not None and self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def kill(self) -> None:
        """Kill it, unless it is dead, and hear its last words."""
        self.signal(signal.SIGKILL)
        self.process.join()
        self._listen()
        self._reports.close()

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while self._reports.poll():
                report = self._reports.recv()
                if report[0] == "recovered":
                    self.recovered = report[1] - self.began
                elif report[0] == "started":
                    self.started = True
                else:
                    self.end = report


class Episode:
    """One database, one pipeline, many lives, one verdict."""

    def __init__(self, server: Server, seed: int, plan: Plan, kafka: Kafka | None = None) -> None:
        self.server = server
        self.kafka = kafka
        self.seed = seed
        self.plan = plan
        self.random = Random(f"episode {seed}")
        self.figures = Figures()
        self.verdict = Verdict()
        self.timeline: list[str] = []
        self.folder = Path(tempfile.mkdtemp(prefix=f"penstock-crash-{seed}-"))
        self._context = start_forking()
        self._lives: list[int] = []
        self._lines = 0
        self._counted = 0
        self._began = time.monotonic()
        self._troubled = False
        self._alive_within = ALIVE_WITHIN if kafka is None else BROKER_WITHIN

    def run(self) -> Figures:
        """Run and judge. Raises Violated."""
        with self._databases() as dsn:
            self._dsn = dsn
            prepare(dsn)
            with self._proxied(dsn) as way:
                self._way = way
                with Workload(dsn, self.seed, self.plan.writers, self.plan.ddl_every) as workload:
                    gap = self._lead_lives()
                    eventually(self._server_answers, within=60, what="a server that answers")
                self.figures.committed = len(workload.committed)
                self.figures.aborted = workload.aborted
                if not gap:
                    finish(dsn)
                    self._catch_up()
                    self._judge(workload)
        self.figures.seconds = time.monotonic() - self._began
        if self.verdict.violations:
            raise Violated(self._story(), self.verdict.violations[0], self.folder)
        shutil.rmtree(self.folder)
        return self.figures

    # -- lives

    def _lead_lives(self) -> bool:
        """Let it die as planned; True when it has declared a gap, as it had to."""
        failpoints = list(self.plan.failpoints)
        sabotage_at = self.plan.kills // 2 if self.plan.sabotage else -1
        number = tries = 0
        missed = False
        while (number < self.plan.kills or failpoints) and not self.verdict.violations:
            tries += 1
            if tries > 4 * self.plan.kills + 20:
                self._wrong("I10 liveness", "lives end before they can be killed")
                break
            if number == sabotage_at:
                sabotage_at = -1
                if self._sabotage():
                    return True
            armed = None
            if failpoints and (failpoints[0] in STARTING or self.random.random() < 0.8):
                armed = self._arm(failpoints[0], soon=missed)
            life = self._begin(armed)
            killed = self._let_live(life, armed)
            self._bury(life, killed)
            if killed:
                number += 1
                self.figures.kills[killed] += 1
            missed = armed is not None and killed != armed[0]
            # A start that is over does not come again.
            if failpoints and (
                killed == failpoints[0].value or (missed and failpoints[0] in STARTING)
            ):
                failpoints.pop(0)
                missed = False
        return False

    def _arm(self, point: Failpoint, *, soon: bool) -> tuple[str, int]:
        most = 3 if point in STARTING else self.random.choice([2, 5, 30])
        return point.value, 1 if soon or point in STARTING[:3] else self.random.randint(1, most)

    def _begin(self, armed: tuple[str, int] | None = None, *, drain: bool = False) -> Life:
        flaky = "flaky" in self.plan.faults and not drain and self.random.random() < 0.7
        orders = Orders(
            self._name,
            self._way,
            self.folder,
            self._replica,
            armed,
            self.random.getrandbits(32) if flaky else None,
            self.plan.mutant,
            drain,
            self.kafka.url if self.kafka is not None else "",
        )
        self._lives.append(self._count_lines(orders))
        self._tell(f"start{' drain' if drain else ''} armed={armed} lines={self._lives[-1]}")
        return Life(self._context, orders)

    def _let_live(self, life: Life, armed: tuple[str, int] | None) -> str | None:
        """What killed it; None when it ended by itself."""
        self._troubled = False
        if armed is not None:
            self._await_the_armed(life, Failpoint(armed[0]))
            if life.alive:
                life.kill()
                return "random"
            return armed[0] if life.process.exitcode == -signal.SIGKILL else None
        moment = self.random.random()
        if moment < 0.3:
            life.wait(self.random.uniform(0.0, 0.3))
        elif moment < 0.8:
            life.wait(self.random.uniform(0.0, 1.5))
        else:
            life.wait(self.random.uniform(0.5, 3.0))
        self._maybe_trouble(life)
        if not life.alive:
            return "random" if life.process.exitcode == -signal.SIGKILL else None
        life.kill()
        return "random"

    def _await_the_armed(self, life: Life, point: Failpoint) -> None:
        """Wait for the death at a failpoint, until it is clear that it will not be passed: the
        start is over, or what follows has had its time."""
        while not life.wait(0.05):
            now = time.monotonic() - life.began
            since = life.recovered if life.recovered is not None else now
            over = life.started if point in STARTING else now - since > PASSED_WITHIN
            if over or now > self._alive_within:
                return

    def _bury(self, life: Life, killed: str | None) -> None:
        life.kill()
        self._tell(f"dead after {time.monotonic() - life.began:.3f} s by {killed or life.end}")
        if life.recovered is not None:
            self.figures.recovery.append(life.recovered)
        if killed is None and not self._excused(life):
            self._wrong("I11 no reason", f"the pipeline ended by itself: {life.end}")
        self._damage(life.orders)
        self._look_at_replica()

    def _excused(self, life: Life) -> bool:
        """A process that starts while the server is away may say so and end."""
        return (
            self._troubled and life.end is not None and life.end[1] in ("source", "connection-lost")
        )

    # -- faults

    def _maybe_trouble(self, life: Life) -> None:
        live = [f for f in sorted(self.plan.faults) if f in _TROUBLES]
        if not live or not life.alive or self.random.random() > 0.5:
            return
        fault = self.random.choice(live)
        self.figures.faults[fault] += 1
        self._tell(fault)
        self._troubled = True
        getattr(self, f"_{_TROUBLES[fault]}")(life)
        self._await_progress(life)

    def _kill_server(self, life: Life) -> None:
        self.server.kill()
        life.wait(self.random.uniform(0.0, 0.7))
        self.server.start()

    def _kill_broker(self, life: Life) -> None:
        assert self.kafka is not None
        self.kafka.kill()
        life.wait(self.random.uniform(0.0, 7.0))
        if self.random.random() < 0.5:
            life.kill()  # with all that no broker has
        self.kafka.start()

    def _kill_walsender(self, life: Life) -> None:
        with suppress(psycopg.Error):
            for (pid,) in fetch(
                self._dsn,
                "SELECT active_pid FROM pg_replication_slots"
                " WHERE active_pid IS NOT NULL AND database = current_database()",
            ):
                os.kill(pid, signal.SIGKILL)

    def _terminate_walsender(self, life: Life) -> None:
        with suppress(psycopg.Error):
            execute(
                self._dsn,
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                " WHERE active_pid IS NOT NULL AND database = current_database()",
            )

    def _freeze(self, life: Life) -> None:
        life.signal(signal.SIGSTOP)
        time.sleep(self.random.choice([0.1, 0.5, 1.0, 5.5]))
        life.signal(signal.SIGCONT)

    def _trouble_network(self, life: Life) -> None:
        proxy, random = self._proxy, self.random
        assert proxy is not None
        mode = random.choice(["cut", "tear", "tear", "delay", "hole", "hole up", "refuse"])
        self._tell(f"network {mode}")
        self.figures.faults[f"network {mode.split()[0]}"] += 1
        if mode == "cut":
            proxy.cut()
        elif mode == "tear":
            proxy.cut_after(random.randint(1, 5_000), random.choice(["up", "down", "down"]))
            life.wait(random.uniform(0.2, 1.0))
        elif mode == "delay":
            proxy.delay(random.uniform(0.05, 0.3))
            life.wait(random.uniform(0.5, 2.0))
        elif mode.startswith("hole"):
            proxy.black_hole("up" if mode.endswith("up") else None)
            life.wait(random.choice([0.5, 2.0, 6.0]))
        else:
            proxy.refuse()
            proxy.cut()
            life.wait(random.uniform(0.1, 1.5))
        proxy.heal()

    def _await_progress(self, life: Life) -> None:
        """The same process goes on, while the writers write."""
        begin, before = time.monotonic(), self._durable(life.orders)
        while life.alive and self._durable(life.orders) <= before:
            if time.monotonic() - begin > self._alive_within:
                self._wrong(
                    "I10 liveness", f"no progress for {self._alive_within:g} s after the fault"
                )
                return
            life.wait(0.02)
        if life.alive:
            self.figures.liveness.append(time.monotonic() - begin)
            self._tell(f"goes on after {self.figures.liveness[-1]:.2f} s")

    def _damage(self, orders: Orders) -> None:
        """What a power cut, or a write that was cut short, leaves of the file."""
        faults, path = self.plan.faults, orders.lines
        if not path.exists() or self.random.random() > 0.4:
            return
        size = path.stat().st_size
        if "power" in faults and self.random.random() < 0.5:
            durable = self._durable(orders)
            left = self.random.randint(min(durable, size), size)
            os.truncate(path, left)
            if left < size:
                self.figures.faults["power"] += 1
                self._tell(f"power cut: {left} of {size} bytes, {durable} durable")
                self._counted = self._lines = 0
        elif "tail" in faults and size:
            with path.open("rb+") as file:
                file.seek(max(0, size - 20_000))
                line = file.read().rstrip(b"\n").rpartition(b"\n")[2]
                if line.startswith(b'{"topic":'):
                    file.seek(0, os.SEEK_END)
                    file.write(line[: self.random.randint(1, len(line) - 1)])
                    self.figures.faults["tail"] += 1
                    self._tell("a torn line")

    def _sabotage(self) -> bool:
        """Take the pipeline's place in the log away; whether it says so."""
        slot = f"penstock_{self._name}"
        self._tell(f"sabotage: {self.plan.sabotage}")
        life = self._begin()
        begin = time.monotonic()
        while life.alive and not life.recovered and time.monotonic() - begin < self._alive_within:
            life.wait(0.1)
        life.wait(1.0)
        life.kill()
        deadline = time.monotonic() + self._alive_within
        while (
            fetch(
                self._dsn,
                "SELECT 1 FROM pg_replication_slots WHERE active AND slot_name = %s",
                slot,
            )
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        before = fetch(self._dsn, "SELECT count(*) FROM truth.oracle")
        while fetch(self._dsn, "SELECT count(*) FROM truth.oracle") < [(before[0][0] + 50,)]:
            time.sleep(0.02)
        if self.plan.sabotage == "advance":
            execute(
                self._dsn,
                f"SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())",
            )
        else:
            execute(self._dsn, f"SELECT pg_drop_replication_slot('{slot}')")
        if self.plan.sabotage == "recreate":
            execute(self._dsn, f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
        life = self._begin()
        life.wait(5.0)
        life.kill()
        self._tell(f"after the sabotage: {life.end}")
        if life.end is not None and life.end[1] in ("gap", "slot-missing"):
            self.figures.gaps += 1
            return True
        if self.plan.mutant is None:
            self._wrong("I11 gap", f"not declared: {life.end}")
        return False

    # -- the end

    def _catch_up(self) -> None:
        if self.verdict.violations:
            return
        life = self._begin(drain=True)
        if not life.wait(CAUGHT_UP_WITHIN):
            self._wrong("I10 liveness", f"not caught up within {CAUGHT_UP_WITHIN:g} s")
        life.kill()
        self._tell(f"caught up after {time.monotonic() - life.began:.2f} s: {life.end}")
        if life.end is None or life.end[:2] != ("done", True):
            self._wrong("I10 liveness", f"the last life: {life.end}")

    def _judge(self, workload: Workload) -> None:
        if self.verdict.violations:
            return
        truth, handled = self._truth(workload), self._handled()
        if self.verdict.violations:
            return
        with (self.folder / "changes.jsonl").open("rb") as lines:
            self.verdict = judge(lines, self._lives, truth, handled)
        lost = workload.committed - {promise.xid for promise in truth.promises}
        if lost:
            self.verdict.wrong("harness", f"the server itself lost {sorted(lost)[:5]}")
        compare(truth, dict(self._replicated()), self.verdict)
        if self.kafka is not None:
            self._judge_topics(truth, self.kafka.url)
        self.figures.transactions = self.verdict.transactions
        self.figures.changes = self.verdict.changes
        self.figures.repeats = self.verdict.repeats[1:]

    def _judge_topics(self, truth: Truth, url: str) -> None:
        for sink, exact in KAFKA.items():
            messages = consume(url, topic_of(self._name, sink))
            lines = [b'{"value":%b}' % message.value() for message in messages]
            mine = replace(truth, snapshots=self._snapshots(sink))
            verdict = judge(lines, [0], mine, Handled("", (), frozenset(), (0, 0)))
            for violation in verdict.violations:
                self._wrong(f"topic {sink}", violation)
            if exact and any(verdict.repeats):
                self._wrong("I7 once", f"topic {sink}: {verdict.repeats[0]} records came twice")
            self.figures.topics[sink] += len(lines)

    def _truth(self, workload: Workload) -> Truth:
        promises = [
            Promise(xid, worker, position(lower), digests)
            for xid, worker, lower, digests in fetch(
                self._dsn, "SELECT xid, worker, lower::text, digests FROM truth.oracle"
            )
        ]
        tables = {f"public.{name}": contents(self._dsn, name) for name in TABLES}
        return Truth(promises, tables, self._snapshots("lines"), workload.defaults)

    def _snapshots(self, sink: str) -> dict[str, tuple[int, int]]:
        """Number and position of each table's finished copy in a sink."""
        store = store_for(str(self.folder / "state.db"))
        saved = asyncio.run(store.peek(Context(self._name, "store")))
        assert saved is not None
        found = {}
        for (name, stream), state in saved.streams.items():
            if name == sink and stream.startswith("snapshot:") and state.safe is not None:
                value = state.safe.value
                table = stream.removeprefix("snapshot:")
                found[table] = (int(value["attempt"]), position(value["at"]))
        if len(found) != len(TABLES):
            self.verdict.wrong("I8 snapshot", f"{sink}: only {sorted(found)} were copied")
        return found

    def _handled(self) -> Handled:
        async def parked() -> frozenset[str]:
            store = store_for(str(self.folder / "state.db"))
            await store.open(Context(self._name, "store"))
            try:
                return frozenset(one.id for one in await store.parked("handled"))
            finally:
                await store.close()

        ids = (self.folder / "handled").read_text().split("\n")[:-1]
        ended = self._snapshots("handled").get(HANDLED_TABLE, (0, 0))
        return Handled(HANDLED_TABLE, ids, asyncio.run(parked()), ended)

    def _replicated(self) -> Iterator[tuple[str, Sequence[Row]]]:
        for name in TABLES:
            if self.plan.replica == "postgres":
                yield f"public.{name}", contents(self._replica, name).rows
                continue
            with closing(sqlite3.connect(self.folder / "replica.db")) as connection:
                connection.row_factory = sqlite3.Row
                rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
                yield f"public.{name}", [dict(row) for row in rows]

    def _look_at_replica(self) -> None:
        """Whatever a reader sees is a state that the source had."""
        if self.plan.replica == "postgres":
            return
        path = self.folder / "replica.db"
        if not path.exists():
            return
        with closing(sqlite3.connect(path)) as connection:
            known = {n for (n,) in connection.execute("SELECT name FROM sqlite_master").fetchall()}
            if (
                "account" not in known
                or not connection.execute(
                    "SELECT 1 FROM penstock_checkpoint WHERE stream = 'snapshot:public.account'"
                ).fetchone()
            ):
                return
            (total,) = connection.execute("SELECT sum(balance) FROM account").fetchone()
        if total != SUM:
            self._wrong("I4 atomicity", f"the replica's sum is {total}")

    # -- small things

    def _server_answers(self) -> bool:
        """Whether it is over the last kill of one of its processes."""
        try:
            return bool(fetch(self._dsn, "SELECT 1"))
        except psycopg.OperationalError:
            return False

    @property
    def _name(self) -> str:
        return f"crash_{self.seed}"

    @contextmanager
    def _databases(self) -> Iterator[str]:
        with fresh_database(self.server) as dsn:
            try:
                if self.plan.replica == "sqlite":
                    self._replica = f"sqlite:///{self.folder}/replica.db"
                    yield dsn
                else:
                    with fresh_database(self.server) as target:
                        self._replica = target
                        yield dsn
            finally:
                self._release_prepared(dsn)

    def _release_prepared(self, dsn: str) -> None:
        with suppress(psycopg.Error):
            for (gid,) in fetch(
                dsn, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
            ):
                execute(dsn, f"ROLLBACK PREPARED '{gid}'")

    @contextmanager
    def _proxied(self, dsn: str) -> Iterator[str]:
        self._proxy: Proxy | None = None
        if "network" not in self.plan.faults:
            yield dsn
            return
        with Proxy.before(dsn) as proxy:
            self._proxy = proxy
            yield proxy.dsn(dsn)

    def _durable(self, orders: Orders) -> int:
        return int(orders.durable.read_text() or 0) if orders.durable.exists() else 0

    def _count_lines(self, orders: Orders) -> int:
        """Whole lines in the file."""
        if not orders.lines.exists():
            return 0
        with orders.lines.open("rb") as file:
            file.seek(self._counted)
            data = file.read()
        self._lines += data.count(b"\n")
        self._counted += data.rfind(b"\n") + 1
        return self._lines

    def _tell(self, what: str) -> None:
        self.timeline.append(f"{time.monotonic() - self._began:8.3f} {what}")

    def _wrong(self, invariant: str, what: str) -> None:
        self._tell(f"{invariant}: {what}")
        self.verdict.wrong(invariant, what)

    def _story(self) -> str:
        (self.folder / "timeline").write_text("\n".join(self.timeline))
        return "\n".join(
            [
                f"seed {self.seed}, {self.plan}",
                f"files: {self.folder}",
                *self.verdict.violations,
                "timeline:",
                *self.timeline[-40:],
            ]
        )


_TROUBLES: Final[dict[str, str]] = {
    "server": "kill_server",
    "walsender": "kill_walsender",
    "terminate": "terminate_walsender",
    "freeze": "freeze",
    "network": "trouble_network",
    "broker": "kill_broker",
}


def contents(dsn: str, table: str) -> Contents:
    """A table's rows as exact texts."""
    columns = fetch(
        dsn,
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum",
        table,
    )
    names = [name for name, _ in columns]
    listed = ", ".join(f'"{name}"::text' for name in names)
    rows = fetch(dsn, f'SELECT {listed} FROM "{table}"')
    key = {"Order Line": ("line", "order"), "code": ("code",), "journal": ()}.get(table, ("id",))
    return Contents(dict(columns), key, [dict(zip(names, row, strict=True)) for row in rows])
