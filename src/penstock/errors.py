"""Every exception that penstock raises, as one tree.

Each class has a stable ``code`` that the page *errors by code* explains. A message says what
happened and where; a hint says what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.model.mark import Mark


class PenstockError(Exception):
    """The root of the tree.

    Parameters
    ----------
    message: what happened, and where.
    hint: what to do about it; empty when there is nothing to say.
    table: the table concerned, as ``schema.name``.
    mark: the change concerned.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        table: str | None = None,
        mark: Mark | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.table = table
        self.mark = mark

    def __str__(self) -> str:
        where = "".join(
            f" [{name} {value}]"
            for name, value in (("table", self.table), ("at", self.mark))
            if value is not None and str(value) not in self.message
        )
        hint = f"\n  → {self.hint}" if self.hint else ""
        return f"{self.message}{where}{hint}"


class ConfigError(PenstockError):
    """The configuration is wrong; nothing was started."""

    code = "config"
    exit_code = 2


class MissingExtraError(ConfigError):
    """A component needs a driver that is not installed."""

    code = "missing-extra"


class SourceError(PenstockError):
    """The source cannot be read."""

    code = "source"


class ConnectionLostError(SourceError):
    """The connection to the source broke; it is retried."""

    code = "connection-lost"


class PrivilegeError(SourceError):
    """The role may not do what capture needs; the hint holds the GRANT."""

    code = "privilege"


class SlotInUseError(SourceError):
    """Another client reads from our slot."""

    code = "slot-in-use"


class StateMismatchError(SourceError):
    """State exists on one side only: the user must choose, penstock never guesses."""

    code = "state-mismatch"


class GapError(SourceError):
    """Changes between the last delivered one and the log's start are gone."""

    code = "gap"
    exit_code = 3


class SlotMissingError(GapError):
    """The slot that held our place in the log is gone."""

    code = "slot-missing"


class DivergedError(SourceError):
    """The server is not the one, or not on the history, that our state belongs to."""

    code = "diverged"
    exit_code = 4


class StuckError(PenstockError):
    """Data waits and nothing moves."""

    code = "stuck"
    exit_code = 5


class ProtocolError(PenstockError):
    """Bytes that the protocol does not allow.

    ``offset`` is where in the payload, in bytes, the trouble was noticed.
    """

    code = "protocol"
    _HINT: ClassVar[str] = (
        "nothing was skipped: the next run reads these bytes again; if it ends here too, something "
        "on the way alters them, or this is a bug"
    )

    def __init__(
        self,
        message: str,
        *,
        offset: int | None = None,
        hint: str = "",
        table: str | None = None,
        mark: Mark | None = None,
    ) -> None:
        where = f" (at byte {offset})" if offset is not None else ""
        super().__init__(message + where, hint=hint or self._HINT, table=table, mark=mark)
        self.offset = offset


class DecodeError(PenstockError):
    """A value cannot be given in the form that was asked for."""

    code = "decode"


class SchemaError(PenstockError):
    """A table's shape does not fit what is to be done with it."""

    code = "schema"


class SinkError(PenstockError):
    """A sink failed for good."""

    code = "sink"


class SinkUnavailableError(SinkError):
    """A sink cannot be reached now; the write is tried again until it can."""

    code = "sink-unavailable"


class BackpressureError(SinkUnavailableError):
    """A sink asked for a pause of ``retry_after`` seconds."""

    code = "backpressure"

    def __init__(self, message: str, *, retry_after: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RejectedError(SinkError):
    """A sink refused some changes for good; ``which`` holds their ids."""

    code = "rejected"

    def __init__(self, message: str, *, which: Sequence[str], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.which = tuple(which)


class FencedError(SinkError):
    """Another copy of this pipeline has taken over; this one must leave at once."""

    code = "fenced"


class StoreError(PenstockError):
    """State cannot be read or saved; nothing is acknowledged without it."""

    code = "store"
