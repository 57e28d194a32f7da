"""One reader a pipeline: a named lock on the server, which goes with its session.

The server ends a session that has been silent for :data:`HOLD` seconds, and so frees the lock. A
process that was frozen knows by its own clock that it may have lost it.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from penstock.errors import SlotInUseError
from penstock.sources.mysql.connection import Server, one, rows

if TYPE_CHECKING:
    from penstock.sources.mysql.connection import Connection

HOLD: Final = 30
"""Seconds for which the server keeps the lock of a silent session."""
_EVERY: Final = HOLD / 6
PATIENCE: Final = HOLD + 10
"""Seconds to wait for another's lock: it may have died without a farewell."""


class Lease:
    """A pipeline's lock, kept by a thread. ``take`` blocks; so does ``close``."""

    def __init__(self, server: Server, pipeline: str) -> None:
        self._server = server
        self._name = f"penstock_{pipeline}"
        self._connection: Connection | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._until = 0.0

    def take(self) -> None:
        """Take the lock. Raises SlotInUseError when another has it for PATIENCE seconds."""
        self._connection = connection = self._server.connect(read_timeout=PATIENCE + HOLD)
        rows(connection, f"SET SESSION wait_timeout = {HOLD}")
        asked = time.monotonic()
        if one(connection, "SELECT GET_LOCK(%s, %s)", self._name, PATIENCE) != 1:
            holder = one(connection, "SELECT IS_USED_LOCK(%s)", self._name)
            raise SlotInUseError(
                f"another copy of this pipeline reads from {self._server} (connection {holder})",
                hint="stop it first; it is in SHOW PROCESSLIST",
            )
        self._until = asked + HOLD
        self._thread = threading.Thread(target=self._keep, name="penstock-lease", daemon=True)
        self._thread.start()

    @property
    def authority(self) -> float:
        """Seconds for which the lock is ours, whatever happens to us."""
        return self._until - time.monotonic()

    def _keep(self) -> None:
        connection = self._connection
        assert connection is not None
        while not self._closing.wait(_EVERY):
            asked = time.monotonic()
            try:
                if one(connection, "SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", self._name) != 1:
                    return
            except Exception:  # noqa: BLE001 - what was left runs down; the link tells why
                return
            self._until = asked + HOLD

    def close(self) -> None:
        """Let the lock go. Safe to call twice."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None
