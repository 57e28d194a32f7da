"""Record what MySQL and MariaDB write to their binlogs, for tests that decode without a server.

``python -m tools.capture_binlog`` runs the workload of tests/wire/binlogs on both servers and puts
their binlogs, with the tables' final rows as the servers show them, beside it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pymysql

from tools.mysql import FLAVORS, Flavor, MySQL

ROOT: Final = Path(__file__).resolve().parent.parent
BINLOGS: Final = ROOT / "tests" / "wire" / "binlogs"
DATABASE: Final = "captured"
OTHER: Final = "/*other*/"
"""How statements of another session begin."""


class Recorded(NamedTuple):
    """Binlog files, and the tables at their end: by name, the columns' names and all rows as texts,
    bytes in hexadecimal behind ``\\x``."""

    files: list[bytes]
    tables: dict[str, tuple[list[str], list[list[str | None]]]]


def statements(flavor: Flavor) -> list[str]:
    """The workload."""
    text = (BINLOGS / "both.sql").read_text() + (BINLOGS / f"{flavor}.sql").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [part for part in "\n".join(lines).split(";\n") if part.strip()]


def record(flavor: Flavor, workload: Sequence[str]) -> Recorded:
    """Run the statements on a server of their own, and read its binlogs."""
    with MySQL(flavor, settings={"sql-mode": ""}) as server:
        first = set(server.data.glob("binlog.0*"))
        options = {**server.parameters, "charset": "utf8mb4", "autocommit": True}
        connection, other = pymysql.connect(**options), pymysql.connect(**options)
        with connection, other, connection.cursor() as cursor, other.cursor() as second:
            cursor.execute("FLUSH BINARY LOGS")
            cursor.execute(f"CREATE DATABASE {DATABASE}")
            connection.select_db(DATABASE)
            other.select_db(DATABASE)
            for statement in workload:
                (second if statement.startswith(OTHER) else cursor).execute(statement)
            cursor.execute("SHOW TABLES")
            names = [name for (name,) in cursor.fetchall()]
            tables = {name: _rows(connection, name) for name in names}
        server.stop()
        files = sorted(set(server.data.glob("binlog.0*")) - first)
        return Recorded([path.read_bytes() for path in files], tables)


def _rows(
    connection: pymysql.Connection[Any], table: str
) -> tuple[list[str], list[list[str | None]]]:
    quoted = table.replace("`", "``")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s"
            " AND table_name = %s ORDER BY ordinal_position",
            (DATABASE, table),
        )
        columns = dict(cursor.fetchall())
    listed = ", ".join(_selected(name, kind) for name, kind in columns.items())
    connection.decoders, decoders = {}, connection.decoders
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {listed} FROM `{quoted}`")
            rows = [[_text(value) for value in row] for row in cursor.fetchall()]
    finally:
        connection.decoders = decoders
    return list(columns), rows


def _selected(column: str, kind: str) -> str:
    quoted = "`" + column.replace("`", "``") + "`"
    # PyMySQL takes vectors for ASCII.
    return f"CONCAT('\\\\x', LOWER(HEX({quoted})))" if kind == "vector" else quoted


def _text(value: str | bytes | None) -> str | None:
    return "\\x" + value.hex() if isinstance(value, bytes) else value


def save(recorded: Recorded, path: Path) -> None:
    """Write a recording."""
    head = json.dumps([[len(file) for file in recorded.files], recorded.tables]).encode() + b"\n"
    with gzip.GzipFile(path, "wb", mtime=0) as target:
        target.write(head + b"".join(recorded.files))


def load(path: Path) -> Recorded:
    """Read a recording."""
    with gzip.open(path) as source:
        sizes, tables = json.loads(source.readline())
        return Recorded([source.read(size) for size in sizes], tables)


def main() -> None:
    for flavor in FLAVORS:
        recorded = record(flavor, statements(flavor))
        save(recorded, BINLOGS / f"{flavor}.gz")
        print(flavor, sum(map(len, recorded.files)), "bytes", len(recorded.tables), "tables")


if __name__ == "__main__":
    main()
