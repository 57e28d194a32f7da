"""The ``kafka`` sink's asynchronous face; the work is done in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from penstock.errors import ConfigError, PenstockError, SinkUnavailableError
from penstock.model import Batch, Checkpoint, Mark
from penstock.ports import Context, Finding, Parked
from penstock.sinks.kafka import checkpoints
from penstock.sinks.kafka.checkpoints import Memory
from penstock.sinks.kafka.client import Cluster
from penstock.sinks.kafka.oversized import Oversized
from penstock.sinks.kafka.producer import BATCH
from penstock.sinks.kafka.session import Session
from penstock.sinks.kafka.topics import Topics
from penstock.sinks.kafka.transaction import PART_AFTER

if TYPE_CHECKING:
    from penstock.sinks.kafka.config import Kafka

T = TypeVar("T")


class KafkaSink:
    """Writes records with an idempotent producer; the order of each key is kept.

    Without transactions a crash or a lost broker may repeat records, never lose or reorder them
    beyond that. With them, each flush commits the records together with the checkpoint, and a
    producer of another copy of the pipeline is fenced.
    """

    def __init__(self, config: Kafka) -> None:
        self._config = config
        self.stores_checkpoints = config.transactions
        self._session: Session | None = None
        given = config.settings.get("batch.size")
        self._memory = Memory(int(given.get_secret_value()) if given is not None else BATCH)
        self._thread: ThreadPoolExecutor | None = None
        self._stop = threading.Event()
        self._due: asyncio.TimerHandle | None = None
        self._oversized: Oversized | None = None

    async def open(self, context: Context) -> None:
        """Connect; with transactions, fence other producers and read the checkpoints.

        Raises SinkUnavailableError when no broker answers, SinkError when it refuses us,
        FencedError when another copy wrote since this sink last did.
        """
        if context.format is None:
            raise ConfigError(f"the sink for {self._config.brokers} has no format")
        await self.close()
        stop = self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, f"penstock-{context.component or 'kafka'}")

        def connect() -> None:
            self._session = Session(self._config, context, self._memory, stop.is_set)

        await self._do(connect)
        if self._config.too_large == "park":
            self._oversized = Oversized(context, self._config.max_parked)
            await self._oversized.load()

    async def resume(self, stream: str) -> Checkpoint | None:
        """The checkpoint that was committed with the stream's records."""
        place = self._memory.seen.get(stream)
        return None if place is None else place.checkpoint

    async def write(self, batch: Batch) -> None:
        """Hand the batch's records to the producer; waits while its queue is full."""
        session = self._opened()
        if self._config.transactions and self._due is None:
            self._due = asyncio.get_running_loop().call_later(PART_AFTER, self._commit_part)
        if self._oversized is not None:
            batch = await self._oversized.keep_back(batch, self._examine)
        await self._do(lambda: session.write(batch))

    async def flush(self) -> Mark | None:
        """Wait until all brokers that must have the records have them; with transactions, commit.

        Nothing is committed, and None returned, while a source transaction is incomplete.
        """
        session = self._opened()
        mark = await self._do(session.flush)
        if not session.open:
            self._wait_no_more()
        return mark

    async def close(self) -> None:
        """Give up what was not flushed and disconnect."""
        self._stop.set()
        self._wait_no_more()
        thread, self._thread = self._thread, None
        if thread is None:
            return

        def disconnect() -> None:
            session, self._session = self._session, None
            if session is not None:
                session.close()

        try:
            await asyncio.get_running_loop().run_in_executor(thread, disconnect)
        finally:
            thread.shutdown(wait=False)

    def release(self) -> None:
        """Forget the checkpoints: other workers move them from now on."""
        self._memory = Memory(self._memory.batch)

    async def check(self, context: Context) -> list[Finding]:
        """Whether a broker answers, lets us in, and has what cannot be made."""

        def look() -> None:
            topics = Topics(Cluster(self._config, context, lambda: False))
            topics.known()
            if self._config.transactions and not self._config.create_topics:
                name = checkpoints.topic_of(context.pipeline, context.component)
                topics.ensure(name, 1, checkpoints.CONFIG)

        try:
            await asyncio.to_thread(look)
        except PenstockError as error:
            return [Finding("error", error.message, error.hint, error.code)]
        return []

    async def teardown(self, context: Context) -> list[str]:
        """Forget the checkpoints; the records stay."""
        if not self._config.transactions:
            return []
        topic = checkpoints.topic_of(context.pipeline, context.component)

        def forget() -> bool:
            return Topics(Cluster(self._config, context, lambda: False)).delete(topic)

        return [f"topic {topic}"] if await asyncio.to_thread(forget) else []

    async def replay(self, parked: Iterable[Parked]) -> list[str]:
        """Write parked changes again, in order; the ids of those that their topics took."""
        if self._oversized is None:
            return []
        session = self._opened()
        return await self._oversized.replay(
            parked, lambda change: self._do(lambda: session.replay(change))
        )

    async def _examine(self, batch: Batch) -> Mapping[str, str]:
        session = self._opened()
        return await self._do(lambda: session.oversized(batch))

    def _commit_part(self) -> None:
        """Called when what is written has waited for long."""
        self._due = None
        if self._session is not None and self._thread is not None:
            self._thread.submit(self._session.commit_part)

    def _wait_no_more(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _opened(self) -> Session:
        if self._session is None:
            raise SinkUnavailableError("the kafka sink is not open")
        return self._session

    async def _do(self, work: Callable[[], T]) -> T:
        assert self._thread is not None
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except asyncio.CancelledError:
            self._stop.set()
            raise
