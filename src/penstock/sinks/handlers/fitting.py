"""Whether a column's values fit a type annotation."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

from typing_extensions import TypeAliasType, is_typeddict

from penstock.model import UNCHANGED, Kind, Type, Unchanged

_JSON: Final = frozenset({Kind.JSON})

FITS: Final[Mapping[Any, frozenset[Kind]]] = {
    bool: _JSON | {Kind.BOOLEAN},
    int: _JSON | {Kind.INTEGER},
    float: _JSON | {Kind.FLOAT, Kind.INTEGER},
    Decimal: frozenset({Kind.NUMERIC}),
    str: _JSON | {Kind.TEXT, Kind.ENUM},
    bytes: frozenset({Kind.BYTES}),
    UUID: frozenset({Kind.UUID}),
    date: frozenset({Kind.DATE}),
    time: frozenset({Kind.TIME}),
    datetime: frozenset({Kind.TIMESTAMP, Kind.TIMESTAMPTZ}),
    timedelta: frozenset({Kind.INTERVAL}),
    **dict.fromkeys((dict, Mapping, MutableMapping), _JSON),
    **dict.fromkeys((list, Sequence, MutableSequence, Collection, Iterable), _JSON | {Kind.ARRAY}),
}
"""Which kinds give values of which Python type (what ``Row`` gives for them)."""

CONVERTED: Final[Mapping[Any, frozenset[Kind]]] = {
    float: frozenset({Kind.NUMERIC}),
    Decimal: frozenset({Kind.INTEGER, Kind.FLOAT}),
    **dict.fromkeys((tuple, set, frozenset), _JSON | {Kind.ARRAY}),
}
"""What fits besides where the row type converts values itself (pydantic)."""

TEXT_TOO: Final = frozenset({Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.INTERVAL})
"""Kinds with values that Python cannot hold (infinity, years before Christ): they come as text."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A field's annotation, taken apart.

    Parameters
    ----------
    members: the types of the union, without None and UNCHANGED.
    null: whether None is allowed.
    unchanged: whether UNCHANGED is allowed.
    """

    members: tuple[Any, ...]
    null: bool
    unchanged: bool

    @classmethod
    def of(cls, hint: Any) -> Annotation:
        """Take an annotation apart."""
        members = list(_members(hint))
        anything = any(member in (Any, object) for member in members)
        return cls(
            tuple(m for m in members if m is not types.NoneType and not _is_unchanged(m)),
            anything or types.NoneType in members,
            anything or any(_is_unchanged(member) for member in members),
        )

    def fits(self, type: Type, *, converts: bool = False) -> bool:
        """Whether values of a column of this type can be one of the members."""
        return any(_fits(member, type, converts) for member in self.members)

    @property
    def text(self) -> bool:
        """Whether any text is allowed."""
        return any(member in (Any, object, str) for member in self.members)

    @property
    def enum(self) -> type[Enum] | None:
        """The Enum class that values are to become."""
        return next((member for member in self.members if _is_enum(member)), None)


def _members(hint: Any) -> Iterable[Any]:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _members(part)
    elif origin is Annotated:
        yield from _members(get_args(hint)[0])
    elif isinstance(hint, NewType):
        yield from _members(hint.__supertype__)
    elif isinstance(hint, TypeAliasType):
        yield from _members(hint.__value__)
    elif isinstance(hint, TypeVar):
        yield Any
    elif hint is None:
        yield types.NoneType
    else:
        yield hint


def _is_unchanged(member: Any) -> bool:
    return member is Unchanged or (get_origin(member) is Literal and UNCHANGED in get_args(member))


def _is_enum(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, Enum)


def _fits(member: Any, type_: Type, converts: bool) -> bool:
    kind = type_.kind
    if member in (Any, object) or kind is Kind.OTHER:
        return True
    origin = get_origin(member)
    if origin is Literal:
        return any(_fits(type(value), type_, converts) for value in get_args(member))
    if _is_enum(member):
        return any(_fits(type(one.value), type_, converts) for one in member)
    if is_typeddict(member):
        return kind in _JSON
    known = origin or member
    if kind in FITS.get(known, ()) or (converts and kind in CONVERTED.get(known, ())):
        return kind is not Kind.ARRAY or _elements_fit(member, type_, converts)
    # A class that is not in the tables: only a row type that converts can make it of a value.
    return converts and known not in FITS and known not in CONVERTED


def _elements_fit(member: Any, array: Type, converts: bool) -> bool:
    arguments = get_args(member)
    if not arguments or array.element is None:
        return True
    element = Annotation.of(arguments[0])
    # An array of n dimensions gives lists in lists; its type does not tell n.
    return element.fits(array.element, converts=converts) or element.fits(array, converts=converts)
