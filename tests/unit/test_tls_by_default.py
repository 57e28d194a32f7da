"""Databases that we write to are verified when they are on another machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event

from penstock.errors import ConfigError
from penstock.ports import Context
from penstock.sinks.sql.dialect import dialect_of
from penstock.stores.sql import SqlStore


class Asked(Exception):
    """Carries what a driver was asked to connect with."""


@pytest.fixture(autouse=True)
def _intercepted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def ask(_: Any, __: Any, ___: Any, parameters: dict[str, Any]) -> None:
        raise Asked(parameters)

    for name in ("PGHOST", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)
    event.listen(Engine, "do_connect", ask)
    yield
    event.remove(Engine, "do_connect", ask)


def of_sink(url: str) -> None:
    dialect_of(url).engine().connect()


def of_store(url: str) -> None:
    asyncio.run(SqlStore(url).open(Context("p", "store")))


def asked(connect: Callable[[str], None], url: str) -> tuple[str | None, str | None]:
    with pytest.raises(Asked) as parameters:
        connect(url)
    (given,) = parameters.value.args
    return given.get("sslmode"), given.get("sslrootcert")


BOTH = pytest.mark.parametrize("connect", [of_sink, of_store])


@BOTH
@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("postgresql://u:p@db.example.com/d", ("verify-full", "system")),
        ("postgresql://u:p@127.0.0.1.example.com/d", ("verify-full", "system")),
        ("postgresql://u:p@/d?host=db.example.com", ("verify-full", "system")),
        ("postgresql://u:p@db/d?sslrootcert=/ca.pem", ("verify-full", "/ca.pem")),
        ("postgresql://u:p@db/d?sslmode=require", ("require", None)),
        ("postgresql://u:p@localhost/d", (None, None)),
        ("postgresql:///d?host=/run/postgresql", (None, None)),
    ],
)
def test_verified_off_this_machine(
    connect: Callable[[str], None], url: str, parameters: tuple[str | None, str | None]
) -> None:
    assert asked(connect, url) == parameters


@BOTH
def test_the_environment_may_name_the_host(
    connect: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert asked(connect, "postgresql://u:p@/d") == ("verify-full", "system")


@pytest.mark.parametrize(
    ("url", "arguments", "sslmode"),
    [
        ("postgresql+asyncpg://u:p@db.example.com/d", {"ssl": True}, "verify-full"),
        ("postgresql+asyncpg://u:p@db.example.com/d?ssl=require", {}, "require"),
        ("postgresql+asyncpg://u:p@localhost/d", {}, None),
    ],
)
def test_asyncpg_verifies_too(url: str, arguments: dict[str, Any], sslmode: str | None) -> None:
    told: dict[str, Any] = {}

    def connected(_: Any, **given: Any) -> Any:
        told.update(given["connect_args"])
        raise Asked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sqlalchemy.ext.asyncio.create_async_engine", connected)
        with pytest.raises(Asked):
            SqlStore(url).async_engine()
    assert told == arguments
    assert asked(of_store, url)[0] == sslmode


def test_a_driver_that_cannot_verify_is_refused_off_this_machine() -> None:
    with pytest.raises(ConfigError, match=r"pg8000 cannot be told to verify") as refused:
        SqlStore("postgresql+pg8000://u:c4nary@db.example.com/d")
    assert "c4nary" not in str(refused.value)
    SqlStore("postgresql+pg8000://u:p@localhost/d")


@BOTH
@pytest.mark.parametrize(
    ("url", "encrypted", "certificate", "name"),
    [
        ("mysql://u:p@db.example.com/d", True, True, True),
        ("mariadb+pymysql://u:p@127.0.0.1.example.com/d", True, True, True),
        ("mysql://u:p@db/d?sslmode=verify-ca", True, True, False),
        ("mysql://u:p@db/d?sslmode=require", True, False, False),
        ("mysql://u:p@db/d?sslmode=disable", False, False, False),
        ("mysql://u:p@localhost/d", False, False, False),
        ("mysql://u:p@localhost/d?sslmode=verify-full", True, True, True),
        ("mysql://u:p@/d?unix_socket=/run/mysqld.sock", False, False, False),
    ],
)
def test_mysql_is_verified_off_this_machine(
    connect: Callable[[str], None], url: str, encrypted: bool, certificate: bool, name: bool
) -> None:
    with pytest.raises(Asked) as parameters:
        connect(url)
    (given,) = parameters.value.args
    context = given.get("ssl")
    assert (context is not None, bool(given.get("ssl_disabled"))) == (encrypted, not encrypted)
    if encrypted:
        assert (context.verify_mode == ssl.CERT_REQUIRED, context.check_hostname) == (
            certificate,
            name,
        )
    assert not any(option.startswith("sslmode") for option in given)


def test_a_driver_of_mysql_that_cannot_be_told_is_refused_off_this_machine() -> None:
    with pytest.raises(ConfigError, match=r"mysqldb cannot be told to verify") as refused:
        SqlStore("mysql+mysqldb://u:c4nary@db.example.com/d")
    assert "c4nary" not in str(refused.value)
    SqlStore("mysql+mysqldb://u:p@localhost/d")
    SqlStore("mysql+mysqldb://u:p@db.example.com/d?ssl_ca=/ca.pem")
