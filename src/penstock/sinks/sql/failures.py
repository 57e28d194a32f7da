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
# https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html and client-error-reference:
# connection, shutdown, resources, disk, deadlock, lock and statement timeouts, killed, read-only;
# a table, database or column that another worker made at the same time
_MYSQL_PASSING: Final = frozenset(
    (
        *(0, 1007, 1021, 1037, 1038, 1040, 1041, 1050, 1053, 1060, 1077, 1078, 1079, 1080, 1114),
        *(1135, 1152, 1158, 1159, 1160, 1161, 1180, 1184, 1203, 1205, 1213, 1226, 1290, 1317, 1412),
        *(1614, 1637, 1689, 1836, 1927, 1969, 2002, 2003, 2006, 2013, 2014, 2027, 2055, 3024, 3058),
        *(3101, 3168, 3169, 3572, 4031),
    )
)
_MYSQL_REFUSED: Final = frozenset((1044, 1045, 1049, 1130, 1251, 1275, 1524, 1698, 2059))
_MYSQL_DENIED: Final = frozenset((1044, 1142, 1143, 1227, 1370))
# Messages of these quote no value of a row.
_MYSQL_TOLD: Final = frozenset(
    (
        *(1044, 1049, 1059, 1070, 1071, 1074, 1103, 1113, 1117, 1118, 1142, 1143, 1146, 1153, 1163),
        *(1170, 1171, 1227, 1370, 1419, 1728),
    )
)
_MYSQL_HINTS: Final = {
    1048: "the target has a constraint that the source has not, NOT NULL or a further unique "
    "index: drop it there",
    1062: "the target has a unique index that the source has not: drop it there",
    1118: "make the table by hand, with LONGTEXT for long columns",
    1153: "SET GLOBAL max_allowed_packet = 1073741824 at the target",
    3819: "the target has a constraint that the source has not: drop it there",
    4025: "the target has a constraint that the source has not: drop it there",
}
_MYSQL_WHERE: Final = re.compile(
    r"(?:for|FOR) (key|column|CONSTRAINT) ['`](.+?)['`](?: at row| in|$)"
)


def unreachable(error: Exception, where: str) -> PenstockError:
    """The error for a target that did not let us in."""
    original = _original(error)
    number = _mysql_number(original)
    text = str(original.args[1] if number is not None else original).strip()
    if _REFUSED.search(text) or number in _MYSQL_REFUSED:
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
    number = _mysql_number(original)
    if number is not None:
        return _mysql_failure(original, number, doing, table)
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


def _mysql_number(error: Any) -> int | None:
    """The number of an error of MySQL's."""
    if type(error).__module__.partition(".")[0] != "pymysql" or len(error.args) < 2:
        return None
    number = error.args[0]
    return number if isinstance(number, int) else None


def _mysql_failure(error: Any, number: int, doing: str, table: str | None) -> PenstockError:
    said = str(error.args[1])
    if number in _MYSQL_PASSING:
        return SinkUnavailableError(f"{doing}: {said}", table=table)
    if number in _MYSQL_DENIED:
        hint = (
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX on the target's database "
            "to the sink's user"
        )
        return SinkError(f"{doing}: {said}", hint=hint, table=table)
    if number not in _MYSQL_TOLD:
        where = _MYSQL_WHERE.search(said)
        said = f"error {number}" + (f" at {where[1].lower()} {where[2]!r}" if where else "")
    hint = _MYSQL_HINTS.get(
        number,
        "the target's column cannot hold the source's value: make it LONGTEXT there, by hand, "
        "which keeps the exact text",
    )
    return SinkError(f"{doing}: {said}", hint=hint, table=table)


def _original(error: Exception) -> Any:
    return getattr(error, "orig", None) or error
