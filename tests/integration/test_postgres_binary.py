"""Send forms become the server's own text: asked of real servers, for every type."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from struct import pack
from typing import Any, Final

import psycopg
import pytest

from penstock.embedded.server import Server
from penstock.kernel import kernel, native
from penstock.model import Type
from penstock.sources.postgres import catalog
from penstock.sources.postgres.wire.binary import is_exact, text_of
from penstock.sources.postgres.wire.types import builtin
from tests.integration.test_postgres_values import (
    OWN,
    SEED,
    SESSION,
    arrays,
    catalog_columns,
    fill,
    own_columns,
    quote,
)
from tests.support.forms import forms_of_chance
from tests.support.postgres import fresh_database

pytestmark = pytest.mark.server

TEXT_ONLY: Final = {
    *("char", "money", "pg_lsn", "aclitem", "tsvector", "tsquery", "int2vector", "oidvector"),
    *("regproc", "regprocedure", "regoper", "regoperator", "regclass", "regtype", "regrole"),
    *("regnamespace", "regconfig", "regdictionary", "regcollation"),
    *("txid_snapshot", "pg_snapshot", "own Pair, of", "own nest", "own floats"),
}
"""Types that must come as text, and with them their arrays."""


@pytest.fixture
def connection(servers: Server) -> Iterator[psycopg.Connection[Any]]:
    with (
        fresh_database(servers) as database,
        psycopg.connect(
            database, autocommit=True, options=SESSION, client_encoding="utf8"
        ) as connection,
    ):
        yield connection


def both(
    connection: psycopg.Connection[Any], query: str
) -> Iterator[tuple[str, Type, bytes, bytes]]:
    """Column, type, text and send form of each value of a query's result."""
    text, binary = (
        connection.pgconn.exec_params(query.encode(), None, result_format=form) for form in (0, 1)
    )
    for result in (text, binary):
        assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
    types: dict[int, Type | None] = {}
    for column in range(text.nfields):
        oid = text.ftype(column)
        known = builtin(oid, text.fmod(column))
        types[column] = known or catalog.types(connection, [oid])[oid]
        name = (text.fname(column) or b"").decode()
        for row in range(text.ntuples):
            value, form = text.get_value(row, column), binary.get_value(row, column)
            type = types[column]
            assert type is not None
            if value is not None:
                assert form is not None
                yield name, type, value, form


def text_by_us(type: Type, form: bytes) -> bytes:
    """Of the kernel that runs."""
    if kernel() == "native":
        return native().binary_text(type, form)  # type: ignore[no-any-return]
    make = text_of(type)
    assert make is not None
    return make(form)


def test_every_type(connection: psycopg.Connection[Any]) -> None:
    """Every value of every type that is claimed, and nothing is claimed by chance."""
    columns = catalog_columns(connection)
    for statement, _ in OWN.values():
        connection.execute(statement)
    columns += own_columns()
    sendable = [column for column in columns if column.name != "aclitem"]
    server = connection.info.server_version
    everything = [*sendable, *arrays(sendable)]
    fill(connection, "everything", everything)
    listed = ", ".join(quote(column.name) for column in everything)
    left = set()
    for name, type, text, form in both(connection, f"SELECT {listed} FROM everything"):
        if not is_exact(type, server):
            left.add(name)
            continue
        assert text_by_us(type, form) == text, (name, form)
    expected = TEXT_ONLY - {"aclitem"} | ({"interval"} if server < 170000 else set())
    assert left == expected | {f"{name}[]" for name in expected}


def test_values_of_chance(connection: psycopg.Connection[Any]) -> None:
    for name, forms in forms_of_chance(Random(SEED)).items():
        found = connection.execute(
            "SELECT oid, typarray FROM pg_type WHERE typname = %s", (name,)
        ).fetchone()
        assert found is not None
        oid, array = found
        listed = pack(">iiIii", 1, 0, oid, len(forms), 1)
        listed += b"".join(pack(">i", len(form)) + form for form in forms)
        text, binary = (
            connection.pgconn.exec_params(
                b"SELECT unnest($1)", [listed], [array], [1], result_format=form
            )
            for form in (0, 1)
        )
        assert text.status == psycopg.pq.ExecStatus.TUPLES_OK, text.error_message
        type = builtin(oid)
        assert type is not None
        for row in range(text.ntuples):
            form = binary.get_value(row, 0)
            assert form is not None
            assert text_by_us(type, form) == text.get_value(row, 0), (name, form)
