"""One connection to the target, and the transaction that is open on it. Blocking."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import FencedError, PenstockError, SinkUnavailableError
from penstock.failpoints import Failpoint, Failpoints
from penstock.model import (
    Batch,
    Change,
    Checkpoint,
    Mark,
    SchemaChange,
    SnapshotBegin,
    SnapshotEnd,
    Table,
    TransactionEnd,
)
from penstock.model.loads import Load
from penstock.model.stream import snapshot_table
from penstock.sinks.sql.apply import Applier
from penstock.sinks.sql.checkpoints import Checkpoints
from penstock.sinks.sql.dialect import Dialect
from penstock.sinks.sql.failures import failure, unreachable
from penstock.sinks.sql.schema import Schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

HOLD: Final = 1 << 20
"""Bytes of loads that are held to be copied together."""


class Session:
    """Applies batches in a transaction that :meth:`commit` ends.

    After any error the transaction is rolled back and the session is of no more use.
    """

    def __init__(
        self,
        dialect: Dialect,
        checkpoints: Checkpoints,
        failpoints: Failpoints,
        logger: logging.Logger,
    ) -> None:
        self._dialect = dialect
        self._checkpoints = checkpoints
        self._failpoints = failpoints
        self._connection = self._catalog = connect(dialect)
        if not dialect.transactional_ddl:
            with self._whole("connect"):
                self._catalog = connect(dialect).execution_options(isolation_level="AUTOCOMMIT")
        self._schema = Schema(self._catalog, dialect, logger, self._connection.rollback)
        self._appliers: dict[str, Applier] = {}
        self._moves: dict[str, tuple[Checkpoint, Mark | None]] = {}
        self._unfinished: set[str] = set()
        self._emptied: set[str] = set()
        self._last: Mark | None = None
        self._held = 0
        with self._whole("read the checkpoints"), self._connection.begin():
            dialect.prepare(self._connection)
            checkpoints.create(self._connection, dialect)
            checkpoints.load(self._connection, dialect)

    def write(self, batch: Batch) -> None:
        """Apply a batch in the open transaction, or in a new one."""
        with self._whole("apply a batch"):
            self._begin()
            bulk = self._dialect.bulk
            for event in batch if bulk is None else batch.loads(bulk):
                if isinstance(event, Change):
                    self._change(event)
                elif isinstance(event, Load):
                    self._load(event)
                elif isinstance(event, TransactionEnd):
                    for applier in self._appliers.values():
                        applier.end_source_transaction()
                elif isinstance(event, SchemaChange):
                    self._settle(event.after)
                    self._schema.change(event.before, event.after)
                elif isinstance(event, SnapshotBegin):
                    self._empty(event.table)
                elif isinstance(event, SnapshotEnd):
                    self._emptied.discard(event.table.text)
            self._apply(all=self._held >= HOLD)
        if batch.last is not None:
            self._last = batch.last
        if batch.checkpoint is None:
            # Part of a snapshot may be committed: SnapshotBegin discards what is not all.
            if snapshot_table(batch.stream) is None:
                self._unfinished.add(batch.stream)
            return
        self._unfinished.discard(batch.stream)
        _, mark = self._moves.get(batch.stream, (None, None))
        self._moves[batch.stream] = (batch.checkpoint, batch.last or mark)

    def commit(self) -> Mark | None:
        """Commit data and checkpoints, unless a source transaction is still open; the last mark.

        Raises FencedError when another copy moved a checkpoint.
        """
        if self._unfinished or not self._moves:
            return None
        with self._whole("commit"):
            self._begin()
            self._apply(all=True)
            self._checkpoints.move(self._connection, self._dialect, self._moves)
            self._failpoints.hit(Failpoint.SINK_COMMIT)
            self._connection.commit()
        self._checkpoints.committed()
        self._moves.clear()
        for applier in self._appliers.values():
            applier.end_transaction()
        last, self._last = self._last, None
        return last

    def interrupt(self) -> None:
        """Make a running statement fail; from another thread."""
        self._dialect.interrupt(self._connection)

    def close(self) -> None:
        """Roll back what was not committed and leave."""
        for connection in (self._connection, self._catalog):
            try:
                connection.close()
            except self._dialect.errors:
                if not connection.closed:
                    connection.invalidate()

    def _begin(self) -> None:
        if self._connection.closed:
            raise SinkUnavailableError("the sink failed and was not opened again")
        if not self._connection.in_transaction():
            self._dialect.revive(self._connection)
            self._connection.begin()

    def _change(self, change: Change[Any]) -> None:
        applier = self._applier(change.definition)
        if change.operation == "truncate":
            applier.clear()
            target = self._schema.ensure(change.definition)
            self._connection.exec_driver_sql(self._dialect.truncate(target))
        elif change.operation == "read" and change.table in self._emptied:
            assert change.values_after is not None
            applier.append(change.values_after)
        else:
            applier.change(change)

    def _load(self, load: Load) -> None:
        new = load.read and load.definition.text in self._emptied
        self._applier(load.definition).load(load, new=new)
        self._held += len(load.text)

    def _apply(self, *, all: bool) -> None:
        """Write what is held; but for ``all``, loads wait for more."""
        for applier in self._appliers.values():
            if all or not applier.loads:
                applier.apply()
        if all:
            self._held = 0

    def _applier(self, definition: Table) -> Applier:
        applier = self._appliers.get(definition.text)
        if applier is not None and (
            applier.definition is definition or applier.definition == definition
        ):
            return applier
        self._settle(definition)
        target = self._schema.ensure(definition)
        applier = Applier(self._connection, self._dialect, definition, target)
        self._appliers[definition.text] = applier
        return applier

    def _settle(self, table: Table) -> None:
        """Write what an older version of the table still has to."""
        applier = self._appliers.pop(table.text, None)
        if applier is not None:
            applier.apply()

    def _empty(self, table: Table) -> None:
        """Discard what an earlier snapshot left. Readers keep their rows until the commit."""
        self._appliers.pop(table.text, None)
        target = self._schema.ensure(table)
        self._connection.exec_driver_sql(f"DELETE FROM {target.name}")
        self._emptied.add(table.text)

    @contextmanager
    def _whole(self, doing: str) -> Iterator[None]:
        """All of it, or the session is over."""
        try:
            yield
        except self._dialect.errors as error:
            raise self._failed(failure(error, doing)) from None
        except PenstockError as error:
            raise self._failed(error) from None
        except BaseException:
            self.close()
            raise

    def _failed(self, error: PenstockError) -> PenstockError:
        """Roll back, and say what happened: being fenced is the reason behind many failures."""
        if self._connection.closed:
            return error
        try:
            if isinstance(error, SinkUnavailableError | FencedError):
                self._connection.invalidate()
            else:
                self._connection.rollback()
                with self._connection.begin():
                    self._checkpoints.load(self._connection, self._dialect)
        except FencedError as fenced:
            error = fenced
        except self._dialect.errors:
            self._connection.invalidate()
        self.close()
        return error


def connect(dialect: Dialect) -> Connection:
    """A connection to the target.

    Raises SinkUnavailableError when it cannot be reached, SinkError when it refuses us.
    """
    try:
        return dialect.engine().connect()
    except dialect.errors as error:
        raise unreachable(error, dialect.where) from None
