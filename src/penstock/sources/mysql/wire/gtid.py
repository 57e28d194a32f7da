"""Which transactions have been read: MySQL's GTID sets, MariaDB's GTID positions.

In both a transaction has a name that it keeps on every server. A MySQL set may have gaps; a MariaDB
position says how far each domain was read. Neither has a total order: of two, none need come first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, Protocol, Self
from uuid import UUID

from penstock.errors import ProtocolError
from penstock.sources.mysql.wire.reader import Reader

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_GTID: Final = re.compile(f"({_UUID}(?::[a-z_][a-z0-9_]{{0,31}})?):([0-9]{{1,19}})")
_SOURCE: Final = re.compile(_UUID)
_TAG: Final = re.compile("[a-z_][a-z0-9_]{0,31}")
_INTERVAL: Final = re.compile("([0-9]{1,19})(?:-([0-9]{1,19}))?")
_MARIADB: Final = re.compile("([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,20})")


class Gtids(Protocol):
    """Transactions that have been read.

    ``gaps``: whether one can be left out and later ones not. ``named``: whether they have names,
    or are known by their places in one server's log.
    """

    gaps: ClassVar[bool]
    named: ClassVar[bool]

    def __contains__(self, gtid: object) -> bool: ...
    def __le__(self, other: Self) -> bool:
        """Whether all of these are among the others."""

    def __and__(self, other: Self) -> Self:
        """The transactions in both."""

    def add(self, gtid: str) -> None:
        """One more."""

    def add_run(self, source: str, first: int, last: int) -> None:
        """Those of a source that follow each other; ``source`` is what their names begin with."""

    def reach(self, file: str, position: int) -> None:
        """All before a place of the log has been read: what has names does not tell by that."""

    def copy(self) -> Self:
        """The same, to be changed alone."""


class GtidSet:
    """A set of MySQL's GTIDs: ``uuid:1-5:7``, or with a tag ``uuid:tag:1-5``.

    Intervals are kept by ``uuid`` or ``uuid:tag``, sorted and apart, each as [first, end).

    https://dev.mysql.com/doc/refman/en/replication-gtids-concepts.html
    """

    __slots__ = ("_intervals",)
    gaps: ClassVar[bool] = True
    named: ClassVar[bool] = True

    def __init__(self, intervals: dict[str, list[list[int]]] | None = None) -> None:
        self._intervals = intervals or {}

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read ``@@gtid_executed`` and what ``str`` wrote. Raises ValueError for anything else."""
        found = cls()
        for part in "".join(text.lower().split()).split(","):
            if not part:
                continue
            uuid, *pieces = part.split(":")
            if not _SOURCE.fullmatch(uuid) or not pieces:
                raise ValueError(f"not a GTID set: {part!r}")
            source = uuid
            for piece in pieces:
                if interval := _INTERVAL.fullmatch(piece):
                    first, last = int(interval[1]), int(interval[2] or interval[1])
                    if not 0 < first <= last < 1 << 63:
                        raise ValueError(f"not an interval: {piece!r}")
                    found._insert(source, first, last + 1)
                elif _TAG.fullmatch(piece):
                    source = f"{uuid}:{piece}"
                else:
                    raise ValueError(f"not a GTID set: {part!r}")
        return found

    def __str__(self) -> str:
        return ",".join(
            source + "".join(f":{a}" if b == a + 1 else f":{a}-{b - 1}" for a, b in intervals)
            for source, intervals in sorted(self._intervals.items())
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GtidSet) and self._intervals == other._intervals

    __hash__ = None  # type: ignore[assignment] # it changes

    def __bool__(self) -> bool:
        return bool(self._intervals)

    def __contains__(self, gtid: object) -> bool:
        source, number = split_gtid(str(gtid))
        intervals = self._intervals.get(source, ())
        i = bisect_right(intervals, number, key=_first) - 1
        return i >= 0 and number < intervals[i][1]

    def __le__(self, other: GtidSet) -> bool:
        return not (self - other)

    def __and__(self, other: GtidSet) -> GtidSet:
        return self - (self - other)

    def __or__(self, other: GtidSet) -> GtidSet:
        union = self.copy()
        for source, intervals in other._intervals.items():
            for first, end in intervals:
                union._insert(source, first, end)
        return union

    def __sub__(self, other: GtidSet) -> GtidSet:
        left: dict[str, list[list[int]]] = {}
        for source, intervals in self._intervals.items():
            rest = list(_without(intervals, other._intervals.get(source, ())))
            if rest:
                left[source] = rest
        return GtidSet(left)

    def add(self, gtid: str) -> None:
        """One more."""
        source, number = split_gtid(gtid)
        intervals = self._intervals.get(source)
        if intervals and intervals[-1][1] == number:  # as nearly always
            intervals[-1][1] = number + 1
        else:
            self._insert(source, number, number + 1)

    def add_run(self, source: str, first: int, last: int) -> None:
        """Those of a source that follow each other; ``source`` is what their names begin with."""
        self._insert(source.removesuffix(":"), first, last + 1)

    def reach(self, file: str, position: int) -> None:
        """Nothing: transactions have names."""

    def copy(self) -> GtidSet:
        """The same, to be changed alone."""
        return GtidSet({s: [list(i) for i in found] for s, found in self._intervals.items()})

    def encode(self) -> bytes:
        """As COM_BINLOG_DUMP_GTID takes it; see :meth:`decode`."""
        tagged = any(":" in source for source in self._intervals)
        count = len(self._intervals)
        head = 1 << 56 | count << 8 | 1 if tagged else count
        pieces = [head.to_bytes(8, "little")]
        for source, intervals in sorted(self._intervals.items()):
            uuid, _, tag = source.partition(":")
            pieces.append(UUID(uuid).bytes)
            if tagged:
                pieces.append(bytes((len(tag) << 1,)) + tag.encode())
            pieces.append(len(intervals).to_bytes(8, "little"))
            pieces += [n.to_bytes(8, "little") for interval in intervals for n in interval]
        return b"".join(pieces)

    @classmethod
    def decode(cls, reader: Reader) -> GtidSet:
        """Read the body of a Previous_gtids event.

        The number of sources; for each its UUID, the number of intervals, and those as first
        number and end. Where one has a tag the number stands between two bytes that are 1, and each
        UUID is followed by its tag (``Gtid_set::encode`` in the server).
        """
        head = reader.integer(8)
        tagged = head >> 56
        if tagged not in (0, 1) or (tagged and head & 0xFF != 1):
            raise ProtocolError(f"unknown form {tagged} of a GTID set", offset=reader.at)
        found = cls()
        for _ in range(head >> 8 & (1 << 48) - 1 if tagged else head):
            source = str(UUID(bytes=reader.take(16)))
            if tagged and (tag := reader.take(reader.varint())):
                source += ":" + tag_text(tag, reader)
            for _ in range(reader.integer(8)):
                first, end = reader.integer(8), reader.integer(8)
                if not 0 < first < end <= 1 << 63:
                    raise ProtocolError(f"an interval from {first} to {end}", offset=reader.at)
                found._insert(source, first, end)
        return found

    def _insert(self, source: str, first: int, end: int) -> None:
        intervals = self._intervals.setdefault(source, [])
        i = bisect_right(intervals, first, key=_first)
        if i and intervals[i - 1][1] >= first:
            i -= 1
            first = intervals[i][0]
        j = i
        while j < len(intervals) and intervals[j][0] <= end:
            end = max(end, intervals[j][1])
            j += 1
        intervals[i:j] = [[first, end]]


def tag_text(tag: bytes, reader: Reader) -> str:
    """A GTID's tag. Raises ProtocolError where it is none."""
    text = tag.decode("latin-1")
    if not _TAG.fullmatch(text):
        raise ProtocolError(f"{tag!r} is no tag", offset=reader.at)
    return text


def split_gtid(gtid: str) -> tuple[str, int]:
    """Source and number of a MySQL GTID. Raises ValueError for anything else."""
    found = _GTID.fullmatch(gtid)
    if found is None:
        raise ValueError(f"not a GTID: {gtid!r}")
    return found[1], int(found[2])


def _first(interval: list[int]) -> int:
    return interval[0]


def _without(intervals: Iterable[list[int]], others: Iterable[list[int]]) -> Iterator[list[int]]:
    removed = list(others)
    for first, end in intervals:
        for low, high in removed:
            if high <= first or low >= end:
                continue
            if low > first:
                yield [first, low]
            first = high
        if first < end:
            yield [first, end]


class GtidPosition:
    """MariaDB's GTID position: of each domain the last transaction, ``domain-server-sequence``.

    https://mariadb.com/kb/en/gtid/
    """

    __slots__ = ("_domains",)
    gaps: ClassVar[bool] = False
    named: ClassVar[bool] = True

    def __init__(self, domains: dict[int, tuple[int, int]] | None = None) -> None:
        self._domains = domains or {}

    @classmethod
    def parse(cls, text: str) -> GtidPosition:
        """Read ``@@gtid_binlog_pos`` and what ``str`` wrote. Raises ValueError otherwise."""
        found = cls()
        for part in "".join(text.split()).split(","):
            if part:
                found.add(part)
        return found

    def __str__(self) -> str:
        return ",".join(f"{d}-{server}-{n}" for d, (server, n) in sorted(self._domains.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GtidPosition) and self._domains == other._domains

    __hash__ = None  # type: ignore[assignment] # it changes

    def __bool__(self) -> bool:
        return bool(self._domains)

    def __contains__(self, gtid: object) -> bool:
        domain, _, number = split_mariadb(str(gtid))
        return domain in self._domains and number <= self._domains[domain][1]

    def __le__(self, other: GtidPosition) -> bool:
        return all(
            domain in other._domains and number <= other._domains[domain][1]
            for domain, (_, number) in self._domains.items()
        )

    def __and__(self, other: GtidPosition) -> GtidPosition:
        both = self._domains.keys() & other._domains.keys()
        return GtidPosition(
            {d: min(self._domains[d], other._domains[d], key=lambda last: last[1]) for d in both}
        )

    def add(self, gtid: str) -> None:
        """One more."""
        domain, server, number = split_mariadb(gtid)
        self._domains[domain] = (server, number)

    def add_run(self, source: str, first: int, last: int) -> None:
        """Those of a source that follow each other; ``source`` is what their names begin with."""
        self.add(f"{source}{last}")

    def reach(self, file: str, position: int) -> None:
        """Nothing: transactions have names."""

    def copy(self) -> GtidPosition:
        """The same, to be changed alone."""
        return GtidPosition(dict(self._domains))


def split_mariadb(gtid: str) -> tuple[int, int, int]:
    """Domain, server and sequence number of a MariaDB GTID. Raises ValueError otherwise."""
    found = _MARIADB.fullmatch(gtid)
    if found is None:
        raise ValueError(f"not a GTID: {gtid!r}")
    return int(found[1]), int(found[2]), int(found[3])
