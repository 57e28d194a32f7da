"""Python callables as transforms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from penstock.model import Batch, Change, Event, EventBatch

ChangeFunction = Callable[[Change[Any]], "Change[Any] | Iterable[Change[Any]] | None"]


class FunctionTransform:
    """Applies a function to every change: it gives a change, several, or None to drop it.

    Several outputs of one change get sub-ordinals, so that each has an id of its own.
    """

    def __init__(self, function: ChangeFunction) -> None:
        self.function = function

    def apply(self, batch: Batch) -> Batch:
        """The batch with the function's changes in place of the old ones."""
        events: list[Event] = []
        for event in batch:
            if not isinstance(event, Change):
                events.append(event)
                continue
            made = self.function(event)
            if made is None:
                continue
            if isinstance(made, Change):
                events.append(made)
                continue
            for part, change in enumerate(made):
                change.part = part
                events.append(change)
        return EventBatch(batch.stream, events, batch.last, batch.checkpoint, batch.size)
