"""The tables of a store in a SQL database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import StoreError
from penstock.ports import Saved
from penstock.stores.encoding import load_json, load_stream

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData, Table

VERSION: Final = 1
_MEND: Final = "restore the tables from a backup; or, to start anew, run `penstock teardown`"


class Tables:
    """The store's tables in a schema (the connection's default when None)."""

    def __init__(self, schema: str | None) -> None:
        from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text
        from sqlalchemy.dialects.mysql import LONGTEXT

        long = Text().with_variant(LONGTEXT(), "mysql")

        self.metadata: MetaData = MetaData(schema=schema)
        self.streams, self.checkpoints = (
            Table(
                name,
                self.metadata,
                Column("pipeline", String(63), primary_key=True),
                Column("sink", String(200), primary_key=True),
                Column("stream", String(300), primary_key=True),
                Column("data", long),
                Column("safe", long),
            )
            for name in ("penstock_streams", "penstock_checkpoints")
        )
        self.facts: Table = Table(
            "penstock_facts",
            self.metadata,
            Column("pipeline", String(63), primary_key=True),
            Column("version", Integer, nullable=False),
            Column("facts", long, nullable=False),
        )
        self.parked: Table = Table(
            "penstock_parked",
            self.metadata,
            Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
            Column("pipeline", String(63), nullable=False, index=True),
            Column("sink", String(200), nullable=False),
            Column("id", String(300), nullable=False),
            Column("record", long, nullable=False),
            sqlite_autoincrement=True,
        )

    def create(self, connection: Connection) -> None:
        """Make the tables. In MySQL their texts are told apart by case, accents and all."""
        if connection.dialect.name == "mysql":
            mariadb = getattr(connection.dialect, "is_mariadb", False)
            for table in self.metadata.sorted_tables:
                table.dialect_options["mysql"].update(
                    engine="InnoDB",
                    default_charset="utf8mb4",
                    collate="utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin",
                )
        self.metadata.create_all(connection)

    def exist(self, connection: Connection, where: str) -> bool:
        """Whether the tables are there. Raises StoreError when only some are."""
        from sqlalchemy import inspect

        there = set(inspect(connection).get_table_names(schema=self.metadata.schema))
        missing = [t.name for t in self.metadata.sorted_tables if t.name not in there]
        if missing and len(missing) < len(self.metadata.tables):
            raise StoreError(f"{where} is damaged: {', '.join(missing)} is missing", hint=_MEND)
        return not missing


def read_facts(
    connection: Connection, tables: Tables, pipeline: str, where: str
) -> Mapping[str, Any] | None:
    """A pipeline's facts; None when it was never saved. Raises StoreError for another version."""
    from sqlalchemy import select

    table = tables.facts
    row = connection.execute(
        select(table.c.version, table.c.facts).where(table.c.pipeline == pipeline)
    ).first()
    if row is None:
        return None
    if row[0] != VERSION:
        raise StoreError(
            f"{where} has version {row[0]}, this penstock writes version {VERSION}",
            hint="use the penstock that wrote it, or a newer one",
        )
    facts: Mapping[str, Any] = load_json(row[1], where)
    return facts


def load(connection: Connection, tables: Tables, pipeline: str, where: str) -> Saved | None:
    """All that is saved of a pipeline; None when it was never saved."""
    from sqlalchemy import select

    facts = read_facts(connection, tables, pipeline, where)
    table = tables.streams
    rows = connection.execute(
        select(table.c.sink, table.c.stream, table.c.data, table.c.safe).where(
            table.c.pipeline == pipeline
        )
    ).all()
    if facts is None:
        if rows:
            raise StoreError(
                f"{where} is damaged: pipeline {pipeline!r} has lost a row", hint=_MEND
            )
        return None
    streams = {
        (sink, stream): load_stream(stream, data, safe, where) for sink, stream, data, safe in rows
    }
    return Saved(streams, facts)
