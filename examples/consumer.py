"""The loop that reads Debezium's topics everywhere. It reads penstock's as well, unchanged.

python examples/consumer.py localhost:9092 dbserver.public.orders
"""

import json
import sys

from confluent_kafka import Consumer

brokers, topic = sys.argv[1:3]
consumer = Consumer(
    {
        "bootstrap.servers": brokers,
        "group.id": f"{topic}.consumer",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
)
consumer.subscribe([topic])
try:
    while True:
        msg = consumer.poll(1.0)
        if msg is None:
            continue
        if msg.error():
            sys.exit(str(msg.error()))
        if msg.value() is None:  # a tombstone, for compaction
            continue
        payload = json.loads(msg.value())["payload"]
        print(payload["op"], payload["before"], payload["after"], flush=True)
        consumer.commit(msg)
finally:
    consumer.close()
