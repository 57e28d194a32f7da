"""Topics of Kafka as a source: what Debezium or penstock wrote into them."""

from penstock.sources.kafka.config import Kafka

__all__ = ["Kafka"]
