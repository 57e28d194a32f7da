"""One producer and what it has open; all of it is used by one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from penstock.errors import FencedError, PenstockError, SinkUnavailableError
from penstock.failpoints import Failpoint
from penstock.model import Batch, Change, Event, EventBatch, Mark, Message, Record, TransactionBegin
from penstock.ports import Context
from penstock.sinks.kafka import checkpoints
from penstock.sinks.kafka.checkpoints import Memory, Place
from penstock.sinks.kafka.client import Cluster
from penstock.sinks.kafka.producer import Producer, too_large
from penstock.sinks.kafka.topics import Topics
from penstock.sinks.kafka.transaction import Transaction, stored, take_over

if TYPE_CHECKING:
    from penstock.sinks.kafka.config import Kafka

_OVERHEAD: Final = 512
"""Bytes that a record may need beside its key, value and headers."""


class Session:
    """Writes batches with one producer.

    Parameters
    ----------
    memory: what this process knows of its checkpoints; others in Kafka are another copy's.
    stopping: set when nobody waits for the work any more.

    Raises SinkUnavailableError when no broker answers, SinkError when they refuse us, FencedError
    when another copy of the pipeline has written, ConfigError for settings that cannot be.
    """

    def __init__(
        self, config: Kafka, context: Context, memory: Memory, stopping: Callable[[], bool]
    ) -> None:
        self._config = config
        self._context = context
        self._memory = memory
        self._cluster = Cluster(config, context, stopping)
        self._topics = Topics(self._cluster)
        self._topics.known()
        self._topic = checkpoints.topic_of(context.pipeline, context.component)
        name = None
        if config.transactions:
            name = f"penstock.{context.pipeline}.{context.component}"
            self._topics.ensure(self._topic, 1, checkpoints.CONFIG)
            if memory.loaded:  # look before we fence whoever is there now
                stored(self._cluster, self._topic, memory)
        self._producer = Producer(self._cluster, name, memory.batch)
        self._transaction: Transaction | None = None
        self._small: dict[str, int] = {}  # sizes that surely fit, by topic
        self._made: tuple[Batch, list[Record]] | None = None
        self._halfway = False
        self._ended: PenstockError | None = None
        self._last: Mark | None = None
        try:
            if config.transactions:
                with self._judging():
                    take_over(self._cluster, self._producer, self._topic, memory)
                self._transaction = Transaction(self._cluster, self._producer, self._topic, memory)
        except BaseException:
            self._producer.close(abort=False)
            raise
        self._halves = {s: p.after for s, p in memory.seen.items() if p.after is not None}

    def write(self, batch: Batch) -> None:
        """Hand the batch's records to the producer."""
        if self._ended is not None:
            raise self._ended
        self._halfway, self._last = batch.checkpoint is None, batch.last or self._last
        with self._judging():
            self._cluster.check()
            if self._transaction is None:
                self._send(self._records(batch))
            else:
                self._write_in(self._transaction, batch)

    def oversized(self, batch: Batch) -> dict[str, str]:
        """The ids of changes with a record that is too large for its topic, and why.

        The records are kept for the next write, since a format may count.
        """
        records = list(self._records(batch))
        if not any(map(self._excess, records)):
            self._made = batch, records
            return {}
        found = {}
        for event in batch:
            if isinstance(event, Change):
                for record in self._records(EventBatch(batch.stream, (event,))):
                    if excess := self._excess(record):
                        found[event.id] = excess
        return found

    def replay(self, change: Change) -> bool:
        """Write one change that was parked; whether its topic took it."""
        batch = EventBatch("main", (change,))
        if self.oversized(batch):
            return False
        with self._judging():
            if self._transaction is not None:
                self._transaction.begin()
            self._send(self._records(batch))
            if self._transaction is not None:
                self._transaction.commit()
            else:
                self._producer.drain()
        return True

    def flush(self) -> Mark | None:
        """Wait until all is acknowledged; with transactions, commit it with the checkpoint.

        Nothing is committed, and None returned, while a source transaction is incomplete.
        """
        if self._transaction is not None and self._halfway:
            return None
        self._context.failpoints.hit(Failpoint.SINK_COMMIT)
        with self._judging():
            if self._transaction is None:
                self._producer.drain()
            else:
                self._transaction.commit()
        last, self._last = self._last, None
        return last

    def commit_part(self) -> None:
        """Commit what is written, though its source transaction goes on: it has been open for so
        long that the broker would abort it."""
        if self._transaction is None:
            return
        try:
            with self._judging():
                self._transaction.commit()
        except PenstockError as error:
            self._ended = error

    @property
    def open(self) -> bool:
        """Whether a Kafka transaction holds what is not committed."""
        return self._transaction is not None and self._transaction.open

    def close(self) -> None:
        """Give up what was not flushed."""
        self._producer.close(abort=self.open)

    def _write_in(self, transaction: Transaction, batch: Batch) -> None:
        stream = batch.stream
        transaction.begin()
        before = transaction.place(stream)
        news = self._without_half(batch)
        self._send(self._records(news))
        if batch.checkpoint is not None:
            transaction.reach(stream, Place(batch.checkpoint, None, self._memory.writer))
        elif stream not in self._halves and batch.last is not None:
            transaction.reach(stream, Place(before.checkpoint, batch.last, self._memory.writer))

    def _without_half(self, batch: Batch) -> Batch:
        """Leave out what an earlier commit, in the middle of a source transaction, holds already.

        The format sees it too: of the rest it may count from there.
        """
        mark = self._halves.get(batch.stream)
        if mark is None:
            return batch
        for _ in self._records(batch.select(lambda event: _within(event, mark))):
            pass
        rest = batch.select(lambda event: not _within(event, mark))
        if batch.checkpoint is not None or any(isinstance(e, Change | Message) for e in rest):
            del self._halves[batch.stream]
        return rest

    # -- records

    def _records(self, batch: Batch) -> Iterable[Record]:
        made, self._made = self._made, None
        if made is not None and made[0] is batch:
            return made[1]
        assert self._context.format is not None
        return batch.records(self._context.format)

    def _send(self, records: Iterable[Record]) -> None:
        self._producer.send(self._fitting(records))

    def _fitting(self, records: Iterable[Record]) -> Iterator[Record]:
        """A record that may be too large is sent alone: compressed it may still fit, and a refusal
        takes no other record with it. Inside a transaction a refusal would end it, so there it
        is not tried."""
        small = self._small
        for record in records:
            topic, key, value, _ = record
            if len(value or b"") + len(key or b"") < small.get(topic, 0):
                yield record  # as nearly all
            elif not (excess := self._excess(record)):
                yield record
            elif self._transaction is not None:
                raise too_large(record.topic, excess)
            else:
                self._producer.drain()
                yield record
                self._producer.drain()

    def _excess(self, record: Record) -> str:
        """Why a record may be too large for its topic; nothing where it is not."""
        topic, key, value, headers = record
        limit = self._limit(topic)
        size = len(value or b"") + len(key or b"") + _OVERHEAD
        size += sum(len(name) + len(text) + 2 for name, text in headers.items())
        return f"{size} bytes, the limit is {limit}" if size > limit else ""

    def _limit(self, topic: str) -> int:
        limit = self._topics.largest(topic)
        if limit < self._memory.batch:
            self._memory.batch = limit - _OVERHEAD
            raise SinkUnavailableError(
                f"topic {topic!r} takes no more than {limit} bytes at once: the next producer "
                "sends smaller batches"
            )
        self._small[topic] = limit // 2
        return limit

    # -- failures

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Who fences us is another copy if it has written. Else it may be an earlier producer of
        our own, whose last request came late, or a broker that lost patience: a new producer goes
        on. Should it be another copy that has not written yet, then the first to commit is the
        one that stays.
        """
        try:
            yield
        except FencedError as error:
            if self._config.transactions:
                stored(self._cluster, self._topic, self._memory)
            raise SinkUnavailableError(error.message) from error


def _within(event: Event, mark: Mark) -> bool:
    """Whether an event is of ``mark``'s transaction and not after it."""
    if isinstance(event, TransactionBegin):
        return event.origin.mark == mark.transaction
    if not isinstance(event, Change | Message):
        return False
    own = event.mark
    return own.transaction == mark.transaction and (own.ordinal, own.part) <= (
        mark.ordinal,
        mark.part,
    )
