"""Which changes may be in handlers at the same time: those that share no key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from penstock.model import Change, Event
from penstock.parking import keys


def steps(events: Iterable[Event]) -> Iterator[Event | list[list[Change[Any]]]]:
    """Events in order; changes between two others become chains that may run side by side.

    A chain holds, in order, all changes of its keys; a key change joins two chains. What has no
    row of its own (a truncate, a message, a change of shape) stands alone, and so does a change
    without a key in a table that has one.
    """
    waiting: list[Change[Any]] = []
    for event in events:
        if isinstance(event, Change) and (
            event.key_values is not None
            or (event.operation != "truncate" and not event.definition.key_columns)
        ):
            waiting.append(event)
            continue
        if waiting:
            yield chains(waiting)
            waiting = []
        yield event
    if waiting:
        yield chains(waiting)


def chains(changes: Iterable[Change[Any]]) -> list[list[Change[Any]]]:
    """Changes that share a key, directly or through others, together and in order."""
    of: dict[str, list[tuple[int, Change[Any]]]] = {}
    for place, change in enumerate(changes):
        names = keys(change)
        chain = of.setdefault(names[0], [])
        for name in names[1:]:
            other = of.setdefault(name, chain)
            if other is not chain:
                chain.extend(other)
                chain.sort(key=lambda entry: entry[0])
                for key, owner in of.items():
                    if owner is other:
                        of[key] = chain
        chain.append((place, change))
    found = {id(chain): chain for chain in of.values()}
    return [[change for _, change in chain] for chain in found.values()]
