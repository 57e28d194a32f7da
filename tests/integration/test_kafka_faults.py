"""The kafka sink where a broker refuses, forgets an answer, or is not there."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewTopic

from penstock.errors import (
    ConfigError,
    FencedError,
    RejectedError,
    SinkError,
    SinkUnavailableError,
)
from penstock.formats.change import ChangeFormat
from penstock.model import Batch, Mark
from penstock.ports import Context
from penstock.sinks.kafka import Kafka, producer, transaction
from penstock.sinks.kafka.client import Cluster
from penstock.sinks.kafka.deadline import Deadline
from penstock.sinks.kafka.sink import KafkaSink
from penstock.stores.sqlite import SqliteStore
from penstock.testing.builders import read, update
from penstock.testing.contracts.contract import TABLE, one
from penstock.testing.scripted import batch, checkpoint, snapshot
from tests.support.kafka import Prefixed, consume, fresh_name
from tests.support.waiting import eventually
from tools.brokers import USERS
from tools.brokers import Kafka as Broker

pytestmark = pytest.mark.server


class Target:
    """Topics of one test's own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = fresh_name()
        self.context = Context(self.name, "sink", Prefixed(self.name))
        self.topic = f"{self.name}.{TABLE.text}"

    def sink(self, **options: Any) -> KafkaSink:
        return Kafka(**{"brokers": self.url, **options}).build()

    def create(self, topic: str, **config: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.url})
        admin.create_topics([NewTopic(topic, 1, config=config)])[topic].result()

    def alter(self, topic: str, name: str, value: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.url})
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource("topic", topic, incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result()

    def ids(self) -> list[int]:
        return [json.loads(m.value())["after"]["id"] for m in consume(self.url, self.topic)]


@pytest.fixture
def target(kafka: Broker) -> Target:
    return Target(kafka.url)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def opened(target: Target, sink: KafkaSink) -> KafkaSink:
    try:
        await sink.open(target.context)
    except BaseException:
        await sink.close()
        raise
    return sink


async def both(sink: KafkaSink, part: Batch) -> None:
    """Write and flush."""
    await sink.write(part)
    await sink.flush()


async def feed(target: Target, sink: KafkaSink, *batches: Batch) -> Mark | None:
    await opened(target, sink)
    try:
        for part in batches:
            await sink.write(part)
        return await sink.flush()
    finally:
        await sink.close()


# -- transactions


def test_one_commit_moves_the_checkpoints_of_all_streams_in_it(target: Target) -> None:
    async def main() -> None:
        rows = snapshot(TABLE, [read(TABLE, {"id": 1, "note": "x"})], at=1)
        await feed(target, target.sink(transactions=True), *rows, batch(2, one(2)))
        again = await opened(target, target.sink(transactions=True))
        assert await again.resume("main") == checkpoint(2)
        assert await again.resume(rows[0].stream) == rows[-1].checkpoint
        await again.close()

    run(main())


def test_a_flush_in_the_middle_of_a_source_transaction_claims_nothing(target: Target) -> None:
    part = batch(1, one(1), complete=False)
    run(_claims_nothing(target, part))
    assert target.ids() == []


async def _claims_nothing(target: Target, part: Batch) -> None:
    assert await feed(target, target.sink(transactions=True), part) is None


def test_a_commit_of_which_the_answer_was_lost_is_found_and_not_repeated(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = producer.Producer.commit

    def lost(self: producer.Producer) -> None:
        commit(self)
        raise SinkUnavailableError("the answer was lost")

    async def main() -> None:
        sink = await opened(target, target.sink(transactions=True))
        with monkeypatch.context() as patch:
            patch.setattr(producer.Producer, "commit", lost)
            await sink.write(batch(1, one(1)))
            with pytest.raises(SinkUnavailableError):
                await sink.flush()
        await sink.open(target.context)
        assert await sink.resume("main") == checkpoint(1)
        await sink.close()

    run(main())
    assert target.ids() == [1]


def parts(count: int) -> Iterator[Batch]:
    """One source transaction in as many batches, two rows each."""
    for n in range(count):
        rows = one(2 * n + 1), one(2 * n + 2)
        yield batch(7, *rows, first=2 * n, complete=n == count - 1)


@pytest.mark.parametrize("dies_after", [1, 2, 3])
def test_a_source_transaction_in_parts_is_there_once(
    target: Target, monkeypatch: pytest.MonkeyPatch, dies_after: int
) -> None:
    """Each write ends the Kafka transaction before it; a new life is fed all of it again, twice."""
    monkeypatch.setattr(transaction, "PART_AFTER", 0.0)

    async def main() -> None:
        await feed(target, target.sink(transactions=True), batch(1, one(0)))
        for lived in (dies_after, 1):  # the second dies before it comes to what is new
            sink = await opened(target, target.sink(transactions=True))
            assert await sink.resume("main") == checkpoint(1)
            for part in list(parts(4))[:lived]:
                await sink.write(part)
            await sink.close()
        assert await feed(target, target.sink(transactions=True), *parts(4)) == Mark("7", 7)

    run(main())
    assert target.ids() == list(range(9))


def test_a_source_that_pauses_in_a_transaction_does_not_outlive_the_brokers_patience(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "TRANSACTION_LIMIT", 3.0)
    monkeypatch.setattr("penstock.sinks.kafka.sink.PART_AFTER", 0.1)
    first, last = batch(1, one(1), complete=False), batch(1, one(2), first=1)

    async def main() -> None:
        sink = await opened(target, target.sink(transactions=True))
        await sink.write(first)
        await asyncio.to_thread(eventually, target.ids, within=60, what="the part")
        await sink.write(last)
        assert await sink.flush() == Mark("1", 1)
        await sink.close()

    run(main())
    assert target.ids() == [1, 2]


def test_what_a_frozen_copy_had_begun_is_never_seen(target: Target) -> None:
    """It wakes up after another has taken over, written and committed."""

    async def main() -> None:
        frozen = await opened(target, target.sink(transactions=True))
        await frozen.write(batch(1, one(1)))
        await feed(target, target.sink(transactions=True), batch(1, one(1)), batch(2, one(2)))
        for _ in range(2):
            with pytest.raises(FencedError, match="another copy"):
                await both(frozen, batch(2, one(2)))
        await frozen.close()

    run(main())
    assert target.ids() == [1, 2]


def test_an_older_copy_may_go_on_until_the_other_has_written(target: Target) -> None:
    """Who comes later fences; but of two, the first to commit is the one that stays."""

    async def main() -> None:
        old = await opened(target, target.sink(transactions=True))
        new = await opened(target, target.sink(transactions=True))
        with pytest.raises(SinkUnavailableError):
            await both(old, batch(1, one(1)))
        await old.open(target.context)
        await both(old, batch(1, one(1)))
        with pytest.raises(FencedError):
            await both(new, batch(1, one(1)))
        await both(old, batch(2, one(2)))
        await old.close()
        await new.close()

    run(main())
    assert target.ids() == [1, 2]


# -- producers that end


class Dying:
    """A client that a fatal error has ended."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.left = 0

    def produce(self, *arguments: Any, **options: Any) -> None:
        self.left += 1

    def poll(self, seconds: float) -> int:
        raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True))

    flush = poll

    def __len__(self) -> int:
        return self.left

    def purge(self) -> None:
        self.left = 0

    def close(self, seconds: float) -> bool:
        raise SystemError("returned a result with an exception set")


def test_after_a_fatal_error_a_new_producer_goes_on(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        sink = target.sink()
        with monkeypatch.context() as patch:
            patch.setattr("confluent_kafka.Producer", Dying)
            await sink.open(target.context)
            with pytest.raises(SinkUnavailableError, match="ended"):
                await sink.write(batch(1, one(1)))
        await sink.open(target.context)
        await sink.write(batch(1, one(1)))
        assert await sink.flush() == Mark("1", 0)
        await sink.close()

    run(main())
    assert target.ids() == [1]


# -- what a topic refuses


def noise(size: int) -> str:
    """A text that no compression makes much smaller."""
    return random.Random(size).randbytes(size // 2).hex()


@pytest.mark.parametrize("transactions", [False, True])
def test_a_topic_that_takes_little_at_once_gets_smaller_batches(
    target: Target, transactions: bool
) -> None:
    target.create(target.topic, **{"max.message.bytes": "10000"})
    many = [one(n, noise(2000)) for n in range(50)]

    async def main() -> None:
        sink = target.sink(transactions=transactions)
        with pytest.raises(SinkUnavailableError, match="smaller"):
            await feed(target, sink, batch(1, *many))
        await feed(target, sink, batch(1, *many))

    run(main())
    assert target.ids() == list(range(50))


@pytest.mark.parametrize("transactions", [False, True])
def test_a_record_that_is_too_large_stops_and_costs_no_other(
    target: Target, transactions: bool
) -> None:
    large = one(2, noise(3_000_000))

    async def main() -> None:
        sink = target.sink(transactions=transactions)
        await feed(target, sink, batch(1, one(1)))
        with pytest.raises(RejectedError) as told:
            await feed(target, sink, batch(2, large))
        assert target.topic in told.value.message
        assert "max.message.bytes" in told.value.hint
        again = await opened(target, target.sink(transactions=transactions))
        assert await again.resume("main") == (checkpoint(1) if transactions else None)
        await again.close()

    run(main())
    assert target.ids() == [1]


@pytest.mark.parametrize("transactions", [False, True])
def test_a_record_that_is_too_large_can_be_parked_and_replayed(
    target: Target, transactions: bool, tmp_path: Path
) -> None:
    """What comes later for its key waits behind it; all else goes on."""
    store = SqliteStore(tmp_path / "state.db")
    context = replace(target.context, store=store)
    batches = [
        batch(1, one(1), one(2, noise(3_000_000)), one(3)),
        batch(2, update(TABLE, {"id": 2, "note": "small"}), one(4)),
    ]

    async def main() -> None:
        await store.open(context)
        for part in (*batches, batches[1]):  # a repeat parks nothing twice
            sink = target.sink(transactions=transactions, too_large="park")
            await sink.open(context)
            await both(sink, part)
            await sink.close()
        parked = await store.parked("sink")
        assert [one.id for one in parked] == ["1:1", "2:0"]
        assert "the limit is" in parked[0].reason
        assert "waits behind 1:1" in parked[1].reason

        sink = target.sink(transactions=transactions, too_large="park")
        await sink.open(context)
        assert await sink.replay(parked) == []
        await sink.close()
        target.alter(target.topic, "max.message.bytes", "5000000")
        await sink.open(context)
        assert await sink.replay(parked) == ["1:1", "2:0"]
        await sink.close()
        assert await store.parked("sink") == []
        await store.close()

    run(main())
    assert target.ids() == [1, 3, 4, 4, 2, 2]


class Counting(ChangeFormat):
    """Counts what it is asked for, as a format may that numbers its records."""

    asked = 0

    def records(self, batch: Batch) -> Any:
        self.asked += 1
        return super().records(batch)


def test_who_may_park_makes_records_once(target: Target, tmp_path: Path) -> None:
    format = Counting()
    store = SqliteStore(tmp_path / "state.db")
    context = replace(target.context, store=store, format=format)

    async def main() -> None:
        await store.open(context)
        sink = target.sink(too_large="park")
        await sink.open(context)
        await both(sink, batch(1, one(1), one(2)))
        await sink.close()
        await store.close()

    run(main())
    assert format.asked == 1


def test_a_large_record_that_compression_makes_small_is_written(target: Target) -> None:
    run(_feed_one(target, batch(1, one(1), one(2, "x" * 3_000_000), one(3))))
    assert target.ids() == [1, 2, 3]


async def _feed_one(target: Target, part: Batch) -> None:
    await feed(target, target.sink(), part)


@pytest.mark.parametrize("transactions", [False, True])
def test_a_topic_that_is_missing_and_must_not_be_made_stops(
    target: Target, transactions: bool
) -> None:
    async def main() -> None:
        sink = target.sink(create_topics=False, transactions=transactions)
        with pytest.raises(SinkError, match="no topic") as told:
            await feed(target, sink, batch(1, one(1)))
        assert not isinstance(told.value, SinkUnavailableError)
        assert "create_topics" in told.value.hint

    run(main())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"replication": 3}, "REPLICATION"),
        ({"topic_config": {"cleanup.policy": "never"}}, "CONFIG"),
    ],
)
def test_a_topic_that_cannot_be_made_stops(
    target: Target, options: dict[str, Any], said: str
) -> None:
    async def main() -> None:
        with pytest.raises(SinkError, match=said) as told:
            await feed(target, target.sink(**options), batch(1, one(1)))
        assert not isinstance(told.value, SinkUnavailableError)
        assert told.value.hint

    run(main())


def test_a_topic_is_made_as_the_options_say(target: Target) -> None:
    config = {"cleanup.policy": "compact"}

    async def main() -> None:
        await feed(target, target.sink(partitions=3, topic_config=config), batch(1, one(1)))

    run(main())
    admin = AdminClient({"bootstrap.servers": target.url})
    assert len(admin.list_topics(timeout=20).topics[target.topic].partitions) == 3


# -- who is not there, or does not let us in


@contextmanager
def nobody() -> Iterator[str]:
    """An address where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_a_broker_that_is_away_at_the_start_is_unavailable() -> None:
    with nobody() as url:
        target = Target(url)

        async def main() -> None:
            with pytest.raises(SinkUnavailableError, match="refused"):
                await opened(target, target.sink(delivery_timeout=1.5))
            findings = await target.sink(delivery_timeout=1.5).check(target.context)
            assert [(f.severity, f.code) for f in findings] == [("error", "sink-unavailable")]
            assert url in findings[0].message

        run(main())


@contextmanager
def hanging(broker: Broker) -> Iterator[None]:
    """The broker takes connections and does nothing."""
    os.kill(broker.pid(), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid(), signal.SIGCONT)


@pytest.mark.parametrize("transactions", [False, True])
def test_a_broker_that_hangs_is_unavailable_and_nothing_is_lost(
    kafka: Broker, target: Target, transactions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        sink = await opened(target, target.sink(transactions=transactions, delivery_timeout=60))
        await both(sink, batch(1, one(1)))
        with hanging(kafka), monkeypatch.context() as patch:
            patch.setattr(Cluster, "deadline", lambda _: Deadline(2.0, lambda: False))
            with pytest.raises(SinkUnavailableError, match="nothing from"):
                await both(sink, batch(2, one(2)))
        await sink.open(target.context)
        if await sink.resume("main") != checkpoint(2):
            await both(sink, batch(2, one(2)))
        await sink.close()

    run(main())
    ids = target.ids()
    assert list(dict.fromkeys(ids)) == [1, 2]
    assert ids == [1, 2] or not transactions


def test_a_broker_that_hangs_for_a_moment_repeats_nothing(kafka: Broker, target: Target) -> None:
    async def main() -> None:
        sink = await opened(target, target.sink(delivery_timeout=120))
        await both(sink, batch(1, one(1)))
        with hanging(kafka):
            await sink.write(batch(2, *(one(n) for n in range(2, 500))))
            flushing = asyncio.create_task(sink.flush())
            await asyncio.sleep(1)
        assert await flushing == Mark("2", 497)
        await sink.close()

    run(main())
    assert target.ids() == list(range(1, 500))


def logged_in(name: str, password: str) -> dict[str, str]:
    """The settings of a user."""
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": name,
        "sasl.password": password,
    }


@pytest.mark.parametrize("transactions", [False, True])
def test_a_user_writes(kafka: Broker, target: Target, transactions: bool) -> None:
    settings = logged_in("writer", USERS["writer"])

    async def main() -> None:
        sink = target.sink(brokers=kafka.guarded, settings=settings, transactions=transactions)
        assert await sink.check(target.context) == []
        assert await feed(target, sink, batch(1, one(1))) == Mark("1", 0)

    run(main())
    assert target.ids() == [1]


def test_a_wrong_password_stops_at_once(kafka: Broker, target: Target) -> None:
    """And is told to nobody."""
    sink = target.sink(
        brokers=kafka.guarded, settings=logged_in("writer", "hunter2"), delivery_timeout=3600
    )

    async def main() -> None:
        async with asyncio.timeout(60):
            with pytest.raises(SinkError, match="uthentication") as told:
                await opened(target, sink)
        assert not isinstance(told.value, SinkUnavailableError)
        assert "password" in told.value.hint
        assert "hunter2" not in f"{told.value}{told.value.hint}"
        (finding,) = await sink.check(target.context)
        assert (finding.severity, finding.code) == ("error", "sink")

    run(main())


def test_a_user_who_may_not_write_stops(kafka: Broker, target: Target) -> None:
    settings = logged_in("guest", USERS["guest"])

    async def main() -> None:
        sink = target.sink(brokers=kafka.guarded, settings=settings)
        with pytest.raises(SinkError, match="AUTHORIZATION") as told:
            await feed(target, sink, batch(1, one(1)))
        assert not isinstance(told.value, SinkUnavailableError)
        assert "let our user" in told.value.hint

    run(main())
    assert target.ids() == []


def test_a_stop_does_not_wait_for_a_broker_that_is_away() -> None:
    with nobody() as url:
        target = Target(url)

        async def main() -> None:
            sink = target.sink(delivery_timeout=3600)
            opening = asyncio.create_task(sink.open(target.context))
            await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            async with asyncio.timeout(60):
                await sink.close()

        run(main())


def test_settings_that_librdkafka_does_not_know_are_a_matter_of_configuration(
    target: Target,
) -> None:
    async def main() -> None:
        sink = target.sink(settings={"linger.mss": "5"})
        with pytest.raises(ConfigError, match=r"linger\.mss"):
            await opened(target, sink)
        assert [found.code for found in await sink.check(target.context)] == ["config"]

    run(main())


def test_a_check_finds_nothing_where_all_is_well(target: Target) -> None:
    async def main() -> None:
        assert await target.sink(transactions=True).check(target.context) == []

    run(main())


def test_a_check_finds_that_the_checkpoints_have_no_topic(target: Target) -> None:
    async def main() -> None:
        sink = target.sink(transactions=True, create_topics=False)
        (finding,) = await sink.check(target.context)
        assert finding.severity == "error"
        assert "checkpoints" in finding.message
        assert "cleanup.policy=compact" in finding.fix

    run(main())
