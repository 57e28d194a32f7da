"""JSON of raw values, without making Python objects of them.

A value's exact text is its JSON wherever that is possible: integers and finite floats are numbers
as they stand, json is embedded as it stands, bytea is base64, and everything else (numeric, dates,
arrays, …) is the exact text as a string. So nothing is lost and the same change always gives the
same bytes.

One function is compiled per table: it unpacks the row and joins the pieces. Only positions go into
its source text; names and literals are passed as values.
"""

from __future__ import annotations

from binascii import b2a_base64, unhexlify
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from penstock.errors import DecodeError
from penstock.model import UNCHANGED, Change, Column, Kind, Raw, Table

Encode: TypeAlias = Callable[[Sequence[Raw]], bytes]
EncodeKey: TypeAlias = Callable[[Sequence[Raw]], bytes | None]
IRREGULAR: Final = (TypeError, AttributeError, ValueError, KeyError)
"""What a compiled function raises for values that only :func:`row` and :func:`key` take."""

NULL: Final = b"null"
_dumps: Final = orjson.dumps


def text(raw: bytes) -> bytes:
    """A JSON string of a UTF-8 text."""
    return _dumps(raw.decode())


def string(value: str) -> bytes:
    """A JSON string."""
    return _dumps(value)


_BOOLEANS: Final = {b"t": b"true", b"f": b"false"}


def _boolean(raw: bytes) -> bytes:
    if raw not in _BOOLEANS:
        raise ValueError("neither t nor f")
    return _BOOLEANS[raw]


def _float(raw: bytes) -> bytes:
    return b'"%b"' % raw if raw in (b"NaN", b"Infinity", b"-Infinity") else raw


def _bytes(raw: bytes) -> bytes:
    return b'"%b"' % b2a_base64(unhexlify(raw[2:]), newline=False)


def _json(raw: bytes) -> bytes:
    """The text itself; line ends, which only ``json`` keeps between tokens, become spaces."""
    if b"\n" in raw or b"\r" in raw:
        return raw.replace(b"\n", b" ").replace(b"\r", b" ")
    return raw


def _as_it_stands(raw: bytes) -> bytes:
    return raw


def _quoted(raw: bytes) -> bytes:
    return b'"%b"' % raw


_BY_KIND: Final[dict[Kind, Callable[[bytes], bytes]]] = {
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _as_it_stands,
    Kind.FLOAT: _float,
    Kind.BYTES: _bytes,
    Kind.JSON: _json,
    # texts of these hold no character that JSON escapes
    Kind.NUMERIC: _quoted,
    Kind.UUID: _quoted,
    Kind.DATE: _quoted,
    Kind.TIME: _quoted,
    Kind.TIMESTAMP: _quoted,
    Kind.TIMESTAMPTZ: _quoted,
    Kind.INTERVAL: _quoted,
}


def encoder(column: Column) -> Callable[[bytes], bytes]:
    """What makes JSON of a column's exact text."""
    return _BY_KIND.get(column.type.kind, text)


def row(table: Table, values: Sequence[Raw]) -> tuple[bytes, list[str]]:
    """The JSON object of a row, and the names of the columns that are UNCHANGED and so absent.

    Raises DecodeError for a value that its column's type does not allow.
    """
    pieces: list[bytes] = []
    unchanged: list[str] = []
    for column, raw in zip(table.columns, values, strict=True):
        if raw is UNCHANGED:
            unchanged.append(column.name)
            continue
        try:
            value = NULL if raw is None else encoder(column)(raw)
        except ValueError as error:
            raise DecodeError(
                f"{table.text}.{column.name}: {raw!r:.80} cannot be JSON: {error}",
                hint="the session must have client_encoding=UTF8 and bytea_output=hex",
                table=table.text,
            ) from error
        pieces.append(string(column.name) + b":" + value)
    return b"{" + b",".join(pieces) + b"}", unchanged


def key(table: Table, values: Sequence[Raw] | None) -> bytes | None:
    """The JSON object of a key's values; None where there is no key.

    Raises DecodeError when a part of the key is not known.
    """
    if values is None:
        return None
    encoded, unchanged = row(table.key_definition, values)
    if unchanged:
        raise DecodeError(
            f"the log did not repeat {', '.join(unchanged)}, part of the key of {table.text}",
            hint=f"ALTER TABLE {table.text} REPLICA IDENTITY FULL",
            table=table.text,
        )
    return encoded


# How a column's piece is written in the compiled function, where it is worth a special form.
# {v} is the value; {f} its encoder.
_INLINE: Final[dict[Callable[[bytes], bytes], str]] = {
    _as_it_stands: "{v}",
    _boolean: "booleans[{v}]",
    text: "dumps({v}.decode())",
    _quoted: "quote + {v} + quote",
}


def compile_row(table: Table, positions: Sequence[int] | None = None) -> Encode:
    """A function from the values of a row to the JSON object of its columns (or of those at
    ``positions``, in that order).

    It is fast for the common case and raises one of ``IRREGULAR`` for others, an UNCHANGED value
    among them: ask :func:`row` then.
    """
    columns = table.columns
    chosen = range(len(columns)) if positions is None else positions
    scope: dict[str, Any] = {
        "dumps": _dumps,
        "join": b"".join,
        "quote": b'"',
        "null": NULL,
        "booleans": _BOOLEANS,
    }
    pieces: list[str] = []
    literal = b"{"
    for n, i in enumerate(chosen):
        column = columns[i]
        encode = encoder(column)
        literal += (b"," if n else b"") + string(column.name) + b":"
        after = b""
        if encode is _quoted and column.nullable is False:
            piece, literal, after = f"v{i}", literal + b'"', b'"'
        else:
            piece = _INLINE.get(encode, "{f}({v})").format(v=f"v{i}", f=f"f{i}")
            if column.nullable is not False:
                piece = f"null if v{i} is None else {piece}"
        scope[f"l{i}"], scope[f"f{i}"] = literal, encode
        pieces += [f"l{i}", f"({piece})"]
        literal = after
    scope["end"] = literal + b"}"
    parameters = "".join(f"v{i}," for i in range(len(columns)))
    source = (
        f"def encode(values):\n ({parameters}) = values\n return join(({','.join(pieces)},end))"
        if pieces
        else "def encode(values):\n return end"
    )
    exec(source, scope)
    compiled: Encode = scope["encode"]
    return compiled


class TableJson(NamedTuple):
    """What is compiled once for a version of a table.

    ``row`` and ``key`` take all values of a row; ``name`` is the table's name as JSON.
    """

    table: Table
    row: Encode
    key: EncodeKey
    name: bytes

    def any_row(self, values: Sequence[Raw]) -> tuple[bytes, list[str]]:
        """What :func:`row` gives, the fast way where it can be."""
        try:
            return self.row(values), []
        except IRREGULAR:
            return row(self.table, values)

    def key_of(self, change: Change[Any]) -> bytes | None:
        """The JSON object of a change's key, the fast way where it can be."""
        if change.key_new is None and change.values_after is not None:
            with suppress(*IRREGULAR):
                return self.key(change.values_after)
        return key(self.table, change.key_values)


class Compiled:
    """Finds a table's compiled functions again. It keeps the table, so its ``id`` stays its own."""

    def __init__(self) -> None:
        self._tables: dict[int, TableJson] = {}

    def of(self, table: Table) -> TableJson:
        """The functions of a table, compiled when first asked for."""
        compiled = self._tables.get(id(table))
        if compiled is None:
            encode_key = compile_row(table, table.key_indexes) if table.key_columns else _no_key
            compiled = TableJson(table, compile_row(table), encode_key, string(table.text))
            self._tables[id(table)] = compiled
        return compiled


def _no_key(values: Sequence[Raw]) -> None:
    return None
