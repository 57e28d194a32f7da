"""The native kernel's decoder, behind the face of the Python one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

from penstock import kernel
from penstock.model import Batch, Checkpoint, PackedBatch, Table
from penstock.model.projection import ProjectionOf, whole
from penstock.model.stream import MAIN
from penstock.sources.postgres.wire.copies import Payloads
from penstock.sources.postgres.wire.lsn import format_lsn
from penstock.sources.postgres.wire.messages import Reader, Relation
from penstock.sources.postgres.wire.relations import RelationFacts
from penstock.sources.postgres.wire.tables import Reading, Tables


class NativeDecoder:
    """Turns a session's payloads into packed batches (:class:`~.decoder.Decoder`).

    Rows are decoded without the GIL. The native decoder stops at the first row of a relation that
    was announced anew; what that is, is decided here.
    """

    def __init__(
        self,
        *,
        database: str,
        system: str,
        timeline: int,
        wanted: Callable[[str, str], bool] | None = None,
        messages: Collection[str] | None = (),
        known: Iterable[Table] = (),
        max_bytes: int = 1 << 20,
        projection_of: ProjectionOf = whole,
        binary: int = 0,
    ) -> None:
        self.needs: Relation | None = None
        """The relation that :meth:`describe` must be called for before feeding goes on."""
        self._system = system
        self._timeline = timeline
        self._tables = Tables(wanted, known, projection_of, binary)
        self._shapes: dict[int, Any] = {}
        self._native = kernel.native()
        self._decoder = self._native.Decoder(
            database=database,
            messages=None if messages is None else list(messages),
            max_bytes=max_bytes,
            binary=binary > 0,
        )

    @property
    def shapes(self) -> deque[Table]:
        """For every SchemaChange in turn the table as the log has it; see :class:`Tables`."""
        return self._tables.shapes

    @property
    def received(self) -> int:
        """The highest position seen: of commits, keepalives and the last payload of each feed."""
        position: int = self._decoder.received
        return position

    @property
    def in_transaction(self) -> bool:
        """Whether the last payload left a transaction open."""
        is_open: bool = self._decoder.in_transaction
        return is_open

    def feed(self, payloads: Payloads) -> list[Batch]:
        """Decode CopyData payloads, as :meth:`.decoder.Decoder.feed` does."""
        decoder = self._decoder
        decoder.push(payloads)
        if self.needs is None:
            self._decode()
        return [PackedBatch(batch, self._checkpoint(batch.position)) for batch in decoder.take()]

    def describe(self, facts: RelationFacts) -> None:
        """Give the catalog's facts of the relation that :attr:`needs` names.

        Raises SchemaError when they do not fit the relation, and TextNeeded as :meth:`feed`.
        """
        relation = self.needs
        if relation is None:
            raise ValueError("no relation needs facts")
        self._read(relation.oid, self._tables.describe(relation, facts))
        self.needs = None

    def _decode(self) -> None:
        decoder = self._decoder
        decoder.decode()
        self._note_announced()
        while (oid := decoder.needs) is not None:
            reading = self._tables.reading(oid)
            if isinstance(reading, Relation):
                self.needs = reading
                break
            self._read(oid, reading)
            decoder.decode()
            self._note_announced()

    def _note_announced(self) -> None:
        for message in self._decoder.announced():
            self._tables.announce(Relation.parse(Reader(message, 0)))

    def _read(self, oid: int, reading: Reading) -> None:
        table, news = reading.shown, reading.news
        if table is None:
            self._decoder.skip(oid)
            return
        before = news.before if news is not None else None
        shape_before = self._shape(before) if before is not None else None
        shape = self._shape(table)
        if news is not None:
            self._decoder.announce(shape_before, shape)
        self._decoder.read(oid, shape, reading.projection)

    def _shape(self, table: Table) -> Any:
        """The table compiled; the same as before where it is the same table, so that a batch
        holds it once."""
        shape = self._shapes.get(table.oid)
        if shape is None or shape.table != table:
            shape = self._shapes[table.oid] = self._native.Shape(table)
        return shape

    def _checkpoint(self, position: int | None) -> Checkpoint | None:
        if position is None:
            return None
        lsn = format_lsn(position)
        return Checkpoint.of(MAIN, lsn=lsn, system=self._system, timeline=self._timeline)
