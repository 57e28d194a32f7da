"""The connectors whose records the format writes: what each tells of its source, and how.

Which of them a change is told by, its origin says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from penstock.formats.debezium import defaults, mysql, schema, types
from penstock.formats.debezium.options import Debezium
from penstock.formats.debezium.types import Mapped, Schema
from penstock.model import Column, Origin, Table, Type


class Block(NamedTuple):
    """A connector's own part of the block ``source``: ``rest`` are its fields behind the common
    ones."""

    db: str
    sequence: str | None
    rest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Connector:
    """One connector.

    Parameters
    ----------
    name: as ``source.connector`` has it.
    source: the schema of the block ``source``.
    block: what that says of a change, by its origin, table and place in a snapshot.
    mapped: how a type is told; None where it is left out.
    default: JSON of a column's default; None where none is told.
    transaction: the id of a transaction.
    written: what a value should have been written as, for errors.
    whole: how the log is told to carry whole rows of ``{table}``, for errors.
    binlog: whether it reads a binlog. ``source.row`` is the change's number in its transaction
        then; operations are skipped as the log has them, before a new key makes two records of
        an update; and a TRUNCATE is in no transaction.
    """

    name: str
    source: Schema
    block: Callable[[Origin, Table, str], Block]
    mapped: Callable[[Type, Debezium], Mapped | None]
    default: Callable[[Column, Mapped], bytes | None]
    transaction: Callable[[Origin], str]
    written: str
    whole: str
    binlog: bool = False


def connector_of(origin: Origin) -> Connector:
    """The connector for what comes from there; PostgreSQL's where it does not say."""
    return _BY_SOURCE.get(origin.source.get("type", ""), POSTGRESQL)


# -- PostgreSQL


def _postgresql_block(origin: Origin, table: Table, snapshot: str) -> Block:
    transaction = origin.transaction
    number = transaction.id if transaction is not None else ""
    return postgresql_block(
        origin.source.get("database", ""),
        table.schema,
        table.name,
        int(number) if number.isdecimal() else None,
        origin.source.get("lsn", ""),
        snapshot,
    )


def postgresql_block(
    db: str, schema: str, table: str, transaction: int | None, position: str, snapshot: str
) -> Block:
    """What PostgreSQL's connector tells, of a log position as text."""
    lsn = _position(position)
    sequence = None
    if lsn is not None:
        sequence = orjson.dumps([None if snapshot != "false" else str(lsn), str(lsn)]).decode()
    rest = {
        "schema": schema,
        "table": table,
        "txId": transaction,
        "lsn": lsn,
        "xmin": None,
        "origin": None,
        "origin_lsn": None,
    }
    return Block(db, sequence, rest)


def _position(lsn: str) -> int | None:
    """A log position as a number; None for what is none."""
    high, slash, low = lsn.partition("/")
    return int(high, 16) << 32 | int(low, 16) if slash else None


def _postgresql_transaction(origin: Origin) -> str:
    assert origin.transaction is not None
    lsn = _position(origin.mark)
    return f"{origin.transaction.id}:{origin.mark if lsn is None else lsn}"


POSTGRESQL: Final = Connector(
    "postgresql",
    schema.SOURCE,
    _postgresql_block,
    types.mapped,
    defaults.default,
    _postgresql_transaction,
    "datestyle=ISO, intervalstyle=postgres, timezone=UTC, bytea_output=hex and lc_monetary=C",
    "ALTER TABLE {table} REPLICA IDENTITY FULL",
)


# -- MySQL and MariaDB


def _binlog_block(origin: Origin, table: Table, snapshot: str) -> Block:
    facts = origin.source
    rest = {
        "table": table.name,
        "server_id": facts.get("server_id", 0),
        "gtid": facts.get("gtid"),
        "file": facts.get("file", ""),
        "pos": facts.get("pos", 0),
        "row": 0,
        "thread": facts.get("thread"),
        "query": None,
    }
    return Block(table.schema, None, rest)


def _binlog_transaction(origin: Origin) -> str:
    facts = origin.source
    return facts.get("gtid") or f"file={facts.get('file')},pos={facts.get('pos')}"


def _binlog(name: str) -> Connector:
    return Connector(
        name,
        schema.binlog_source(name),
        _binlog_block,
        mysql.mapped,
        mysql.default,
        _binlog_transaction,
        "time_zone='+00:00'",
        "SET GLOBAL binlog_row_image = FULL",
        binlog=True,
    )


MYSQL: Final = _binlog("mysql")
MARIADB: Final = _binlog("mariadb")
_BY_SOURCE: Final = {"mysql": MYSQL, "mariadb": MARIADB}
