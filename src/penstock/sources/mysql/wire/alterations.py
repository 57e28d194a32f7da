"""Statements that may alter tables' shapes.

A statement may alter each table whose name is anywhere in it, unless it is of a kind that alters
none, or says at its beginning which one. Only what a renaming does is worked out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from penstock.sources.mysql.wire.statements import without_comment

Name: TypeAlias = tuple[str, str]
"""A table's database and name."""

_WORD: Final = re.compile(r"`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\"|[\w$]+")
_HARMLESS: Final = re.compile(
    r"(?:ANALYZE|BEGIN|CHECK|COMMIT|DELETE|FLUSH|GRANT|INSERT|OPTIMIZE|REPAIR|REPLACE|REVOKE|ROLLBACK"
    r"|SAVEPOINT|TRUNCATE|UPDATE|XA|(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?"
    r"(?:(?:AGGREGATE|DEFINER\s*=\s*\S+|ALGORITHM\s*=\s*\w+|SQL\s+SECURITY\s+\w+)\s+)*"
    r"(?:DATABASE|EVENT|FUNCTION|PROCEDURE|ROLE|SCHEMA|SEQUENCE|SERVER|TABLESPACE|TRIGGER|USER|VIEW))\b",
    re.I,
)
_NAME: Final = r"(?:(`[^`]+`|[\w$]+)\s*\.\s*)?(`[^`]+`|[\w$]+)"
_ONLY: Final = re.compile(
    r"(?:CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMPORARY\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r"|ALTER\s+(?:ONLINE\s+)?(?:IGNORE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?(?!.*\bRENAME\b))"
    rf"{_NAME}(?!\s*\.)(?=[\s(]|$)(?!.*(?:/\*|--|#))",
    re.I | re.S,
)
_PAIR: Final = rf"{_NAME}\s+TO\s+{_NAME}"
_RENAMES: Final = re.compile(rf"RENAME\s+TABLES?\s+({_PAIR}(?:\s*,\s*{_PAIR})*)\s*", re.I)
_RENAME: Final = re.compile(_PAIR, re.I)
_RENAMES_ONE: Final = re.compile(
    rf"ALTER\s+TABLE\s+{_NAME}\s+RENAME\s+(?:TO\s+|AS\s+|=\s*)?{_NAME}\s*", re.I
)


def altered(statement: str, database: str, among: Iterable[Name]) -> list[Name]:
    """Which of these tables the statement may alter; ``database`` is that of bare names."""
    text = without_comment(statement)
    if _HARMLESS.match(text):
        return []
    if (only := _ONLY.match(text)) and only[2].upper() != "IF":
        words, databases = {_bare(only[2])}, {_bare(only[1] or database)}
    else:
        words = {_bare(word[0]) for word in _WORD.finditer(text)}
        databases = {database.casefold(), *words}
    return [
        (schema, name)
        for schema, name in among
        if name.casefold() in words and schema.casefold() in databases
    ]


def _bare(word: str) -> str:
    """A name as it is compared: servers differ in whether its case counts."""
    quote = word[0]
    name = word[1:-1].replace(2 * quote, quote) if quote in '`"' else word
    return name.casefold()


def renamed(statement: str, database: str) -> list[tuple[Name, Name]]:
    """The old and the new names, in turn, of a statement that does nothing but rename tables;
    empty for all others."""
    text = without_comment(statement)
    if found := _RENAMES.fullmatch(text):
        pairs = _RENAME.findall(found[1])
    elif found := _RENAMES_ONE.fullmatch(text):
        pairs = [found.groups()]
    else:
        return []

    def name(schema: str | None, table: str) -> Name:
        return (schema or database).strip("`"), table.strip("`")

    return [(name(a, b), name(c, d)) for a, b, c, d in pairs]
