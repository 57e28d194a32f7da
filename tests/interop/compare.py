"""Compares our records with Debezium's, field by field."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.interop.capture import PREFIX, SENTINEL, Told, payload

VARYING: Final = {"ts_ms", "ts_us", "ts_ns", "lsn", "txId", "sequence", "version"}
"""Fields of which a comparer must tolerate any value of the right type."""

OURS: Final = "penstock.id"
VARYING_HEADERS: Final = {"__debezium.context.runId"}


_MARKERS: Final = {"first": "first_in_data_collection", "last": "last_in_data_collection"}
"""Which table comes first or last in a snapshot is nobody's promise."""


def differences(theirs: Sequence[Told], ours: Sequence[Told]) -> list[str]:
    """What differs, as text; topics compared each in its order, a snapshot's rows by key."""
    found: list[str] = []
    left, right = _by_topic(theirs), _by_topic(ours)
    for topic in sorted(left.keys() | right.keys()):
        a, b = left[topic], right[topic]
        if len(a) != len(b):
            found.append(f"{topic}: {len(a)} records of Debezium, {len(b)} of ours")
        for n, (one, other) in enumerate(zip(a, b, strict=False)):
            where = f"{topic}[{n}]"
            found += _compare(f"{where}.key", one["key"], other["key"])
            found += _compare(f"{where}.value", one["value"], other["value"])
            found += _headers(where, one["headers"], other["headers"])
    return found


def markers(records: Sequence[Told]) -> list[str]:
    """Where the rows of a snapshot stand in it, in order."""
    values = (payload(record["value"]) for record in records)
    return [value["source"]["snapshot"] for value in values if value and value.get("op") == "r"]


def _by_topic(records: Sequence[Told]) -> dict[str, list[Told]]:
    topics: dict[str, list[Told]] = defaultdict(list)
    for record in records:
        if record["topic"] != f"{PREFIX}.public.{SENTINEL}":
            topics[record["topic"]].append(record)
    for told in topics.values():
        read = [r for r in told if (payload(r["value"]) or {}).get("op") == "r"]
        read.sort(key=lambda r: json.dumps(r["key"]))
        told[: len(read)] = read
    return topics


def _headers(where: str, theirs: dict[str, Any], ours: dict[str, str]) -> Iterator[str]:
    """Connect's default converter writes texts bare and structs as JSON, as we do; the embedded
    engine, all as JSON with schemas."""
    mine = {name: value for name, value in ours.items() if name != OURS}
    for name in sorted(theirs.keys() | mine.keys()):
        if name not in mine or name not in theirs:
            yield f"{where}.headers.{name}: {'missing' if name in theirs else 'ours alone'}"
        elif name not in VARYING_HEADERS:
            want = payload(theirs[name])
            got = json.loads(mine[name]) if isinstance(want, dict) else mine[name]
            if want != got:
                yield f"{where}.headers.{name}: {want!r} of Debezium, {got!r} of ours"


def _compare(where: str, theirs: Any, ours: Any) -> Iterator[str]:
    name = where.rpartition(".")[2]
    if name == "data_collection" and ours == "" and "LogicalDecodingMessageId@" in str(theirs):
        return  # a message is of no table, for which Debezium prints a Java object
    if name == "snapshot":
        theirs, ours = (_MARKERS.get(str(marker), marker) for marker in (theirs, ours))
    if name in VARYING and ".source." in where + "." and _alike(theirs, ours):
        return
    if name in ("ts_ms", "ts_us", "ts_ns", "id") and _alike(theirs, ours):
        return
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            if key not in theirs or key not in ours:
                yield f"{where}.{key}: {'missing' if key in theirs else 'ours alone'}"
            else:
                yield from _compare(f"{where}.{key}", theirs[key], ours[key])
    elif name == "vector" and isinstance(theirs, list) and isinstance(ours, list):
        if sorted(theirs) != sorted(ours):  # a map, whose order is nobody's promise
            yield f"{where}: {_short(theirs)} of Debezium, {_short(ours)} of ours"
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for n, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            label = one.get("field", n) if isinstance(one, dict) else n
            yield from _compare(f"{where}.{label}", one, other)
    elif not (theirs == ours and isinstance(theirs, type(ours))) and not _same_real(theirs, ours):
        yield f"{where}: {_short(theirs)} of Debezium, {_short(ours)} of ours"


def _alike(theirs: Any, ours: Any) -> bool:
    return ours is None or theirs is None or isinstance(theirs, type(ours))


def _same_real(theirs: Any, ours: Any) -> bool:
    """Whether two texts of a ``real`` are the same float4."""
    if not (isinstance(theirs, float) and isinstance(ours, float)):
        return False
    try:
        return struct.pack("f", theirs) == struct.pack("f", ours)
    except OverflowError:
        return False


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 200 else text[:197] + "..."
