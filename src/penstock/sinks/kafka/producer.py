"""librdkafka's producer: while it lives, nothing that it was given is lost, doubled or reordered.

A message that timed out inside librdkafka would leave a gap: later ones go on without it, and come
before it when it is sent again. So no message ever does: it is we who lose patience, and then all
that is left is given up together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from penstock.errors import RejectedError
from penstock.model import Record
from penstock.registry import driver
from penstock.sinks.kafka.client import Cluster
from penstock.sinks.kafka.deadline import SLICE
from penstock.sinks.kafka.failures import explain, raised

TRANSACTION_LIMIT: Final = 60.0
"""Seconds after which the broker aborts a transaction."""

BATCH: Final = 1_000_000
"""Bytes of the batches that are sent, at most; a topic that takes less makes them smaller."""

_NEVER: Final = 2_147_483_647


class Producer:
    """Sends records.

    Parameters
    ----------
    transactional_id: of which there is one producer in the cluster; None for none.
    batch: what the largest batch may be, in bytes; a single larger record goes alone.

    Raises ConfigError for settings that librdkafka refuses.
    """

    def __init__(self, cluster: Cluster, transactional_id: str | None, batch: int) -> None:
        self._cluster = cluster
        self._exception = driver("confluent_kafka", "kafka").KafkaException
        timeout = int(min(cluster.config.delivery_timeout, TRANSACTION_LIMIT) * 1000)
        settings = {
            "linger.ms": 5,
            "queue.buffering.max.kbytes": 8_192,
            "queue.buffering.max.messages": 0,
            "partitioner": "murmur2_random",  # as Java's producers choose
            **cluster.settings,
            "batch.size": batch,
            "message.max.bytes": 1_000_000_000,  # the broker is to judge
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": cluster.config.compression,
            "message.timeout.ms": timeout if transactional_id else _NEVER,
            "delivery.report.only.error": True,
            "on_delivery": self._delivered,
        }
        if transactional_id:
            settings["transactional.id"] = transactional_id
            settings["transaction.timeout.ms"] = int(TRANSACTION_LIMIT * 1000)
        self._client = cluster.client("confluent_kafka", "Producer", settings)

    def send(self, records: Iterable[Record]) -> None:
        """Hand over records; waits while the queue is full."""
        produce = self._client.produce
        for topic, key, value, headers in records:
            given = headers if type(headers) is dict else dict(headers)
            try:
                produce(topic, value, key, headers=given)
            except BufferError:
                self._wait_for_room(topic, value, key, given)
            except self._exception as error:
                raise raised(f"cannot write to topic {topic!r}", error) from error
        self._serve(0)

    def drain(self) -> None:
        """Wait until all brokers that must have the records have them.

        Raises SinkUnavailableError when none of what is left moves.
        """
        deadline = self._cluster.deadline()
        left = len(self._client)
        while left:
            self._guard(lambda: self._client.flush(SLICE))
            before, left = left, len(self._client)
            if left < before:
                deadline.renew()
            elif deadline.passed:
                raise self._cluster.away(f"{left} records wait")
        self._cluster.check()

    def attempt(self, what: str, act: Callable[[float], Any]) -> None:
        """Do a step of a transaction again while that is all that is needed.

        ``act`` gets the seconds that it may take. Raises FencedError where another producer has
        our transactional id, SinkUnavailableError where a new producer may do better.
        """
        deadline = self._cluster.deadline()
        while True:
            try:
                act(SLICE)
                break
            except self._exception as error:
                self._serve(0)
                if not error.args[0].retriable():
                    raise explain(f"{what} on {self._where}", error.args[0]) from error
                if deadline.passed:
                    raise self._cluster.away(what) from error
        self._cluster.check()

    def begin(self) -> None:
        """Begin a transaction."""
        self.attempt("cannot begin a transaction", lambda _: self._client.begin_transaction())

    def commit(self) -> None:
        """Commit it, with all that was sent."""
        self.attempt("cannot commit", self._client.commit_transaction)

    def take_over(self) -> None:
        """End what an earlier producer of our transactional id left open, and fence it."""
        self.attempt("cannot begin to write", self._client.init_transactions)

    def close(self, *, abort: bool) -> None:
        """Give up what was not acknowledged; ``abort`` an open transaction."""
        try:
            if abort:
                self._client.abort_transaction(1.0)
            self._client.purge()
            self._client.close(1.0)
        except (self._exception, SystemError):
            # The next producer ends what is open. SystemError is what confluent-kafka makes of an
            # error that ends the producer while it is closed.
            pass

    @property
    def _where(self) -> str:
        return self._cluster.config.brokers

    def _serve(self, seconds: float) -> None:
        self._guard(lambda: self._client.poll(seconds))
        self._cluster.check()

    def _guard(self, act: Callable[[], Any]) -> None:
        """An error that ends the producer comes out of whatever serves its callbacks."""
        try:
            act()
        except self._exception as error:
            self._cluster.check()
            failure = raised(f"the producer for {self._where} has ended", error)
            raise failure from error

    def _wait_for_room(
        self, topic: str, value: bytes | None, key: bytes | None, headers: dict[str, str]
    ) -> None:
        deadline = self._cluster.deadline()
        left = len(self._client)
        while True:
            self._serve(SLICE / 10)
            try:
                self._client.produce(topic, value, key, headers=headers)
                return
            except BufferError:
                before, left = left, len(self._client)
                if left < before:
                    deadline.renew()
                elif deadline.passed:
                    raise self._cluster.away(f"{left} records wait") from None

    def _delivered(self, error: Any, message: Any) -> None:
        if error is None or error.name().startswith("_PURGE"):
            return
        topic = message.topic()
        if error.name() == "MSG_SIZE_TOO_LARGE":
            self._cluster.fail(too_large(topic, error.str()))
        else:
            self._cluster.fail(explain(f"cannot write to topic {topic!r}", error))


def too_large(topic: str, why: str) -> RejectedError:
    """What a topic refuses for its size."""
    return RejectedError(
        f"topic {topic!r} takes no record so large: {why}",
        which=(),
        hint=f'raise max.message.bytes of {topic!r}, or set too_large = "park"',
    )
