"""What becomes of a table's rows on their way: which columns stay, in which order, masked how.

Plain data for one version of a table. Whoever decodes rows applies it at once, so that nothing
that it hides is ever stored, logged or sent; both kernels give the same bytes.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal, TypeAlias

from penstock.errors import SchemaError
from penstock.model.batch import Batch, Event, EventBatch, SchemaChange, SnapshotBegin, SnapshotEnd
from penstock.model.change import Change
from penstock.model.table import UNCHANGED, Column, Kind, Raw, Table, Type

TEXT: Final = Type("text", Kind.TEXT, "text", oid=25, base=25)
"""The type of a masked column."""


@dataclass(frozen=True, slots=True)
class Masking:
    """What stands in a value's place, made of its exact text. Null stays null.

    Parameters
    ----------
    method: ``fixed``: always ``text``; ``truncate``: its first ``length`` characters; ``hmac``:
        the HMAC-SHA256 under ``key``, in lower-case hexadecimal.
    """

    method: Literal["fixed", "truncate", "hmac"]
    text: bytes = b""
    length: int = 0
    key: bytes = field(default=b"", repr=False)

    @property
    def distinguishes(self) -> bool:
        """Whether two values that differ still do."""
        return self.method == "hmac"

    def __call__(self, raw: bytes) -> bytes:
        """What stands in the place of this text."""
        if self.method == "hmac":
            return hmac.digest(self.key, raw, "sha256").hex().encode()
        if self.method == "fixed":
            return self.text
        return _first(raw, self.length)


def _first(raw: bytes, length: int) -> bytes:
    """The first characters of a UTF-8 text."""
    if len(raw) <= length:
        return raw
    begun = 0
    for i, byte in enumerate(raw):
        if byte & 0xC0 != 0x80:  # not inside a character
            begun += 1
            if begun > length:
                return raw[:i]
    return raw


@dataclass(frozen=True, slots=True)
class Output:
    """A column that goes on.

    Parameters
    ----------
    position: which of the source's columns it is.
    name: what it is called from here on.
    named: whether a rule names it; else it is there because nothing says otherwise.
    """

    position: int
    name: str
    masking: Masking | None = None
    named: bool = False


Values: TypeAlias = Sequence[Raw]


@dataclass(frozen=True)
class Projection:
    """What goes on of one version of a table.

    Parameters
    ----------
    source: the table as its source shows it.
    outputs: the columns that go on, in order.
    gone: columns that the table once had, under the names that they would have here.
    closed: only columns that are named, or were there when the rules first met the table, go on.
    """

    source: Table
    outputs: tuple[Output, ...]
    gone: frozenset[str] = frozenset()
    closed: bool = False

    @classmethod
    def whole(cls, table: Table, known: Collection[str] = ()) -> Projection:
        """All columns as they are; ``known`` are those of earlier versions."""
        outputs = tuple(Output(i, name) for i, name in enumerate(table.names))
        return cls(table, outputs, frozenset(known) - set(table.names))

    def without(self, names: Collection[str]) -> Projection:
        """Drop source columns that no rule names."""
        kept = (o for o in self.outputs if o.named or self.source.names[o.position] not in names)
        return replace(self, outputs=tuple(kept))

    @property
    def trivial(self) -> bool:
        """Whether rows go on as they are."""
        columns = enumerate(self.source.names)
        return [(i, name, None) for i, name in columns] == [
            (o.position, o.name, o.masking) for o in self.outputs
        ]

    @cached_property
    def table(self) -> Table:
        """The table that goes on.

        Raises SchemaError where there can be none: two columns of one name, or a key whose
        columns do not all go on, or not all distinguishably.
        """
        source, text = self.source, self.source.text
        if not self.outputs and source.columns:
            raise SchemaError(f"no column of {text} is left", table=text)
        seen: dict[str, int] = {}
        for output in self.outputs:
            if output.name in seen:
                first, second = source.names[seen[output.name]], source.names[output.position]
                raise SchemaError(
                    f"two columns of {text} are to be called {output.name!r}: {first!r} and "
                    f"{second!r}",
                    hint="rename one of them to another name",
                    table=text,
                )
            seen[output.name] = output.position
        return replace(
            source,
            columns=tuple(map(self._column, self.outputs)),
            key_columns=tuple(self.outputs[i].name for i in self._key),
            unique_columns=self._unique,
        )

    @cached_property
    def stored(self) -> Table:
        """The source's table as it may be stored: defaults are values of old rows."""
        clear = {output.position for output in self.outputs if output.masking is None}
        columns = (
            column
            if i in clear
            else replace(column, default=_hidden(column.default), expression=None)
            for i, column in enumerate(self.source.columns)
        )
        return replace(self.source, columns=tuple(columns))

    def _column(self, output: Output) -> Column:
        column = self.source.columns[output.position]
        if output.masking is None:
            return replace(column, name=output.name)
        default = _hidden(column.default)
        return Column(output.name, TEXT, column.nullable, default, external=column.external)

    @cached_property
    def _key(self) -> tuple[int, ...]:
        """Which outputs are the key's columns, in key order."""
        places = {output.position: i for i, output in enumerate(self.outputs)}
        text = self.source.text
        for name, position in zip(self.source.key_columns, self.source.key_indexes, strict=True):
            if position not in places:
                raise SchemaError(
                    f"{text}.{name} is of the key, so it cannot be left out",
                    hint="keep it, or mask it with the method hmac",
                    table=text,
                )
            masking = self.outputs[places[position]].masking
            if masking is not None and not masking.distinguishes:
                raise SchemaError(
                    f"{text}.{name} is of the key: masked by {masking.method}, different rows "
                    "would have one key",
                    hint="mask it with the method hmac",
                    table=text,
                )
        return tuple(places[position] for position in self.source.key_indexes)

    @property
    def _unique(self) -> tuple[str, ...]:
        """The columns of the unique index; none where they do not all go on distinguishably."""
        told = {
            output.position: output.name
            for output in self.outputs
            if output.masking is None or output.masking.distinguishes
        }
        positions = [self.source.index[name] for name in self.source.unique_columns]
        if not told.keys() >= set(positions):
            return ()
        return tuple(told[position] for position in positions)

    @cached_property
    def values(self) -> Callable[[Values], list[Raw]]:
        """Makes a row that goes on of a source's row."""
        return _reader(self.outputs)

    @cached_property
    def key_values(self) -> Callable[[Values], list[Raw]]:
        """The same for the values of the key's columns alone, in key order."""
        outputs = (self.outputs[i] for i in self._key)
        return _reader([replace(output, position=i) for i, output in enumerate(outputs)])

    def after(self, read: Callable[[bytes], Values]) -> Callable[[bytes], list[Raw]]:
        """Reads a row as ``read`` does, and projects it."""
        project = self.values
        return lambda payload: project(read(payload))

    def change(self, change: Change) -> Change:
        """The change that goes on."""

        def of(read: Callable[[Values], list[Raw]], values: Values | None) -> list[Raw] | None:
            return None if values is None else read(values)

        made: Change = Change(
            change.operation,
            self.table,
            change.origin,
            change.ordinal,
            of(self.values, change.values_before),
            of(self.values, change.values_after),
            of(self.key_values, change.key_new),
            of(self.key_values, change.key_old),
        )
        made.part, made.route, made.headers = change.part, change.route, change.headers
        made.own_id = change.own_id
        return made


def _hidden(default: str | None) -> str | None:
    """That there is a default is worth knowing, its value is not to be known."""
    return None if default is None else "(masked)"


def _reader(outputs: Sequence[Output]) -> Callable[[Values], list[Raw]]:
    positions = [output.position for output in outputs]
    masked = [(i, o.masking) for i, o in enumerate(outputs) if o.masking is not None]

    def read(values: Values) -> list[Raw]:
        row = [values[i] for i in positions]
        for i, masking in masked:
            raw = row[i]
            if raw is not None and raw is not UNCHANGED:
                row[i] = masking(raw)
        return row

    return read


ProjectionOf: TypeAlias = Callable[[Table], Projection | None]
"""Gives each version of a table its projection; None where rows go on as they are.

Raises SchemaError where the rules do not fit the table.
"""


def whole(_: Table) -> None:
    """The projection of every table where there are no rules."""


def project_event(event: Event, projection_of: ProjectionOf) -> Event:
    """An event as it goes on."""

    def shown(table: Table) -> Table:
        projection = projection_of(table)
        return table if projection is None else projection.table

    if isinstance(event, Change):
        projection = projection_of(event.definition)
        return event if projection is None else projection.change(event)
    if isinstance(event, SchemaChange):
        before = None if event.before is None else shown(event.before)
        return SchemaChange(before, shown(event.after))
    if isinstance(event, SnapshotBegin | SnapshotEnd):
        return replace(event, table=shown(event.table))
    return event


def project(batch: Batch, projection_of: ProjectionOf) -> EventBatch:
    """A batch as it goes on."""
    events = [project_event(event, projection_of) for event in batch]
    return EventBatch(batch.stream, events, batch.last, batch.checkpoint, batch.size)
