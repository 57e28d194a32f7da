"""From a consumer's messages to batches, a stream at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from penstock.errors import DecodeError
from penstock.model import Change, Column, Event, EventBatch, Kind, Mark, Origin, Table, Type
from penstock.model import values as texts
from penstock.sources.kafka.decoder import Consumed, Decoder, Shapes
from penstock.sources.kafka.inbox import Poison
from penstock.sources.kafka.place import checkpoint_at, stream_of

_BYTES: Final = Type("bytea", Kind.BYTES, "bytea", codec=f"{texts.__name__}:parser")
_RAW: Final = (Column("key", _BYTES), Column("value", _BYTES))


class Reading:
    """Decodes the partitions that we have.

    Parameters
    ----------
    parks: whether a record that is no change is set aside, or raised.

    Attributes
    ----------
    next: the offset that comes next, of each stream.
    """

    def __init__(self, shapes: Shapes, *, parks: bool) -> None:
        self.next: dict[str, int] = {}
        self._shapes = shapes
        self._parks = parks
        self._decoders: dict[str, Decoder] = {}

    def begin(self, offsets: dict[str, int]) -> None:
        """Read these streams, from these offsets on, and no others."""
        self.next = dict(offsets)
        self._decoders.clear()

    def batches(self, messages: Sequence[Any]) -> Iterator[EventBatch | Poison]:
        """Batches of messages without errors, in order.

        Raises DecodeError, after what came before it, where it is not to be parked.
        """
        for (topic, partition), group in groupby(messages, _partition):
            stream = stream_of(topic, partition)
            if stream in self.next:
                yield from self._stream(stream, topic, partition, group)

    def _stream(
        self, stream: str, topic: str, partition: int, messages: Iterator[Any]
    ) -> Iterator[EventBatch | Poison]:
        decoder = self._decoders.get(stream)
        if decoder is None:
            decoder = self._decoders[stream] = Decoder(topic, partition, self._shapes)
        events: list[Event] = []
        last: Mark | None = None
        size = 0
        for message in messages:
            record = _record(message)
            if record.offset < self.next[stream]:
                continue
            try:
                found = decoder.decode(record)
            except DecodeError as error:
                if events:
                    yield EventBatch(
                        stream, events, last, checkpoint_at(stream, self.next[stream]), size
                    )
                if not self._parks:
                    raise
                events, last, size = [], None, 0
                yield Poison(as_change(stream, record), error.message)
                found = []
            if found:
                events += found
                last = Mark(stream, record.offset)
            size += len(record.value or b"") + len(record.key or b"")
            self.next[stream] = record.offset + 1
        yield EventBatch(stream, events, last, checkpoint_at(stream, self.next[stream]), size)


def _partition(message: Any) -> tuple[str, int]:
    return message.topic(), message.partition()


def _record(message: Any) -> Consumed:
    headers = message.headers()
    return Consumed(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        dict(headers) if headers else {},
    )


def as_change(stream: str, record: Consumed) -> Change[Any]:
    """A record that is no change, as one that can be parked and shown: its key and its value."""
    table = Table("", record.topic, _RAW)
    data = [None if raw is None else b"\\x" + raw.hex().encode() for raw in record[3:5]]
    return Change("upsert", table, Origin(stream), record.offset, None, data)
