"""What MySQL and MariaDB keep a source's columns as, and how a raw text becomes a value of theirs.

==================================== ======================= =======================================
source                               column                  value
==================================== ======================= =======================================
MySQL's own types                    the same                the same; see below for texts
``TIMESTAMP``, ``timestamptz``       ``TIMESTAMP``,          in UTC
                                     ``DATETIME``
``smallint``, ``integer``,           ``SMALLINT``, ``INT``,
``bigint``, ``oid``                  ``BIGINT``,
                                     ``INT UNSIGNED``
boolean                              ``TINYINT(1)``          0 or 1
``real``, ``double precision``       ``DOUBLE``              NaN and infinities are refused
``numeric(p,s)``                     ``DECIMAL(p,s)``        NaN is refused; without p, or above
                                                             (65,30), it is a text
date, timestamp, time                ``DATE``, ``DATETIME``, years before 1 and after 9999, and
                                     ``TIME``                infinities, are refused
uuid                                 ``CHAR(36)``
bytes                                ``LONGBLOB``
short texts                          ``VARCHAR``
json and all others                  ``LONGTEXT``            the exact text
==================================== ======================= =======================================

In a key a text is a ``VARCHAR`` and bytes are a ``VARBINARY``, as long as an index takes. All texts
have a collation that tells any two of them apart. A column that was made ``LONGTEXT`` by hand takes
any value, as its exact text.
"""

from __future__ import annotations

import math
import re
import struct
from binascii import unhexlify
from typing import Final, NamedTuple

from penstock.model import Column, Kind, Table, Type
from penstock.sinks.sql.dialect import Binder

INDEX_BYTES: Final = 3072
"""What an index of InnoDB takes, of all columns together."""
_NUMBER_BYTES: Final = 32
"""More than a number or a moment takes there."""
_SHORT: Final = 255
"""Characters up to which a text is a VARCHAR: of long ones a row does not take many."""
_WORD: Final = re.compile(r"([a-z0-9]+)(?:\((\d+)(?:,\d+)?\))?(?: unsigned)?")
_NUMERIC: Final = re.compile(r"numeric\((\d+),(-?\d+)\)")
_LENGTH: Final = re.compile(r"character(?: varying)?\((\d+)\)")
_DIGITS: Final = re.compile(r"time(?:stamp)?(?:\((\d)\))? with")
_DATE: Final = re.compile(rb"\d{4}-\d\d-\d\d")
_CLOCK: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?")
_INTEGERS: Final = {"smallint": "smallint", "integer": "int", "oid": "int unsigned"}
_GEOMETRIES: Final = frozenset(
    (
        *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring"),
        *("multipolygon", "geometrycollection"),
    )
)


class Storage(NamedTuple):
    """A column of the target.

    Parameters
    ----------
    declared: its type, as the server spells it.
    bind: makes the driver's value of a raw text; raises ValueError for what the type has not.
    """

    declared: str
    bind: Binder


def _boolean(raw: bytes) -> int:
    return int(raw in (b"t", b"true", b"1"))


def _bytes(raw: bytes) -> bytes:
    return unhexlify(raw[2:]) if raw.startswith(b"\\x") else raw


def _double(raw: bytes) -> float:
    """MariaDB keeps -0 as 0, which it has not."""
    number = float(raw)
    if not math.isfinite(number):
        raise ValueError("it is not finite")
    return number


def _single(raw: bytes) -> float:
    """With all digits of a number of 32 bits: servers take the greatest one only so."""
    (number,) = struct.unpack("f", struct.pack("f", _double(raw)))
    return float(number)


def _year(raw: bytes) -> str:
    """With four digits: ``0`` would be the year 2000."""
    return raw.decode().zfill(4)


def _date(raw: bytes) -> str:
    if not _DATE.fullmatch(raw):
        raise ValueError("no such day")
    return raw.decode()


def _clock(raw: bytes) -> str:
    if not _CLOCK.fullmatch(raw):
        raise ValueError("no such moment")
    return raw.decode()


def _utc(raw: bytes) -> str:
    return _clock(raw.removesuffix(b"+00"))


_text: Final[Binder] = bytes.decode
TEXT: Final = Storage("longtext", _text)
_BY_KIND: Final = {
    Kind.BOOLEAN: Storage("tinyint(1)", _boolean),
    Kind.FLOAT: Storage("double", _double),
    Kind.BYTES: Storage("longblob", _bytes),
    Kind.UUID: Storage("char(36)", _text),
    Kind.DATE: Storage("date", _date),
    Kind.ENUM: Storage("varchar(255)", _text),
}
_BY_WORD: Final = {
    "float": _single,
    "double": _double,
    "date": _date,
    "datetime": _clock,
    "timestamp": _utc,
    "year": _year,
    "bit": _bytes,
    "binary": _bytes,
    "varbinary": _bytes,
}
_AS_SPELLED: Final = frozenset(
    (
        *("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double"),
        *("date", "datetime", "year", "varchar", "binary", "varbinary"),
    )
)


def storage(table: Table, column: Column, *, mariadb: bool) -> Storage:
    """What a source's column is kept as."""
    type = column.type
    kept = (_own(type, mariadb=mariadb) if not type.oid else None) or _other(type)
    if column.name not in table.key_columns:
        return kept
    share = _share(table, mariadb=mariadb)  # in a key
    if kept.declared.endswith("text"):
        return Storage(f"varchar({share // 4})", kept.bind)
    if kept.declared.endswith("blob"):
        return Storage(f"varbinary({share})", kept.bind)
    word = _WORD.fullmatch(kept.declared)
    if word is not None and word[1] in ("varchar", "varbinary"):
        most = share // 4 if word[1] == "varchar" else share
        return Storage(f"{word[1]}({min(int(word[2]), most)})", kept.bind)
    return kept


def _share(table: Table, *, mariadb: bool) -> int:
    """The bytes that each text of the key may have."""
    types = [table.columns[i].type for i in table.key_indexes]
    kept = [(_own(t, mariadb=mariadb) if not t.oid else None) or _other(t) for t in types]
    fixed = [_width(k.declared) for k in kept if not k.declared.startswith(("var", "long"))]
    return (INDEX_BYTES - sum(fixed)) // max(len(kept) - len(fixed), 1)


def _width(declared: str) -> int:
    """The bytes that a column of fixed length takes in an index, at most."""
    word = _WORD.fullmatch(declared)
    if word is None or word[1] not in ("char", "binary"):
        return _NUMBER_BYTES
    return int(word[2]) * (4 if word[1] == "char" else 1)


def _own(type: Type, *, mariadb: bool) -> Storage | None:
    """What a type of MySQL's or MariaDB's is kept as; None for those of others."""
    if type.name in ("enum", "set") and type.labels:
        labels = ",".join("'" + label.replace("'", "''") + "'" for label in type.labels)
        return Storage(f"{type.name}({labels})", _text)
    match = _WORD.fullmatch(type.sql)
    if match is None:
        return None
    word, length = match[1], int(match[2] or 0)
    if type.kind is Kind.BYTES and word in _GEOMETRIES:
        return Storage(type.sql, _bytes)
    if word == "vector" and not mariadb:
        return Storage(type.sql, _bytes)
    if word.endswith("blob"):
        return Storage("longblob", _bytes)
    if word == "char":
        return Storage(f"varchar({length})", _text)
    if word in ("varchar", "varbinary") and length > _SHORT:
        return TEXT if word == "varchar" else Storage("longblob", _bytes)
    if word in ("uuid", "inet4", "inet6") and type.kind is Kind.TEXT:
        return Storage(word if mariadb else "char(39)", _text)
    spelled = (
        word in _AS_SPELLED
        or (word, type.kind) in (("time", Kind.INTERVAL), ("timestamp", Kind.TIMESTAMPTZ))
        or (word == "bit" and type.kind is Kind.BYTES)
    )
    return Storage(type.sql, _BY_WORD.get(word, _text)) if spelled else None


def _other(type: Type) -> Storage:
    """What any other type is kept as."""
    match type.kind:
        case Kind.INTEGER:
            return Storage(_INTEGERS.get(type.sql, "bigint"), _text)
        case Kind.NUMERIC:
            numeric = _NUMERIC.fullmatch(type.sql)
            if numeric is None:
                return TEXT
            precision, scale = int(numeric[1]), int(numeric[2])
            fits = precision <= 65 and 0 <= scale <= min(precision, 30)
            return Storage(f"decimal({precision},{scale})", _text) if fits else TEXT
        case Kind.TIMESTAMP:
            return Storage(f"datetime({_digits(type)})", _clock)
        case Kind.TIMESTAMPTZ:
            return Storage(f"datetime({_digits(type)})", _utc)
        case Kind.TIME if type.sql.endswith("without time zone"):
            return Storage(f"time({_digits(type)})", _text)
        case Kind.TEXT:
            length = _LENGTH.fullmatch(type.sql)
            if length is not None and int(length[1]) <= _SHORT:
                return Storage(f"varchar({length[1]})", _text)
            return TEXT
        case _:
            return _BY_KIND.get(type.kind, TEXT)


def _digits(type: Type) -> int:
    """The digits of a fraction of seconds."""
    match = _DIGITS.match(type.sql)
    return int(match[1]) if match is not None and match[1] else 6
