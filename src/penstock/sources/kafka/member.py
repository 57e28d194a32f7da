"""A member of the consumer group: the thread in which librdkafka's consumer lives.

All is taken back and given out anew whenever a worker comes or goes (the eager protocol), so
every worker has flushed and committed what it had before any partition has another owner.

Our hold on the partitions is proved by commits, which a broker takes only from members: until a
session's time after the last one that it took, nobody else can have them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from penstock.errors import ConnectionLostError, DivergedError, GapError, PenstockError, SourceError
from penstock.model import Checkpoint
from penstock.ports import Context, StreamState
from penstock.registry import driver
from penstock.sources.kafka import offsets
from penstock.sources.kafka.client import (
    PATIENCE,
    Errors,
    explain,
    explained,
    made,
    settings,
    topics_of,
)
from penstock.sources.kafka.inbox import Ended, Given, Inbox, Taken
from penstock.sources.kafka.place import checkpoint_at, offset_of, partition_of, stream_of
from penstock.sources.kafka.reading import Reading

if TYPE_CHECKING:
    from penstock.sources.kafka.config import Kafka

T = TypeVar("T")

_AT_ONCE: Final = 1000
"""Messages that are taken off librdkafka's queue together, at most."""

_COMMIT_EVERY: Final = 0.5
"""Seconds between commits while there is something new."""

_TICK: Final = 0.1


class Member:
    """Joins the group, reads what it is given, commits what is acknowledged.

    Parameters
    ----------
    until: of each stream the offset at which reading ends; None to read for ever.
    """

    def __init__(
        self, config: Kafka, context: Context, group: str, reading: Reading, inbox: Inbox
    ) -> None:
        self._config = config
        self._context = context
        self._group = group
        self._reading = reading
        self._inbox = inbox
        self._confluent = driver("confluent_kafka", "kafka")
        self._errors = Errors(config.brokers, lambda said: context.logger.info("kafka: %s", said))
        self._consumer = made("confluent_kafka", "Consumer", self._settings())
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._kept: dict[str, dict[str, StreamState]] = {}
        self._acknowledged: dict[str, int] = {}
        self._committed: dict[str, int] = {}
        self._generation = 0
        self._mine = False
        self._lost = False
        self._ended = False
        self._proved = self._due = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="penstock-kafka")
        self.until: dict[str, int] | None = None

    def _settings(self) -> dict[str, Any]:
        return {
            "client.id": f"penstock.{self._context.pipeline}",
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 60_000,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16_384,
            **settings(self._config, self._errors),
            "group.id": self._group,
            "partition.assignment.strategy": "roundrobin",
            "session.timeout.ms": int(self._config.session_timeout * 1000),
            "heartbeat.interval.ms": int(self._config.session_timeout * 1000 / 10),
            "max.poll.interval.ms": int(
                max(self._config.poll_timeout, self._config.session_timeout) * 1000
            ),
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }

    # -- from the loop

    def topics(self) -> frozenset[str]:
        """The names of all topics that are there.

        Raises ConnectionLostError when no broker answers, SourceError when they refuse us.
        """
        return frozenset(topics_of(self._consumer, self._errors, "cannot ask for topics"))

    def start(self) -> None:
        """Join."""
        self._proved = time.monotonic()
        self._thread.start()

    def keep(self, states: Mapping[tuple[str, str], StreamState]) -> None:
        """Note states, for the next commit."""
        with self._lock:
            for (sink, stream), state in states.items():
                self._kept.setdefault(stream, {})[sink] = state

    def acknowledge(self, checkpoint: Checkpoint) -> None:
        """Note an offset, for the next commit."""
        with self._lock:
            if self._mine:
                self._acknowledged[checkpoint.stream] = offset_of(checkpoint)

    def authority(self) -> float:
        """Seconds for which nobody else can have our partitions."""
        if self._lost:
            return 0.0
        return self._proved + self._config.session_timeout - time.monotonic()

    def close(self) -> None:
        """Commit, leave the group, let the thread end. Blocks."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        elif self._thread.ident is None:
            self._consumer.close()

    # -- the thread

    def _run(self) -> None:
        try:
            try:
                self._consumer.subscribe(
                    list(self._config.topics),
                    on_assign=self._on_assign,
                    on_revoke=self._on_revoke,
                    on_lost=self._on_lost,
                )
                while not self._stopping.is_set():
                    self._turn()
                if self._mine and not self._lost:
                    self._commit()
            finally:
                self._stopping.set()
                self._consumer.close()
        except PenstockError as error:
            self._inbox.put(self._errors.of(error))
        except self._confluent.KafkaException as error:
            self._inbox.put(self._errors.of(explained("cannot read from Kafka", error)))
        except Exception as error:  # noqa: BLE001 - the loop must hear of it, whatever it is
            self._inbox.put(error)

    def _turn(self) -> None:
        if self._errors.refused is not None:
            raise self._errors.refused
        if self._inbox.has_room(_TICK):
            generation = self._generation
            message = self._consumer.poll(_TICK)
            if message is not None:
                messages = [message, *self._consumer.consume(_AT_ONCE - 1, 0)]
                if generation == self._generation:
                    self._take(messages)
                elif self._mine:  # some are of partitions as we had them before
                    self._assign()
        else:
            self._wait_for_room()
        self._tick()
        self._end()

    def _wait_for_room(self) -> None:
        """Nothing is read while a sink is slow, but we stay a member."""
        held = self._consumer.assignment()
        self._consumer.pause(held)
        generation = self._generation
        while not self._inbox.has_room(0) and not self._stopping.is_set():
            message = self._consumer.poll(_TICK)
            if generation != self._generation:
                if self._mine:
                    self._assign()
                return
            if message is not None:
                self._take([message])
            self._tick()
        self._consumer.resume(held)

    def _assign(self) -> None:
        """Read on where we are."""
        self._consumer.assign(
            [
                self._confluent.TopicPartition(*partition_of(stream), at)
                for stream, at in self._reading.next.items()
            ]
        )

    def _take(self, messages: list[Any]) -> None:
        whole = []
        for message in messages:
            error = message.error()
            if error is None:
                whole.append(message)
            elif error.name() == "_PARTITION_EOF":
                stream = stream_of(message.topic(), message.partition())
                if stream in self._reading.next and message.offset() > self._reading.next[stream]:
                    self._read(whole)
                    whole = []
                    self._reading.next[stream] = message.offset()
            elif error.name() == "_MAX_POLL_EXCEEDED":
                self._lose()
            else:
                self._failed(message, error)
        self._read(whole)

    def _read(self, messages: list[Any]) -> None:
        for item in self._reading.batches(messages):
            self._inbox.put(item)

    def _failed(self, message: Any, error: Any) -> None:
        where = f"{message.topic()}/{message.partition()}" if message.topic() else "Kafka"
        if error.name() == "UNKNOWN_TOPIC_OR_PART":
            if where.startswith("^"):  # there may be one later
                return
            raise SourceError(
                f"topic {message.topic()!r} is not there",
                hint="was it deleted? create it, or leave it out of topics",
            )
        found = explain(f"cannot read {where}", error)
        if not isinstance(found, ConnectionLostError):
            raise found
        self._context.logger.info("kafka: %s", found.message)

    def _end(self) -> None:
        """Where reading is to end, and all that we have is read, say so, once."""
        if self.until is None or self._ended or not self._mine:
            return
        left = (s for s, at in self._reading.next.items() if at < self.until.get(s, 0))
        if next(left, None) is None:
            self._ended = True
            self._inbox.put(Ended())

    # -- commits

    def _tick(self) -> None:
        """Commit what is new, and prove that we are a member."""
        now = time.monotonic()
        if now < self._due or not self._mine or self._lost:
            return
        is_new = self._acknowledged != self._committed
        if is_new or now - self._proved > self._config.session_timeout / 5:
            self._commit()
        self._due = time.monotonic() + _COMMIT_EVERY

    def _commit(self) -> None:
        """Commit what is acknowledged. What the broker refuses is judged by what it says of the
        group: that we were taken off it, or are about to be asked."""
        with self._lock:
            wanted = dict(self._acknowledged)
            made = [
                self._confluent.TopicPartition(
                    *partition_of(stream),
                    offset,
                    offsets.dump(self._context.pipeline, self._kept.get(stream, {})),
                )
                for stream, offset in wanted.items()
            ]
        if not made:
            return
        asked = time.monotonic()
        try:
            done = self._consumer.commit(offsets=made, asynchronous=False)
        except self._confluent.KafkaException as error:
            self._refused(error.args[0])
            return
        for one in done:
            if one.error is not None:
                self._refused(one.error)
                return
        self._committed = wanted
        self._proved = asked

    def _refused(self, error: Any) -> None:
        found = explain("cannot commit offsets", error)
        if not isinstance(found, ConnectionLostError):
            raise found
        self._context.logger.info("kafka: %s", found.message)

    # -- the group's word

    def _on_assign(self, consumer: Any, partitions: list[Any]) -> None:
        streams = [stream_of(one.topic, one.partition) for one in partitions]
        self._context.logger.info("the group gave us %s", ", ".join(streams) or "no partition")
        with self._lock:
            self._kept, self._acknowledged, self._committed = {}, {}, {}
        self._generation += 1
        firsts, states = self._remembered(consumer, partitions)
        given = Given({s: checkpoint_at(s, at) for s, at in firsts.items()}, states)
        starts = self._ask(given, given.answer)
        if starts is None:
            consumer.assign([])
            return
        found = {stream: offset_of(starts[stream]) for stream in streams}
        for stream, at in found.items():
            self._check_range(stream, at)
        self._reading.begin(found)
        with self._lock:
            self._acknowledged = found
            self._mine = True
        self._assign()
        self._commit()

    def _remembered(
        self, consumer: Any, partitions: list[Any]
    ) -> tuple[dict[str, int], dict[tuple[str, str], StreamState]]:
        """Where each begins by itself, and what was kept of it."""
        firsts: dict[str, int] = {}
        states: dict[tuple[str, str], StreamState] = {}
        with self._told(f"cannot ask for the offsets of group {self._group!r}"):
            committed = consumer.committed(partitions, timeout=PATIENCE)
            for one in committed:
                stream = stream_of(one.topic, one.partition)
                if one.offset >= 0:
                    firsts[stream] = one.offset
                    kept = offsets.load(self._context.pipeline, self._group, stream, one.metadata)
                    states |= {(sink, stream): state for sink, state in kept.items()}
                else:
                    firsts[stream] = self._first(consumer, one)
        return firsts, states

    def _first(self, consumer: Any, one: Any) -> int:
        """Where a partition begins that the group never read."""
        low, high = self._range(stream_of(one.topic, one.partition))
        if self._config.start == "earliest":
            return low
        found = consumer.list_topics(one.topic, timeout=PATIENCE).topics[one.topic]
        others = [self._confluent.TopicPartition(one.topic, p) for p in found.partitions]
        known = consumer.committed(others, timeout=PATIENCE)
        return low if any(other.offset >= 0 for other in known) else high

    def _range(self, stream: str) -> tuple[int, int]:
        one = self._confluent.TopicPartition(*partition_of(stream))
        low, high = self._consumer.get_watermark_offsets(one, timeout=PATIENCE)
        return low, high

    def _check_range(self, stream: str, at: int) -> None:
        with self._told(f"cannot ask for the range of {stream}"):
            low, high = self._range(stream)
        if at < low:
            raise GapError(
                f"records {at} to {low - 1} of {stream} were deleted before they were read "
                "(retention)",
                hint="penstock teardown, empty the targets, and begin again; and have the topic "
                "keep its records for longer",
            )
        if at > high:
            raise DivergedError(
                f"{stream} ends at {high}, but we have read up to {at}: it is not the topic, or "
                "not the cluster, that it was",
                hint="penstock teardown, empty the targets, and begin again",
            )

    def _on_revoke(self, consumer: Any, partitions: list[Any]) -> None:
        if self._stopping.is_set() or not self._mine:
            return
        self._context.logger.info("the group wants our partitions back")
        taken = Taken(tuple(self._reading.next))
        if self._ask(taken, taken.answer) is not None:
            self._commit()
        self._mine = False
        self._generation += 1
        self._reading.begin({})

    def _on_lost(self, consumer: Any, partitions: list[Any]) -> None:
        self._lose()

    def _lose(self) -> None:
        """Others have our partitions: what is not flushed is theirs to read again."""
        self._mine, self._lost = False, True
        self._reading.begin({})
        self._stopping.set()
        raise ConnectionLostError(
            f"we were not heard of in time: group {self._group!r} gave our partitions to others"
        )

    def _ask(self, item: Given | Taken, answer: Future[T]) -> T | None:
        """Wait for the loop; None when it is over."""
        deadline = time.monotonic() + self._config.poll_timeout
        self._inbox.put(item)
        while not self._stopping.is_set():
            try:
                return answer.result(_TICK)
            except NotYet:
                self._tick()
                if time.monotonic() > deadline:
                    self._lose()
        return None

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._confluent.KafkaException as error:
            raise self._errors.of(explained(what, error)) from error
