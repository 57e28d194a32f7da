"""Statements of the log: which begin and end transactions, which write rows unseen.

Rows come as events of their own. A statement is read only as far as needed to know that it has
none; what it does to a table's shape the next row's Table_map tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """What a statement means to who reads rows."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    ROLLBACK_TO = "rollback to"
    XA_START = "xa start"
    XA_END = "xa end"
    XA_COMMIT = "xa commit"
    XA_ROLLBACK = "xa rollback"
    TRUNCATE = "truncate"
    EMPTIES = "empties"
    WRITES = "writes"
    OTHER = "other"


class Statement(NamedTuple):
    """A statement.

    Parameters
    ----------
    subject: of XA its transaction, of SAVEPOINT its name.
    tables: the tables that it may be about, as (schema, name); the schema is empty where the
        default database is meant.
    """

    kind: Kind
    subject: str = ""
    tables: tuple[tuple[str, str], ...] = ()


_BLANK: Final = re.compile(r"\s+|--\s[^\n]*\n?|#[^\n]*\n?|/\*(?![!M]).*?\*/|/\*M?!\d*", re.S)
_WORD: Final = re.compile(r"[A-Za-z]+")
_TOKEN: Final = re.compile(
    r"`(?P<tick>(?:[^`]|``)*)`|\"(?P<quote>(?:[^\"]|\"\")*)\"|'(?:[^'\\]|\\.|'')*'"
    r"|(?P<word>[\w$]+)|(?P<dot>\.)|\S",
    re.S,
)
_TRUNCATE: Final = re.compile(r"TRUNCATE\s+(?:TABLE\s+)?(.*)", re.I | re.S)
_EMPTY: Final = re.compile(
    r"DELETE\s+FROM\s+(`[^`]*`(?:\.`[^`]*`)?)\s*(?:/\*.*\*/)?\s*", re.I | re.S
)
_XA: Final = re.compile(
    r"XA\s+(START|BEGIN|END|COMMIT|ROLLBACK)\s+(X'[0-9a-f]*',X'[0-9a-f]*',\d+)", re.I
)
_PARTITIONS: Final = re.compile(
    r"\b(?:DROP|TRUNCATE|EXCHANGE|DISCARD|IMPORT)\s+(?:SUB)?PARTITION|\b(?:DISCARD|IMPORT)\s+TABLESPACE",
    re.I,
)
_BY_WORD: Final = {
    "BEGIN": Kind.BEGIN,
    "COMMIT": Kind.COMMIT,
    "INSERT": Kind.WRITES,
    "UPDATE": Kind.WRITES,
    "DELETE": Kind.WRITES,
    "REPLACE": Kind.WRITES,
    "LOAD": Kind.WRITES,
    "WITH": Kind.WRITES,
    "SELECT": Kind.WRITES,
    "DO": Kind.WRITES,
    "CALL": Kind.WRITES,
    "IMPORT": Kind.WRITES,
}


def parse(statement: str) -> Statement:
    """What a statement of the log is."""
    if statement == "BEGIN":
        return Statement(Kind.BEGIN)
    text = without_comment(statement)
    found = _WORD.match(text)
    word = found[0].upper() if found else ""
    if word == "SAVEPOINT":
        return Statement(Kind.SAVEPOINT, _name(text[len(word) :]))
    if word == "ROLLBACK":
        rest = text[len(word) :].strip()
        if not rest:
            return Statement(Kind.ROLLBACK)
        return Statement(Kind.ROLLBACK_TO, _name(re.sub(r"(?i)^TO\s+(SAVEPOINT\s+)?", "", rest)))
    if word == "XA" and (xa := _XA.match(text)):
        verb = {"BEGIN": "START"}.get(xa[1].upper(), xa[1].upper())
        return Statement(Kind[f"XA_{verb}"], _xid(xa[2]))
    if word == "TRUNCATE" and (truncate := _TRUNCATE.match(text)):
        return Statement(Kind.TRUNCATE, tables=tuple(_tables(truncate[1]))[:1])
    if word == "DELETE" and (empty := _EMPTY.fullmatch(text)):
        return Statement(Kind.TRUNCATE, tables=tuple(_tables(empty[1]))[:1])
    kind = _BY_WORD.get(word, Kind.OTHER)
    if word == "CREATE" and _creates_rows(text):
        kind = Kind.WRITES
    elif word == "ALTER" and _PARTITIONS.search(text):
        kind = Kind.EMPTIES
    tables = tuple(_tables(text)) if kind in (Kind.WRITES, Kind.EMPTIES) else ()
    return Statement(kind, tables=tables)


def without_comment(statement: str) -> str:
    """A statement from its first word on."""
    at = 0
    while (blank := _BLANK.match(statement, at)) is not None:
        at = blank.end()
    return statement[at:]


def _xid(text: str) -> str:
    return text.replace("x'", "X'").lower().replace("x'", "X'")


def _name(text: str) -> str:
    return next((name for _, name in _tables(text)), "")


def _creates_rows(text: str) -> bool:
    """Whether it is CREATE TABLE … SELECT, which is logged so only where rows are not."""
    words = [m["word"].upper() for m in _TOKEN.finditer(text) if m["word"]]
    return "TABLE" in words[:4] and "SELECT" in words


def _tables(text: str) -> Iterator[tuple[str, str]]:
    """All that may be a table's name: every identifier, with the one before its dot."""
    schema, last, dotted = "", "", False
    for token in _TOKEN.finditer(text):
        name = token["word"] or (token["tick"] or "").replace("``", "`")
        name = name or (token["quote"] or "").replace('""', '"')
        if name and not dotted and last:
            yield schema, last
            schema = ""
        if name:
            last, dotted = name, False
        elif token["dot"] and last:
            schema, last, dotted = last, "", True
    if last:
        yield schema, last
