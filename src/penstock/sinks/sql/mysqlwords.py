"""MySQL's and MariaDB's types in PostgreSQL's words.

Each takes the exact texts that the source gives, and gives back the same. What PostgreSQL has not,
zero dates and zeros in dates, it refuses; a column that was made ``text`` by hand takes them.

============================================ ==========================================
MySQL                                        PostgreSQL
============================================ ==========================================
``TINYINT``, ``YEAR``                        ``smallint``
``SMALLINT UNSIGNED``, ``MEDIUMINT``         ``integer``
``INT``, ``INT UNSIGNED``                    ``integer``, ``bigint``
``BIGINT``, ``BIGINT UNSIGNED``              ``bigint``, ``numeric(20,0)``
``DECIMAL``, ``FLOAT``, ``DOUBLE``           ``numeric``, ``real``, ``double precision``
``DATETIME``, ``TIMESTAMP``                  ``timestamp without time zone``,
                                             ``timestamp with time zone``
``TIME``                                     ``interval``
``CHAR``, ``VARCHAR``                        ``character varying``
``TEXT``, ``ENUM``, ``SET``, ``INET4``,      ``text``
``INET6``
``BIT``, ``BINARY``, ``BLOB``, ``VECTOR``,   ``bytea``
geometry
``JSON``, ``DATE``, ``UUID``                 the same
============================================ ==========================================
"""

from __future__ import annotations

import re
from typing import Final

from penstock.model import Kind, Type

_WORD: Final = re.compile(r"([a-z0-9]+)(?:\((\d+(?:,\d+)?)\))?( unsigned)?")
_WORDS: Final = {
    "tinyint": "smallint",
    "tinyint unsigned": "smallint",
    "smallint unsigned": "integer",
    "mediumint": "integer",
    "mediumint unsigned": "integer",
    "int": "integer",
    "int unsigned": "bigint",
    "bigint unsigned": "numeric(20,0)",
    "year": "smallint",
    "float": "real",
    "float unsigned": "real",
    "double": "double precision",
    "double unsigned": "double precision",
    "tinytext": "text",
    "mediumtext": "text",
    "longtext": "text",
    "inet4": "text",
    "inet6": "text",
}
_WITH_DIGITS: Final = {
    ("decimal", Kind.NUMERIC): "numeric{}",
    ("datetime", Kind.TIMESTAMP): "timestamp{} without time zone",
    ("timestamp", Kind.TIMESTAMPTZ): "timestamp{} with time zone",
    ("time", Kind.INTERVAL): "interval{}",
    ("char", Kind.TEXT): "character varying{}",
    ("varchar", Kind.TEXT): "character varying{}",
}


def in_postgres(type: Type) -> str:
    """The spelling of PostgreSQL for a type: its own, unless it is one of MySQL's."""
    if type.oid:
        return type.sql
    if type.name in ("enum", "set") and type.labels:
        return "text"
    match = _WORD.fullmatch(type.sql)
    if match is None:
        return type.sql
    word, digits, unsigned = match.groups()
    if type.kind is Kind.BYTES:
        return "bytea"
    form = _WITH_DIGITS.get((word, type.kind))
    if form is not None:
        # without digits a time has none of a fraction; PostgreSQL would give it six
        return form.format(f"({digits})" if digits else "(0)")
    return _WORDS.get(word + (unsigned or ""), type.sql)
