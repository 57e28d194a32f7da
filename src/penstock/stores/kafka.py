"""State in a compacted topic of Kafka: what is parked goes where a key goes, to any worker.

One topic of one partition a pipeline. The streams and facts are one record, replaced whole, so that
a save is atomic; each parked change is a record of its own until a tombstone forgets it. Readers
read the topic to its end: parked changes are few, or the pipeline is stuck.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from penstock.errors import StoreError
from penstock.ports import Context, Parked, Saved, StreamState
from penstock.registry import driver
from penstock.stores.encoding import canonical, dump_parked, load_json, load_parked, load_stream

_PATIENCE: Final = 30.0
"""Seconds that the brokers may take."""

_STATE: Final = b"state"
_TICK: Final = 0.2


class KafkaStore:
    """A store in the topic ``penstock.<pipeline>.state``.

    Parameters
    ----------
    brokers: ``host:port``, several with commas.
    settings: librdkafka's own, for security.
    """

    def __init__(self, brokers: str, settings: Mapping[str, str] | None = None) -> None:
        self._settings: dict[str, Any] = {
            "log_level": 0,
            **(settings or {}),
            "bootstrap.servers": brokers,
            "error_cb": lambda error: None,  # what it ends in is told
        }
        self._brokers = brokers
        self._pipeline = ""
        self._producer: Any = None

    def __repr__(self) -> str:
        return f"<KafkaStore: {self._brokers}>"

    @property
    def where(self) -> str:
        """The topic, in words."""
        return f"the store in topic {_topic(self._pipeline)} at {self._brokers}"

    async def open(self, context: Context) -> None:
        """Create the topic unless it is there. Raises StoreError."""
        await self.close()
        self._pipeline = context.pipeline
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        admin_module = driver("confluent_kafka.admin", "kafka")
        topic = _topic(self._pipeline)
        with self._told("cannot be opened"):
            admin = admin_module.AdminClient(self._settings)
            if topic not in admin.list_topics(timeout=_PATIENCE).topics:
                config = {"cleanup.policy": "compact"}
                new = admin_module.NewTopic(topic, 1, -1, config=config)
                self._created(admin.create_topics([new], operation_timeout=_PATIENCE)[topic])
            producer = driver("confluent_kafka", "kafka").Producer(
                {**self._settings, "enable.idempotence": True, "linger.ms": 0}
            )
        self._read(self._pipeline, missing=False)
        self._producer = producer

    def _created(self, future: Any) -> None:
        try:
            future.result()
        except driver("confluent_kafka", "kafka").KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":  # by another worker
                raise

    async def load(self) -> Saved | None:
        """All that is saved of the pipeline; None when it was never saved."""
        self._opened()
        return self._saved(await self._records(self._pipeline))

    async def peek(self, context: Context) -> Saved | None:
        """What ``load`` would give, without ``open``; creates no topic."""
        self._pipeline = self._pipeline or context.pipeline
        return self._saved(await self._records(context.pipeline))

    async def peek_parked(self, context: Context) -> list[Parked]:
        """What ``parked`` would give, in the same way."""
        self._pipeline = self._pipeline or context.pipeline
        return self._parked(await self._records(context.pipeline), None)

    async def save(
        self,
        streams: Mapping[tuple[str, str], StreamState] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge the streams and replace the facts, where given."""
        saved = await self.load() or Saved()
        merged = {**saved.streams, **(streams or {})}
        state = {
            "facts": saved.facts if facts is None else facts,
            "streams": [
                [sink, stream, one.data and str(one.data), one.safe and one.safe.text]
                for (sink, stream), one in merged.items()
            ],
        }
        await self._write({_STATE: canonical(state).encode()})

    def _saved(self, records: Mapping[bytes, bytes]) -> Saved | None:
        text = records.get(_STATE)
        if text is None:
            return None
        found = load_json(text.decode(), self.where)
        try:
            streams = {
                (sink, stream): load_stream(stream, data, safe, self.where)
                for sink, stream, data, safe in found["streams"]
            }
            return Saved(streams, found["facts"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{self.where} is damaged: {error!r}", hint="nobody else may write to it"
            ) from error

    async def park(self, parked: Sequence[Parked]) -> None:
        """Set changes aside. Parking the same id again changes nothing."""
        self._opened()
        known = await self._records(self._pipeline)
        new = {_key(one.sink, one.id): canonical(dump_parked(one)).encode() for one in parked}
        await self._write({key: value for key, value in new.items() if key not in known})

    async def parked(self, sink: str | None = None) -> list[Parked]:
        """What is set aside, in the order in which it was parked."""
        self._opened()
        return self._parked(await self._records(self._pipeline), sink)

    def _parked(self, records: Mapping[bytes, bytes], sink: str | None) -> list[Parked]:
        found = [
            load_parked(load_json(text.decode(), self.where), self.where)
            for key, text in records.items()
            if key != _STATE
        ]
        return [one for one in found if sink in (None, one.sink)]

    async def unpark(self, sink: str, ids: Sequence[str]) -> None:
        """Forget parked changes."""
        await self._write(dict.fromkeys(_key(sink, id) for id in ids))

    async def clear(self) -> None:
        """Forget the pipeline; the topic stays, empty."""
        self._opened()
        await self._write(dict.fromkeys(await self._records(self._pipeline)))

    async def close(self) -> None:
        """Let go of the connection. Safe to call twice."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(producer.flush, _PATIENCE)

    def _opened(self) -> Any:
        if self._producer is None:
            raise StoreError(f"the store at {self._brokers} is not open")
        return self._producer

    async def _write(self, records: Mapping[bytes, bytes | None]) -> None:
        producer = self._opened()
        failed: list[str] = []

        def note(error: Any, message: Any) -> None:
            if error is not None:
                failed.append(error.str())

        def write() -> None:
            with self._told("cannot be written"):
                for key, value in records.items():
                    producer.produce(_topic(self._pipeline), value, key, 0, on_delivery=note)
                left = producer.flush(_PATIENCE)
            if left or failed:
                raise StoreError(f"{self.where} cannot be written: {[*failed, 'no answer'][0]}")

        await asyncio.to_thread(write)

    async def _records(self, pipeline: str) -> dict[bytes, bytes]:
        return await asyncio.to_thread(self._read, pipeline)

    def _read(self, pipeline: str, *, missing: bool = True) -> dict[bytes, bytes]:
        """The records as compaction would leave them, in the order in which they were first
        written.

        Parameters
        ----------
        missing: whether the topic may be missing, which is one without records.
        """
        confluent, topic = driver("confluent_kafka", "kafka"), _topic(pipeline)
        records: dict[bytes, bytes] = {}
        deadline = time.monotonic() + _PATIENCE
        with self._told("cannot be read"):
            consumer = confluent.Consumer(
                {
                    **self._settings,
                    "group.id": topic,  # required, and not used
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                    "allow.auto.create.topics": False,
                    "fetch.wait.max.ms": 10,
                }
            )
            try:
                if missing and topic not in consumer.list_topics(timeout=_PATIENCE).topics:
                    return {}
                end = _end(consumer, confluent.TopicPartition(topic, 0), deadline)
                consumer.assign([confluent.TopicPartition(topic, 0, confluent.OFFSET_BEGINNING)])
                while time.monotonic() < deadline:
                    message = consumer.poll(_TICK)
                    error = None if message is None else message.error()
                    if error is not None and error.name() == "_PARTITION_EOF":
                        if message.offset() >= end:
                            return records
                    elif error is not None and not _passes(error):
                        raise confluent.KafkaException(error)
                    if message is not None and error is None:
                        _apply(records, message.key(), message.value())
            finally:
                consumer.close()
        raise StoreError(f"{self.where} cannot be read: its end was not reached in time")

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except driver("confluent_kafka", "kafka").KafkaException as error:
            found = error.args[0]
            text = found.str() if hasattr(found, "str") else str(found)
            raise StoreError(
                f"{self.where} {what}: {text}",
                hint="our user needs Create, Read, Write and Describe on that topic",
            ) from error


def _end(consumer: Any, partition: Any, deadline: float) -> int:
    """Where the partition ends. A broker that has just taken it over may not know that yet, and
    ends too early for who reads; asked for its end, it makes us wait (KIP-207)."""
    while True:
        try:
            high: int = consumer.get_watermark_offsets(partition, timeout=_PATIENCE)[1]
            return high
        except driver("confluent_kafka", "kafka").KafkaException as error:
            if time.monotonic() >= deadline or not _passes(error.args[0]):
                raise
        time.sleep(_TICK)


def _apply(records: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
    if value is None:
        records.pop(key, None)
    else:
        records[key] = value


def _passes(error: Any) -> bool:
    """A topic that was just created is not known everywhere yet, nor is any to a broker that was
    just started."""
    passing = ("UNKNOWN_TOPIC_OR_PART", "_TRANSPORT", "_UNKNOWN_PARTITION")
    return error.retriable() or error.name() in passing


def _topic(pipeline: str) -> str:
    return f"penstock.{pipeline}.state"


def _key(sink: str, id: str) -> bytes:
    return f"parked\0{sink}\0{id}".encode()
