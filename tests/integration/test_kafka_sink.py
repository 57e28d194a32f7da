"""The kafka sink against a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from penstock.ports import Context, Sink
from penstock.sinks.kafka import Kafka
from penstock.testing.contracts import SinkContract
from tests.contract.test_sinks import come_to
from tests.support.kafka import Prefixed, consume, fresh_name
from tools.brokers import Kafka as Broker

pytestmark = pytest.mark.server


class TestKafkaSink(SinkContract):
    discards_attempts = False
    transactions = False

    @pytest.fixture(autouse=True)
    def own_topics(self, kafka: Broker) -> None:
        self.pipeline = fresh_name()
        self.url = kafka.url

    def context(self) -> Context:
        return Context(self.pipeline, "sink", Prefixed(self.pipeline))

    @pytest.fixture
    def connect(self) -> Callable[[], Sink]:
        return lambda: Kafka(brokers=self.url, transactions=self.transactions).build()

    @pytest.fixture
    def rows(self) -> Callable[[], dict[int, str | None]]:
        def read() -> dict[int, str | None]:
            messages = consume(self.url, f"{self.pipeline}.public.contract")
            return come_to(json.loads(message.value()) for message in messages)

        return read


class TestTransactionalKafkaSink(TestKafkaSink):
    transactions = True
    discards_attempts = True  # what no checkpoint ends is never committed
