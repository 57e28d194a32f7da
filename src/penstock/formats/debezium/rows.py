"""One version of a table, compiled: from the values of a row to the JSON of keys and rows.

A function is generated per table, as :mod:`penstock.formats.json` does it: only positions go into
its source text; names and literals are passed as values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from penstock.errors import DecodeError, SchemaError
from penstock.formats.debezium import numbers, schema
from penstock.formats.debezium.connectors import Connector
from penstock.formats.debezium.numbers import Encode
from penstock.formats.debezium.options import Debezium, topic_name
from penstock.formats.debezium.types import Mapped
from penstock.formats.json import IRREGULAR, NULL, string, text
from penstock.model import UNCHANGED, Column, Raw, Table

_INLINE: Final[dict[Encode, str]] = {
    numbers.as_it_stands: "{v}",
    numbers.boolean: "booleans[{v}]",
    text: "dumps({v}.decode())",
}


class _Told:
    """A column that is told, and how."""

    __slots__ = (
        "column",
        "default",
        "encode",
        "head",
        "index",
        "mapped",
        "missing",
        "null",
        "optional",
    )

    def __init__(
        self,
        index: int,
        column: Column,
        how: Mapped,
        default: bytes | None,
        key: bool,
        options: Debezium,
    ) -> None:
        self.index = index
        self.column = column
        self.mapped = how
        self.optional = column.nullable is not False and not key
        self.default = default
        self.head = string(column.name) + b":"
        replaced = options.replace_null_with_default and self.default is not None
        self.null = self.default if replaced and self.default is not None else NULL
        required = how.zero if self.default is None else self.default
        self.missing = self.null if self.optional else required
        """What stands for a value of the old row that the log did not carry."""
        self.encode = how.encode
        if how.nulls:
            self.encode = _filled(how.encode, self.null if self.optional else required)


class TableRows:
    """The compiled forms of one version of a table.

    Parameters
    ----------
    connector: whose records they are.

    Attributes
    ----------
    topic: where its records go, and the first part of its schemas' names.
    """

    def __init__(self, table: Table, options: Debezium, connector: Connector) -> None:
        self.table = table
        self.connector = connector
        self.topic = topic_name(options.topic_prefix, table.schema, table.name)
        names = _key_names(table, options)
        told = [
            _Told(
                i,
                column,
                how,
                connector.default(column, how),
                column.name in table.key_columns,
                options,
            )
            for i, column in enumerate(table.columns)
            if (how := connector.mapped(column.type, options)) is not None
        ]
        by_name = {one.column.name: one for one in told}
        absent = [name for name in names if name not in by_name]
        if absent:
            raise SchemaError(
                f"{', '.join(absent)}: no such column in {table.text}, or of a type that "
                "Debezium's format leaves out; it is part of the key",
                hint="name others in message_key_columns",
                table=table.text,
            )
        self.key_told = [by_name[name] for name in names]
        self.told = told
        self.encode = _compile(table, told)
        self.encode_key = _compile(table, self.key_told) if names else _no_key
        self._schemas(options)

    def _schemas(self, options: Debezium) -> None:
        self.value_head, self.value_tail = b"", b""
        self.key_head, self.key_tail = b"", b""
        if not options.schemas:
            return
        fields = [
            schema.of_column(t.column, t.mapped, optional=t.optional, default=t.default)
            for t in self.told
        ]
        named = {field["field"]: field for field in fields}
        self.value_head, self.value_tail = schema.wrapped(
            schema.envelope(self.topic, fields, self.connector.source)
        )
        key = schema.struct(f"{self.topic}.Key", [named[t.column.name] for t in self.key_told])
        self.key_head, self.key_tail = schema.wrapped(key)

    def row(self, values: Sequence[Raw]) -> bytes:
        """A row of all its columns. Raises DecodeError for a value that cannot be told."""
        try:
            return self.encode(values)
        except IRREGULAR:
            return self._any(self.told, values)

    def key(self, values: Sequence[Raw]) -> bytes | None:
        """The key's payload, of a row's values; None when the table has no key."""
        try:
            return self.encode_key(values)
        except IRREGULAR:
            unknown = [t.column.name for t in self.key_told if values[t.index] is UNCHANGED]
            if unknown:
                raise DecodeError(
                    f"the log did not repeat {', '.join(unknown)}, part of the key of "
                    f"{self.table.text}",
                    hint=self.connector.whole.format(table=self.table.text),
                    table=self.table.text,
                ) from None
            return self._any(self.key_told, values)

    def old_key(self, old: Sequence[Raw] | None) -> bytes | None:
        """The key's payload of an update's old row; None when it is not known."""
        if old is None or any(old[one.index] is UNCHANGED for one in self.key_told):
            return None
        return self.key(old)

    def padded(self, key: Sequence[Raw]) -> list[Raw]:
        """The values of a row of which only the table's key is known."""
        values: list[Raw] = [UNCHANGED] * len(self.table.columns)
        for index, raw in zip(self.table.key_indexes, key, strict=True):
            values[index] = raw
        return values

    def partial(self, key: Sequence[Raw]) -> bytes:
        """An old row of which the log carried the key only."""
        known = dict(zip(self.table.key_indexes, key, strict=True))
        pieces = [
            one.head + (self._value(one, known[one.index]) if one.index in known else one.missing)
            for one in self.told
        ]
        return b"{" + b",".join(pieces) + b"}"

    def _any(self, told: Sequence[_Told], values: Sequence[Raw]) -> bytes:
        return (
            b"{" + b",".join(one.head + self._value(one, values[one.index]) for one in told) + b"}"
        )

    def _value(self, one: _Told, raw: Raw) -> bytes:
        if raw is None:
            return one.null
        if raw is UNCHANGED:
            if one.mapped.unavailable is not None:
                return one.mapped.unavailable
            raise DecodeError(
                f"{self.table.text}.{one.column.name}: the log did not repeat the value, and "
                f"{one.mapped.schema['type']} has no placeholder for that",
                hint=self.connector.whole.format(table=self.table.text),
                table=self.table.text,
            )
        try:
            return one.encode(raw)
        except IRREGULAR as error:
            raise DecodeError(
                f"{self.table.text}.{one.column.name}: {raw!r:.80} is not as the server writes a "
                f"{one.column.type.sql}: {error}",
                hint=f"the session must have {self.connector.written}",
                table=self.table.text,
            ) from error


def _key_names(table: Table, options: Debezium) -> tuple[str, ...]:
    for pattern, columns in options.message_key_columns.items():
        if fnmatchcase(table.text, pattern):
            return columns
    return table.key_columns or table.unique_columns


def _filled(encode: Encode, other: bytes) -> Encode:
    """An encoder that tells another value in place of null."""

    def filled(raw: bytes) -> bytes:
        made = encode(raw)
        return other if made == NULL else made

    return filled


def _no_key(values: Sequence[Raw]) -> None:
    return None


def _compile(table: Table, told: Sequence[_Told]) -> Callable[[Sequence[Raw]], bytes]:
    """A function from the values of a row to the object of those columns. It raises one of
    ``IRREGULAR`` for values that are not as they mostly are, UNCHANGED among them."""
    scope: dict[str, Any] = {
        "dumps": string,
        "join": b"".join,
        "booleans": numbers.BOOLEANS,
    }
    pieces: list[str] = []
    for n, one in enumerate(told):
        i = one.index
        piece = _INLINE.get(one.encode, "{f}({v})").format(v=f"v{i}", f=f"f{i}")
        if one.optional:
            piece = f"n{i} if v{i} is None else {piece}"
        scope[f"h{i}"] = (b"," if n else b"{") + one.head
        scope[f"f{i}"], scope[f"n{i}"] = one.encode, one.null
        pieces += [f"h{i}", f"({piece})"]
    scope["end"] = b"}" if told else b"{}"
    parameters = "".join(f"v{i}," for i in range(len(table.columns)))
    source = (
        f"def encode(values):\n ({parameters}) = values\n return join(({','.join(pieces)},end))"
    )
    if not pieces:
        source = "def encode(values):\n return end"
    exec(source, scope)
    compiled: Callable[[Sequence[Raw]], bytes] = scope["encode"]
    return compiled
