"""Builds CopyData payloads as a walsender sends them, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import pack
from typing import TypeAlias

from penstock.model import UNCHANGED, Raw, Table
from penstock.sources.postgres.wire import LogDecoder, RelationFacts, make_decoder
from penstock.sources.postgres.wire.messages import EPOCH_US

Columns: TypeAlias = Sequence[tuple[str, int]]
INT4, INT8, TEXT, JSONB = 23, 20, 25, 3802
COMMITTED_US = 1_700_000_000_123_456


def xlog(message: bytes, lsn: int = 0) -> bytes:
    return pack(">cQQq", b"w", lsn, lsn, 0) + message


def keepalive(wal_end: int, *, reply: bool = False) -> bytes:
    return pack(">cQqB", b"k", wal_end, 0, reply)


def begin(commit_lsn: int, xid: int = 700) -> bytes:
    return xlog(pack(">cQqI", b"B", commit_lsn, COMMITTED_US - EPOCH_US, xid))


def commit(commit_lsn: int, end_lsn: int | None = None, flags: int = 0) -> bytes:
    end = commit_lsn + 0x30 if end_lsn is None else end_lsn
    return xlog(pack(">cBQQq", b"C", flags, commit_lsn, end, 0))


def relation(
    oid: int,
    name: str,
    columns: Columns,
    *,
    key: Sequence[str] = ("id",),
    identity: str = "d",
    schema: str = "public",
    modifiers: Mapping[str, int] | None = None,
) -> bytes:
    message = pack(">cI", b"R", oid) + schema.encode() + b"\0" + name.encode() + b"\0"
    message += identity.encode() + pack(">H", len(columns))
    for column, type_oid in columns:
        flag = identity == "f" or (identity in "di" and column in key)
        modifier = (modifiers or {}).get(column, -1)
        message += pack(">B", flag) + column.encode() + b"\0" + pack(">Ii", type_oid, modifier)
    return xlog(message)


class Sent(bytes):
    """A value that comes in its type's send form."""


def tuple_data(values: Sequence[Raw]) -> bytes:
    data = pack(">H", len(values))
    for value in values:
        if value is None:
            data += b"n"
        elif value is UNCHANGED:
            data += b"u"
        else:
            form = b"b" if isinstance(value, Sent) else b"t"
            data += pack(">cI", form, len(value)) + value
    return data


def insert(oid: int, *values: Raw) -> bytes:
    return xlog(pack(">cIc", b"I", oid, b"N") + tuple_data(values))


def update(
    oid: int, *new: Raw, key: Sequence[Raw] | None = None, old: Sequence[Raw] | None = None
) -> bytes:
    message = pack(">cI", b"U", oid)
    if key is not None:
        message += b"K" + tuple_data(key)
    if old is not None:
        message += b"O" + tuple_data(old)
    return xlog(message + b"N" + tuple_data(new))


def delete(
    oid: int, *, key: Sequence[Raw] | None = None, old: Sequence[Raw] | None = None
) -> bytes:
    form, values = (b"K", key) if key is not None else (b"O", old or ())
    return xlog(pack(">cIc", b"D", oid, form) + tuple_data(values or ()))


def truncate(*oids: int, flags: int = 0) -> bytes:
    return xlog(pack(">cIB", b"T", len(oids), flags) + b"".join(pack(">I", oid) for oid in oids))


def message(prefix: str, content: bytes, *, lsn: int = 0x50, transactional: bool = True) -> bytes:
    head = pack(">cBQ", b"M", transactional, lsn) + prefix.encode() + b"\0"
    return xlog(head + pack(">I", len(content)) + content)


def origin(name: str = "elsewhere") -> bytes:
    return xlog(pack(">cQ", b"O", 5) + name.encode() + b"\0")


def type_(oid: int, name: str) -> bytes:
    return xlog(pack(">cI", b"Y", oid) + b"public\0" + name.encode() + b"\0")


def decoder(**settings: object) -> LogDecoder:
    return make_decoder(database="shop", system="7", timeline=1, **settings)  # type: ignore[arg-type]


ORDERS = 16401
ORDERS_COLUMNS: Columns = (("id", INT8), ("status", TEXT), ("note", TEXT))
ORDERS_FACTS = RelationFacts("0/99", primary_key=("id",))


def orders(**settings: object) -> LogDecoder:
    """A decoder that knows public.orders(id, status, note) and has told so."""
    ready = decoder(**settings)
    ready.feed([begin(1), relation(ORDERS, "orders", ORDERS_COLUMNS), truncate(ORDERS)])
    ready.describe(ORDERS_FACTS)
    ready.feed([commit(1, 0x20)])
    return ready


def orders_with(
    identity: str = "d",
    key: Sequence[str] = ("id",),
    primary_key: Sequence[str] = ("id",),
    columns: Columns = ORDERS_COLUMNS,
    known: Sequence[Table] = (),
) -> LogDecoder:
    """The same, under another replica identity."""
    ready = decoder(known=known)
    shape = relation(ORDERS, "orders", columns, key=key, identity=identity)
    ready.feed([begin(1), shape, truncate(ORDERS)])
    ready.describe(RelationFacts("0/99", primary_key=tuple(primary_key), identity_index=tuple(key)))
    ready.feed([commit(1, 0x20)])
    return ready
