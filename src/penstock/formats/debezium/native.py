"""What the native kernel is told of this format (``native/wire/src/debezium.rs``).

Names, schemas and placeholders are decided in Python, once for each version of a table. The kernel
writes the records of regular values, and asks for those of any others, event by event.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.formats.debezium.rows import TableRows
from penstock.formats.json import string


class PlanColumn(NamedTuple):
    """A column that is told.

    Parameters
    ----------
    position: in the table.
    head: its name as JSON, with the colon.
    null: what a null is told as.
    missing: what stands for a value of an old row that the log did not carry.
    unavailable: what stands for a large value that the log did not repeat; None where nothing can.
    code: the encoder's name.
    """

    position: int
    head: bytes
    null: bytes
    missing: bytes
    unavailable: bytes | None
    code: str


class Plan(NamedTuple):
    """How the rows of one version of a table are told.

    Parameters
    ----------
    key, value: what stands before and after them: their schema, or nothing.
    source: the table's part of ``source``, up to the transaction's id.
    key_columns: places of the key's columns among ``columns``, in the key's order.
    """

    topic: str
    key: tuple[bytes, bytes]
    value: tuple[bytes, bytes]
    source: bytes
    columns: tuple[PlanColumn, ...]
    key_columns: tuple[int, ...]


def plan_of(rows: TableRows) -> Plan | None:
    """The plan of a table; None where a column has a type that only Python encodes."""
    if not all(one.mapped.code for one in rows.told):
        return None
    places = {one.index: place for place, one in enumerate(rows.told)}
    return Plan(
        rows.topic,
        (rows.key_head, rows.key_tail),
        (rows.value_head, rows.value_tail),
        b',"schema":%b,"table":%b,"txId":' % (string(rows.table.schema), string(rows.table.name)),
        tuple(
            PlanColumn(
                one.index,
                one.head,
                one.null,
                one.missing,
                one.mapped.unavailable,
                one.mapped.code,
            )
            for one in rows.told
        ),
        tuple(places[one.index] for one in rows.key_told),
    )
