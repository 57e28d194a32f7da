"""A row, and what happened to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Generic, Literal, TypeAlias, cast

from typing_extensions import TypeVar

from penstock.errors import DecodeError
from penstock.model.mark import Mark
from penstock.model.table import UNCHANGED, Raw, Table

Operation: TypeAlias = Literal["insert", "update", "delete", "truncate", "read", "upsert"]
OPERATIONS: Final[tuple[Operation, ...]] = (
    "insert",
    "update",
    "delete",
    "truncate",
    "read",
    "upsert",
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_NO_SOURCE: Final[Mapping[str, Any]] = MappingProxyType({})


class Row(Mapping[str, Any]):
    """A read-only mapping of column name to Python value.

    Values are made when asked for; :meth:`text` gives the server's own text, which loses nothing.
    Two rows are equal when their columns' names and exact texts are.
    """

    __slots__ = ("table", "values_raw")

    def __init__(self, table: Table, values: Sequence[Raw]) -> None:
        self.table = table
        self.values_raw = values

    def __getitem__(self, name: str) -> Any:
        i = self.table.index[name]
        raw = self.values_raw[i]
        if raw is None or raw is UNCHANGED:
            return raw
        column = self.table.columns[i]
        try:
            return column.type.parse(raw)
        except (ValueError, ArithmeticError, UnicodeError) as error:
            raise DecodeError(
                f"{self.table.text}.{name}: cannot read {raw[:80]!r} as {column.type.sql}: {error}",
                hint=f"row.text({name!r}) gives the exact text",
                table=self.table.text,
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.table.names)

    def __len__(self) -> int:
        return len(self.table.columns)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Row):
            return self.table.names == other.table.names and tuple(self.values_raw) == tuple(
                other.values_raw
            )
        if isinstance(other, Mapping):
            return dict(self) == dict(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.table.names, tuple(self.values_raw)))

    def __repr__(self) -> str:
        return f"Row({ {name: self.raw(name) for name in self}!r})"

    def raw(self, name: str) -> Raw:
        """The exact text in UTF-8, None for null, or UNCHANGED."""
        return self.values_raw[self.table.index[name]]

    def text(self, name: str) -> str | None:
        """The server's exact text of a column; None for null.

        Raises DecodeError when the log did not repeat the value (UNCHANGED).
        """
        raw = self.raw(name)
        if raw is UNCHANGED:
            raise DecodeError(
                f"{self.table.text}.{name} is UNCHANGED: the log did not repeat it",
                hint=f"ALTER TABLE {self.table.text} REPLICA IDENTITY FULL",
                table=self.table.text,
            )
        return None if raw is None else raw.decode()


@dataclass(frozen=True, slots=True)
class Transaction:
    """The source transaction that a change belongs to.

    ``committed_us`` is the commit time in microseconds since 1970-01-01 UTC.
    """

    id: str
    committed_us: int

    @property
    def committed_at(self) -> datetime:
        """The commit time, with zone UTC."""
        return _EPOCH + timedelta(microseconds=self.committed_us)


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What all changes of one transaction (or of one snapshot attempt) share.

    Parameters
    ----------
    mark: the transaction part of the changes' marks.
    transaction: None for snapshot rows.
    version: a 63-bit number that grows per key; None where the source has none.
    source: facts about the source that formats may show; the same on every repeat.
    """

    mark: str
    transaction: Transaction | None = None
    version: int | None = None
    source: Mapping[str, Any] = field(default_factory=lambda: _NO_SOURCE)


T = TypeVar("T", default=Row)


class Change(Generic[T]):
    """One change of one row (or a TRUNCATE of one table).

    Built by sources for every row, so it keeps raw values and makes the rest when asked. Treat it
    as frozen. ``values_*`` and ``key_*`` hold raw texts: of all columns, and of the key's columns.
    """

    __slots__ = (
        "definition",
        "headers",
        "key_new",
        "key_old",
        "operation",
        "ordinal",
        "origin",
        "own_id",
        "part",
        "route",
        "typed_row",
        "values_after",
        "values_before",
    )

    def __init__(
        self,
        operation: Operation,
        definition: Table,
        origin: Origin,
        ordinal: int,
        before: Sequence[Raw] | None = None,
        after: Sequence[Raw] | None = None,
        key: Sequence[Raw] | None = None,
        old_key: Sequence[Raw] | None = None,
    ) -> None:
        self.operation: Operation = operation
        self.definition = definition
        self.origin = origin
        self.ordinal = ordinal
        self.values_before = before
        self.values_after = after
        self.key_new = key
        self.key_old = old_key
        self.route: str | None = None
        self.headers: Mapping[str, str] = _NO_HEADERS
        self.part = 0
        self.own_id: str | None = None
        self.typed_row: T | None = None

    @property
    def table(self) -> str:
        """The table's name, ``schema.name``."""
        return self.definition.text

    @property
    def mark(self) -> Mark:
        """Names this change for ever."""
        return Mark(self.origin.mark, self.ordinal, self.part)

    @property
    def id(self) -> str:
        """Stable text: the same change has the same id on every repeat; the one that it came with
        (``own_id``), where it was written by penstock before."""
        id = self.own_id or f"{self.origin.mark}:{self.ordinal}"
        return id + (f".{self.part}" if self.part else "")

    @property
    def transaction(self) -> Transaction | None:
        """The source transaction; None for a snapshot row."""
        return self.origin.transaction

    @property
    def version(self) -> int | None:
        """A number that grows per key, for compare-and-set sinks."""
        return self.origin.version

    @property
    def key_values(self) -> tuple[Raw, ...] | None:
        """The key's raw values in key order; None when the table has no key."""
        if self.key_new is not None:
            return tuple(self.key_new)
        values = self.values_after if self.values_after is not None else self.values_before
        if values is None or not self.definition.key_columns:
            return None
        return tuple(values[i] for i in self.definition.key_indexes)

    @property
    def key(self) -> Row | None:
        """The row's key after the change (a delete's: before it)."""
        values = self.key_values
        return None if values is None else Row(self.definition.key_definition, values)

    @property
    def old_key(self) -> Row | None:
        """The key before the change, only where the key changed."""
        if self.key_old is None:
            return None
        return Row(self.definition.key_definition, self.key_old)

    @property
    def before(self) -> Row | None:
        """The whole old row, where the log carried it."""
        return None if self.values_before is None else Row(self.definition, self.values_before)

    @property
    def after(self) -> Row | None:
        """The new row; None for a delete or truncate."""
        return None if self.values_after is None else Row(self.definition, self.values_after)

    @property
    def row(self) -> T:
        """``after``, or a delete's ``before``; a handler's own type where it asked for one.

        Raises DecodeError when the log carried neither.
        """
        if self.typed_row is not None:
            return self.typed_row
        row = self.after if self.values_after is not None else self.before
        if row is None:
            hint = f"ALTER TABLE {self.table} REPLICA IDENTITY FULL"
            if self.operation == "truncate":
                hint = "a truncate has no row: ask change.operation first"
            raise DecodeError(
                f"the {self.operation} of {self.table} carries no row",
                hint=hint,
                table=self.table,
                mark=self.mark,
            )
        return cast("T", row)

    @property
    def changed(self) -> frozenset[str] | None:
        """Names of the columns that the change set; None where the log cannot tell."""
        names = self.definition.names
        if self.operation != "update":
            return frozenset(names)
        if self.values_before is None or self.values_after is None:
            return None
        pairs = zip(names, self.values_before, self.values_after, strict=True)
        return frozenset(n for n, old, new in pairs if new is not UNCHANGED and old != new)

    def __repr__(self) -> str:
        key = self.key
        where = dict(key) if key is not None else None
        return f"<Change {self.operation} {self.table} {where} at {self.id}>"


@dataclass(frozen=True, slots=True)
class Message:
    """A logical message, written by ``pg_logical_emit_message``.

    A non-transactional one stands outside any transaction: its transaction is None.
    """

    prefix: str
    content: bytes
    mark: Mark
    transaction: Transaction | None

    @property
    def id(self) -> str:
        """Stable text: the same message has the same id on every repeat."""
        return str(self.mark)
