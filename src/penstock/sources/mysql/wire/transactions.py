"""Transactions of the log: which one is open, which have been read, which must wait.

A transaction counts as read at its commit only. The rows of an XA transaction are held from its
prepare on until it is known how it ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from penstock.errors import GapError, ProtocolError, SourceError
from penstock.model import (
    Checkpoint,
    Event,
    Origin,
    Transaction,
    TransactionBegin,
    TransactionEnd,
)
from penstock.model.assembly import Assembly
from penstock.model.stream import MAIN
from penstock.sources.mysql.wire.events import HEADER, Gtid, Header, XaPrepare
from penstock.sources.mysql.wire.gtid import Gtids
from penstock.sources.mysql.wire.layouts import Layout, Layouts

MOST_HELD: Final = 64 << 20
"""Bytes of an XA transaction that is neither committed nor rolled back."""


class _Held:
    """An XA transaction that is prepared, or being so: its events, and before rows their layout."""

    def __init__(self) -> None:
        self.gtids: list[str] = []
        self.events: list[Event | Layout] = []
        self.size = 0


class Transactions:
    """The transactions of a session.

    Parameters
    ----------
    gtids: those that were read before.
    checkpoint: makes the checkpoint of transactions that were read and the place in the log,
        a file and a position.
    source: facts about the source, for changes.
    layouts: the tables of the session, whose news are told before rows.

    Attributes
    ----------
    assembly: where events become batches.
    file, position: the place in the log.
    ordinal: the number of the open transaction's next change.
    explicit: whether the open transaction ends by an event of its own.
    """

    def __init__(
        self,
        gtids: Gtids,
        checkpoint: Callable[[Gtids, str, int], Checkpoint],
        source: Mapping[str, Any],
        layouts: Layouts,
    ) -> None:
        self.file = ""
        self.position = 0
        self.ordinal = 0
        self.explicit = False
        self.assembly = Assembly(MAIN, lambda _: checkpoint(self._gtids, *self._safe_place))
        self._gtids = gtids.copy()
        self._facts = dict(source)
        self._layouts = layouts
        self._committed = 0
        self._read: list[str] = []  # transactions that wait for an earlier one
        self._safe_place = ("", 0)

        self._gtid: Gtid | None = None
        self._origin: Origin | None = None
        self._source: dict[str, Any] = {}  # of that origin
        self._begun = False
        self._since_savepoint: dict[str, int] = {}
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._xa: str | None = None  # the XA transaction whose rows come now
        self._held: dict[str, _Held] = {}

    @property
    def is_open(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return self._gtid is not None

    @property
    def in_xa(self) -> bool:
        """Whether an XA transaction's rows come now."""
        return self._xa is not None

    @property
    def prepared(self) -> int:
        """How many XA transactions are neither committed nor rolled back."""
        return len(self._held)

    @property
    def waits(self) -> bool:
        """Whether no checkpoint can be made before a prepared transaction ends: positions of
        MariaDB cannot leave one out."""
        return bool(self._held) and not self._gtids.gaps

    @property
    def name(self) -> str:
        """The open transaction, for errors."""
        return self._origin.mark if self._origin is not None else "no transaction"

    @property
    def place(self) -> str:
        """The place in the log, for errors."""
        return f"{self.file or '?'}/{self.position}"

    # -- from begin to commit

    def begin(self, gtid: Gtid, head: Header) -> None:
        """A transaction begins. Raises ProtocolError inside another."""
        if self._gtid is not None:
            raise ProtocolError(
                f"a transaction begins at {self.place} inside {self.name}", offset=HEADER
            )
        self._gtid = gtid
        self.explicit = False
        self.ordinal = 0
        committed = gtid.committed_us or head.timestamp * 1_000_000
        name = gtid.text if gtid.text and self._gtids.named else f"{self.file}/{self.position}"
        place = {"file": self.file, "pos": self.position - head.size}  # where it begins
        facts = {**self._facts, "server_id": head.server_id, **place}
        if gtid.text:
            facts["gtid"] = gtid.text
        self._source = facts
        self._origin = Origin(name, Transaction(name, committed), None, facts)

    def ran_in(self, thread: int) -> None:
        """The open transaction is that of a session of the server; this is known before its first
        row, or not at all."""
        if not self._begun:
            self._source.setdefault("thread", thread)

    def open(self, what: str) -> Origin:
        """The open transaction, for what is of one. Raises ProtocolError where none is open."""
        if self._gtid is None or self._origin is None:
            raise ProtocolError(f"{what} outside a transaction at {self.place}", offset=HEADER)
        return self._origin

    def savepoint(self, name: str) -> None:
        """A savepoint is set."""
        self._since_savepoint[name] = self.ordinal

    def roll_back_to(self, savepoint: str) -> None:
        """Raises GapError where rows came since the savepoint."""
        if self.ordinal != self._since_savepoint.get(savepoint, 0):
            raise GapError(
                f"{self.name} was rolled back to a savepoint after it had written to a table "
                "without transactions: which rows stayed the log does not tell",
                hint="do not mix engines in a transaction; a new snapshot shows what is there",
            )

    def roll_back(self) -> None:
        """The transaction ends by a rollback. Raises GapError where it wrote rows."""
        if self._begun:
            raise GapError(
                f"{self.name} wrote rows and was rolled back: which of them stayed, those of "
                "tables without transactions, the log does not tell",
                hint="do not mix engines in a transaction; a new snapshot shows what is there",
            )
        self.commit()

    def commit(self) -> None:
        """The transaction has ended, and is in the log with all that it did."""
        if self._begun:
            end = TransactionEnd(self.open("a commit"), dict(self._counts))
            self.assembly.events.append(end)
        self._done([self._gtid.text] if self._gtid is not None else [])

    def _done(self, gtids: Iterable[str]) -> None:
        """Transactions have been read; those that wait for a prepared one are as parts of it."""
        self._read += filter(None, gtids)
        self._leave()
        if self.waits:
            return
        for gtid in self._read:
            self._gtids.add(gtid)
        self._read.clear()
        self._gtids.reach(self.file, self.position)
        self._committed += 1
        self._safe_place = (self.file, self.position)
        self.assembly.advance(self._committed)
        self.assembly.seal()

    def rest(self) -> None:
        """All that came has been read. A place in the log moves on between transactions too: files
        end, and are removed."""
        here = (self.file, self.position)
        if not (self._gtids.named or self.is_open or self._held or here == self._safe_place):
            self._done(())

    def _leave(self) -> None:
        self._gtid = self._origin = None
        self._begun = self.explicit = False
        self._since_savepoint.clear()

    # -- events

    def announce(self, layout: Layout | None = None) -> None:
        """Say before a table's rows what is new of its shape, and before the first event that the
        transaction begins."""
        if layout is not None:
            if self._xa is None:
                self._tell(layout)
            else:
                self._held[self._xa].events.append(layout)
        if not self._begun:
            self._begun = True
            self._counts = defaultdict(int)
            self._events().append(TransactionBegin(self.open("a row")))

    def add(self, table: str, changes: Iterable[Event], size: int) -> None:
        """Changes of a table, which take so many bytes.

        Raises SourceError where more must be held than may be.
        """
        events = self._events()
        before = len(events)
        events += changes
        count = len(events) - before
        self._counts[table] += count
        self.ordinal += count
        if self._xa is None:
            self.assembly.size += size
            return
        held = self._held[self._xa]
        held.size += size
        if held.size > MOST_HELD:
            raise SourceError(
                f"the XA transaction {self._xa} has more than {MOST_HELD >> 20} MiB of rows, which "
                "must be held until it ends",
                hint="commit it in parts; nothing was skipped",
            )

    def _events(self) -> list[Any]:
        """Where events go: on, or to those of an XA transaction."""
        return self.assembly.events if self._xa is None else self._held[self._xa].events

    def _tell(self, layout: Layout) -> None:
        """Tell the table's shape where it is news, in a batch that begins with it."""
        news = self._layouts.news(layout)
        if news is not None:
            self.assembly.close_all()
            self.assembly.events.append(news)

    # -- XA

    def start_xa(self, xid: str) -> None:
        """The rows that follow are of an XA transaction."""
        if self._xa is not None or xid in self._held:
            raise ProtocolError(f"the XA transaction {xid} begins again", offset=HEADER)
        self._xa = xid
        self._held[xid] = _Held()

    def prepare(self, prepare: XaPrepare) -> None:
        """The rows of an XA transaction are known, but not yet how it ends."""
        self.open("XA PREPARE")
        if self._xa != prepare.xid:
            raise ProtocolError(f"XA PREPARE of {prepare.xid} inside {self._xa}", offset=HEADER)
        if prepare.committed:
            self.resolve(prepare.xid, committed=True)
            return
        held = self._held[prepare.xid]
        gtid = self._gtid.text if self._gtid is not None else ""
        if self._gtids.gaps:
            held.gtids.append(gtid)
        elif gtid:
            self._read.append(gtid)
        if self._begun:
            held.events.append(TransactionEnd(self.open("XA"), dict(self._counts)))
        self._xa = None
        self._leave()

    def resolve(self, xid: str, *, committed: bool) -> None:
        """An XA transaction ends. Its rows bear the name of its prepare: they came with that."""
        gtid = self._gtid.text if self._gtid is not None else ""
        held = self._held.pop(xid, None)
        self._xa = None
        if held is None:
            if committed:
                raise GapError(
                    f"{self.name} commits the XA transaction {xid}, which was prepared before "
                    "this log began for us",
                    hint="a new snapshot shows what it wrote",
                )
            self._done([gtid])
            return
        if committed:
            if held.events and not isinstance(held.events[-1], TransactionEnd):
                held.events.append(TransactionEnd(self.open("XA"), dict(self._counts)))
            for event in held.events:
                if isinstance(event, Layout):
                    self._tell(event)
                else:
                    self.assembly.events.append(event)
            self.assembly.size += held.size
        self._done([*held.gtids, gtid])
