"""One version of a table, as the schemas of its records tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.model import UNCHANGED, Column, Raw, Table
from penstock.sources.kafka.codec import Schema
from penstock.sources.kafka.types import Reading, reading

_ZEROS: Final = (b"0", b"", b"f", b"\\x", b"{}", b"1970-01-01")


class Shape:
    """A table, and how its rows are read.

    Parameters
    ----------
    schema, name: the table's.
    fields: name and schema of each column; None for a schema that did not come.
    key: the key's columns, in order.
    placeholder: what stands for a value that the log did not repeat.

    Raises ValueError for a schema that is none.
    """

    def __init__(
        self,
        schema: str,
        name: str,
        fields: Sequence[tuple[str, Schema | None]],
        key: Sequence[str],
        placeholder: str,
        *,
        whole: bool,
    ) -> None:
        readings = [(field, of, reading(of, placeholder)) for field, of in fields]
        self.table = Table(
            schema,
            name,
            tuple(_column(field, of, how) for field, of, how in readings),
            tuple(key),
            "full" if whole else "default",
        )
        self._cells = [(field, how.text, how.unavailable) for field, _, how in readings]
        by_name = {cell[0]: cell for cell in self._cells}
        self._key = [by_name[field] for field in key if field in by_name]

    def row(self, values: Mapping[str, Any]) -> list[Raw]:
        """The exact texts of a row.

        Raises KeyError, TypeError or ValueError where it is not as its schema says.
        """
        row: list[Raw] = []
        for name, text, unavailable in self._cells:
            value = values[name]
            if value is None:
                row.append(None)
            elif value == unavailable:
                row.append(UNCHANGED)
            else:
                row.append(text(value))
        return row

    def key(self, values: Mapping[str, Any]) -> list[Raw]:
        """The exact texts of a key, in key order; raises like :meth:`row`."""
        return [
            None if (value := values[name]) is None else text(value) for name, text, _ in self._key
        ]


def _column(name: str, schema: Schema | None, how: Reading) -> Column:
    if schema is None:
        return Column(name, how.type)
    return Column(name, how.type, bool(schema.get("optional")), _default(schema, how))


def _default(schema: Schema, how: Reading) -> str | None:
    """A default as SQL. A type's zero says nothing: it also stands for what was an expression."""
    default = schema.get("default")
    if default is None:
        return None
    text = how.text(default)
    if text in _ZEROS or text.startswith((b"1970-01-01 00:00:00", b"00:00:00")):
        return None
    return "'" + text.decode().replace("'", "''") + "'"
