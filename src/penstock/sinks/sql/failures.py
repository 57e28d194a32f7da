"""What a driver's error means: try again, or stop. Values and passwords stay out of messages."""

from __future__ import annotations

import re
from typing import Any, Final

from penstock.errors import PenstockError, SinkError, SinkUnavailableError

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING: Final = re.compile(
    r"08|53|57P|58|40|25006|25P03|55P03|57014|42P0[67]|42701"
)  # connection, resources, shutdown, I/O, deadlock, standby, idle transaction, lock and statement
# timeouts; a schema, table or column that another worker made at the same time, since we look
# before we make one
_REFUSED: Final = re.compile(
    r"password authentication failed|no password supplied|authentication failed|"
    r"(database|role) \".*\" does not exist|no pg_hba\.conf entry|permission denied for database|"
    r"is not permitted to log in"
)
_HINTS: Final = {
    "23": "the target has a constraint that the source has not: drop it there",
    "22": "the target's column cannot hold the source's value: compare the two definitions",
    "42501": "GRANT what is missing to the sink's role: CREATE on the schema, and on its tables "
    "SELECT, INSERT, UPDATE, DELETE, TRUNCATE (it needs to own them to widen them)",
}
# https://www.sqlite.org/rescode.html: BUSY, LOCKED, INTERRUPT, IOERR, FULL
_SQLITE_PASSING: Final = frozenset({5, 6, 9, 10, 13})


def unreachable(error: Exception, where: str) -> PenstockError:
    """The error for a target that did not let us in."""
    original = _original(error)
    text = str(original).strip()
    if _REFUSED.search(text):
        return SinkError(
            f"{where} refused us: {text}",
            hint="check user, password and database in the sink's url",
        )
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None and code & 0xFF not in _SQLITE_PASSING:
        return SinkError(
            f"{where}: {text}", hint="check the path, its directory and who may write there"
        )
    hint = ""
    if "certificate" in text or "SSL" in text:
        hint = "TLS: add ?sslmode=… (and sslrootcert=…) to the sink's url"
    return SinkUnavailableError(f"{where} cannot be reached: {text}", hint=hint)


def failure(error: Exception, doing: str, table: str | None = None) -> PenstockError:
    """The error for a statement that failed.

    Parameters
    ----------
    doing: what was tried, with table and keys, e.g. ``upsert into public.orders (id)=(7)``.
    """
    original = _original(error)
    state = getattr(original, "sqlstate", None)
    if state is not None:
        return _postgres_failure(original, state, doing, table)
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None:
        unavailable = code & 0xFF in _SQLITE_PASSING
        kind = SinkUnavailableError if unavailable else SinkError
        return kind(f"{doing}: {original}", table=table)
    name = type(original).__name__
    if name in ("OperationalError", "InterfaceError"):  # the connection is gone
        return SinkUnavailableError(f"{doing}: the connection was lost", table=table)
    return SinkError(f"{doing}: {name}", table=table)


def _postgres_failure(error: Any, state: str, doing: str, table: str | None) -> PenstockError:
    name = type(error).__name__
    said = error.diag.message_primary or name
    if _PASSING.match(state) or (state == "23505" and error.diag.schema_name == "pg_catalog"):
        return SinkUnavailableError(f"{doing}: {said}", table=table)
    where = error.diag.constraint_name or error.diag.column_name
    shown = f"{name} {where!r}" if where else name
    if not state.startswith("22"):  # those quote the value
        shown = f"{said} ({name})"
    hint = _HINTS.get(state) or _HINTS.get(state[:2], "")
    return SinkError(f"{doing}: {shown}", hint=hint, table=table)


def _original(error: Exception) -> Any:
    return getattr(error, "orig", None) or error
