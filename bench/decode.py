"""How fast are decoding and encoding alone, without a server or a disk beside them?

Inserted rows of 8 columns are captured from a real server into memory, then decoded, and decoded
and encoded, by both kernels in turn, several times over. The best run counts: the others had the
machine against them. The native kernel must be there, compiled for release.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).parent.parent))

from bench.report import publish
from penstock.formats.change import ChangeFormat
from penstock.formats.row import RowFormat
from penstock.kernel import kernel
from penstock.model import Batch
from penstock.sources.postgres.wire import ColumnFacts, Decoder, RelationFacts
from penstock.sources.postgres.wire.messages import XLOG_HEADER
from penstock.sources.postgres.wire.native import NativeDecoder
from tests.support.postgres import fresh_database
from tools.capture_wire import capture
from tools.servers import postgres, versions

CHUNK: Final = 200  # payloads a feed: about what one read of the socket gives
WORKLOAD: Final = (
    "CREATE PUBLICATION capture FOR ALL TABLES",
    """CREATE TABLE orders (
        id int8 PRIMARY KEY, customer int4, note text, sku varchar(40), total numeric(12, 2),
        placed timestamptz, paid bool, details jsonb
    )""",
)
FILL: Final = """
INSERT INTO orders
SELECT i, i % 1000, 'note of order number ' || i, 'sku-' || i % 5000, (i % 10000) / 7.0,
       '2026-01-01'::timestamptz + i * interval '1 second', i % 2 = 0,
       jsonb_build_object('sku', 'A-' || i % 100, 'n', i % 10)
FROM generate_series({}, {}) i
"""
FACTS: Final = RelationFacts("0/0", ("id",), columns={"id": ColumnFacts(nullable=False)})
KERNELS: Final[dict[str, type[Decoder | NativeDecoder]]] = {
    "python": Decoder,
    "native": NativeDecoder,
}


def nothing(batch: Batch) -> None:
    """Leave it at decoding."""


def objects(batch: Batch) -> None:
    """Make the events."""
    for _ in batch:
        pass


def lines(format: ChangeFormat | RowFormat) -> Callable[[Batch], object]:
    """Encode with a format."""
    return lambda batch: batch.lines(format)


USES: Final[dict[str, Callable[[], Callable[[Batch], object]]]] = {
    "decode": lambda: nothing,
    "decode, Change objects": lambda: objects,
    "decode, change as JSON lines": lambda: lines(ChangeFormat()),
    "decode, row as JSON lines": lambda: lines(RowFormat()),
}


def seconds(name: str, payloads: list[bytes], use: Callable[[Batch], object]) -> float:
    """CPU seconds for all payloads."""
    decoder = KERNELS[name](database="bench", system="0", timeline=1)
    begun = time.process_time()
    for i in range(0, len(payloads), CHUNK):
        batches = decoder.feed(payloads[i : i + CHUNK])
        if decoder.needs is not None:
            decoder.describe(FACTS)
            batches += decoder.feed([])
        for batch in batches:
            use(batch)
    return time.process_time() - begun


def one_row_each(payloads: list[bytes]) -> list[bytes]:
    """The same rows, each in a transaction of its own."""
    tag = slice(XLOG_HEADER, XLOG_HEADER + 1)
    made: list[bytes] = [p for p in payloads if p[tag] == b"R"]
    begin = next(p for p in payloads if p[tag] == b"B")
    commit = next(p for p in payloads if p[tag] == b"C")
    ends = (begin[: XLOG_HEADER + 1], begin[XLOG_HEADER + 9 :])
    rows = [p for p in payloads if p[tag] == b"I"]
    for lsn, row in enumerate(rows, 1):
        at = (lsn * 0x30).to_bytes(8, "big")
        after = (lsn * 0x30 + 0x10).to_bytes(8, "big")
        done = commit[: XLOG_HEADER + 2] + at + after + commit[XLOG_HEADER + 18 :]
        made += (at.join(ends), row, done)
    return made


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    rows: int = arguments.rows
    fills = [FILL.format(i + 1, i + 10_000) for i in range(0, rows, 10_000)]
    version = versions()[0]
    if kernel() != "native":
        raise SystemExit("penstock-native is not there, or PENSTOCK_KERNEL=python keeps it away")
    with postgres(version) as server, fresh_database(server) as dsn:
        payloads = capture(dsn, [*WORKLOAD, *fills]).payloads
    gc.collect()
    gc.freeze()
    workloads = {"10,000 rows": payloads, "1 row": one_row_each(payloads)}
    best: dict[tuple[str, str, str], float] = {}
    for _ in range(arguments.runs):
        for size, workload in workloads.items():
            for use, make in USES.items():
                for name in KERNELS:
                    took = seconds(name, workload, make())
                    best[size, use, name] = min(best.get((size, use, name), 1e9), took)
    publish(
        "decode",
        "Decoding and encoding, without a server",
        [
            {
                "transactions of": size,
                "what": use,
                "kernel": name,
                "rows/s": round(rows / took),
                "µs a row": took / rows * 1e6,
            }
            for (size, use, name), took in best.items()
        ],
        {
            "rows": rows,
            "bytes a row": round(sum(map(len, payloads)) / len(payloads)),
            "server": f"PostgreSQL {version}",
        },
        "rows/s",
    )


if __name__ == "__main__":
    main()
