"""The shape of a table at one point of its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from penstock.errors import SchemaError


class Unchanged(Enum):
    """The type of :data:`UNCHANGED`."""

    UNCHANGED = "UNCHANGED"

    def __repr__(self) -> str:
        return "UNCHANGED"

    def __bool__(self) -> bool:
        raise TypeError("UNCHANGED is neither true nor false: test with `is UNCHANGED`")


UNCHANGED: Final = Unchanged.UNCHANGED
"""The value of a large column that the log did not repeat. Never null, never a string."""

Raw: TypeAlias = bytes | Literal[Unchanged.UNCHANGED] | None
"""A column's exact text in UTF-8 as the server wrote it, null, or UNCHANGED."""


class Kind(Enum):
    """What a type is to formats and sinks, whatever its source calls it."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"
    NUMERIC = "numeric"
    TEXT = "text"
    BYTES = "bytes"
    JSON = "json"
    UUID = "uuid"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    INTERVAL = "interval"
    ENUM = "enum"
    ARRAY = "array"
    OTHER = "other"


def _as_text(raw: bytes) -> object:
    return raw.decode()


@dataclass(frozen=True, slots=True)
class Type:
    """A column's type.

    Parameters
    ----------
    name: the source's own name without modifiers, e.g. ``int4``, ``_text``, ``public.mood``.
    kind: its class, for formats and sinks.
    sql: the source's exact spelling with modifiers, e.g. ``numeric(10,2)``.
    parse: makes the Python value of the exact text; raises ValueError where it cannot.
    element: the type of an array's elements.
    labels: the labels of an enum, in order.
    oid: the number that the source's protocol uses, 0 where it has none.
    modifier: the type modifier of the source's protocol, -1 for none.
    codec: import path (``module:name``) of the function that makes ``parse`` again from a type
        that was saved and loaded.
    base: the number of the built-in type whose values it has: its own, or of a domain the one
        below it; 0 where there is none.
    base_modifier: of a domain the modifier of that type.
    arrow: the Arrow type of its values where the kind alone does not say it, e.g. ``int16``,
        ``decimal128(12, 2)``.
    """

    name: str
    kind: Kind
    sql: str
    parse: Callable[[bytes], object] = field(default=_as_text, compare=False, repr=False)
    element: Type | None = None
    labels: tuple[str, ...] = ()
    oid: int = 0
    modifier: int = -1
    codec: str = ""
    base: int = 0
    base_modifier: int = -1
    arrow: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    ``nullable``, ``default`` and ``expression`` are catalog facts: None where the catalog was not
    asked. ``default`` is what old rows show where the column was added later; ``expression``, the
    default of new rows, as SQL.
    ``external``, whether a value may be stored out of line, so that the log may not repeat it, is
    asked for by a check only.
    """

    name: str
    type: Type
    nullable: bool | None = None
    default: str | None = None
    generated: bool = False
    expression: str | None = None
    external: bool | None = field(default=None, compare=False)


Identity: TypeAlias = Literal["default", "index", "full", "nothing"]


def qualified(schema: str, name: str) -> str:
    """``schema.name``; a part that holds a dot or a quote is quoted, so no two tables share it."""
    return ".".join(
        '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part
        for part in (schema, name)
        if part
    )


@dataclass(frozen=True)
class Table:
    """Identity, columns and key of a table, as the stream told them.

    Parameters
    ----------
    schema: empty for sources without schemas.
    columns: in stream order.
    key_columns: names of the key's columns in key order; empty when there is no key.
    identity: what the log repeats of old rows (PostgreSQL's REPLICA IDENTITY).
    as_of: where the catalog's facts (key, nullability, defaults) were read; None when they
        came with the stream itself.
    oid: the source's number of the table, 0 where it has none.
    key_deferrable: whether two rows may have one key for a moment, inside a transaction.
    unique_columns: of a table without a primary key, the columns of its first unique index by name.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    key_columns: tuple[str, ...] = ()
    identity: Identity = "default"
    as_of: str | None = field(default=None, compare=False)
    oid: int = 0
    key_deferrable: bool = False
    unique_columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    @cached_property
    def text(self) -> str:
        """The table's name as users write it: ``schema.name``."""
        return qualified(self.schema, self.name)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Column name to position."""
        return MappingProxyType({column.name: i for i, column in enumerate(self.columns)})

    @cached_property
    def key_indexes(self) -> tuple[int, ...]:
        """Positions of the key's columns, in key order.

        Raises SchemaError when a key column is not among the columns.
        """
        try:
            return tuple(self.index[name] for name in self.key_columns)
        except KeyError as missing:
            raise SchemaError(
                f"key column {missing.args[0]!r} of {self.text} is not captured",
                hint="add it to the publication's column list",
                table=self.text,
            ) from None

    @cached_property
    def key_definition(self) -> Table:
        """The key alone, as a table of its own."""
        columns = tuple(self.columns[i] for i in self.key_indexes)
        return Table(self.schema, self.name, columns, self.key_columns, self.identity)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns' names in order."""
        return tuple(column.name for column in self.columns)
