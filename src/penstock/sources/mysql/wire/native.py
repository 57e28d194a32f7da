"""The native kernel's decoder of the binlog, behind the face of the Python one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from penstock import kernel
from penstock.model import Batch, Checkpoint, Table
from penstock.model.projection import ProjectionOf, whole
from penstock.sources.mysql.wire.alterations import altered
from penstock.sources.mysql.wire.decoder import Decoder
from penstock.sources.mysql.wire.events import Gtid, Query
from penstock.sources.mysql.wire.gtid import Gtids
from penstock.sources.mysql.wire.layouts import (
    Hidden,
    Layout,
    Layouts,
    TypesNeeded,
    as_told,
)
from penstock.sources.mysql.wire.nativebatch import NativeAssembly, NativeTables
from penstock.sources.mysql.wire.shapes import Schemas
from penstock.sources.mysql.wire.transactions import Transactions

_AT_ONCE: Final = 1 << 20
"""Bytes of events out of a compressed one that are decoded in one call."""


class NativeDecoder(Decoder):
    """Turns a session's events into packed batches (:class:`~.decoder.Decoder`).

    What most transactions consist of is decoded without the GIL. The native decoder stops at an
    event that is rare or damaged; this one is read by the Python code, which goes on from the
    native decoder's state, and back.
    """

    def __init__(
        self,
        *,
        gtids: Gtids,
        checkpoint: Callable[[Gtids, str, int], Checkpoint],
        source: Mapping[str, Any],
        wanted: Callable[[str, str], bool] | None = None,
        known: Iterable[Table] = (),
        max_bytes: int = 1 << 20,
        projection_of: ProjectionOf = whole,
        checksums: bool = False,
        hidden: Hidden | None = None,
        schemas: Schemas | None = None,
        complete: Callable[[Table], Table] = as_told,
    ) -> None:
        super().__init__(
            gtids=gtids,
            checkpoint=checkpoint,
            source=source,
            wanted=wanted,
            known=known,
            max_bytes=max_bytes,
            projection_of=projection_of,
            checksums=checksums,
            hidden=hidden,
            schemas=schemas,
            complete=complete,
        )
        self._native = kernel.native().Binlog(
            facts=dict(source), max_bytes=max_bytes, checksums=checksums, named=gtids.named
        )
        self._known = NativeTables(self._native)
        self._log: _Transactions = _Transactions(
            gtids, checkpoint, source, self._layouts, self._native, self._known
        )

    def feed(self, events: Iterable[bytes]) -> Iterator[Batch | TypesNeeded]:
        """Decode whole events, as :meth:`.decoder.Decoder.feed` does."""
        yield from self._run(list(events), inner=False)
        self._load()
        yield from self._complete()

    def _run(self, events: list[bytes], *, inner: bool) -> Iterator[Batch | TypesNeeded]:
        at, end, log = 0, len(events), self._log
        while at < end:
            if not log.in_xa:  # whose events are held as objects
                at, left = self._native.decode(events, at, inner)
                if not left:  # a batch is full, or all was read
                    yield from log.assembly.take()
                    continue
            self._load()
            if inner:
                yield from super()._inner(iter(events[at : at + 1]))
            else:
                yield from self._read(events[at])
            self._store()
            at += 1

    def _inner(self, events: Iterator[bytes]) -> Iterator[Batch | TypesNeeded]:
        self._store()
        chunk, size = [], 0
        for event in events:
            chunk.append(event)
            size += len(event)
            if size >= _AT_ONCE:
                yield from self._run(chunk, inner=True)
                chunk, size = [], 0
        yield from self._run(chunk, inner=True)
        self._load()

    def _full(self) -> Iterator[Batch]:
        if not self._log.in_xa:
            self._log.batches.flush()
            if self._native.size >= self._max_bytes:
                self._log.assembly.cut(self._max_bytes)
                yield from self._log.assembly.take()

    def _load(self) -> None:
        if not self._log.in_xa:
            self._log.file, self._log.position, self._checksums = self._native.place
            self._log.load()

    def _store(self) -> None:
        if not self._log.in_xa:
            self._native.place = self._log.file, self._log.position, self._checksums
            self._log.store()

    def _describe(self, number: int, description: bytes, offset: int) -> None:
        layout = self._layouts.of(description, offset)
        self._native.describe(number, self._known.learn(description, layout))

    def _altered(self, transaction: str, query: Query) -> None:
        names = self._layouts.statement(transaction, query.database, query.statement)
        known = altered(query.statement, query.database, self._known.names)
        self._known.forget({*names, *known})

    def _described(self, number: int) -> Layout | None:
        return self._known.layout(self._native.described(number))

    def _end_statement(self) -> None:
        self._native.end_statement()


class _Transactions(Transactions):
    """The transactions of a session, of which the native decoder has the open one."""

    def __init__(
        self,
        gtids: Gtids,
        checkpoint: Callable[[Gtids, str, int], Checkpoint],
        source: Mapping[str, Any],
        layouts: Layouts,
        native: Any,
        tables: NativeTables,
    ) -> None:
        super().__init__(gtids, checkpoint, source, layouts)
        self._checkpoint = checkpoint
        self._native = native
        self._tables = tables
        self.batches = self.assembly = NativeAssembly(native, tables, self._reached)

    def load(self) -> None:
        """Go on from where the native decoder is."""
        state = self._native.transaction
        if state is None:
            self._leave()
            return
        source, number, self.explicit, self.ordinal, self._begun, origin, counts = state
        if self._origin is None or self._origin.mark != origin.mark:
            self._since_savepoint.clear()
        self._gtid = Gtid(f"{source}{number}" if source else "")
        self._origin, self._source = origin, origin.source
        self._counts = defaultdict(int, counts)

    def store(self) -> None:
        """Let the native decoder go on from here."""
        self.batches.flush()
        if self._gtid is None:
            self._native.go_on(None)
            return
        at = max(self._gtid.text.rfind(":"), self._gtid.text.rfind("-")) + 1
        self._native.go_on(
            (
                self._gtid.text[:at],
                int(self._gtid.text[at:] or 0),
                self.explicit,
                self.ordinal,
                self._begun,
                self._origin,
                self._tables.counted(self._counts) if self._begun else [],
            )
        )

    def start_xa(self, xid: str) -> None:
        """The rows that follow are of an XA transaction."""
        self.batches.settle()
        super().start_xa(xid)

    def resolve(self, xid: str, *, committed: bool) -> None:
        """An XA transaction ends."""
        self.batches.settle()
        super().resolve(xid, committed=committed)

    def rest(self) -> None:
        """All that came has been read."""
        if not self._gtids.named:
            self.batches.settle()
        super().rest()

    def _done(self, gtids: Iterable[str]) -> None:
        self.batches.settle()
        super()._done(gtids)

    def _reached(self, position: int) -> Checkpoint | None:
        """The checkpoint of a position of the native decoder; None where it must wait."""
        for source, first, last, file, place in self._native.committed(position):
            self._safe_place = (file, place)
            if self.waits:
                self._read.append(f"{source}{last}")
                continue
            if source:
                self._gtids.add_run(source, first, last)
            self._gtids.reach(file, place)
        return None if self.waits else self._checkpoint(self._gtids, *self._safe_place)

    def _tell(self, layout: Layout) -> None:
        before = self._layouts.last(layout.mapped.schema, layout.mapped.name)
        super()._tell(layout)
        self._tables.make_current(before, layout)
