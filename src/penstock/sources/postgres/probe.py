"""Asks the server by an ordinary connection whether it still holds our slot for us."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum

from penstock.errors import PenstockError
from penstock.registry import driver
from penstock.sources.postgres.connection import Connection


class Hold(Enum):
    """What a probe found."""

    UNKNOWN = "unknown"
    OURS = "ours"
    LOST = "lost"
    LEAVING = "leaving"


class Probe:
    """One question at a time, each in a short-lived thread, since connecting may block.

    Parameters
    ----------
    connect: makes an ordinary connection.
    slot: the slot's name.
    pid: the walsender that serves us.
    """

    def __init__(self, connect: Callable[[], Connection], slot: str, pid: int) -> None:
        self._connect = connect
        self._slot = slot
        self._pid = pid
        self._connection: Connection | None = None
        self._answer = (Hold.UNKNOWN, 0.0)
        self._asking = threading.Lock()
        self._closed = False

    def answer(self) -> tuple[Hold, float]:
        """The last answer, and the monotonic time for which it holds."""
        return self._answer

    def ask(self) -> None:
        """Ask, unless a question is still open."""
        if not self._closed and self._asking.acquire(blocking=False):
            threading.Thread(target=self._ask, name="penstock-probe", daemon=True).start()

    def close(self) -> None:
        """Ask no more."""
        self._closed = True
        if self._asking.acquire(blocking=False):
            self._disconnect()
            self._asking.release()

    def _ask(self) -> None:
        try:
            at = time.monotonic()
            self._answer = (self._look(), at)
        finally:
            if self._closed:
                self._disconnect()
            self._asking.release()

    def _look(self) -> Hold:
        """A server that shuts down ends its sessions (57P01) and refuses new ones. The words of a
        refusal may be in any language, an ended session's SQLSTATE is not."""
        psycopg = driver("psycopg", "postgres")
        ended = False
        if self._connection is not None:
            try:
                return self._query()
            except psycopg.Error as error:
                ended = isinstance(error, psycopg.errors.AdminShutdown)
                self._disconnect()
        try:
            self._connection = self._connect()
            return self._query()
        except PenstockError as error:
            refused = "shutting down" in error.message
            return Hold.LEAVING if ended or refused else Hold.UNKNOWN
        except psycopg.Error:
            return Hold.UNKNOWN

    def _query(self) -> Hold:
        assert self._connection is not None
        sql = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
        row = self._connection.execute(sql, (self._slot,)).fetchone()
        return Hold.OURS if row is not None and row[0] == self._pid else Hold.LOST

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
