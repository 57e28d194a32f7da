"""How fast are decoding and encoding alone, without a server or a disk beside them?

Inserted rows of 8 columns are captured from a real server into memory, then decoded, and decoded
and encoded, several times over. The best run counts: the others had the machine against them.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).parent.parent))

from bench.report import publish
from penstock.formats.change import ChangeFormat
from penstock.formats.row import RowFormat
from penstock.sources.postgres.wire import ColumnFacts, Decoder, RelationFacts
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
FORMATS: Final[dict[str, type[ChangeFormat] | type[RowFormat]]] = {
    "change": ChangeFormat,
    "row": RowFormat,
}


def seconds(payloads: list[bytes], format: ChangeFormat | RowFormat | None) -> float:
    """CPU seconds for all payloads."""
    decoder = Decoder(database="bench", system="0", timeline=1)
    begun = time.process_time()
    for i in range(0, len(payloads), CHUNK):
        batches = decoder.feed(payloads[i : i + CHUNK])
        if decoder.needs is not None:
            decoder.describe(FACTS)
            batches += decoder.feed([])
        if format is not None:
            for batch in batches:
                for _ in batch.records(format):
                    pass
    return time.process_time() - begun


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    rows: int = arguments.rows
    fills = [FILL.format(i + 1, i + 10_000) for i in range(0, rows, 10_000)]
    version = versions()[0]
    with postgres(version) as server, fresh_database(server) as dsn:
        payloads = capture(dsn, [*WORKLOAD, *fills]).payloads
    gc.collect()
    gc.freeze()
    best: dict[str, float] = {}
    for _ in range(arguments.runs):
        best["decode"] = min(best.get("decode", 1e9), seconds(payloads, None))
        for name, make in FORMATS.items():
            what = f"decode + {name}"
            best[what] = min(best.get(what, 1e9), seconds(payloads, make()))
    publish(
        "decode",
        "Decoding and encoding in plain CPython",
        [
            {"penstock": what, "rows/s": round(rows / took), "µs a row": took / rows * 1e6}
            for what, took in best.items()
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
