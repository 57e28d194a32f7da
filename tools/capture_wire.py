"""Record what a PostgreSQL server sends, for tests and benches that decode without a server.

``python tools/capture_wire.py`` runs tests/wire/captured/workload.sql on every version and writes
the payloads, with the tables' final rows as the server shows them, beside it.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import pq

ROOT: Final = Path(__file__).resolve().parent.parent
CAPTURED: Final = ROOT / "tests" / "wire" / "captured"
SESSION: Final = (
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex "
    "-c extra_float_digits=1 -c lc_monetary=C"
)
_SLOT: Final = "capture"


class Table(NamedTuple):
    """A table at the end of a capture: its keys, and its rows as texts in column order."""

    columns: list[str]
    primary_key: list[str]
    identity_index: list[str]
    rows: list[list[str | None]]


class Captured(NamedTuple):
    """Payloads as received, and the published tables by ``schema.name`` at their end."""

    payloads: list[bytes]
    tables: dict[str, Table]


def capture(dsn: str, statements: Sequence[str]) -> Captured:
    """Run the statements and receive what pgoutput sends of them.

    Parameters
    ----------
    dsn: a database of a server with ``wal_level = logical``.
    statements: each run in autocommit mode; the first makes the publication ``capture``.
    """
    with psycopg.connect(dsn, autocommit=True, options=SESSION) as connection:
        connection.execute(statements[0])
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [_SLOT])
        try:
            for statement in statements[1:]:
                connection.execute(statement)
            payloads = _receive(dsn, _one(connection, "SELECT pg_current_wal_insert_lsn()"))
            names = connection.execute(
                "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = 'capture'"
            ).fetchall()
            tables = {f"{s}.{n}": _table(connection, s, n) for s, n in names}
        finally:
            connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                " WHERE slot_name = %s AND active_pid IS NOT NULL",
                [_SLOT],
            )
            connection.execute("SELECT pg_drop_replication_slot(%s)", [_SLOT])
    return Captured(payloads, tables)


def _receive(dsn: str, end: str) -> list[bytes]:
    target = _number(end)
    info = f"{dsn}{'&' if '?' in dsn else '?'}replication=database&client_encoding=utf8"
    connection = pq.PGconn.connect(psycopg.conninfo.make_conninfo(info, options=SESSION).encode())
    try:
        result = connection.exec_(
            f"START_REPLICATION SLOT {_SLOT} LOGICAL 0/0 (proto_version '1',"
            " publication_names 'capture', messages 'true')".encode()
        )
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise RuntimeError(connection.get_error_message())
        payloads: list[bytes] = []
        while True:
            _, data = connection.get_copy_data(0)
            payload = bytes(data)
            payloads.append(payload)
            if payload[:1] == b"k" and int.from_bytes(payload[1:9], "big") >= target:
                return payloads
    finally:
        connection.finish()


def _number(lsn: str) -> int:
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def _table(connection: psycopg.Connection[Any], schema: str, name: str) -> Table:
    identifier = psycopg.sql.Identifier(schema, name)
    columns = [
        row[0]
        for row in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = format('%%I.%%I', %s::text,"
            " %s::text)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
            " ORDER BY attnum",
            [schema, name],
        )
    ]
    names = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
    result = connection.execute(
        psycopg.sql.SQL("SELECT {} FROM {}").format(names, identifier)
    ).pgresult
    assert result is not None
    texts = [
        [_text(result.get_value(row, column)) for column in range(result.nfields)]
        for row in range(result.ntuples)
    ]
    return Table(
        columns,
        _index(connection, schema, name, "indisprimary"),
        _index(connection, schema, name, "indisreplident"),
        sorted(texts, key=repr),
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode()


def _index(connection: psycopg.Connection[Any], schema: str, name: str, which: str) -> list[str]:
    rows = connection.execute(
        f"""
        SELECT a.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, n),
               pg_attribute a
        WHERE i.indrelid = format('%%I.%%I', %s::text, %s::text)::regclass AND i.{which}
          AND a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.n
        """.encode(),
        [schema, name],
    )
    return [row[0] for row in rows]


def statements(path: Path) -> list[str]:
    """The statements of a script, with a blank line between them."""
    return path.read_text().split("\n\n")


def save(captured: Captured, path: Path) -> None:
    """Write a capture: one JSON line with the tables, then the payloads with their lengths."""
    head = json.dumps({name: table._asdict() for name, table in captured.tables.items()})
    body = b"".join(len(p).to_bytes(4, "big") + p for p in captured.payloads)
    path.write_bytes(gzip.compress(head.encode() + b"\n" + body, mtime=0))


def load(path: Path) -> Captured:
    """Read what :func:`save` wrote."""
    head, _, body = gzip.decompress(path.read_bytes()).partition(b"\n")
    payloads: list[bytes] = []
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        payloads.append(body[at + 4 : at + 4 + length])
        at += 4 + length
    return Captured(payloads, {name: Table(**t) for name, t in json.loads(head).items()})


def main() -> int:
    """Record the workload on every version of the server that is here."""
    from tests.support.postgres import fresh_database
    from tools.servers import postgres, versions

    for version in versions():
        with postgres(version) as server, fresh_database(server) as dsn:
            captured = capture(dsn, statements(CAPTURED / "workload.sql"))
        path = CAPTURED / f"postgres{version}.bin.gz"
        save(captured, path)
        print(f"{path.relative_to(ROOT)}: {len(captured.payloads)} payloads")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
