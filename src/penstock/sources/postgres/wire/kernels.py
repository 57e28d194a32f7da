"""The decoder of the kernel that runs here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from penstock.kernel import kernel
from penstock.model import Batch, Table
from penstock.model.projection import ProjectionOf, whole
from penstock.sources.postgres.wire.copies import Payloads
from penstock.sources.postgres.wire.decoder import Decoder
from penstock.sources.postgres.wire.messages import Relation
from penstock.sources.postgres.wire.native import NativeDecoder
from penstock.sources.postgres.wire.relations import RelationFacts


class LogDecoder(Protocol):
    """What both kernels' decoders are: :class:`~.decoder.Decoder` says what each part means."""

    needs: Relation | None

    @property
    def shapes(self) -> deque[Table]: ...
    @property
    def received(self) -> int: ...
    @property
    def in_transaction(self) -> bool: ...
    def feed(self, payloads: Payloads) -> list[Batch]: ...
    def describe(self, facts: RelationFacts) -> None: ...


def make_decoder(
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
) -> LogDecoder:
    """A decoder with these settings, which :class:`~.decoder.Decoder` explains."""
    make = NativeDecoder if kernel() == "native" else Decoder
    return make(
        database=database,
        system=system,
        timeline=timeline,
        wanted=wanted,
        messages=messages,
        known=known,
        max_bytes=max_bytes,
        projection_of=projection_of,
        binary=binary,
    )
