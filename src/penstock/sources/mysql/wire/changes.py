"""Changes of the rows that an event has: their images, whole and in part."""

from __future__ import annotations

from penstock.errors import GapError
from penstock.model import UNCHANGED, Change, Operation, Origin, Table
from penstock.sources.mysql.wire.layouts import Layout
from penstock.sources.mysql.wire.rows import Row, Rows


def changes(
    operation: Operation, layout: Layout, origin: Origin, ordinal: int, rows: Rows, present: bytes
) -> list[Change]:
    """The changes of an event's rows, from an ordinal on.

    ``present``: which columns the first of a row's images has.

    Raises GapError where the log does not have what the change was.
    """
    table, projection = layout.shown, layout.projection
    assert table is not None
    whole = layout.image(present).whole
    if operation == "update":
        pairs = zip(rows[::2], rows[1::2], strict=True)
        return [_updated(layout, origin, n, *pair, whole) for n, pair in enumerate(pairs, ordinal)]
    if operation == "delete":
        return [_deleted(layout, origin, n, row, whole) for n, row in enumerate(rows, ordinal)]
    if not whole:
        raise _incomplete(table, "an insert", origin)
    if projection is not None:
        rows = [projection.values(row) for row in rows]
    return [Change("insert", table, origin, n, None, row) for n, row in enumerate(rows, ordinal)]


def _deleted(layout: Layout, origin: Origin, ordinal: int, before: Row, whole: bool) -> Change:
    table = layout.shown
    assert table is not None
    key = _key(layout, before)
    if not whole and key is None:
        raise _incomplete(table, "a delete", origin)
    if whole:
        return Change("delete", table, origin, ordinal, _projected(layout, before))
    return Change("delete", table, origin, ordinal, key=_projected_key(layout, key))


def _updated(
    layout: Layout, origin: Origin, ordinal: int, before: Row, after: Row, whole: bool
) -> Change:
    """An update; columns that one image leaves out are taken from the other, where they are."""
    table = layout.shown
    assert table is not None
    if UNCHANGED in after:
        after = [old if new is UNCHANGED else new for old, new in zip(before, after, strict=True)]
    old_key, new_key = _key(layout, before), _key(layout, after)
    if layout.mapped.key and new_key is None:
        raise _incomplete(table, "an update", origin)
    return Change(
        "update",
        table,
        origin,
        ordinal,
        _projected(layout, before) if whole else None,
        _projected(layout, after),
        None,
        _projected_key(layout, old_key) if old_key != new_key else None,
    )


def _key(layout: Layout, row: Row) -> Row | None:
    """The key's values; None where there is no key, or not all of it is there."""
    key = [row[i] for i in layout.mapped.key]
    return None if not key or UNCHANGED in key else key


def _projected(layout: Layout, row: Row) -> Row:
    return row if layout.projection is None else layout.projection.values(row)


def _projected_key(layout: Layout, key: Row | None) -> Row | None:
    if key is None or layout.projection is None:
        return key
    return layout.projection.key_values(key)


def _incomplete(table: Table, what: str, origin: Origin) -> GapError:
    return GapError(
        f"{origin.mark} has {what} in {table.text} without all of its columns",
        hint="some session has binlog_row_image other than FULL; a new snapshot shows what it "
        "wrote",
        table=table.text,
    )
