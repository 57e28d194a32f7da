"""What a decoder made of a stream, as plain data that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from penstock.errors import PenstockError
from penstock.model import (
    Batch,
    Change,
    Event,
    Message,
    Origin,
    Raw,
    TransactionBegin,
    TransactionEnd,
)
from penstock.sources.postgres.wire import LogDecoder, Relation, RelationFacts


def drive(
    decoder: LogDecoder,
    feeds: Iterable[Sequence[bytes]],
    facts: Callable[[Relation], RelationFacts],
) -> list[Any]:
    """Feed all and note what came of each feed, to the first error."""
    seen: list[Any] = []
    try:
        for payloads in feeds:
            seen.append([batch_data(batch) for batch in decoder.feed(list(payloads))])
            while decoder.needs is not None:
                seen.append(decoder.needs)
                decoder.describe(facts(decoder.needs))
                seen.append([batch_data(batch) for batch in decoder.feed([])])
            seen.append((decoder.received, decoder.in_transaction))
    except PenstockError as error:
        seen.append(error_data(error))
    return seen


def batch_data(batch: Batch) -> dict[str, Any]:
    """All of a batch."""
    return {
        "stream": batch.stream,
        "events": [event_data(event) for event in batch],
        "length": len(batch),
        "last": batch.last,
        "checkpoint": batch.checkpoint,
        "size": batch.size,
        "changes": batch.changes,
        "committed": batch.committed_us,
    }


def event_data(event: Event) -> Any:
    """All of an event."""
    if isinstance(event, Change):
        return {
            "operation": event.operation,
            "table": event.definition,
            "origin": origin_data(event.origin),
            "ordinal": event.ordinal,
            "part": event.part,
            "before": raws_data(event.values_before),
            "after": raws_data(event.values_after),
            "key": raws_data(event.key_new),
            "old_key": raws_data(event.key_old),
            "route": event.route,
            "headers": dict(event.headers),
            "of": (event.id, event.key_values),
        }
    if isinstance(event, TransactionBegin):
        return ("begin", origin_data(event.origin))
    if isinstance(event, TransactionEnd):
        return ("end", origin_data(event.origin), dict(event.counts))
    if isinstance(event, Message):
        return event
    return (event, [getattr(event, name, None) for name in ("before", "after")])


def origin_data(origin: Origin) -> Any:
    """All of an origin."""
    return (origin.mark, origin.transaction, origin.version, dict(origin.source))


def raws_data(raws: Sequence[Raw] | None) -> list[Raw] | None:
    """Raw values, whatever sequence they are in."""
    return None if raws is None else list(raws)


def error_data(error: PenstockError) -> Any:
    """All that an error says."""
    offset = getattr(error, "offset", None)
    return (type(error), error.message, error.hint, error.table, error.mark, offset)
