"""One producer and what it has open; all of it is used by one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import FencedError, RejectedError, SinkError, SinkUnavailableError
from penstock.failpoints import Failpoint
from penstock.model import Batch, Change, Event, Mark, Message, Record
from penstock.ports import Context
from penstock.registry import driver
from penstock.sinks.kafka import checkpoints
from penstock.sinks.kafka.checkpoints import Memory, Place
from penstock.sinks.kafka.failures import explain, raised
from penstock.sinks.kafka.topics import Topics

if TYPE_CHECKING:
    from penstock.sinks.kafka.config import Kafka

_OVERHEAD: Final = 512
"""Bytes that a record may need beside its key, value and headers."""

_POLL: Final = 0.1
TRANSACTION_LIMIT: Final = 60.0
"""Seconds after which the broker aborts a transaction."""

_PART_AFTER: Final = TRANSACTION_LIMIT / 3
"""Seconds after which a transaction is ended inside a source transaction."""


class Session:
    """Writes batches with one producer.

    Parameters
    ----------
    memory: what this process knows of its checkpoints; others in Kafka are another copy's.
    stopping: set when nobody waits for the work any more.
    """

    def __init__(
        self,
        config: Kafka,
        context: Context,
        memory: Memory,
        stopping: Callable[[], bool],
    ) -> None:
        self._confluent = driver("confluent_kafka", "kafka")
        self._config = config
        self._context = context
        self._stopping = stopping
        self._failure: SinkError | None = None
        self._last: Mark | None = None
        self._batch: Batch | None = None
        self._began: float | None = None
        self._where = config.brokers
        self._topic = checkpoints.topic_of(context.pipeline, context.component)
        timeout = config.delivery_timeout
        self._settings = settings(config, self._note)
        self._topics = Topics(self._settings, config)
        self._memory = memory
        try:
            self._topics.known(timeout)
        except SinkUnavailableError as error:
            raise self._failure or error from error
        if config.transactions:
            self._topics.ensure(self._topic, timeout, **checkpoints.CONFIG)
            if memory.loaded:  # look before we fence whoever is there now
                self._check_alone()
        self._producer = self._confluent.Producer(self._producer_settings())
        if config.transactions:
            self._try("cannot begin to write", lambda: self._producer.init_transactions(timeout))
            self._check_alone()

    def _check_alone(self) -> None:
        timeout = self._config.delivery_timeout
        if not self._memory.accept(checkpoints.load(self._settings, self._topic, timeout)):
            raise FencedError(
                f"another copy of pipeline {self._context.pipeline!r} has written to {self._where}",
                hint="two copies are never to run at once",
            )

    def write(self, batch: Batch) -> None:
        """Hand the batch's records to the producer."""
        format = self._context.format
        assert format is not None
        self._raise_failure()
        self._batch = batch
        place = self._memory.seen.get(batch.stream)
        if place is not None and place.after is not None:
            batch = batch.select(_after(place.after))
        if self._config.transactions:
            self._part_in_time()
        largest: dict[str, int] = {}
        for record in batch.records(format):
            topic = record.topic
            limit = largest.get(topic)
            if limit is None:
                limit = largest[topic] = self._topics.largest(topic, self._config.delivery_timeout)
            if _size(record) + _OVERHEAD > limit:
                self._large(record, limit)
            else:
                self._produce(record)
        self._last = self._batch.last or self._last
        self._producer.poll(0)
        self._raise_failure()

    def flush(self) -> Mark | None:
        """Wait until all is acknowledged; with transactions, commit it with the checkpoint."""
        self._context.failpoints.hit(Failpoint.SINK_COMMIT)
        if self._config.transactions:
            self._commit()
        else:
            self._drain()
        last, self._last = self._last, None
        return last

    def close(self) -> None:
        """Give up what was not flushed."""
        try:
            if self._began is not None:
                self._producer.abort_transaction(1.0)
            self._producer.purge()
            self._producer.close(1.0)
        except self._confluent.KafkaException as error:  # the next producer aborts what is open
            self._context.logger.debug("kafka: closing: %s", error)

    # -- producing

    def _produce(self, record: Record) -> None:
        topic, key, value, headers = record
        listed = [(name, text.encode()) for name, text in headers.items()]
        while True:
            try:
                self._producer.produce(topic, value, key, headers=listed)
                return
            except BufferError:
                self._producer.poll(_POLL)
                self._raise_failure()
            except self._confluent.KafkaException as error:
                raise raised(f"cannot write to topic {topic!r}", error) from error

    def _large(self, record: Record, limit: int) -> None:
        """A record that may be too large is sent alone: compressed it may still fit, and a refusal
        takes no other record with it. Inside a transaction a refusal would end it, so there it
        is not tried."""
        if not self._config.transactions:
            self._drain()
            self._produce(record)
            self._drain()
            return
        raise self._too_large(record.topic, f"{_size(record)} bytes, the limit is {limit}")

    def _too_large(self, topic: str, why: str) -> SinkError:
        return RejectedError(
            f"topic {topic!r} takes no record so large: {why}",
            which=(),
            hint=f"raise max.message.bytes of {topic!r}",
        )

    def _drain(self) -> None:
        while self._producer.flush(_POLL) and self._failure is None:
            if self._stopping():
                raise SinkUnavailableError("stopped while records were on their way to Kafka")
        self._raise_failure()

    # -- transactions

    def _begin(self) -> None:
        if self._began is None:
            self._try("cannot begin a transaction", self._producer.begin_transaction)
            self._began = time.monotonic()

    def _part_in_time(self) -> None:
        """Begin a transaction, or end one that the broker would soon abort, in the middle of the
        source's: with the checkpoint before it and the last change that is in Kafka."""
        if self._began is not None and time.monotonic() - self._began > _PART_AFTER:
            assert self._batch is not None
            stream = self._batch.stream
            before = self._memory.seen.get(stream, Place(None)).checkpoint
            if self._last is not None:
                self._end({stream: Place(before, self._last, self._memory.writer)})
        self._begin()

    def _commit(self) -> None:
        batch = self._batch
        if batch is None or batch.checkpoint is None:
            return
        self._begin()
        self._end({batch.stream: Place(batch.checkpoint, None, self._memory.writer)})
        self._batch = None

    def _end(self, places: dict[str, Place]) -> None:
        for stream, place in places.items():
            key, value = checkpoints.dump(stream, place)
            self._produce(Record(self._topic, key, value, {}))
        timeout = self._config.delivery_timeout
        self._memory.tried = places
        self._try("cannot commit", lambda: self._producer.commit_transaction(timeout))
        self._began = None
        self._memory.seen.update(places)
        self._memory.tried = {}
        self._raise_failure()

    def _try(self, what: str, act: Callable[[], Any]) -> None:
        """Do it again while that is all that is needed."""
        deadline = time.monotonic() + self._config.delivery_timeout
        while True:
            try:
                act()
                return
            except self._confluent.KafkaException as error:
                self._raise_failure()
                again = error.args[0].retriable() and time.monotonic() < deadline
                if not again or self._stopping():
                    failure = explain(f"{what} on {self._where}", error.args[0])
                    raise self._judged(failure) from error

    # -- failures

    def _note(self, error: Any) -> None:
        """librdkafka tells of brokers that are away as well: that is for the time-out to judge."""
        failure = explain(f"Kafka at {self._where}", error)
        if error.fatal() or not isinstance(failure, SinkUnavailableError):
            self._failure = self._failure or failure
        else:
            self._context.logger.info("kafka: %s", error.str())

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None or self._failure is not None or error.name().startswith("_PURGE"):
            return
        topic = message.topic()
        if error.name() == "MSG_SIZE_TOO_LARGE":
            self._failure = self._too_large(topic, error.str())
        else:
            self._failure = explain(f"cannot write to topic {topic!r}", error)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._judged(self._failure)

    def _judged(self, failure: SinkError) -> SinkError:
        """Who fences us is another copy if it has written. Else it may be an earlier producer of
        our own, whose last request came late: a new producer goes on. Should it be another copy
        that has not written yet, then the first to commit is the one that stays.
        """
        if isinstance(failure, FencedError):
            self._check_alone()
            return SinkUnavailableError(failure.message)
        return failure

    def _producer_settings(self) -> dict[str, Any]:
        config = self._config
        made = {
            "linger.ms": 5,
            "queue.buffering.max.kbytes": 65_536,
            "queue.buffering.max.messages": 0,
            "partitioner": "murmur2_random",  # as Java's producers choose
            "message.max.bytes": 1_000_000_000,  # the broker is to judge
            **self._settings,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": config.compression,
            "message.timeout.ms": int(config.delivery_timeout * 1000),
            "delivery.report.only.error": True,
            "on_delivery": self._delivered,
        }
        if config.transactions:
            made["transactional.id"] = (
                f"penstock.{self._context.pipeline}.{self._context.component}"
            )
            made["transaction.timeout.ms"] = int(TRANSACTION_LIMIT * 1000)
        return made


def settings(config: Kafka, on_error: Callable[[Any], None]) -> dict[str, Any]:
    """What every client of the sink is made with."""
    given = {name: secret.get_secret_value() for name, secret in config.settings.items()}
    return {
        "log_level": 0,
        **given,
        "bootstrap.servers": config.brokers,
        "error_cb": on_error,
    }


def _size(record: Record) -> int:
    _, key, value, headers = record
    size = len(key or b"") + len(value or b"")
    return size + sum(len(name) + len(text) + 2 for name, text in headers.items())


def _after(mark: Mark) -> Callable[[Event], bool]:
    """Keeps what comes after a mark, in its transaction."""

    def keep(event: Event) -> bool:
        if not isinstance(event, Change | Message):
            return True
        own = event.mark
        return own.transaction != mark.transaction or (own.ordinal, own.part) > (
            mark.ordinal,
            mark.part,
        )

    return keep
