"""Judges what came out of a run against what the source wrote down. No I/O.

The file of JSON lines is read as a consumer would: the first line with an id counts, repeats must
be the same bytes. Replaying it must give the source's rows; each transaction in it must be one
that committed, with exactly the changes that it made.
"""

from __future__ import annotations

import base64
import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from tests.crash.workload import ACCOUNTS, BALANCE, Op, digests

Row: TypeAlias = dict[str, str | None]
SUM: Final = ACCOUNTS * BALANCE
ENOUGH: Final = 25
"""Violations after which a run is not judged any further."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A row of ``truth.oracle``: a transaction that committed."""

    xid: int
    worker: int
    lower: int
    digests: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Contents:
    """A table as it stands: column to type, and the rows as exact texts."""

    types: Mapping[str, str]
    key: Sequence[str]
    rows: Sequence[Row]


@dataclass(slots=True)
class Truth:
    """What the source says at the end.

    Parameters
    ----------
    snapshots: per table the number of the finished snapshot and the position that it shows.
    defaults: what old rows show in added columns.
    """

    promises: Sequence[Promise]
    tables: Mapping[str, Contents]
    snapshots: Mapping[str, tuple[int, int]]
    defaults: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Handled:
    """What a function got: the ids that it was called for, in order, and those set aside."""

    table: str
    ids: Sequence[str]
    parked: frozenset[str]
    snapshot: tuple[int, int]


@dataclass(slots=True)
class Verdict:
    """What is wrong, and what was counted."""

    violations: list[str] = field(default_factory=list)
    transactions: int = 0
    changes: int = 0
    repeats: list[int] = field(default_factory=list)

    def wrong(self, invariant: str, what: str) -> None:
        """Note a violation."""
        if len(self.violations) < ENOUGH:
            self.violations.append(f"{invariant}: {what}")


def position(text: str) -> int:
    """A log position as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def judge(lines: Iterable[bytes], lives: Sequence[int], truth: Truth, handled: Handled) -> Verdict:
    """Judge a file of JSON lines.

    Parameters
    ----------
    lives: for each start of the process, how many lines stood in the file before.
    """
    verdict = Verdict(repeats=[0] * len(lives))
    replay = _Replay(verdict, truth, handled.table)
    seen: dict[str, bytes] = {}
    for number, line in enumerate(lines):
        try:
            value = json.loads(line, parse_int=str, parse_float=str)["value"]
        except ValueError as error:
            verdict.wrong("I6 whole lines", f"line {number} is torn ({error}): {line[:120]!r}")
            continue
        digest = hashlib.sha1(line, usedforsecurity=False).digest()
        first = seen.setdefault(value["id"], digest)
        if first is not digest:
            verdict.repeats[bisect_right(lives, number) - 1] += 1
            if first != digest:
                verdict.wrong("I6 same bytes", f"{value['id']} came again, other: {line[:300]!r}")
            continue
        verdict.changes += 1
        replay.apply(value)
    replay.end()
    _compare_transactions(replay, truth, verdict)
    for table, contents in truth.tables.items():
        _compare_rows(f"{table} replayed", contents, replay.contents(table), verdict)
    _compare_handled(handled, replay.noted, verdict)
    verdict.transactions = len(replay.transactions)
    return verdict


def compare_replica(truth: Truth, replica: Mapping[str, Sequence[Row]], verdict: Verdict) -> None:
    """Judge the tables of a replica."""
    for table, contents in truth.tables.items():
        _compare_rows(f"{table} in the replica", contents, replica.get(table, ()), verdict)


@dataclass(slots=True)
class _Transaction:
    commit: int
    ops: list[Op]


class _Replay:
    """Applies changes in order, and watches the order."""

    def __init__(self, verdict: Verdict, truth: Truth, note: str) -> None:
        self.verdict = verdict
        self.noted: list[tuple[str, int, list[str]]] = []
        """Of one table: id, commit and keys of each change of the log."""
        self._note = note
        self.truth = truth
        self.transactions: dict[int, _Transaction] = {}
        self._rows: dict[str, dict[tuple[str, ...], Row]] = {}
        self._keyless: dict[str, list[Row]] = {}
        self._versions: dict[tuple[str, tuple[str, ...]], int] = {}
        self._at = (0, -1)
        self._xid = 0
        self._sum = 0

    def contents(self, table: str) -> list[Row]:
        """A table's rows as replayed; those not written since a column came show its default."""
        defaults = self.truth.defaults
        rows = [*self._rows.get(table, {}).values(), *self._keyless.get(table, ())]
        return [{**defaults, **row} for row in rows]

    def apply(self, change: dict[str, Any]) -> None:
        if change["mark"] != change["id"]:
            self.verdict.wrong("I6 id", f"{change['id']} is marked {change['mark']}")
        if change["op"] == "read":
            self._read(change)
        else:
            self._follow(change)

    def end(self) -> None:
        self._check_sum()

    def _read(self, change: dict[str, Any]) -> None:
        table = change["table"]
        attempt = int(change["id"].rpartition(":")[0].rpartition("@")[2])
        valid = self.truth.snapshots.get(table, (0, 0))
        if attempt != valid[0]:
            return  # of an attempt that was begun again
        if position(change["source"]["lsn"]) != valid[1]:
            self.verdict.wrong("I8 snapshot", f"{change['id']} shows {change['source']['lsn']}")
        if self._at != (0, -1):
            self.verdict.wrong("I3 order", f"{change['id']} came after changes of the log")
        self._put(change, None)

    def _follow(self, change: dict[str, Any]) -> None:
        lsn, _, ordinal = change["mark"].partition(":")
        at = (position(lsn), int(ordinal))
        table, xid = change["table"], int(change["transaction"]["id"])
        if at <= self._at:
            self.verdict.wrong("I6 order", f"{change['id']} came after {self._at}")
        if xid != self._xid:
            self._check_sum()
            self._xid = xid
            if xid in self.transactions:
                self.verdict.wrong("I4 atomicity", f"transaction {xid} goes on at {change['id']}")
        self._at = max(self._at, at)
        transaction = self.transactions.setdefault(xid, _Transaction(at[0], []))
        if at[0] < self.truth.snapshots.get(table, (0, 0))[1]:
            self.verdict.wrong("I3 order", f"{table}: the snapshot shows {change['id']} already")
        if table == self._note:
            keys = [str(key) for key in (change["key"], change["old_key"]) if key]
            self.noted.append((change["id"], at[0], keys))
        row = change["after"] or {}
        transaction.ops.append(
            (table, change["op"], change["key"], row.get("ver"), change["old_key"])
        )
        if change["op"] == "truncate":
            self._rows.pop(table, None)
            self._keyless.pop(table, None)
        elif change["op"] == "delete":
            self._take(change, change["key"])
        elif change["op"] == "insert":
            self._put(change, None)
        else:
            self._put(change, self._take(change, change["old_key"] or change["key"]))

    def _take(self, change: dict[str, Any], key: dict[str, str]) -> Row | None:
        old = self._rows.get(change["table"], {}).pop(_values(key), None)
        if old is None:
            self.verdict.wrong("I3 order", f"{change['op']} of a row that is not there: {change}")
        elif before := change["before"]:
            wrong = [c for c in before if c in old and not _same(old[c], before[c])]
            if wrong:
                self.verdict.wrong("I5 before", f"{change['id']}: {wrong} of {change['table']}")
        return old

    def _put(self, change: dict[str, Any], old: Row | None) -> None:
        table, row = change["table"], dict(change["after"])
        for column in change["unchanged"]:
            if old is None or column not in old:
                self.verdict.wrong("I1 unchanged", f"{change['id']} {column}: nothing before it")
            else:
                row[column] = old[column]
        if change["key"] is None:
            self._keyless.setdefault(table, []).append(row)
            return
        key = _values(change["key"])
        if self._rows.setdefault(table, {}).setdefault(key, row) is not row:
            self.verdict.wrong("I3 order", f"{change['op']} over a row that is there: {change}")
        last, now = self._versions.get((table, key), 0), int(row["ver"] or 0)
        if now <= last:
            self.verdict.wrong("I3 order", f"{table} {key}: ver {now} after {last}, {change['id']}")
        self._versions[table, key] = now
        if table == "public.account":
            self._sum += int(row["balance"] or 0) - (int(old["balance"] or 0) if old else 0)

    def _check_sum(self) -> None:
        if self._xid and self._sum != SUM:
            self.verdict.wrong("I4 atomicity", f"the sum is {self._sum} after {self._xid}")


def _compare_transactions(replay: _Replay, truth: Truth, verdict: Verdict) -> None:
    promised = {promise.xid: promise for promise in truth.promises}
    for xid, transaction in replay.transactions.items():
        if xid not in promised:
            verdict.wrong("I2 phantom", f"{xid} did not commit: {transaction.ops[:3]}")
    reached: Counter[int] = Counter()
    for promise in sorted(truth.promises, key=lambda promise: (promise.lower, promise.xid)):
        transaction_or_none = replay.transactions.get(promise.xid)
        if transaction_or_none is None:
            commit, found = 0, {}
        else:
            commit, found = transaction_or_none.commit, digests(transaction_or_none.ops)
        # A worker's transactions commit one after another.
        commit = max(commit, promise.lower, reached[promise.worker])
        reached[promise.worker] = commit
        for table in promise.digests.keys() | found.keys():
            wanted, got = promise.digests.get(table), found.get(table)
            tables = promise.digests if table == "*" else [table]
            due = all(commit >= truth.snapshots.get(t, (0, 0))[1] for t in tables if t != "*")
            if got is None and wanted is not None and not due:
                continue  # the snapshot shows it
            if table == "*" and not due:
                continue
            if wanted != got:
                verdict.wrong(
                    "I1 loss", f"{promise.xid} of {promise.worker}, {table}: {got} for {wanted}"
                )


def _compare_handled(
    handled: Handled, changes: Iterable[tuple[str, int, list[str]]], verdict: Verdict
) -> None:
    """Each change was handled or set aside, in order, and none overtook a parked one of its key."""
    called = {id: number for number, id in reversed([*enumerate(handled.ids)])}
    parked: set[str] = set()
    last = -1
    known = set()
    for id, commit, keys in changes:
        known.add(id)
        if commit < handled.snapshot[1]:
            continue
        if id in handled.parked:
            parked.update(keys)
        elif id not in called:
            verdict.wrong("I1 loss", f"{id} was neither handled nor parked")
        elif called[id] < last:
            verdict.wrong("I3 order", f"{id} was handled before its turn")
        elif parked.intersection(keys):
            verdict.wrong("I3 order", f"{id} overtook a parked change of {keys}")
        else:
            last = called[id]
    for id in handled.parked | called.keys():
        if id not in known and not id.startswith("snapshot:"):
            verdict.wrong("I2 phantom", f"{id} was handled, or parked")


def _compare_rows(
    where: str, contents: Contents, found: Iterable[Mapping[str, Any]], verdict: Verdict
) -> None:
    if not contents.key:
        wanted = Counter(_canonical(contents.types, row) for row in contents.rows)
        got = Counter(_canonical(contents.types, row) for row in found)
        for missing, count in (wanted - got).items():
            verdict.wrong("I8 equality", f"{where}: {count} missing: {missing}")
        for extra, count in (got - wanted).items():
            verdict.wrong("I8 equality", f"{where}: {count} too many: {extra}")
        return
    rows: dict[tuple[Any, ...], Mapping[str, Any]] = {
        tuple(str(row.get(name)) for name in contents.key): row for row in found
    }
    for row in contents.rows:
        key = tuple(row[name] for name in contents.key)
        mine = rows.pop(key, None)
        if mine is None:
            verdict.wrong("I8 equality", f"{where}: {key} is missing")
            continue
        for column, type in contents.types.items():
            if _text(type, row[column]) != _text(type, mine.get(column, _ABSENT)):
                verdict.wrong(
                    "I8 equality",
                    f"{where}: {key} {column} is {str(mine.get(column, 'absent'))[:80]!r},"
                    f" not {str(row[column])[:80]!r}",
                )
    for key in rows:
        verdict.wrong("I8 equality", f"{where}: {key} is too much")


_ABSENT: Final = "<absent>"


def _canonical(types: Mapping[str, str], row: Mapping[str, Any]) -> tuple[str | None, ...]:
    return tuple(_text(type, row.get(column, _ABSENT)) for column, type in types.items())


def _text(type: str, value: Any) -> str | None:
    """One text of a value, whichever way it came."""
    if value is None or value is _ABSENT:
        return value
    if type == "boolean":
        return "true" if str(value).lower() in ("true", "1", "t") else "false"
    if type == "double precision":
        return repr(float(value))
    if type == "bytea":
        if isinstance(value, bytes):
            return "\\x" + value.hex()
        text = str(value)
        return text if text.startswith("\\x") else "\\x" + base64.b64decode(text).hex()
    return str(value)


def _values(key: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(key[name]) for name in sorted(key))


def _same(a: Any, b: Any) -> bool:
    return str(a) == str(b)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
