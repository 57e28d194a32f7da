"""Binlogs as tests take them: files into events, events into decoders, changes into tables."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from penstock.model import UNCHANGED, Batch, Change, Checkpoint, Kind, Raw, Table
from penstock.sources.mysql.position import main_checkpoint
from penstock.sources.mysql.wire.decoder import Decoder
from penstock.sources.mysql.wire.events import MAGIC
from penstock.sources.mysql.wire.gtid import GtidPosition, Gtids, GtidSet
from penstock.sources.mysql.wire.kernels import decoder_class
from penstock.sources.mysql.wire.layouts import TypesNeeded
from tools.mysql import Flavor


def events(*files: bytes) -> Iterator[bytes]:
    """The events of binlog files."""
    for file in files:
        assert file[:4] == MAGIC
        at = 4
        while at < len(file):
            end = at + int.from_bytes(file[at + 9 : at + 13], "little")
            yield file[at:end]
            at = end


def event(kind: int, body: bytes, *, checksum: bool = False, flags: int = 0) -> bytes:
    """An event made by hand."""
    size = 19 + len(body) + 4 * checksum
    made = struct.pack("<IBIIIH", 1, kind, 1, size, 0, flags) + body
    return made + zlib.crc32(made).to_bytes(4, "little") if checksum else made


def make_decoder(
    flavor: Flavor = "mysql",
    *,
    gtids: Gtids | None = None,
    wanted: Callable[[str, str], bool] | None = None,
    **options: Any,
) -> Decoder:
    """A decoder whose checkpoints hold the GTIDs."""

    def checkpoint(gtids: Gtids, file: str, position: int) -> Checkpoint:
        return main_checkpoint(flavor, gtids)

    if gtids is None:
        gtids = GtidSet() if flavor == "mysql" else GtidPosition()
    return decoder_class()(
        gtids=gtids, checkpoint=checkpoint, source={"type": flavor}, wanted=wanted, **options
    )


def decode(decoder: Decoder, stream: Iterable[bytes]) -> list[Batch]:
    """All batches of a stream."""
    return [batch for batch in decoder.feed(stream) if not isinstance(batch, TypesNeeded)]


def changes(batches: Iterable[Batch]) -> list[Change[Any]]:
    """Their changes."""
    return [e for batch in batches for e in batch if isinstance(e, Change)]


Row = tuple[Raw, ...]


def replay(stream: Iterable[Change[Any]]) -> dict[str, tuple[Table, Counter[Row]]]:
    """The rows that changes leave in each table, with the table's last shape."""
    tables: dict[str, tuple[Table, Counter[Row]]] = {}
    for change in stream:
        definition = change.definition
        before, rows = tables.get(definition.name, (definition, Counter[Row]()))
        if not definition.columns:
            continue
        if before.names != definition.names:
            rows = Counter(
                {
                    tuple(_moved(before, definition, row, name) for name in definition.names): n
                    for row, n in rows.items()
                }
            )
        tables[definition.name] = (definition, rows)
        if change.operation == "truncate":
            rows.clear()
            continue
        if change.operation in ("update", "delete"):
            old = _find(rows, change)
            rows[old] -= 1
            rows += Counter()
        if change.values_after is not None:
            after = change.values_after
            if UNCHANGED in after:
                after = [o if n is UNCHANGED else n for o, n in zip(old, after, strict=True)]
            rows[tuple(after)] += 1
    return tables


def _moved(before: Table, after: Table, row: Row, name: str) -> Raw:
    return row[before.index[name]] if name in before.index else b"?"


def _find(rows: Counter[Row], change: Change[Any]) -> Row:
    if change.values_before is not None:
        return next(row for row in rows if _same(row, change.values_before))
    key = change.key_old or change.key_values
    assert key is not None
    indexes = change.definition.key_indexes
    return next(row for row in rows if tuple(row[i] for i in indexes) == tuple(key))


def _same(row: Row, before: Sequence[Raw]) -> bool:
    return all(UNCHANGED in (a, b) or a == b"?" or a == b for a, b in zip(row, before, strict=True))


def six_digits(text: str) -> str:
    """A FLOAT as exact as servers show it."""
    return repr(float(f"{float(text):.6g}"))


def shown(table: Table, values: Sequence[Raw]) -> list[str | None]:
    """Exact texts as the server shows them to PyMySQL."""
    texts: list[str | None] = []
    for column, raw in zip(table.columns, values, strict=True):
        assert raw is not UNCHANGED
        text = None if raw is None else raw.decode()
        if text is not None and column.type.kind is Kind.TIMESTAMPTZ:
            text = text.removesuffix("+00")
        if text is not None and column.type.name.startswith("float"):
            text = six_digits(text)
        if text is not None and column.type.name == "year":
            text = text.zfill(4)
        texts.append(text)
    return texts
