"""What is committed beside an offset: whose it is, and how far each sink is.

The group's offsets are the one place that every worker can read, and that the broker guards: who
has lost a partition cannot commit for it any more. An offset's metadata has room for that (4 KiB
by default).
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from penstock.errors import StateMismatchError
from penstock.model import Mark
from penstock.ports import StreamState
from penstock.sources.kafka.place import checkpoint_at, offset_of

States = Mapping[tuple[str, str], StreamState]


def dump(pipeline: str, states: Mapping[str, StreamState]) -> str:
    """The metadata of an offset; ``states`` by sink."""
    sinks = {
        sink: [state.data and state.data.ordinal, state.safe and offset_of(state.safe)]
        for sink, state in states.items()
    }
    return orjson.dumps({"penstock": pipeline, "sinks": sinks}).decode()


def load(pipeline: str, group: str, stream: str, metadata: str | None) -> dict[str, StreamState]:
    """What :func:`dump` wrote; by sink.

    Raises StateMismatchError for an offset that another consumer or pipeline committed.
    """
    owner = "a consumer that is not penstock"
    try:
        found = orjson.loads(metadata or "")
        owner = f"the pipeline {found['penstock']!r}"
        states = {
            sink: StreamState(
                None if data is None else Mark(stream, data),
                None if safe is None else checkpoint_at(stream, safe),
            )
            for sink, (data, safe) in found["sinks"].items()
        }
        if found["penstock"] == pipeline:
            return states
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise StateMismatchError(
        f"group {group!r} has an offset of {stream} that {owner} committed",
        hint="choose another group for this pipeline; or, to begin anew with this one, delete it: "
        "penstock teardown",
    )
