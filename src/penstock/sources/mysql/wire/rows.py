"""Rows of write, update and delete events. This is where a decoder's time goes.

For each table and set of columns a function is compiled that reads all rows of an event; rows with
nulls, and bytes that are wrong, are left to a careful one. Only positions go into its source text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from struct import error as StructError
from typing import Any, Final, TypeAlias

from penstock.errors import DecodeError, ProtocolError
from penstock.model import UNCHANGED, Raw
from penstock.sources.mysql.wire.fields import Field, field_of
from penstock.sources.mysql.wire.tablemap import TableMap

Row: TypeAlias = list[Raw]
Rows: TypeAlias = list[Row]
Read: TypeAlias = Callable[[bytes, int, int], Rows]

_NONE: Final[Mapping[int, Callable[[bytes], Raw]]] = {}
_PREFIX: Final = {1: "B", 2: "H", 3: "HB", 4: "I"}


class Image:
    """One of the images of a row, of the columns that an event says it has.

    Parameters
    ----------
    mapped: the table.
    present: the event's bitmap of the columns that are there.
    """

    def __init__(self, mapped: TableMap, present: bytes) -> None:
        self._mapped = mapped
        self.columns: list[int] = [
            i for i in range(len(mapped.columns)) if present[i >> 3] >> (i & 7) & 1
        ]
        self.fields: list[Field] = [field_of(mapped.columns[i]) for i in self.columns]
        self.nulls = (len(self.columns) + 7) // 8
        """Bytes of a row's bitmap of nulls."""

    @property
    def width(self) -> int:
        """How many columns the table has."""
        return len(self._mapped.columns)

    @property
    def whole(self) -> bool:
        """Whether all columns are there."""
        return len(self.columns) == self.width

    def read_one(
        self, data: bytes, at: int, end: int, texts: Mapping[int, Callable[[bytes], Raw]] = _NONE
    ) -> tuple[Row, int]:
        """The row at a place, and where it ends. ``texts`` replace what makes texts of fields.

        Raises ProtocolError where it does not end before ``end``, and DecodeError for a text that
        its character set does not know.
        """
        begin, at = at, at + self.nulls
        if at > end:
            raise ProtocolError("an event ends inside a row", offset=begin)
        values: Row = [UNCHANGED] * self.width
        for n, (i, field) in enumerate(zip(self.columns, self.fields, strict=True)):
            if data[begin + (n >> 3)] >> (n & 7) & 1:
                values[i] = None
                continue
            length = field.size
            if not length:
                start = at + field.prefix
                length = int.from_bytes(data[at:start], "little")
                at = start
            raw = data[at : at + length]
            at += length
            if at > end:
                raise ProtocolError(
                    f"an event ends inside a value of {self._name(i)}", offset=at - length
                )
            text = texts.get(i, field.text)
            values[i] = raw if text is None else self._text(i, text, raw, at - length)
        return values, at

    def _text(self, i: int, text: Callable[[bytes], Raw], raw: bytes, at: int) -> Raw:
        try:
            return text(raw)
        except ProtocolError as error:
            raise ProtocolError(f"{self._name(i)}: {error.message}", offset=at) from None
        except ValueError as error:
            raise DecodeError(
                f"{self._name(i)} has a text that cannot be read: {error}",
                hint="ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4; nothing was skipped",
                table=f"{self._mapped.schema}.{self._mapped.name}",
            ) from None

    def _name(self, i: int) -> str:
        column = self._mapped.columns[i].name or f"column {i + 1}"
        return f"{self._mapped.schema}.{self._mapped.name}.{column}"


def reader(*images: Image) -> Read:
    """A function that reads all rows from one place to another: of one image, or of two in turn.

    It raises ProtocolError where they do not end there, and DecodeError as :meth:`Image.read_one`.
    """

    def carefully(data: bytes, at: int, end: int) -> Rows:
        rows = []
        while at < end:
            begin = at
            for image in images:
                values, at = image.read_one(data, at, end)
                rows.append(values)
            if at == begin:
                raise ProtocolError("rows without columns", offset=at)
        return rows

    scope: dict[str, Any] = {
        "carefully": carefully,
        "wrong": (StructError, IndexError, ValueError, ProtocolError, OverflowError),
        "unchanged": UNCHANGED,
    }
    body = "".join(_body(image, k, scope) for k, image in enumerate(images))
    source = f"""
def read(data, at, end):
 rows = []
 append = rows.append
 begin = at
 try:
  while at < end:
   last = at
{body}   if at == last:
    break
 except wrong:
  return carefully(data, begin, end)
 return rows if at == end else carefully(data, begin, end)
"""
    exec(source, scope)
    compiled: Read = scope["read"]
    return compiled


def _body(image: Image, k: int, scope: dict[str, Any]) -> str:
    """The statements that read one image without nulls: runs of fixed fields are unpacked
    together, each with the length of the field behind them."""
    unused = 8 * image.nulls - len(image.columns)
    full = (0xFF00 >> unused & 0xFF) if unused else 0
    # Servers differ in what the bits of no column are.
    scope[f"none{k}"] = {bytes(image.nulls), bytes(max(image.nulls - 1, 0)) + bytes((full,))}
    scope[f"careful{k}"] = image.read_one
    lines: list[str] = []
    names: list[str] = []
    form = ""

    def unpack() -> None:
        nonlocal form
        if form:
            layout = Struct("<" + form)
            name = f"s{k}_{len(lines)}"
            scope[name] = layout.unpack_from
            lines.append(f"{','.join(names)}, = {name}(data, at)")
            lines.append(f"at += {layout.size}")
            names.clear()
            form = ""

    shown = ["unchanged"] * image.width
    for i, field in zip(image.columns, image.fields, strict=True):
        value = f"v{i}"
        if field.size:
            form += field.number or f"{field.size}s"
            names.append(value)
        else:
            form += _PREFIX[field.prefix]
            names.extend([f"l{i}", f"h{i}"] if field.prefix == 3 else [f"l{i}"])
            unpack()
            high = f" + (h{i} << 16)" if field.prefix == 3 else ""
            lines.append(f"n = at + l{i}{high}")
            lines.append(f"{value} = data[at:n]")
            lines.append("at = n")
        if field.number:
            shown[i] = f"b'%d' % {value}"
        elif field.text is None:
            shown[i] = value
        else:
            scope[f"t{k}_{i}"] = field.text
            shown[i] = f"t{k}_{i}({value})"
    unpack()
    lines.append(f"append([{','.join(shown)}])")
    body = "".join(f"    {line}\n" for line in lines)
    return f"""\
   n = at + {image.nulls}
   if data[at:n] in none{k}:
    at = n
{body}   else:
    row, at = careful{k}(data, at, end)
    append(row)
"""
