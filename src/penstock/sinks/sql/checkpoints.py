"""The checkpoints that commit with the data, and the fence they are.

Whoever moves a checkpoint says which one it last saw: of two copies of a pipeline only one finds
it still there, the other has to leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.errors import FencedError
from penstock.model import Checkpoint, Mark, Table

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from penstock.sinks.sql.dialect import Dialect

TABLE = "penstock_checkpoint"
_WHERE = "pipeline = {0} AND sink = {0} AND stream = {0}"


class Checkpoints:
    """One sink's rows of ``penstock_checkpoint``; outlives the sink's connections.

    A commit whose outcome is unknown is settled by the next :meth:`load`: the stored checkpoint
    is then the one last seen, or the one that was to replace it. Anything else was written by
    another copy. Streams that were neither asked for nor moved may be other workers'.
    """

    def __init__(self, pipeline: str, sink: str) -> None:
        self._owner = (pipeline, sink)
        self._seen: dict[str, str] = {}
        self._tried: dict[str, str] = {}
        self._ours: set[str] = set()
        self._loaded = False

    def get(self, stream: str) -> Checkpoint | None:
        """The stream's stored checkpoint, as last seen."""
        self._ours.add(stream)
        text = self._seen.get(stream)
        return None if text is None else Checkpoint(stream, text)

    def create(self, connection: Connection, dialect: Dialect) -> None:
        """Create the table unless it is there."""
        if dialect.exists(connection, Table("", TABLE, ())):
            return
        text = dialect.own_text
        connection.exec_driver_sql(
            f"CREATE TABLE {TABLE} (pipeline {text(connection, 63)} NOT NULL, "
            f"sink {text(connection, 200)} NOT NULL, stream {text(connection, 300)} NOT NULL, "
            f"checkpoint {text(connection)} NOT NULL, mark {text(connection)}, "
            f"PRIMARY KEY (pipeline, sink, stream)){dialect.table_options()}"
        )

    def load(self, connection: Connection, dialect: Dialect) -> None:
        """Read what is stored. Raises FencedError when another copy has written since."""
        p = dialect.placeholder
        lock = dialect.lock_checkpoints(connection)
        rows = connection.exec_driver_sql(
            f"SELECT stream, checkpoint FROM {TABLE} WHERE pipeline = {p} AND sink = {p}{lock}",
            self._owner,
        )
        stored: dict[str, str] = {row.stream: row.checkpoint for row in rows}
        seen, tried, again = self._seen, self._tried, self._loaded
        self._seen, self._tried, self._loaded = stored, {}, True
        for stream in self._ours if again else ():
            now = stored.get(stream)
            if now != seen.get(stream) and now != tried.get(stream):
                raise self._fenced(stream)

    def move(
        self,
        connection: Connection,
        dialect: Dialect,
        moves: Mapping[str, tuple[Checkpoint, Mark | None]],
    ) -> None:
        """Move the checkpoints in the open transaction.

        Raises FencedError when one is not where it was last seen.
        """
        p = dialect.placeholder
        self._ours.update(moves)
        for stream, (checkpoint, mark) in moves.items():
            owner = (*self._owner, stream)
            text = None if mark is None else str(mark)
            seen = self._seen.get(stream)
            if seen is None:
                moved = dialect.claim(
                    connection,
                    f"INSERT INTO {TABLE} (pipeline, sink, stream, checkpoint, mark) "
                    f"VALUES ({', '.join([p] * 5)})",
                    (*owner, checkpoint.text, text),
                )
            else:
                done = connection.exec_driver_sql(
                    f"UPDATE {TABLE} SET checkpoint = {p}, mark = COALESCE({p}, mark) "
                    f"WHERE {_WHERE.format(p)} AND checkpoint = {p}",
                    (checkpoint.text, text, *owner, seen),
                )
                moved = done.rowcount > 0
            if not moved:
                raise self._fenced(stream)
            self._tried[stream] = checkpoint.text

    def committed(self) -> None:
        """The transaction that moved them is durable."""
        self._seen |= self._tried
        self._tried = {}

    def remove(self, connection: Connection, dialect: Dialect) -> int:
        """Forget all of them; how many there were."""
        p = dialect.placeholder
        done = connection.exec_driver_sql(
            f"DELETE FROM {TABLE} WHERE pipeline = {p} AND sink = {p}", self._owner
        )
        return done.rowcount

    def _fenced(self, stream: str) -> FencedError:
        self._loaded = False  # who is started again after this starts from what is stored
        return FencedError(
            f"another copy of this pipeline moved the checkpoint of {stream!r} in the target",
            hint="let only one copy run, or give each its own name",
        )
