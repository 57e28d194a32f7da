"""The ``kafka`` source's asynchronous face; the reading is done in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock.errors import SourceError
from penstock.model import Barrier, Batch, Checkpoint, Mark
from penstock.model.archive import dump_change
from penstock.ports import Context, Finding, Parked, SourceState, Store, StreamState
from penstock.registry import component
from penstock.sources.kafka import inspection, place
from penstock.sources.kafka.avrocodec import AvroCodec
from penstock.sources.kafka.decoder import Shapes
from penstock.sources.kafka.inbox import Ended, Given, Inbox, Poison, Taken
from penstock.sources.kafka.jsoncodec import JsonCodec
from penstock.sources.kafka.member import Member
from penstock.sources.kafka.reading import Reading

if TYPE_CHECKING:
    from penstock.sources.kafka.config import Kafka


class KafkaSource:
    """Reads topics as one of any number of workers (:class:`penstock.ports.SharedSource`).

    Each partition is a stream; its marks and checkpoints are offsets. How far each sink is in a
    partition is committed with its offset.
    """

    def __init__(self, config: Kafka) -> None:
        self._config = config
        self._member: Member | None = None

    def covers(self, checkpoint: Checkpoint, mark: Mark) -> bool:
        """Whether the mark's offset is before the checkpoint's."""
        return place.covers(checkpoint, mark)

    def meet(self, a: Checkpoint, b: Checkpoint) -> Checkpoint:
        """The earlier of two checkpoints of a stream."""
        return place.meet(a, b)

    async def open(self, context: Context, state: SourceState) -> None:
        """Connect, look for the topics, join the group.

        Raises ConnectionLostError when no broker answers, SourceError for a topic that is missing
        and where we are refused.
        """
        await self.close()
        self._context = context
        self._state = state
        self._inbox = Inbox()
        registry = self._config.schema_registry
        codec = JsonCodec() if registry is None else AvroCodec(registry)
        shapes = Shapes(codec, self._config.whole_rows, self._config.placeholder)
        reading = Reading(shapes, parks=self._config.poison == "park")
        group = self._config.group or inspection.group_of(context.pipeline)
        member = self._member = Member(self._config, context, group, reading, self._inbox)
        known = await asyncio.to_thread(member.topics)
        missing = [
            topic
            for topic in self._config.topics
            if not topic.startswith("^") and topic not in known
        ]
        if missing:
            raise SourceError(
                f"there is no topic {', '.join(map(repr, missing))} at {self._config.brokers}",
                hint="create it, or leave it out; ^dbserver\\.public\\. stands for all topics "
                "that begin so",
            )
        member.start()

    async def batches(self) -> AsyncIterator[Batch | Barrier]:
        """The records of the partitions that we have, for ever."""
        while True:
            item = await self._inbox.get()
            if isinstance(item, Given):
                item.answer.set_result(
                    {**item.streams, **await self._state.begin(item.streams, item.states)}
                )
            elif isinstance(item, Taken):
                yield Barrier(item.streams)
                item.answer.set_result(item.streams)
            elif isinstance(item, Poison):
                await self._park(item)
            elif isinstance(item, Ended):
                return
            elif isinstance(item, Exception):
                raise item
            else:
                yield item

    async def _park(self, poison: Poison) -> None:
        change, store = poison.record, self._context.store
        assert store is not None
        parked = Parked(
            self._context.component,
            change.id,
            change.table,
            (),
            poison.reason,
            self._context.clock.now(),
            dump_change(change),
        )
        self._context.logger.warning("set aside: %s", poison.reason)
        await store.park([parked])

    async def keep(self, states: Mapping[tuple[str, str], StreamState]) -> None:
        """Note how far the sinks are."""
        if self._member is not None:
            self._member.keep(states)

    async def acknowledge(self, checkpoint: Checkpoint) -> None:
        """Note an offset: it is committed soon, and before its partition is handed over."""
        if self._member is not None:
            self._member.acknowledge(checkpoint)

    def authority(self) -> float:
        """Seconds for which nobody else can have our partitions."""
        return 0.0 if self._member is None else self._member.authority()

    def store(self) -> Store:
        """A topic beside those that are read."""
        given = {name: text.get_secret_value() for name, text in self._config.settings.items()}
        made: Store = component("store", "kafka")(self._config.brokers, given)
        return made

    async def head(self) -> Checkpoint | None:
        """None: ``batches`` ends where the partitions that we have end now."""
        assert self._member is not None
        pipeline = self._context.pipeline
        self._member.until = await asyncio.to_thread(inspection.ends, self._config, pipeline)
        return None

    async def close(self) -> None:
        """Commit what was acknowledged, and leave the group."""
        member, self._member = self._member, None
        if member is not None:
            await asyncio.to_thread(member.close)

    async def check(self, context: Context) -> list[Finding]:
        """Whether brokers and registry let us in, the topics are there, and the group's offsets
        are ours."""
        return await asyncio.to_thread(inspection.check, self._config, context.pipeline)

    async def status(self, context: Context) -> dict[str, Any]:
        """Of each partition how far the group is, and how many records wait."""
        return await asyncio.to_thread(inspection.status, self._config, context.pipeline)

    async def teardown(self, context: Context) -> list[str]:
        """Delete the consumer group; the topics stay."""
        return await asyncio.to_thread(inspection.teardown, self._config, context.pipeline)
