"""Which type holds all values of another, from the spelling of PostgreSQL's ``format_type``, or of
MySQL's ``SHOW COLUMNS``."""

from __future__ import annotations

import re
from typing import Final

_SPELLING: Final = re.compile(r"([^(]+?)\s*(?:\(\s*([-\d,\s]+)\))?((?:\s[a-z ]+)?)((?:\[\])*)$")
_LADDERS: Final = (
    ("smallint", "integer", "bigint", "numeric"),
    ("real", "double precision"),
    ("character varying", "text"),
    ("tinyint", "smallint", "mediumint", "int", "bigint"),
    (
        "tinyint unsigned",
        "smallint unsigned",
        "mediumint unsigned",
        "int unsigned",
        "bigint unsigned",
    ),
    ("tinyint unsigned", "smallint", "mediumint", "int", "bigint"),
    ("smallint unsigned", "mediumint", "int", "bigint"),
    ("mediumint unsigned", "int", "bigint"),
    ("int unsigned", "bigint"),
    ("float", "double"),
    ("tinytext", "text", "mediumtext", "longtext"),
    ("char", "varchar", "text", "mediumtext", "longtext"),
    ("tinyblob", "blob", "mediumblob", "longblob"),
    ("varbinary", "blob", "mediumblob", "longblob"),
)
_MYSQL_CLOCKS: Final = frozenset({"datetime", "time", "timestamp"})
"""Without digits they have no fraction of seconds."""
_BY_LENGTH: Final = frozenset(
    {
        "bit varying",
        "character varying",
        "interval",
        "time with time zone",
        "time without time zone",
        "timestamp with time zone",
        "timestamp without time zone",
        "char",
        "varbinary",
        "varchar",
    }
)
_LABELS: Final = re.compile(r"(enum|set)\((.*)\)")


def _parts(spelling: str) -> tuple[str, tuple[int, ...], str] | None:
    match = _SPELLING.match(spelling)
    if match is None:
        return None
    name, modifiers, rest, dimensions = match.groups()
    numbers = tuple(int(n) for n in modifiers.split(",")) if modifiers else ()
    return name + rest, numbers, dimensions


def widens(old: str, new: str) -> bool:
    """Whether every value of the type ``old`` is a value of ``new``, unaltered.

    False also for types that it does not know; True for equal ones.
    """
    if old == new:
        return True
    labels, new_labels = _LABELS.fullmatch(old), _LABELS.fullmatch(new)
    if labels is not None or new_labels is not None:
        return _more_labels(labels, new_labels, new)
    before, after = _parts(old), _parts(new)
    if before is None or after is None or before[2] != after[2]:
        return False
    (name, numbers, _), (new_name, new_numbers, _) = before, after
    if name == new_name == "numeric":
        return not new_numbers or _wider_numeric(numbers, new_numbers)
    if name.removesuffix(" unsigned") == "decimal" and new_name in (name, "decimal"):
        return _wider_numeric(numbers, new_numbers)
    if name == new_name and name in _MYSQL_CLOCKS:
        return (numbers or (0,)) <= (new_numbers or (0,))
    if (name, new_name) == ("char", "varchar"):
        return numbers <= new_numbers
    if name == new_name:
        return name in _BY_LENGTH and (
            not new_numbers or (bool(numbers) and numbers <= new_numbers)
        )
    if new_numbers:
        return False
    return any(
        name in ladder and new_name in ladder and ladder.index(name) < ladder.index(new_name)
        for ladder in _LADDERS
    )


def _wider_numeric(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    if not old:
        return False
    (precision, scale), (new_precision, new_scale) = (
        (numbers[0], numbers[1] if len(numbers) > 1 else 0) for numbers in (old, new)
    )
    return new_scale >= scale and new_precision - new_scale >= precision - scale


def _more_labels(old: re.Match[str] | None, new: re.Match[str] | None, kind: str) -> bool:
    """Whether all labels of an enum or set are there still."""
    if old is None:
        return False
    if new is None:
        return kind in ("text", "longtext")
    return old[1] == new[1] and new[2].startswith(old[2] + ",")
