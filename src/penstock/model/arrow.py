"""Changes as Arrow record batches: one per table, a row per change, in commit order.

A table's columns come first, under their own names and with the types below; all may be null, as a
change need not carry them. Whatever a column's type cannot hold (``NaN`` in a decimal, an infinite
date, an array of two dimensions) is null there, and its exact text is in ``_text``.

=============================== =====================================================
``boolean``                     bool
``smallint integer bigint oid`` int16, int32, int64, uint32
``tinyint``, ``unsigned``       int8, and uint8 to uint64
``real double precision``       float32, float64; MySQL's ``float`` float32
``numeric(p,s)``                decimal128(p, s) for p up to 38 and s from 0 to p
``bytea``                       binary
``uuid``                        arrow.uuid
``date``                        date32, the years 1 to 9999
``time``                        time64[us]
``timestamp timestamptz``       timestamp[us], timestamp[us, UTC], the years 1 to 9999
arrays                          list of the element's type; of text for uuid
all else, json among it         string, the exact text
=============================== =====================================================

Behind them:

================= ==================================================================================
``_op``           the operation
``_id``           the change's id
``_mark``         its mark, as text
``_version``      a number that grows per key
``_ordinal``      which change of its transaction it is; rows of all tables are in the order of
                  (``_version``, ``_ordinal``)
``_committed_at`` when its transaction was committed; null for snapshot rows
``_unchanged``    names of columns whose value the log did not repeat; they are null here
``_old_key``      the key before the change, where that changed; absent where there is no key
``_text``         name and exact text of the values that their column's type cannot hold; those of
                  the old key are named ``_old_key.name``
================= ==================================================================================

A delete has what the log has: the whole old row, or the key's columns. A truncate is a row of the
last columns only. The old row of an update is not here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import DecodeError, MissingExtraError, SchemaError
from penstock.model import arrow_values as values
from penstock.model.change import OPERATIONS, Change
from penstock.model.table import UNCHANGED, Column, Kind, Raw, Table, Type

if TYPE_CHECKING:
    import pyarrow

    from penstock.model.packed import Packed

_ADDED: Final = (
    *("op", "id", "mark", "version", "ordinal"),
    *("committed_at", "unchanged", "old_key", "text"),
)
_KINDS: Final = {
    Kind.BOOLEAN: "bool",
    Kind.INTEGER: "int64",
    Kind.FLOAT: "float64",
    Kind.BYTES: "binary",
    Kind.UUID: "uuid",
    Kind.DATE: "date32",
    Kind.TIME: "time64[us]",
    Kind.TIMESTAMP: "timestamp[us]",
    Kind.TIMESTAMPTZ: "timestamp[us, UTC]",
}
_DECIMAL: Final = re.compile(r"decimal128\((\d+), (\d+)\)")
_HINT: Final = "the session must have client_encoding=UTF8 and bytea_output=hex"


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as missing:
        raise MissingExtraError(
            "pyarrow is not installed", hint="pip install 'penstock[arrow]'"
        ) from missing
    return pyarrow


def _name(type: Type) -> str:
    """The name of a type's Arrow type."""
    if type.kind is Kind.ARRAY and type.element is not None and type.codec:
        element = _name(type.element)
        # pandas has no lists of uuid; a list inside a list could not be told from two dimensions
        return f"list<{'string' if element == 'uuid' or element[:4] == 'list' else element}>"
    return type.arrow or _KINDS.get(type.kind, "string")


def _type(name: str) -> pyarrow.DataType:
    """The Arrow type of that name."""
    pa = _pyarrow()
    if name.startswith("list"):
        return pa.list_(_type(name[5:-1]))
    if digits := _DECIMAL.fullmatch(name):
        return pa.decimal128(int(digits[1]), int(digits[2]))
    if name == "timestamp[us, UTC]":
        return pa.timestamp("us", "UTC")
    return pa.uuid() if name == "uuid" else pa.type_for_alias(name)


_CONVERT: Final[dict[str, values.Convert]] = {
    "bool": values.boolean,
    **{f"int{n}": values.integer(-(1 << n - 1), (1 << n - 1) - 1) for n in (8, 16, 32, 64)},
    **{f"uint{n}": values.integer(0, (1 << n) - 1) for n in (8, 16, 32, 64)},
    "float32": values.float32,
    "float64": values.float64,
    "string": values.text,
    "binary": values.binary,
    "uuid": values.uuid,
    "date32": values.day,
    "time64[us]": values.clock,
    "timestamp[us]": values.timestamp,
    "timestamp[us, UTC]": values.timestamptz,
}


def _convert(name: str, type: Type) -> values.Convert:
    """What makes values of the Arrow type of that name."""
    if name.startswith("list"):
        assert type.element is not None
        return values.array(type, _convert(name[5:-1], type.element))
    if digits := _DECIMAL.fullmatch(name):
        return values.decimal(int(digits[1]), int(digits[2]))
    return _CONVERT[name]


def schema(table: Table, prefix: str = "_") -> pyarrow.Schema:
    """The schema of a table's record batches.

    Its metadata are ``penstock.table``, ``penstock.key`` (a JSON list of names) and
    ``penstock.identity`` (what the log repeats of old rows); a column's are ``penstock.type``, the
    source's own spelling of its type.

    Raises
    ------
    SchemaError: a column has the name of one that is added.
    MissingExtraError: pyarrow is not installed.
    """
    pa = _pyarrow()
    added = [prefix + name for name in _ADDED]
    for column in table.names:
        if column in added or column.startswith(f"{prefix}old_key."):
            raise SchemaError(
                f"{table.text} has a column {column!r}, which is a name that to_arrow() adds",
                hint='to_arrow(prefix="penstock_") names the added ones otherwise',
                table=table.text,
            )
    columns = [_field(column) for column in table.columns]
    types = (
        pa.dictionary(pa.int8(), pa.string()),
        pa.string(),
        pa.string(),
        pa.int64(),
        pa.int64(),
        pa.timestamp("us", "UTC"),
        pa.list_(pa.string()),
        pa.struct([columns[i] for i in table.key_indexes]) if table.key_columns else None,
        pa.map_(pa.string(), pa.string()),
    )
    always = [prefix + name for name in ("op", "id", "mark", "ordinal")]
    columns += [
        pa.field(name, type, nullable=name not in always)
        for name, type in zip(added, types, strict=True)
        if type is not None
    ]
    return pa.schema(
        columns,
        metadata={
            "penstock.table": table.text,
            "penstock.key": json.dumps(table.key_columns, ensure_ascii=False),
            "penstock.identity": table.identity,
        },
    )


def _field(column: Column) -> pyarrow.Field:
    metadata = {"penstock.type": column.type.sql}
    return _pyarrow().field(column.name, _type(_name(column.type)), metadata=metadata)


def record_batches(events: Iterable[object], prefix: str = "_") -> list[pyarrow.RecordBatch]:
    """The record batches of the changes among the events, one per version of a table.

    Raises
    ------
    DecodeError: a value is none of its column's type.
    SchemaError, MissingExtraError: as :func:`schema`.
    """
    tables: dict[int, _Rows] = {}
    for event in events:
        if not isinstance(event, Change):
            continue
        rows = tables.get(id(event.definition))
        if rows is None:
            rows = tables[id(event.definition)] = _Rows(event.definition, prefix)
        rows.add(event)
    return [rows.finish() for rows in tables.values()]


def packed_batches(packed: Packed, prefix: str = "_") -> list[pyarrow.RecordBatch]:
    """The same of a batch of the native kernel, which fills the schemas that it asks for."""
    pa = _pyarrow()
    return [pa.record_batch(made) for made in packed.to_arrow(partial(_known, prefix=prefix))]


_KNOWN: Final[dict[tuple[int, str], tuple[Table, pyarrow.Schema]]] = {}
_MANY: Final = 256


def _known(table: Table, prefix: str) -> pyarrow.Schema:
    """As :func:`schema`, which is made once, not for each batch."""
    key = id(table), prefix  # its own for as long as the table is kept here
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MANY:
            _KNOWN.clear()
        known = _KNOWN[key] = table, schema(table, prefix)
    return known[1]


class _Rows:
    """The rows of one table, column by column."""

    def __init__(self, table: Table, prefix: str) -> None:
        self._schema = schema(table, prefix)
        self._table = table
        self._columns = [_Cells(table, column, column.name) for column in table.columns]
        self._key = [
            _Cells(table, column, f"{prefix}old_key.{column.name}")
            for column in table.key_definition.columns
        ]
        self._has_old_key: list[bool] = []
        self._added: list[list[Any]] = [[] for _ in range(7)]

    def add(self, change: Change[Any]) -> None:
        unchanged: list[str] = []
        texts: list[tuple[str, str]] = []
        for cells, raw in zip(self._columns, self._values(change), strict=True):
            cells.add(raw, unchanged, texts)
        old_key = change.key_old
        for cells, raw in zip(self._key, old_key or [None] * len(self._key), strict=True):
            cells.add(raw, unchanged, texts)
        self._has_old_key.append(old_key is not None)
        transaction = change.transaction
        row = (
            OPERATIONS.index(change.operation),
            change.id,
            change.version,
            change.ordinal,
            transaction.committed_us if transaction else None,
            unchanged or None,
            texts or None,
        )
        for column, value in zip(self._added, row, strict=True):
            column.append(value)

    def _values(self, change: Change[Any]) -> Sequence[Raw]:
        """The row after the change, or what the log has of the row before it."""
        if change.values_after is not None:
            return change.values_after
        if change.values_before is not None:
            return change.values_before
        row: list[Raw] = [None] * len(self._columns)
        for i, raw in zip(self._table.key_indexes, change.key_new or (), strict=False):
            row[i] = raw
        return row

    def finish(self) -> pyarrow.RecordBatch:
        pa = _pyarrow()
        fields = [self._schema.field(i) for i in range(len(self._schema))]
        height = len(self._has_old_key)
        arrays = [cells.finish(f.type) for cells, f in zip(self._columns, fields, strict=False)]
        op, id, version, ordinal, committed, unchanged, text = self._added
        ids = pa.array(id, pa.string())
        kinds = pa.array(op, pa.int8())
        arrays += [
            pa.DictionaryArray.from_arrays(kinds, pa.array(OPERATIONS, pa.string())),
            ids,
            ids,
            pa.array(version, pa.int64()),
            pa.array(ordinal, pa.int64()),
            pa.array(committed, pa.timestamp("us", "UTC")),
            pa.array(unchanged, pa.list_(pa.string())),
        ]
        if self._key:
            parts = fields[-2].type
            arrays.append(
                pa.StructArray.from_arrays(
                    [cells.finish(part.type) for cells, part in zip(self._key, parts, strict=True)],
                    fields=list(parts),
                    mask=pa.array([not has for has in self._has_old_key], pa.bool_()),
                )
            )
        arrays.append(pa.array(text, fields[-1].type))
        assert all(len(array) == height for array in arrays)
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


class _Cells:
    """The values of one column. ``name`` is what ``_unchanged`` and ``_text`` call it."""

    def __init__(self, table: Table, column: Column, name: str) -> None:
        self._table = table
        self._column = column
        self._name = name
        self._convert = _convert(_name(column.type), column.type)
        self._values: list[Any] = []

    def add(self, raw: Raw, unchanged: list[str], texts: list[tuple[str, str]]) -> None:
        value = None
        if raw is UNCHANGED:
            unchanged.append(self._name)
        elif raw is not None:
            try:
                try:
                    value = self._convert(raw)
                except values.Misfit:
                    texts.append((self._name, raw.decode()))
            except ValueError as error:
                shown = raw[:80].decode("ascii", "backslashreplace")
                raise DecodeError(
                    f"{self._table.text}.{self._name}: "
                    f"cannot read '{shown}' as {self._column.type.sql}",
                    hint=_HINT,
                    table=self._table.text,
                ) from error
        self._values.append(value)

    def finish(self, type: pyarrow.DataType) -> pyarrow.Array:
        return _pyarrow().array(self._values, type)
