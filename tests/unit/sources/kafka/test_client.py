"""What librdkafka and the registry say, as our errors."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from penstock.errors import (
    ConfigError,
    ConnectionLostError,
    GapError,
    PenstockError,
    PrivilegeError,
    SourceError,
    StateMismatchError,
)
from penstock.model import Mark
from penstock.ports import StreamState
from penstock.sources.kafka import Kafka, offsets
from penstock.sources.kafka.client import Errors, explain, explained, made
from penstock.sources.kafka.place import checkpoint_at
from penstock.testing import checkpoint


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (KafkaError._AUTHENTICATION, SourceError, "sasl"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, PrivilegeError, "Read"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, PrivilegeError, "group"),
        (KafkaError._AUTO_OFFSET_RESET, GapError, "retention"),
        (KafkaError._TRANSPORT, ConnectionLostError, ""),
        (KafkaError.REBALANCE_IN_PROGRESS, ConnectionLostError, ""),
    ],
)
def test_errors(code: int, kind: type[PenstockError], hint: str) -> None:
    found = explain("cannot read", KafkaError(code))
    assert type(found) is kind
    assert hint in found.hint
    assert type(explained("cannot read", KafkaException(KafkaError(code)))) is kind


def test_a_refusal_is_the_reason_of_what_follows() -> None:
    errors = Errors("b:1")
    late = ConnectionLostError("no answer")
    assert errors.of(late) is late
    errors(KafkaError(KafkaError._TRANSPORT, "connection refused"))
    assert "connection refused" in errors.of(late).message
    errors(KafkaError(KafkaError._AUTHENTICATION, "bad password"))
    assert "bad password" in errors.of(late).message


def test_settings_that_are_wrong() -> None:
    with pytest.raises(ConfigError, match="made_up"):
        made("confluent_kafka", "Consumer", {"group.id": "g", "made_up": 1})
    with pytest.raises(ValueError, match=r"group\.id: the source sets it itself"):
        Kafka(brokers="b:1", topics=("t",), settings={"group.id": "g"})
    with pytest.raises(ValueError, match="no regular expression"):
        Kafka(brokers="b:1", topics=("^(",))


def test_what_is_committed_beside_an_offset_comes_back() -> None:
    states = {
        "a": StreamState(Mark("t/0", 4), checkpoint_at("t/0", 5)),
        "b": StreamState(None, checkpoint_at("t/0", 2)),
        "c": StreamState(None, None),
    }
    assert offsets.load("p", "g", "t/0", offsets.dump("p", states)) == states


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (offsets.dump("q", {}), "the pipeline 'q'"),
        ("", "not penstock"),
        (None, "not penstock"),
        ("hello", "not penstock"),
        ('{"sinks": {}}', "not penstock"),
    ],
)
def test_offsets_of_others_are_refused(metadata: str | None, said: str) -> None:
    with pytest.raises(StateMismatchError, match=said):
        offsets.load("p", "g", "t/0", metadata)


def test_streams_and_checkpoints() -> None:
    source = Kafka(brokers="b:1", topics=("t",)).build()
    at = checkpoint_at("t/0", 5)
    assert source.covers(at, Mark("t/0", 4))
    assert not source.covers(at, Mark("t/0", 5))
    assert not source.covers(at, Mark("t/1", 4))
    assert source.meet(at, checkpoint_at("t/0", 3)) == checkpoint_at("t/0", 3)
    assert checkpoint(1) != at
