"""Records of the format ``change``: all that is known of a change, but its columns' types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from penstock.model import OPERATIONS, UNCHANGED, Change, Origin, Raw, Transaction
from penstock.sources.kafka.codec import Decoded

if TYPE_CHECKING:
    from penstock.sources.kafka.decoder import Consumed, Shapes
    from penstock.sources.kafka.shapes import Shape

_MICROSECOND: Final = timedelta(microseconds=1)


def change(record: Consumed, stream: str, value: Mapping[str, Any], shapes: Shapes) -> Change:
    """The change that a record tells. Raises KeyError, TypeError or ValueError where it is not as
    the format writes it."""
    operation = value["op"]
    if operation not in OPERATIONS:
        raise ValueError(f"there is no operation {operation!r}")
    before, after = value["before"], value["after"]
    key, old_key, unchanged = value["key"], value["old_key"], value["unchanged"]
    row = after if after is not None else before if before is not None else key or {}
    names = _split(value["table"])
    columns = dict.fromkeys((*row, *unchanged))
    shape = shapes.of(names, (None, columns), None if key is None else Decoded(None, key))
    moment = value["transaction"]
    transaction = None
    if moment is not None:
        at = datetime.fromisoformat(moment["committed_at"])
        micros = (at - datetime.fromisoformat("1970-01-01T00:00:00+00:00")) // _MICROSECOND
        transaction = Transaction(moment["id"], micros)
    origin = Origin(stream, transaction, record.offset, value["source"])
    made: Change = Change(operation, shape.table, origin, record.offset)
    made.values_before = None if before is None else _row(shape, before)
    made.values_after = None if after is None else _row(shape, after)
    if key is not None and after is None:
        made.key_new = shape.key(key)
    if old_key is not None:
        made.key_old = shape.key(old_key)
    made.own_id = value["id"]
    return made


def _row(shape: Shape, values: Mapping[str, Any]) -> list[Raw]:
    """A row without the columns that are UNCHANGED, or that an old row did not have."""
    read = shape.row({name: values.get(name) for name in shape.table.names})
    return [
        raw if name in values else UNCHANGED
        for name, raw in zip(shape.table.names, read, strict=True)
    ]


def _split(table: str) -> tuple[str, str]:
    """Schema and name; a part that holds a dot or a quote is quoted."""
    parts: list[str] = []
    rest = table
    while rest:
        if rest.startswith('"'):
            end = 1
            while (end := rest.index('"', end)) and rest[end + 1 : end + 2] == '"':
                end += 2
            parts.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 2 :]
        else:
            part, _, rest = rest.partition(".")
            parts.append(part)
    if not 1 <= len(parts) <= 2:
        raise ValueError(f"{table!r} is no table")
    return (parts[0], parts[1]) if len(parts) == 2 else ("", parts[0])
