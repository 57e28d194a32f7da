"""The checkpoints are read to their end, also where a broker does not know it yet."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from penstock.errors import SinkError, SinkUnavailableError
from penstock.ports import Context
from penstock.sinks.kafka import Kafka, checkpoints
from penstock.sinks.kafka.checkpoints import Place
from penstock.sinks.kafka.client import Cluster
from penstock.testing.scripted import checkpoint

PLACES: Final = [Place(checkpoint(n), None, "me") for n in (1, 2)]


class Message:
    """A record, or with ``error`` the end of what a broker has."""

    def __init__(self, offset: int, record: tuple[bytes, bytes], error: KafkaError | None) -> None:
        self._offset, self._record, self._error = offset, record, error

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return self._record[0]

    def value(self) -> bytes:
        return self._record[1]

    def error(self) -> KafkaError | None:
        return self._error


def record(offset: int) -> Message:
    return Message(offset, checkpoints.dump("main", PLACES[offset]), None)


def end(offset: int) -> Message:
    return Message(offset, (b"", b""), KafkaError(KafkaError._PARTITION_EOF))


class Broker:
    """Answers a consumer and an administrator as it is told."""

    def __init__(self, messages: list[Message], ends: list[int | KafkaError]) -> None:
        self._messages, self._ends = messages, ends

    def list_topics(self, *_: Any, **__: Any) -> None: ...
    def assign(self, _: Any) -> None: ...
    def close(self) -> None: ...

    def poll(self, _: float) -> Message | None:
        return self._messages.pop(0) if self._messages else None

    def list_offsets(
        self, asked: Mapping[TopicPartition, Any], **_: Any
    ) -> dict[TopicPartition, Future[Any]]:
        (partition,) = asked
        answer: Future[Any] = Future()
        found = self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]
        if isinstance(found, KafkaError):
            answer.set_exception(KafkaException(found))
        else:
            answer.set_result(TopicPartition("t", 0, found))
        return {partition: answer}


def load(
    monkeypatch: pytest.MonkeyPatch, messages: list[Message], ends: list[int | KafkaError]
) -> dict[str, Place]:
    broker = Broker(messages, ends)
    monkeypatch.setattr(Cluster, "client", lambda *_: broker)
    config = Kafka(brokers="nowhere:1", delivery_timeout=1.0)
    return checkpoints.load(Cluster(config, Context("p", "kafka"), lambda: False), "t")


def test_a_broker_that_took_over_may_end_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """It learns what is committed a moment later."""
    messages = [record(0), end(1), record(1), end(2)]
    assert load(monkeypatch, messages, [2]) == {"main": PLACES[1]}


def test_a_broker_that_does_not_know_its_end_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = KafkaError(KafkaError.OFFSET_NOT_AVAILABLE)
    messages = [record(0), end(1), record(1), end(2)]
    assert load(monkeypatch, messages, [unknown, unknown, 2]) == {"main": PLACES[1]}


def test_an_end_that_is_not_reached_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SinkUnavailableError, match="cannot read topic 't'"):
        load(monkeypatch, [record(0), end(1)], [2])


def test_who_may_not_ask_for_the_end_hears_so(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(SinkError, match="cannot find the end of topic 't'") as caught:
        load(monkeypatch, [], [refused])
    assert not isinstance(caught.value, SinkUnavailableError)
