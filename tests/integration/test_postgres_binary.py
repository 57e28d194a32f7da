"""Send forms become the server's own text: asked of real servers, for every type."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from struct import pack
from typing import Any, Final

import psycopg
import pytest

from penstock.embedded.server import Server
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
        make = text_of(type)
        assert make is not None
        assert make(form) == text, (name, form)
    expected = TEXT_ONLY - {"aclitem"} | ({"interval"} if server < 170000 else set())
    assert left == expected | {f"{name}[]" for name in expected}


def forms_of_chance(random: Random) -> dict[str, list[bytes]]:
    """Send forms at random, of the types whose text is computed."""

    def wide(bits: int) -> int:
        """A signed number of any size."""
        return random.getrandbits(random.randint(1, bits - 1)) * random.choice((-1, 1))

    def numeric() -> bytes:
        digits = [
            random.choice((0, 1, 10, 100, 9999, random.randint(0, 9999)))
            for _ in range(random.randint(0, 8))
        ]
        weight, scale = random.randint(-6, 9), random.randint(0, 40)
        return pack(f">HhHH{len(digits)}H", len(digits), weight, random.choice((0, 0x4000)), scale,
                    *digits)  # fmt: skip

    def address() -> bytes:
        family, size = random.choice(((2, 4), (3, 16), (3, 16)))
        words = [random.choice((0, 0, 1, 0xFFFF, random.getrandbits(16))) for _ in range(size // 2)]
        mask = random.choice((size * 8, random.randint(0, size * 8)))
        return pack(f">BBBB{size // 2}H", family, mask, 0, size, *words)

    def bits() -> bytes:
        length = random.randint(0, 40)
        whole = random.getrandbits(length) << -length % 8 if length else 0
        return pack(">i", length) + whole.to_bytes(-(-length // 8), "big")

    doubles = [random.randbytes(8) for _ in range(4000)]
    doubles += [pack(">d", 2.0**e) for e in range(-1074, 1024)]
    doubles += [pack(">d", random.randint(2**50, 2**51) + random.choice((0.25, 0.75)))
                for _ in range(300)]  # fmt: skip
    doubles += [pack(">d", float(10 * random.randint(2**53 // 10, 2**59 // 10) + 2))
                for _ in range(4000)]  # fmt: skip
    doubles += [pack(">d", random.randint(-(10**9), 10**9) / 10 ** random.randint(0, 12))
                for _ in range(1000)]  # fmt: skip
    singles = [random.randbytes(4) for _ in range(4000)]
    singles += [pack(">f", 2.0**e) for e in range(-149, 128)]
    singles += [pack(">f", random.randint(2**21, 2**22) + random.choice((0.25, 0.75)))
                for _ in range(300)]  # fmt: skip
    singles += [pack(">f", float(random.randint(2**24, 2**40))) for _ in range(2000)]
    day = 86_400_000_000
    return {
        "float8": doubles,
        "float4": singles,
        "numeric": [numeric() for _ in range(2000)],
        "date": [pack(">i", random.randint(-2_451_545, 10**random.randint(4, 9)))
                 for _ in range(2000)],
        "time": [pack(">q", random.randint(0, day)) for _ in range(500)],
        "timetz": [pack(">qi", random.randint(0, day), random.randint(-57_599, 57_599))
                   for _ in range(500)],
        "timestamptz": [pack(">q", random.randint(-211_813_488 * 10**9, 10**random.randint(12, 18)))
                        for _ in range(2000)],
        "interval": [pack(">qii", wide(64), wide(32), wide(32)) for _ in range(2000)],
        "inet": [address() for _ in range(3000)],
        "varbit": [bits() for _ in range(300)],
        "uuid": [random.randbytes(16) for _ in range(100)],
        "int8": [pack(">q", wide(64)) for _ in range(1000)],
        "int2": [pack(">h", wide(16)) for _ in range(200)],
    }  # fmt: skip


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
        make = text_of(type)
        assert make is not None
        for row in range(text.ntuples):
            form = binary.get_value(row, 0)
            assert form is not None
            assert make(form) == text.get_value(row, 0), (name, form)
