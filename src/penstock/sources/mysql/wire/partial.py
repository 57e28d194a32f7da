"""Updates that carry parts of JSON documents (``binlog_row_value_options=PARTIAL_JSON``).

https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Rows__event.html
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from penstock.errors import ProtocolError
from penstock.model import UNCHANGED, Raw
from penstock.sources.mysql.wire.jsonb import json_text
from penstock.sources.mysql.wire.jsondiff import apply_diffs
from penstock.sources.mysql.wire.reader import Reader
from penstock.sources.mysql.wire.rows import Image, Rows
from penstock.sources.mysql.wire.tablemap import Code, TableMap

_PARTIAL: Final = 1


def partial_rows(before: Image, after: Image, mapped: TableMap, reader: Reader) -> Rows:
    """The rows of a partial update event, before and after in turn.

    Each row after begins with options; where they say so, a bit for each JSON column tells whether
    a diff stands in its place. A diff of a document that the event does not repeat is UNCHANGED.

    Raises as :meth:`Image.read_one`.
    """
    documents = [i for i, column in enumerate(mapped.columns) if column.code == Code.JSON]
    keep: dict[int, Callable[[bytes], Raw]] = dict.fromkeys(documents, bytes)
    rows: Rows = []
    while reader.left:
        old, reader.at = before.read_one(reader.data, reader.at, reader.end, keep)
        options = reader.packed()
        if options & ~_PARTIAL:
            raise ProtocolError(f"unknown options {options} of a row", offset=reader.at)
        texts: dict[int, Callable[[bytes], Raw]] = {}
        if options & _PARTIAL:
            bits = reader.take((len(documents) + 7) // 8)
            for n, i in enumerate(documents):
                if bits[n >> 3] >> (n & 7) & 1:
                    texts[i] = partial(_applied, old[i])
        new, reader.at = after.read_one(reader.data, reader.at, reader.end, texts)
        for i in documents:
            value = old[i]
            if value is not None and value is not UNCHANGED:
                old[i] = json_text(value)
        rows += [old, new]
    return rows


def _applied(before: Raw, diffs: bytes) -> Raw:
    if before is UNCHANGED:
        return UNCHANGED
    if before is None:
        raise ProtocolError("a JSON diff of null")
    return apply_diffs(before, diffs)
