"""The kafka source against a real broker."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from penstock.app import App
from penstock.cli.main import main
from penstock.errors import (
    ConnectionLostError,
    DecodeError,
    GapError,
    PenstockError,
    SourceError,
    StateMismatchError,
)
from penstock.formats.change import ChangeFormat
from penstock.model import Change, EventBatch, Record
from penstock.pipeline import Pipeline
from penstock.ports import Context
from penstock.sinks.memory import MemorySink, Target
from penstock.sinks.sql import Sql
from penstock.sources.kafka import Kafka
from penstock.stores.memory import MemoryStore
from penstock.testing import Fault, FlakySink, insert
from tests.support import topics
from tests.support.kafka import fresh_name
from tests.support.waiting import eventually
from tools.brokers import USERS
from tools.brokers import Kafka as Broker

pytestmark = pytest.mark.server


@pytest.fixture
def writer(kafka: Broker) -> topics.Writer:
    made = topics.Writer(fresh_name())
    topics.create(kafka.url, made.topic, 3)
    return made


def source(kafka: Broker, topic: str, **options: Any) -> Kafka:
    return Kafka(brokers=kafka.url, topics=(topic,), session_timeout=6, **options)


def named(writer: topics.Writer) -> str:
    return writer.topic.partition(".")[0]


def caught_up(config: Any, name: str, *sinks: Any, store: Any = "memory") -> None:
    report = Pipeline(name, config, sinks, store=store).run(until_caught_up=True)
    assert report.caught_up


def rows(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT id, n, note FROM items ORDER BY id").fetchall()


def test_a_replica_follows_over_restarts(
    kafka: Broker, writer: topics.Writer, tmp_path: Path
) -> None:
    name, path = named(writer), tmp_path / "replica.db"
    written = [record for i in range(60) for record in writer.insert(i, i)]
    written += [record for i in range(0, 60, 2) for record in writer.update(i, -i, "y")]
    written += [record for i in range(0, 60, 3) for record in writer.delete(i)]
    topics.produce(kafka.url, written)
    expected = [(i, -i if i % 2 == 0 else i, "xy"[i % 2 == 0]) for i in range(60) if i % 3]
    sink = Sql(url=f"sqlite:///{path}")
    caught_up(source(kafka, writer.topic), name, sink)
    assert rows(path) == expected
    seen = Pipeline(name, source(kafka, writer.topic), [sink], store="memory")
    assert seen.check() == []
    status = seen.status().source
    assert (status["lag"], len(status["partitions"])) == (0, 3)
    topics.produce(kafka.url, writer.insert(100, 1))
    assert seen.status().source["lag"] == 1
    report = seen.run(until_caught_up=True)
    assert (report.changes, report.caught_up) == (1, True)
    assert rows(path) == [*expected, (100, 1, "x")]
    assert f"consumer group penstock.{name}" in seen.teardown()


def test_each_sink_gets_what_it_lacks(kafka: Broker, writer: topics.Writer) -> None:
    """The transactional one was committed and the group was not told: only the other repeats."""
    name, exact, other = named(writer), Target(), Target()
    topics.produce(kafka.url, [r for i in range(20) for r in writer.insert(i, i)])
    sinks = [MemorySink(exact, stores_checkpoints=True), MemorySink(other)]
    sinks[0].name, sinks[1].name = "exact", "other"  # type: ignore[attr-defined] # as a configuration
    caught_up(source(kafka, writer.topic), name, *sinks)
    assert {change.id for change in exact.changes} == {change.id for change in other.changes}
    admin, group = AdminClient({"bootstrap.servers": kafka.url, "log_level": 0}), f"penstock.{name}"
    admin.delete_consumer_groups([group])[group].result(60)
    caught_up(source(kafka, writer.topic), name, *sinks)
    assert (len(exact.changes), len(other.changes)) == (20, 40)


def test_an_emptied_target_is_a_gap(kafka: Broker, writer: topics.Writer) -> None:
    topics.produce(kafka.url, writer.insert(1, 1))
    sink = MemorySink(stores_checkpoints=True)
    caught_up(source(kafka, writer.topic), named(writer), sink)
    with pytest.raises(GapError, match="holds no checkpoint"):
        caught_up(source(kafka, writer.topic), named(writer), MemorySink(stores_checkpoints=True))


def test_latest_begins_at_the_end(kafka: Broker, writer: topics.Writer) -> None:
    name, target = named(writer), Target()
    topics.produce(kafka.url, writer.insert(1, 1))
    config = source(kafka, writer.topic, start="latest")
    caught_up(config, name, MemorySink(target))
    topics.produce(kafka.url, writer.insert(2, 2))
    caught_up(config, name, MemorySink(target))
    assert [change.after["id"] for change in target.changes if change.after] == [2]


def test_what_retention_took_is_a_gap(kafka: Broker, writer: topics.Writer) -> None:
    topics.produce(kafka.url, writer.insert(1, 1), partition=0)
    caught_up(source(kafka, writer.topic), named(writer), MemorySink())
    topics.produce(kafka.url, [*writer.insert(2, 1), *writer.insert(3, 1)], partition=0)
    admin, before = (
        AdminClient({"bootstrap.servers": kafka.url, "log_level": 0}),
        TopicPartition(writer.topic, 0, 2),
    )
    admin.delete_records([before])[before].result(60)
    with pytest.raises(GapError, match=r"records 1 to 1 of .*/0 were deleted"):
        caught_up(source(kafka, writer.topic), named(writer), MemorySink())


@pytest.mark.parametrize("owner", ["another pipeline", "another consumer"])
def test_offsets_of_others_are_refused(kafka: Broker, writer: topics.Writer, owner: str) -> None:
    topics.produce(kafka.url, writer.insert(1, 1))
    group = fresh_name()
    if owner == "another pipeline":
        caught_up(source(kafka, writer.topic, group=group), "first", MemorySink())
    else:
        consumer = Consumer({"bootstrap.servers": kafka.url, "group.id": group})
        try:
            offsets = [TopicPartition(writer.topic, 0, 0)]
            eventually(lambda: _committed(consumer, offsets))
        finally:
            consumer.close()
    config = source(kafka, writer.topic, group=group)
    found = Pipeline("second", config, [MemorySink()], store="memory").check()
    assert [(finding.severity, finding.code) for finding in found] == [("error", "state-mismatch")]
    said = "'first'" if owner == "another pipeline" else "not penstock"
    with pytest.raises(StateMismatchError, match=said):
        caught_up(config, "second", MemorySink())


def _committed(consumer: Consumer, offsets: list[TopicPartition]) -> bool:
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except Exception:  # noqa: BLE001 - the coordinator is not there yet
        return False
    return True


def test_a_missing_topic(kafka: Broker) -> None:
    config = source(kafka, fresh_name())
    pipeline = Pipeline("missing", config, [MemorySink()], store="memory")
    assert "there is no topic" in pipeline.check()[0].message
    with pytest.raises(SourceError, match="there is no topic"):
        pipeline.run()


def logged_in(kafka: Broker, topic: str, name: str, password: str) -> Kafka:
    settings: Any = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": name,
        "sasl.password": password,
    }
    return Kafka(brokers=kafka.guarded, topics=(topic,), session_timeout=6, settings=settings)


def test_a_user_reads(kafka: Broker, writer: topics.Writer) -> None:
    target = Target()
    topics.produce(kafka.url, writer.insert(1, 1))
    config = logged_in(kafka, writer.topic, "writer", USERS["writer"])
    caught_up(config, named(writer), MemorySink(target), store=None)
    assert len(target.changes) == 1


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [("writer", "hunter2", "uthentication"), ("guest", USERS["guest"], "there is no topic")],
)
def test_whoever_is_refused_stops(
    kafka: Broker, writer: topics.Writer, name: str, password: str, said: str
) -> None:
    config = logged_in(kafka, writer.topic, name, password)
    pipeline = Pipeline("refused", config, [MemorySink()], store="memory")
    with pytest.raises(SourceError, match=said) as told:
        pipeline.run()
    assert not isinstance(told.value, ConnectionLostError)
    assert "hunter2" not in str(told.value)
    (finding,) = pipeline.check()
    assert finding.severity == "error"
    assert said in finding.message


def test_brokers_that_are_away_at_the_start_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.sources.kafka.client.PATIENCE", 0.5)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        config = Kafka(brokers=f"127.0.0.1:{nobody.getsockname()[1]}", topics=("t",))
        pipeline = Pipeline("away", config, [MemorySink()], store="memory")
        (finding,) = pipeline.check()
        assert finding.code == ConnectionLostError.code
        with running(pipeline):
            eventually(lambda: pipeline._runner and pipeline._runner.meter.reconnects > 0)
            assert pipeline.state == "starting"


@contextmanager
def running(pipeline: Pipeline) -> Iterator[list[BaseException]]:
    """A worker in a thread."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(pipeline.serve())
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failures
    finally:
        pipeline.stop()
        thread.join(60)
        assert not thread.is_alive()
        assert not failures


def test_poison_stops_after_what_came_before(kafka: Broker, writer: topics.Writer) -> None:
    target = Target()
    bad = Record(writer.topic, b"k", b"hello", {})
    records = [*writer.insert(1, 1), bad, *writer.insert(2, 2)]
    topics.produce(kafka.url, records, partition=0)
    with pytest.raises(DecodeError, match=f"record 1 of {writer.topic}/0"):
        caught_up(source(kafka, writer.topic), named(writer), MemorySink(target))
    assert len(target.changes) <= 1


def test_poison_is_parked_where_it_is_said(kafka: Broker, writer: topics.Writer) -> None:
    target, store = Target(), MemoryStore()
    bad = Record(writer.topic, b"k", b"hello", {})
    records = [*writer.insert(1, 1), bad, *writer.insert(2, 2)]
    topics.produce(kafka.url, records, partition=0)
    config = source(kafka, writer.topic, poison="park")
    caught_up(config, named(writer), MemorySink(target), store=store)
    assert len(target.changes) == 2
    (parked,) = asyncio.run(store.peek_parked(Context(named(writer))))
    assert (parked.id, parked.sink) == (f"{writer.topic}/0:1", "source")
    assert "no change" in parked.reason


def test_a_slow_sink_stops_the_reading(
    kafka: Broker, writer: topics.Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded, and nothing is lost where reading goes on."""
    monkeypatch.setattr("penstock.sources.kafka.inbox.ROOM", 200_000)
    name, target, count = named(writer), Target(), 1000
    written = [r for n in range(count) for r in writer.update(n % 7, n, "x" * 1000)]
    topics.produce(kafka.url, written)
    slow = FlakySink(MemorySink(target), [Fault("write", n, delay=1.0) for n in (1, 2, 3)])
    with running(Pipeline(name, source(kafka, writer.topic), [slow], store="memory")):
        eventually(lambda: len(target.changes) >= count)
    assert len({change.id for change in target.changes}) == len(target.changes) == count
    for key in range(7):
        own = [c.after["n"] for c in target.changes if c.after is not None and c.after["id"] == key]
        assert own == sorted(own)


def test_what_handlers_park_is_found_by_the_next_worker(
    kafka: Broker,
    writer: topics.Writer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parked changes and keys live in a topic, since a key moves between workers."""
    name, seen = named(writer), []
    monkeypatch.setattr("penstock.assembly.from_target", lambda target: made().pipeline)
    broken = True

    def made() -> App:
        app = App(name, source=source(kafka, writer.topic), retries=0)

        @app.on("public.items")
        def handle(change: Change[Any]) -> None:
            if broken and change.row["id"] == 1:
                raise ValueError("not this one")
            seen.append((change.row["id"], change.row["n"]))

        return app

    topics.produce(kafka.url, [*writer.insert(1, 1), *writer.insert(2, 2)])
    assert made().run(until_caught_up=True).caught_up
    broken = False
    topics.produce(kafka.url, [*writer.update(1, 3), *writer.update(2, 4)])
    assert made().run(until_caught_up=True).caught_up
    assert seen == [(2, 2), (2, 4)]
    monkeypatch.setattr(sys, "argv", ["penstock", "--json", "parked", "app"])
    with pytest.raises(SystemExit, match="0"):
        main()
    listed = capsys.readouterr().out
    assert "not this one" in listed
    assert "waits behind" in listed
    monkeypatch.setattr(sys, "argv", ["penstock", "parked", "app", "replay"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert seen[2:] == [(1, 1), (1, 3)]


def test_the_format_change_is_read(kafka: Broker) -> None:
    topic, target = fresh_name(), Target()
    topics.create(kafka.url, topic)
    written = insert("public.items", {"id": 1, "note": "x"})
    topics.produce(kafka.url, ChangeFormat().records(EventBatch("main", [written])), topic=topic)
    caught_up(source(kafka, topic), topic, MemorySink(target))
    (made,) = target.changes
    assert isinstance(made, Change)
    assert made.id == written.id
    assert dict(made.after or {}) == {"id": 1, "note": "x"}


def test_workers_come_and_go(kafka: Broker, writer: topics.Writer) -> None:
    """Nothing is missing, the transactional target shows no repeat, and each key's last word is
    the last that was written."""
    name, exact = named(writer), Target()
    group = f"penstock.{name}"

    def worker() -> Pipeline:
        sink = MemorySink(exact, stores_checkpoints=True)
        return Pipeline(name, source(kafka, writer.topic), [sink], store="memory")

    def write(number: int) -> None:
        for n in range(writer.count, writer.count + number):
            topics.produce(kafka.url, writer.update(n % 7, n))

    def settled() -> bool:
        return len(exact.changes) >= writer.count

    first, second, third = worker(), worker(), worker()
    with running(first):
        write(50)
        eventually(settled)
        with running(second):
            write(50)
            eventually(lambda: topics.members(kafka.url, group) == 2, what="two members")
            write(50)
            with running(third):
                eventually(lambda: topics.members(kafka.url, group) == 3, what="three members")
                write(50)
                eventually(settled)
        write(50)
        eventually(lambda: topics.members(kafka.url, group) == 1, what="one member again")
        write(50)
        eventually(settled)
    changes = exact.changes
    assert len(changes) == len({change.id for change in changes}) == writer.count == 300
    for key in range(7):
        own = [c.after["n"] for c in changes if c.after is not None and c.after["id"] == key]
        assert own == sorted(own)


def test_what_cannot_be_reached_is_told_in_the_status() -> None:
    config = Kafka(brokers="127.0.0.1:1", topics=("t",))
    pipeline = Pipeline("away", config, [MemorySink()], store="memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.sources.kafka.client.PATIENCE", 0.5)
        status = pipeline.status()
    assert status.state == "unknown"
    assert "cannot ask 127.0.0.1:1" in status.error


def test_settings_that_librdkafka_refuses() -> None:
    config = Kafka(brokers="127.0.0.1:1", topics=("t",), settings={"no.such": "1"})
    with pytest.raises(PenstockError, match=r"no\.such"):
        Pipeline("bad", config, [MemorySink()], store="memory").run()


@pytest.mark.slow
def test_a_broker_that_dies_is_waited_for() -> None:
    """Longer than a session lasts, so that it has forgotten us as well."""
    with Broker() as own:
        writer, target = topics.Writer(fresh_name()), Target()
        topics.create(own.url, writer.topic, 2)
        sink = MemorySink(target, stores_checkpoints=True)
        pipeline = Pipeline(named(writer), source(own, writer.topic), [sink])
        with running(pipeline) as failures:
            topics.produce(own.url, [r for n in range(20) for r in writer.update(n % 7, n)])
            eventually(lambda: failures or len(target.changes) == 20)
            own.kill()
            eventually(lambda: failures or pipeline.source.authority() <= 0)  # type: ignore[attr-defined]
            own.start()
            topics.produce(own.url, [r for n in range(20, 40) for r in writer.update(n % 7, n)])
            eventually(lambda: failures or len(target.changes) >= 40)
        assert len({change.id for change in target.changes}) == len(target.changes) == 40
