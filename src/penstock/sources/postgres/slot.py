"""The replication slot: made, found, judged and dropped.

The slot is the server's memory of where we are. The server moves a start below
``confirmed_flush_lsn`` forward without a word, so whether anything was lost is for us to see.

Facts: PostgreSQL manual, *Streaming Replication Protocol*, *pg_replication_slots*.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from penstock.errors import (
    ConnectionLostError,
    DivergedError,
    GapError,
    PenstockError,
    PrivilegeError,
    SlotInUseError,
    SlotMissingError,
    SourceError,
    StateMismatchError,
)
from penstock.registry import driver
from penstock.sources.postgres.connection import Connection, command, quote, rows
from penstock.sources.postgres.wire.lsn import format_lsn, parse_lsn

_TAKE_A_NEW_COPY = (
    "changes are lost, deletes among them: run `penstock teardown`, empty the targets, "
    "and start again with a snapshot"
)


@dataclass(frozen=True, slots=True)
class Slot:
    """What the server says of a slot.

    Parameters
    ----------
    confirmed: ``confirmed_flush_lsn``; 0 while there is none.
    lost: why the server gave the slot up; empty when it did not.
    """

    name: str
    plugin: str
    database: str
    active_pid: int | None
    confirmed: int
    lost: str


def find(connection: Connection, name: str) -> Slot | None:
    """The slot of that name, if there is one.

    The row is read as JSON, since later versions have columns that earlier ones lack.
    """
    found = rows(
        connection,
        "SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s",
        name,
    )
    if not found:
        return None
    row = found[0][0]
    lost = row.get("invalidation_reason") or ("wal_removed" if row["wal_status"] == "lost" else "")
    if row.get("conflicting"):
        lost = lost or "conflicting"
    return Slot(
        name,
        row["plugin"] or "",
        row["database"] or "",
        row["active_pid"],
        parse_lsn(row["confirmed_flush_lsn"] or "0/0"),
        lost,
    )


def check(connection: Connection, name: str, start: int, reached: int) -> None:
    """Whether reading from ``start`` on by the slot loses nothing.

    Parameters
    ----------
    reached: what the sink has that is ahead of all others: what it has is not shown to it again.

    Raises
    ------
    SlotMissingError: there is no such slot.
    GapError: it was given up, moved, or made anew.
    DivergedError: the server's log ends before ``reached``.
    """
    slot = find(connection, name)
    if slot is None:
        raise SlotMissingError(
            f"the slot {name} is gone: what was committed after {format_lsn(start)} is lost to us",
            hint=_TAKE_A_NEW_COPY,
        )
    if slot.lost:
        raise GapError(
            f"the server has given the slot {name} up ({slot.lost}): what was committed after "
            f"{format_lsn(start)} is lost to us",
            hint=f"raise max_slot_wal_keep_size (or idle_replication_slot_timeout); "
            f"{_TAKE_A_NEW_COPY}",
        )
    database, flushed = rows(
        connection, "SELECT current_database(), pg_current_wal_flush_lsn()::text"
    )[0]
    if (slot.plugin, slot.database) != ("pgoutput", database):
        raise GapError(
            f"the slot {name} is not the one that penstock made: it reads database "
            f"{slot.database!r} by plugin {slot.plugin!r}",
            hint=_TAKE_A_NEW_COPY,
        )
    if slot.confirmed > start:
        raise GapError(
            f"the slot {name} was moved or made anew: what was committed between "
            f"{format_lsn(start)} and {format_lsn(slot.confirmed)} is lost to us",
            hint=_TAKE_A_NEW_COPY,
        )
    if parse_lsn(flushed) < reached:
        raise DivergedError(
            f"our state is at {format_lsn(reached)}, the server's log ends at {flushed}: "
            "it was restored or failed over to a copy that lacks what we have delivered",
            hint="the targets hold changes that the server lost; compare them, then "
            + _TAKE_A_NEW_COPY,
        )


def require_none(connection: Connection, name: str) -> None:
    """Raises StateMismatchError when the slot exists though nothing is remembered of it."""
    slot = find(connection, name)
    if slot is not None:
        raise StateMismatchError(
            f"the slot {name} exists (confirmed up to {format_lsn(slot.confirmed)}), "
            "but the store remembers nothing of it",
            hint="bring the store back; or `penstock teardown` to drop the slot and begin again; "
            "or give this pipeline another name",
        )


def check_history(walsender: Connection, start: dict[str, Any]) -> tuple[str, int]:
    """Whether the server is on the history that a checkpoint belongs to; its system identifier
    and timeline.

    Parameters
    ----------
    start: the checkpoint's value, or only the ``system``; empty for none.

    Raises DivergedError when it is another system, or was promoted from a point before ours.
    """
    identity = command(walsender.pgconn, "IDENTIFY_SYSTEM")[0]
    system, timeline = identity[0], int(identity[1])
    if "system" in start and start["system"] != system:
        raise DivergedError(
            f"this is another server: its system identifier is {system}, ours was "
            f"{start['system']}",
            hint="check the dsn; after an upgrade or a restore from a dump " + _TAKE_A_NEW_COPY,
        )
    old = start.get("timeline", timeline)
    if old != timeline:
        fork = _fork(walsender, timeline, old)
        if fork is None or parse_lsn(start["lsn"]) > fork:
            where = "has no part of it" if fork is None else f"left it at {format_lsn(fork)}"
            raise DivergedError(
                f"our state is at {start['lsn']} of timeline {old}; the server is on timeline "
                f"{timeline}, which {where}",
                hint="the targets hold changes that the server lost in a failover; compare them, "
                "then " + _TAKE_A_NEW_COPY,
            )
    return system, timeline


def _fork(walsender: Connection, timeline: int, old: int) -> int | None:
    """Where ``timeline`` left its ancestor ``old``."""
    psycopg = driver("psycopg", "postgres")
    if old > timeline:
        return None
    try:
        history = command(walsender.pgconn, f"TIMELINE_HISTORY {timeline}")[0][1]
    except psycopg.Error:
        return None
    for line in history.splitlines():
        fields = line.split()
        if fields and fields[0] == str(old):
            return parse_lsn(fields[1])
    return None


@dataclass(frozen=True, slots=True)
class Created:
    """A new slot: it streams what commits at ``consistent`` or later, and the snapshot shows
    all before. The snapshot lives until the next command on the slot's connection."""

    consistent: int
    snapshot: str


def create(
    walsender: Connection,
    control: Connection,
    name: str,
    *,
    temporary: bool,
    timeout: float,
) -> Created:
    """Make a slot, and export the snapshot that belongs to it.

    The server waits for all transactions that write at that moment; a slot that is not made in
    time leaves nothing behind.

    Raises
    ------
    SourceError: it took longer than ``timeout`` seconds, or there is no room for a slot.
    PrivilegeError: our role may not make slots.
    """
    psycopg = driver("psycopg", "postgres")
    kind = "TEMPORARY " if temporary else ""
    # The form without parentheses is older, and still understood by every version.
    sql = f"CREATE_REPLICATION_SLOT {quote(name)} {kind}LOGICAL pgoutput EXPORT_SNAPSHOT"
    # statement_timeout does not end replication commands.
    timer = threading.Timer(timeout, walsender.cancel)
    timer.daemon = True
    timer.start()
    try:
        _, consistent, snapshot, _ = command(walsender.pgconn, sql)[0]
    except psycopg.errors.QueryCanceled:
        raise SourceError(
            f"the slot {name} could not be made within {timeout:g} s: the server waits for "
            f"older transactions to end: {_blockers(control)}",
            hint="end them (SELECT pg_terminate_backend(<pid>); ROLLBACK PREPARED '<name>'), or "
            "raise slot_timeout",
        ) from None
    except psycopg.errors.ConfigurationLimitExceeded as error:
        raise SourceError(
            f"no room for the slot {name}: {error}",
            hint="ALTER SYSTEM SET max_replication_slots = 20; then restart the server; "
            "or drop a slot that nobody uses",
        ) from None
    finally:
        timer.cancel()
        timer.join()
    return Created(parse_lsn(consistent), snapshot)


def _blockers(control: Connection) -> str:
    found = rows(
        control,
        """
        SELECT 'pid ' || pid || ' (' || concat_ws(', ', usename, nullif(application_name, ''),
               state, 'since ' || date_trunc('second', xact_start)) || ')'
        FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
        UNION ALL
        SELECT 'prepared transaction ' || quote_literal(gid) FROM pg_prepared_xacts
        """,
    )
    return "; ".join(text for (text,) in found) or "none that our role may see"


def drop(connection: Connection, name: str) -> bool:
    """Drop the slot; False when there is none.

    Raises SlotInUseError when somebody reads from it.
    """
    psycopg = driver("psycopg", "postgres")
    if find(connection, name) is None:
        return False
    try:
        connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    except psycopg.errors.ObjectInUse:
        raise in_use(connection, name) from None
    except psycopg.errors.UndefinedObject:
        return False
    return True


def in_use(connection: Connection, name: str) -> SlotInUseError:
    """The error that names who reads from the slot."""
    readers = rows(
        connection,
        """
        SELECT concat_ws(', ', 'pid ' || a.pid, nullif(a.application_name, ''), a.client_addr)
        FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid
        WHERE s.slot_name = %s
        """,
        name,
    )
    reader = readers[0][0] if readers else "another client"
    return SlotInUseError(
        f"the slot {name} is read by {reader}",
        hint="a second copy of this pipeline runs; stop one, or give this one another name",
    )


def ahead(connection: Connection, name: str) -> int:
    """Where the server's log ends, while the walsender that serves the slot waits; 0 while it
    works, which a long transaction may keep it at without a word to us."""
    found = rows(
        connection,
        """
        SELECT pg_current_wal_flush_lsn()::text
        FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid
        WHERE s.slot_name = %s AND a.wait_event_type NOT IN ('IO', 'LWLock')
          AND NOT pg_is_in_recovery()
        """,
        name,
    )
    return parse_lsn(found[0][0]) if found else 0


def explain(error: Exception, name: str, publication: str) -> PenstockError | None:
    """Our error for what the server said about replication; None for what it is silent on."""
    psycopg = driver("psycopg", "postgres")
    sqlstate = getattr(error, "sqlstate", None)
    text = str(error).strip()
    if sqlstate is None or sqlstate.startswith(("08", "57P")):
        reason = " ".join(text.partition("This probably means")[0].split())
        return ConnectionLostError(f"the connection to the server broke: {reason}")
    known: Callable[[str], bool] = text.__contains__
    if isinstance(error, psycopg.errors.UndefinedObject) and known("publication"):
        return GapError(
            f"the publication {publication} was missing when changes were written: {text}",
            hint=f"never drop or rename it while a slot needs it; {_TAKE_A_NEW_COPY}",
        )
    if isinstance(error, psycopg.errors.UndefinedObject):
        return SlotMissingError(f"the slot {name} is gone: {text}", hint=_TAKE_A_NEW_COPY)
    if isinstance(error, psycopg.errors.ObjectNotInPrerequisiteState):
        return GapError(f"the slot {name} cannot be read: {text}", hint=_TAKE_A_NEW_COPY)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return PrivilegeError(text, hint="the role needs REPLICATION, and SELECT for snapshots")
    return None
