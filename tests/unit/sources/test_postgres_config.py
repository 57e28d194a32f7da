"""Configuration, table patterns, remembered facts, and where connections lead."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from penstock.component import Secret
from penstock.errors import ConfigError, ConnectionLostError, PrivilegeError, SourceError
from penstock.model import Column, Kind, Table, Type
from penstock.model.pattern import matches
from penstock.sources.postgres.config import Postgres
from penstock.sources.postgres.connection import Server, literal, quote
from penstock.sources.postgres.facts import Captured, Facts, Shape


def test_a_configuration_never_prints_its_password() -> None:
    config = Postgres(dsn="postgresql://u:c4nary@h/d")
    assert "c4nary" not in f"{config!r} {config} {config.model_dump_json()}"
    with pytest.raises(ValidationError) as wrong:
        Postgres(dsn="postgresql://u:c4nary@h/d", slott="x")  # type: ignore[call-arg]
    assert "c4nary" not in str(wrong.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p/c4nary@h/d",
        "postgresql://u:5/c4nary@h/d",
        "postgresql://u:p#c4nary@[h/d",
        "host=h password='c4nary",
        "c4nary",
    ],
)
def test_a_dsn_that_cannot_be_read_is_not_quoted(dsn: str) -> None:
    with pytest.raises(ConfigError, match="percent-encoded") as wrong:
        Postgres(dsn=dsn).build()
    assert "c4nary" not in f"{wrong.value!r} {wrong.value} {wrong.value.__context__}"


def parameters(dsn: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> dict[str, str]:
    """What the driver is asked to connect with."""
    monkeypatch.setattr(Path, "home", lambda: home)
    asked: dict[str, str] = {}

    def connect(**given: str) -> None:
        asked.update(given)
        raise psycopg.OperationalError("stop here")

    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    with pytest.raises(SourceError):
        Server(Secret(dsn)).connect()
    return asked


@pytest.mark.parametrize(
    ("dsn", "sslmode", "roots"),
    [
        ("postgresql://db.example.com/d", "verify-full", "system"),
        ("postgresql://10.0.0.7/d", "verify-full", "system"),
        ("host=db.example.com", "verify-full", "system"),
        ("host=127.0.0.1.example.com", "verify-full", "system"),
        ("host=db.example.com sslrootcert=/ca.pem", "verify-full", "/ca.pem"),
        ("host=db.example.com sslmode=require", "require", None),
        ("host=localhost,db.example.com", "verify-full", "system"),
        ("postgresql://localhost/d", None, None),
        ("postgresql://127.0.0.1/d", None, None),
        ("host=/var/run/postgresql", None, None),
        ("dbname=d", None, None),
    ],
)
def test_off_loopback_the_server_is_verified(
    dsn: str,
    sslmode: str | None,
    roots: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    monkeypatch.delenv("PGSSLMODE", raising=False)
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    asked = parameters(dsn, monkeypatch, tmp_path)
    assert (asked.get("sslmode"), asked.get("sslrootcert")) == (sslmode, roots)


def test_an_sslmode_of_the_environment_is_obeyed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    assert "sslmode" not in parameters("host=db.example.com", monkeypatch, tmp_path)


SERVICES = """\
[far]
host=db.example.com
port=6543
dbname=shop
password=c4nary
[unverified]
host=db.example.com
sslmode=require
[near]
host=127.0.0.1
"""


@pytest.mark.parametrize(
    ("service", "sslmode", "roots"),
    [("far", "verify-full", "system"), ("unverified", None, None), ("near", None, None)],
)
@pytest.mark.parametrize("by", ["dsn", "environment"])
def test_a_service_does_not_go_round_the_verification(
    service: str,
    sslmode: str | None,
    roots: str | None,
    by: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("PGHOST", "PGSSLMODE", "PGSSLROOTCERT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "services").write_text(SERVICES)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    if by == "environment":
        monkeypatch.setenv("PGSERVICE", service)
    dsn = f"service={service}" if by == "dsn" else "user=u"
    asked = parameters(dsn, monkeypatch, tmp_path)
    assert (asked.get("sslmode"), asked.get("sslrootcert")) == (sslmode, roots)
    assert bool(Server(Secret(dsn)).weak) is (service == "unverified")


def test_a_service_is_shown_by_the_server_that_it_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "services").write_text(SERVICES)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    server = Server(Secret("service=far"))
    assert str(server) == "db.example.com:6543/shop"
    assert server.scrub("the password c4nary is wrong") == "the password *** is wrong"


@pytest.mark.parametrize(
    ("dsn", "weak"),
    [
        ("host=db.example.com sslmode=require", True),
        ("host=db.example.com sslmode=verify-full", False),
        ("host=db.example.com", False),
        ("host=127.0.0.1 sslmode=disable", False),
    ],
)
def test_a_connection_that_is_not_verified_is_called_weak(
    dsn: str, weak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    assert bool(Server(Secret(dsn)).weak) is weak


def test_roots_that_the_user_has_installed_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    asked = parameters("host=db.example.com", monkeypatch, tmp_path)
    assert asked["sslmode"] == "verify-full"
    assert "sslrootcert" not in asked


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ('certificate verify failed for "h"', SourceError, "sslmode=require"),
        ("server does not support SSL, but SSL was required", SourceError, "sslmode=disable"),
        ("FATAL:  no pg_hba.conf entry for host", PrivilegeError, "pg_hba.conf"),
        ("FATAL:  the database system is starting up", ConnectionLostError, ""),
        (
            "FATAL:  the database system is not yet accepting connections\n"
            "DETAIL:  Consistent recovery state has not been yet reached.",
            ConnectionLostError,
            "",
        ),
        ('FATAL:  password authentication failed for user "u"', SourceError, "password"),
    ],
)
def test_a_refusal_says_what_to_do(
    words: str, error: type[Exception], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(**given: str) -> None:
        raise psycopg.OperationalError(f"connection failed: {words} c4nary")

    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    with pytest.raises(error) as refused:
        Server(Secret("host=db.example.com user=u password=c4nary")).connect()
    assert hint in str(refused.value)
    assert "c4nary" not in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "table", "fits"),
    [
        ("public.orders", "public.orders", True),
        ("public.orders", "public.Orders", False),
        ("public.orders", "public.orders_2", False),
        ("public.order_*", "public.order_lines", True),
        ("public.order_*", "public.orders", False),
        ("public.*", "public.x\ny", True),
        ("*.*", "shop.orders", True),
        ("*.orders", "shop.orders", True),
        ("public.a[b]", "public.a[b]", True),
        ("public.a?b", "public.axb", False),
    ],
)
def test_patterns(pattern: str, table: str, fits: bool) -> None:
    assert matches(pattern, table) is fits


def test_names_are_quoted() -> None:
    assert quote('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"
    assert literal("a\\b") == " E'a\\\\b'"


def test_facts_survive_the_store() -> None:
    column = Column("id", Type("int4", Kind.INTEGER, "integer", oid=23), False)
    table = Table("public", "t", (column,), ("id",), oid=16400, as_of="0/1")
    facts = Facts(
        "penstock_shop",
        "penstock_shop",
        "47",
        publication_oid=16401,
        consistent="0/15",
        captured={"public.t": Captured(16400, 2, 1)},
        shapes=[Shape(table, "0/15")],
    )
    again = Facts.load(json.loads(json.dumps(facts.dump())))
    assert again == facts
    assert again.dump() == facts.dump()


def test_shapes_are_known_as_they_were_at_the_start() -> None:
    def shape(name: str) -> Table:
        column = Column(name, Type("int4", Kind.INTEGER, "integer", oid=23), False)
        return Table("public", "t", (column,), ("id",), oid=16400)

    facts = Facts("s", "p", "47")
    assert facts.learn(shape("a"), "0/10", 0)
    assert not facts.learn(shape("a"), "0/20", 0)
    assert facts.learn(shape("b"), "0/30", 0)
    assert facts.learn(shape("c"), "0/40", 0x31)
    assert [s.table for s in facts.shapes] == [shape("b"), shape("c")], "a is needed by no start"
    assert facts.rewind(0x40) == [shape("b")], "the commit at the start is read again"
    assert facts.rewind(0x30) == []
