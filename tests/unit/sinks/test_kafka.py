"""What the kafka sink decides without a broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.model import Mark
from penstock.ports import Context
from penstock.sinks.kafka import Kafka
from penstock.sinks.kafka.checkpoints import Memory, Place
from penstock.sinks.kafka.client import Cluster
from penstock.sinks.kafka.producer import Producer
from penstock.testing.scripted import checkpoint

BEFORE, AFTER = (Place(checkpoint(n), None, "me") for n in (1, 2))
THEIRS = Place(checkpoint(2), None, "another")


@pytest.fixture
def memory() -> Memory:
    memory = Memory(1000, "me")
    memory.settle({"main": BEFORE})
    return memory


def test_until_it_looked_a_memory_takes_what_it_finds() -> None:
    assert Memory(1000).explains({"main": THEIRS})


def test_what_another_wrote_is_not_ours(memory: Memory) -> None:
    memory.tried = {"main": AFTER}
    assert not memory.explains({"main": THEIRS})
    assert not memory.explains({})


def test_a_commit_may_still_come_true_after_a_first_look(memory: Memory) -> None:
    """The coordinator has it, but readers do not see it before its end is written."""
    memory.tried = {"main": AFTER}
    assert memory.explains({"main": BEFORE})
    assert memory.explains({"main": AFTER})
    memory.settle({"main": AFTER})
    assert not memory.explains({"main": BEFORE})


def test_a_place_in_the_middle_of_a_transaction_is_another_one(memory: Memory) -> None:
    assert not memory.explains({"main": Place(checkpoint(1), Mark("2", 3), "me")})


class Client:
    """Takes its settings and is told the same by everybody."""

    made: Mapping[str, Any]

    def __init__(self, settings: Mapping[str, Any]) -> None:
        Client.made = settings


def settings(monkeypatch: pytest.MonkeyPatch, transactional_id: str | None) -> Mapping[str, Any]:
    monkeypatch.setattr("confluent_kafka.Producer", Client)
    config = Kafka(brokers="b", delivery_timeout=90, settings={"linger.ms": 1})
    Producer(Cluster(config, Context("p", "kafka"), lambda: False), transactional_id, 1000)
    return Client.made


def test_no_message_is_given_up_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later ones would go on without it, and come before it when it is sent again."""
    made = settings(monkeypatch, None)
    assert made["message.timeout.ms"] == 2**31 - 1
    assert made["enable.idempotence"] is True
    assert made["acks"] == "all"
    assert made["linger.ms"] == "1"
    assert "transactional.id" not in made


def test_in_a_transaction_no_message_outlives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(monkeypatch, "penstock.p.kafka")
    assert made["message.timeout.ms"] <= made["transaction.timeout.ms"] == 60_000


@pytest.mark.parametrize("name", ["acks", "enable.idempotence", "retries", "message.timeout.ms"])
def test_what_the_promises_rest_on_is_not_for_sale(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Kafka(brokers="b", settings={name: "1"})


def test_secrets_do_not_print() -> None:
    config = Kafka(brokers="b", settings={"sasl.password": "hunter2"})
    assert "hunter2" not in repr(config) + config.model_dump_json()
