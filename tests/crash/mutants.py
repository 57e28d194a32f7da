"""Bugs to plant in the process that is killed: each is one that a change data capture tool has
had. The crash tests must go red for every one of them.

A mutant patches classes of penstock; it runs in the forked child only.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partialmethod
from typing import Any, Final, TypeAlias

from penstock.errors import SinkUnavailableError
from penstock.model import UNCHANGED, Batch, Change, Checkpoint, EventBatch, Mark
from penstock.pipeline.lanes import Lane
from penstock.pipeline.ledger import Ledger
from penstock.pipeline.passage import Passage
from penstock.pipeline.runner import Runner
from penstock.sinks.jsonl import JsonlSink
from penstock.sinks.sql.session import Session
from penstock.sources.postgres import position, slot
from penstock.sources.postgres.wire.decoder import Decoder
from penstock.sources.postgres.wire.lsn import format_lsn, parse_lsn
from penstock.sources.postgres.wire.messages import XLOG_HEADER
from penstock.sources.postgres.wire.native import NativeDecoder

Mutant: TypeAlias = Callable[[], None]
_ROWS: Final = (b"I", b"U", b"D")


def _patch(owner: Any, name: str, value: Any) -> None:
    """Put something else in a place that must exist: a mutant that changes nothing proves
    nothing."""
    if not hasattr(owner, name):
        raise AssertionError(f"{owner} has no {name}: this mutant must follow the code")
    setattr(owner, name, value)


def _patch_feed(feed: Callable[[Any, Any, Any], Any]) -> None:
    """Put a function of the honest ``feed`` and its arguments in the place of both kernels'."""
    for decoder in (Decoder, NativeDecoder):
        _patch(decoder, "feed", partialmethod(_called, feed, decoder.feed))


def _called(self: Any, feed: Any, honest: Any, payloads: Any) -> Any:
    return feed(honest, self, payloads)


def acknowledge_before_flush() -> None:
    """A batch counts as durable as soon as it was read."""
    admit = Ledger.admit

    def eager(self: Ledger, batch: Any) -> int:
        sequence = admit(self, batch)
        for sink in self._settled:
            self.settle(sink, sequence, batch.stream, batch.last, batch.checkpoint)
        return sequence

    _patch(Ledger, "admit", eager)
    _patch(Lane, "_record", lambda self, item, *, wrote: self._settled())


def save_before_flush() -> None:
    """The checkpoint is saved after the write, while a slow flush still runs."""
    flush = Lane._flush

    async def early(self: Any) -> None:
        for item in self._kept:
            self._record(item, wrote=True)
        record, self._record = self._record, lambda item, *, wrote: None
        await asyncio.sleep(0.05)
        try:
            await flush(self)
        finally:
            self._record = record

    _patch(Lane, "_flush", early)


def flush_leaves_a_buffer() -> None:
    """What was written last stays in the process until the next flush."""
    write = JsonlSink.write
    flush = JsonlSink.flush

    async def buffer(self: Any, batch: Any) -> None:
        late, self.late = getattr(self, "late", None), batch
        if late is not None:
            await write(self, late)

    async def partial(self: Any) -> Mark | None:
        await flush(self)
        last: Mark | None = self.late.last
        return last

    _patch(JsonlSink, "write", buffer)
    _patch(JsonlSink, "flush", partial)


def covers_one_too_many() -> None:
    """``<=`` for ``<``: the end of one transaction can be the commit of the next."""

    def covers(checkpoint: Checkpoint, mark: Mark) -> bool:
        if not mark.transaction.startswith("snapshot:"):
            return parse_lsn(mark.transaction) <= position.checkpoint_lsn(checkpoint)
        return honest(checkpoint, mark)

    honest = position.covers
    _patch(position, "covers", covers)


def deduplicate_by_row_position() -> None:
    """Rows at or before the highest position seen count as repeats; positions of rows of
    transactions that ran at the same time go back and forth."""

    def skip(feed: Any, self: Any, payloads: Any) -> Any:
        kept = []
        for payload in payloads:
            if payload[:1] == b"w" and payload[XLOG_HEADER : XLOG_HEADER + 1] in _ROWS:
                at = int.from_bytes(payload[1:9], "big")
                if at <= getattr(self, "highest", 0):
                    continue
                self.highest = at
            kept.append(payload)
        return feed(self, kept)

    _patch_feed(skip)


def checkpoint_inside_a_transaction() -> None:
    """A batch that ends inside a transaction says that the transaction is done, as a keepalive
    that is acknowledged in the middle of it does."""
    seen: dict[str, Any] = {}

    def eager(batch: Batch) -> Batch:
        if batch.checkpoint is not None:
            seen.update(batch.checkpoint.value)
        elif batch.last is not None and seen:
            lsn = format_lsn(parse_lsn(batch.last.transaction) + 1)
            checkpoint = Checkpoint.of("main", **{**seen, "lsn": lsn})
            return batch.with_checkpoint(checkpoint)
        return batch

    _patch_feed(lambda feed, self, payloads: [eager(b) for b in feed(self, payloads)])


def _rewrite(change: Callable[[Change[Any]], None]) -> None:
    def changed(feed: Any, self: Any, payloads: Any) -> Any:
        batches = []
        for batch in feed(self, payloads):
            events = list(batch)
            for event in events:
                if isinstance(event, Change):
                    change(event)
            made = EventBatch(batch.stream, events, batch.last, batch.checkpoint, batch.size)
            batches.append(made)
        return batches

    _patch_feed(changed)


def unchanged_becomes_null() -> None:
    """A large value that the log did not repeat is written as null."""

    def nullify(change: Change[Any]) -> None:
        if change.values_after is not None:
            change.values_after = [
                None if value is UNCHANGED else value for value in change.values_after
            ]

    _rewrite(nullify)


def key_change_as_upsert() -> None:
    """The row under the old key stays."""

    def forget(change: Change[Any]) -> None:
        change.key_old = None

    _rewrite(forget)


def swallow_a_sink_failure() -> None:
    """A sink that fails is asked no more about that batch."""

    async def swallow(self: Lane, act: Any) -> None:
        try:
            await act()
        except SinkUnavailableError:
            for item in self._kept:
                self._record(item, wrote=True)
            self._kept.clear()
            self._written = 0

    _patch(Lane, "_persist", swallow)


def retry_without_order() -> None:
    """A batch whose first try failed waits until the next one went through."""
    deliver = Lane._deliver

    async def disorderly(self: Any, item: Any, following: Any) -> None:
        late, self.late = getattr(self, "late", None), None
        self.delivered = getattr(self, "delivered", 0) + 1
        if late is None and item.batch.checkpoint and self.delivered % 20 == 0:
            self.late = item
            return
        await deliver(self, item, None)
        if late is not None:
            record, self._record = self._record, lambda item, *, wrote: None
            await deliver(self, late, None)
            self._record = record

    _patch(Lane, "_deliver", disorderly)


def recreate_the_slot_silently() -> None:
    """A slot that is gone is made again, and all seems well."""
    honest = slot.check

    def mend(connection: Any, name: str, *arguments: Any) -> None:
        if slot.find(connection, name) is None:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
            return
        honest(connection, name, *arguments)

    _patch(slot, "check", mend)


def trust_the_servers_position() -> None:
    """The server moves a start below its confirmed position forward without a word."""
    _patch(slot, "check", lambda *arguments: None)


def repeat_what_a_snapshot_shows() -> None:
    """After a second snapshot the log still brings what its rows show."""
    _patch(Passage, "_without_shown", lambda self, batch: batch)


def log_from_the_second_snapshot() -> None:
    """After a crash in a snapshot the log is followed from the second one on: tables that were
    finished in the first lose what lies between."""
    without_shown = Passage._without_shown

    def late(self: Passage, batch: Any) -> Any:
        latest = max(self._shown.values(), key=position.checkpoint_lsn)
        kept = batch.select(
            lambda event: not (isinstance(event, Change) and position.covers(latest, event.mark))
        )
        return without_shown(self, kept)

    _patch(Passage, "_without_shown", late)


def checkpoint_after_the_commit() -> None:
    """Data first, the checkpoint in a transaction of its own: repeats have an effect."""
    commit = Session.commit

    def twice(self: Any) -> Mark | None:
        if not self._unfinished and self._moves:
            self._connection.commit()
        return commit(self)

    _patch(Session, "commit", twice)


def checkpoint_before_the_commit() -> None:
    """The checkpoint is committed and the data is not."""
    write = Session.write
    commit = Session.commit

    def hold(self: Any, batch: Any) -> None:
        self.held = [*getattr(self, "held", []), batch]
        self._moves[batch.stream] = (batch.checkpoint, batch.last)
        if batch.checkpoint is None:
            self._moves.pop(batch.stream)
        self._last = batch.last or self._last

    def split(self: Any) -> Mark | None:
        last = commit(self)
        held, self.held = getattr(self, "held", []), []
        for batch in held:
            write(self, batch)
        self._moves.clear()
        self._connection.commit()
        return last

    _patch(Session, "write", hold)
    _patch(Session, "commit", split)


def keep_a_torn_line() -> None:
    """The file is appended to as it was found."""
    _patch(JsonlSink, "_repair", lambda self, fd, context: os.fstat(fd).st_size)


def acknowledge_the_fastest_sink() -> None:
    """What one sink has is saved and acknowledged for all."""
    save = Runner._save

    async def fastest(self: Runner) -> None:
        states = self.ledger.states
        for (_, stream), state in list(states.items()):
            for sink in self.ledger._settled:
                key = (sink, stream)
                own = states.get(key)
                if own is None or own.safe is None or state.safe is None:
                    continue
                if self._source.meet(own.safe, state.safe) == own.safe != state.safe:
                    states[key] = state
                    self.ledger._dirty.add(key)
        await save(self)

    _patch(Runner, "_save", fastest)
    _patch(Ledger, "durable", property(lambda self: max(self._settled.values())))


MUTANTS: Final[dict[str, Mutant]] = {
    mutant.__name__: mutant
    for mutant in (
        acknowledge_before_flush,
        save_before_flush,
        flush_leaves_a_buffer,
        covers_one_too_many,
        deduplicate_by_row_position,
        checkpoint_inside_a_transaction,
        unchanged_becomes_null,
        key_change_as_upsert,
        swallow_a_sink_failure,
        retry_without_order,
        recreate_the_slot_silently,
        trust_the_servers_position,
        repeat_what_a_snapshot_shows,
        log_from_the_second_snapshot,
        checkpoint_after_the_commit,
        checkpoint_before_the_commit,
        keep_a_torn_line,
        acknowledge_the_fastest_sink,
    )
}
