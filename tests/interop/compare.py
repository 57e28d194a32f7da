"""Compares our records with Debezium's, field by field.

What may differ is said here, by its place, and nowhere else: when a record was made, where in the
log it is read, which product made it, and the order of a snapshot's rows, of a map's pairs and of a
transaction's tables.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from penstock.formats.debezium.options import ID_HEADER
from tests.interop.capture import PREFIX, Told, payload

Path = tuple[str | int, ...]
_ABSENT: Final = "<absent>"


class Difference(NamedTuple):
    """One place where the records differ: the topic, the record's number in it, the path to the
    field, and both values."""

    topic: str
    number: int
    path: Path
    theirs: Any
    ours: Any

    @property
    def field(self) -> str:
        """The path as text."""
        return ".".join(map(str, self.path))

    def __str__(self) -> str:
        return (
            f"{self.topic}[{self.number}].{self.field}: {_short(self.theirs)} of Debezium, "
            f"{_short(self.ours)} of ours"
        )


def differences(theirs: Sequence[Told], ours: Sequence[Told]) -> list[Difference]:
    """What differs; topics compared each in its order, a snapshot's rows by key."""
    found: list[Difference] = []
    left, right = _by_topic(theirs), _by_topic(ours)
    for topic in sorted(left.keys() | right.keys()):
        a, b = left[topic], right[topic]
        if len(a) != len(b):
            found.append(Difference(topic, min(len(a), len(b)), ("records",), len(a), len(b)))
        for n, (one, other) in enumerate(zip(a, b, strict=False)):
            for path, want, got in _records(topic, one, other):
                found.append(Difference(topic, n, path, want, got))
    return found


def misplaced(records: Sequence[Told]) -> list[str]:
    """Rows of a snapshot whose marker is not that of their place in it."""
    rows = [r for r in records if _is_read(r)]
    wrong = []
    for n, row in enumerate(rows):
        begins = n == 0 or rows[n - 1]["topic"] != row["topic"]
        ends = n + 1 == len(rows) or rows[n + 1]["topic"] != row["topic"]
        if n + 1 == len(rows):
            place = "last"
        elif n == 0:
            place = "first"
        elif ends:
            place = "last_in_data_collection"
        else:
            place = "first_in_data_collection" if begins else "true"
        marker = payload(row["value"])["source"]["snapshot"]
        if marker != place:
            wrong.append(f"{row['topic']}, row {n}: {marker} instead of {place}")
    return wrong


def _by_topic(records: Sequence[Told]) -> dict[str, list[Told]]:
    topics: dict[str, list[Told]] = defaultdict(list)
    for record in records:
        topics[record["topic"]].append(record)
    for told in topics.values():
        read = [r for r in told if _is_read(r)]
        read.sort(key=lambda r: json.dumps(r["key"] or payload(r["value"])["after"]))
        told[: len(read)] = read
    return topics


def _is_read(record: Told) -> bool:
    value = payload(record["value"])
    return isinstance(value, dict) and value.get("op") == "r"


_Found = Iterator[tuple[Path, Any, Any]]


def _records(topic: str, theirs: Told, ours: Told) -> _Found:
    for part in ("key", "value"):
        want, got = _plain(theirs[part]), _plain(ours[part])
        for path, one, other in _unequal((part,), want, got):
            if not _may_differ(topic, path, one, other, want):
                yield path, one, other
    yield from _headers(theirs["headers"], ours["headers"])


def _headers(theirs: Mapping[str, Any], ours: Mapping[str, str]) -> _Found:
    """Connect's default converter writes texts bare and structs as JSON, as we do; the embedded
    engine, all as JSON with schemas."""
    assert ID_HEADER in ours
    for name in sorted((theirs.keys() | ours.keys()) - {ID_HEADER}):
        want, got = payload(theirs.get(name, _ABSENT)), ours.get(name, _ABSENT)
        if not isinstance(want, str) and _ABSENT not in (want, got):
            got = json.loads(got)
        if name == "__debezium.context.runId" and _ABSENT not in (want, got):
            continue
        yield from _unequal(("headers", name), want, got)


def _unequal(path: Path, theirs: Any, ours: Any) -> _Found:
    """Where two values differ, and how."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            yield from _unequal((*path, key), theirs.get(key, _ABSENT), ours.get(key, _ABSENT))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for n, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            label = one.get("field", n) if isinstance(one, dict) else n
            yield from _unequal((*path, label), one, other)
    elif type(theirs) is not type(ours) or theirs != ours:
        yield path, theirs, ours


def _plain(told: Any) -> Any:
    """The same with what JSON cannot tell apart made equal: a map's pairs in order, a ``float`` as
    those 32 bits."""
    if isinstance(told, dict) and told.keys() == {"schema", "payload"}:
        return {"schema": told["schema"], "payload": _value(told["schema"], told["payload"])}
    return {"payload": told}


def _value(schema: Any, value: Any) -> Any:
    if value is None or schema is None:
        return value
    if schema["type"] == "struct":
        by_name = {field["field"]: field for field in schema["fields"]}
        return {name: _value(by_name[name], part) for name, part in value.items()}
    if schema["type"] == "array" and schema["items"].get("name") == "event.collection":
        return sorted(value, key=lambda told: str(told["data_collection"]))
    if schema["type"] == "array":
        return [_value(schema["items"], part) for part in value]
    if schema["type"] == "map" and isinstance(value, list):
        return sorted(value)
    if schema["type"] == "float" and isinstance(value, float) and abs(value) < 3.5e38:
        return struct.unpack("f", struct.pack("f", value))[0]
    return value


# -- what may differ

_Check = Callable[[Any, Any], bool]


def _numbers(theirs: Any, ours: Any) -> bool:
    return type(theirs) is int and type(ours) is int


def _texts(theirs: Any, ours: Any) -> bool:
    return isinstance(theirs, str) and isinstance(ours, str)


def _positions(theirs: Any, ours: Any) -> bool:
    """``["<commit or null>","<lsn>"]``."""
    shapes = [[type(part) for part in json.loads(text)] for text in (theirs, ours)]
    return len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][1] is shapes[1][1] is str


def _same_transaction(theirs: Any, ours: Any) -> bool:
    """``<txid>:<lsn>``, of which the position differs even among Debezium's own records."""
    return bool(theirs.partition(":")[0] == ours.partition(":")[0])


def _neighbours(theirs: Any, ours: Any) -> bool:
    """Which table comes first or last in a snapshot is nobody's promise; :func:`misplaced` checks
    that some do."""
    tables = {"first": "first_in_data_collection", "last": "last_in_data_collection"}
    return bool(tables.get(theirs, theirs) == tables.get(ours, ours))


_ALWAYS: Final[Mapping[Path, _Check]] = {
    ("value", "payload", "ts_ms"): _numbers,
    ("value", "payload", "ts_us"): _numbers,
    ("value", "payload", "ts_ns"): _numbers,
    ("value", "payload", "source", "version"): _texts,
    ("value", "payload", "source", "lsn"): _numbers,
    ("value", "payload", "source", "sequence"): _positions,
    ("value", "payload", "source", "pos"): _numbers,
    ("value", "payload", "source", "row"): _numbers,
    ("value", "payload", "transaction", "id"): _same_transaction,
}
_IN_SNAPSHOTS: Final[Mapping[Path, _Check]] = {
    ("value", "payload", "source", "ts_ms"): _numbers,
    ("value", "payload", "source", "ts_us"): _numbers,
    ("value", "payload", "source", "ts_ns"): _numbers,
    ("value", "payload", "source", "snapshot"): _neighbours,
}
_OUTSIDE_TRANSACTIONS: Final[Mapping[Path, _Check]] = {
    ("value", "payload", "source", name): _numbers for name in ("ts_ms", "ts_us", "ts_ns")
}
_OF_TRANSACTIONS: Final[Mapping[Path, _Check]] = {
    ("key", "payload", "id"): _same_transaction,
    ("value", "payload", "id"): _same_transaction,
}


def _may_differ(topic: str, path: Path, theirs: Any, ours: Any, record: Any) -> bool:
    if topic == f"{PREFIX}.transaction":
        check = _OF_TRANSACTIONS.get(path)
    else:
        check = _ALWAYS.get(path)
        value = record["payload"]
        if check is None and isinstance(value, dict) and isinstance(value.get("source"), dict):
            if value["op"] == "r":
                check = _IN_SNAPSHOTS.get(path)
            elif value["source"].get("txId", 0) is None:
                check = _OUTSIDE_TRANSACTIONS.get(path)
    return check is not None and check(theirs, ours)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 200 else text[:197] + "..."
