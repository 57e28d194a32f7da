"""Records to Apache Kafka.

Facts: Apache Kafka's documentation (producer semantics, KIP-98, KIP-360) and librdkafka's
INTRODUCTION and CONFIGURATION.
"""

from penstock.sinks.kafka.config import Kafka

__all__ = ["Kafka"]
