"""Which type holds all values of another, from the spelling of PostgreSQL's ``format_type``."""

from __future__ import annotations

import re
from typing import Final

_SPELLING: Final = re.compile(r"([^(]+?)\s*(?:\(\s*([-\d,\s]+)\))?((?:\s[a-z ]+)?)((?:\[\])*)$")
_LADDERS: Final = (
    ("smallint", "integer", "bigint", "numeric"),
    ("real", "double precision"),
    ("character varying", "text"),
)
_BY_LENGTH: Final = frozenset(
    {
        "bit varying",
        "character varying",
        "interval",
        "time with time zone",
        "time without time zone",
        "timestamp with time zone",
        "timestamp without time zone",
    }
)


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
    before, after = _parts(old), _parts(new)
    if before is None or after is None or before[2] != after[2]:
        return False
    (name, numbers, _), (new_name, new_numbers, _) = before, after
    if name == new_name == "numeric":
        return not new_numbers or _wider_numeric(numbers, new_numbers)
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
