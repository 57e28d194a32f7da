"""Fixtures of all tests: real servers and fresh databases.

``server`` and ``database`` are PostgreSQL 16; a test that takes ``servers`` or ``databases`` runs
once for every version. ``mysql`` and ``mariadb`` are databases of those servers; a test that takes
``binlogs`` runs once for each. A server is started when the first test asks for it and shared by
all; a test that kills or reconfigures its server takes ``own_server`` or ``own_mysql``.

The suite runs under both kernels. What is not about decoding runs once: in those places a test, and
every process that it starts, fails when it asks for a kernel, unless it is marked ``kernel``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest
from hypothesis import settings

from penstock import kernel
from penstock.embedded.binaries import DEFAULT, binaries
from penstock.embedded.server import Server, Setting
from tests.support import mysql as mysql_support
from tests.support.postgres import fresh_database
from tools.brokers import Kafka
from tools.mysql import FLAVORS, Flavor, MySQL
from tools.mysql import Setting as MySQLSetting
from tools.servers import postgres, versions

CI = os.environ.get("CI") == "true"
settings.register_profile("penstock", settings(), deadline=None)  # no test fails for being slow
settings.load_profile("penstock")
NO_KERNEL = (
    "tests/unit/",
    "tests/typing/",
    "tests/docs/test_architecture.py",
    "tests/docs/test_facts.py",
    "tests/docs/test_reference.py",
    "tests/docs/test_running.py",
    "tests/integration/test_embedded.py",
    "tests/integration/test_install.py",
    "tests/integration/test_kafka_faults.py",
    "tests/integration/test_kafka_sink.py",
    "tests/integration/test_mysql_servers.py",
    "tests/integration/test_proxy.py",
    "tests/integration/test_sql_mysql.py",
    "tests/contract/test_stores.py",
    "tests/contract/test_transactions.py",
    "tests/wire/test_alterations.py",
    "tests/wire/test_decimals.py",
    "tests/wire/test_gtid.py",
    "tests/wire/test_place.py",
    "tests/wire/test_resultrows.py",
    "tests/wire/test_statements.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what must not ask for a kernel."""
    for item in items:
        if item.nodeid.startswith(NO_KERNEL) and item.get_closest_marker("kernel") is None:
            item.add_marker("no_kernel")


@pytest.fixture(autouse=True)
def _kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the kernel away from the tests that must not ask for it, and from what they start."""
    if request.node.get_closest_marker("no_kernel") is None:
        yield
        return
    monkeypatch.setenv("PENSTOCK_KERNEL", "none here: mark the test with pytest.mark.kernel")
    kernel.choice.cache_clear()
    yield
    kernel.choice.cache_clear()


class OwnServer(Protocol):
    """Starts a server that belongs to one test; it is gone when the test is over."""

    def __call__(
        self, version: str = DEFAULT, *, password: str | None = None, **settings: Setting
    ) -> Server: ...


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI=true nothing is skipped: what cannot run has failed."""
    report = yield
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Callable[[str], Server]]:
    """The shared server of a version, started when first asked for."""
    with ExitStack() as stack:
        started: dict[str, Server] = {}

        def get(version: str) -> Server:
            _need(version)
            if version not in started:
                started[version] = stack.enter_context(postgres(version))
            return started[version].start()

        yield get


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """The shared Kafka, of one broker."""
    with Kafka() as broker:
        yield broker


@pytest.fixture
def server(shared_server: Callable[[str], Server]) -> Server:
    """The shared PostgreSQL 16."""
    return shared_server(DEFAULT)


@pytest.fixture(params=versions())
def servers(request: pytest.FixtureRequest, shared_server: Callable[[str], Server]) -> Server:
    """The shared server of every version in turn."""
    return shared_server(request.param)


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """The URL of an empty database of the shared PostgreSQL 16."""
    with fresh_database(server) as dsn:
        yield dsn


@pytest.fixture
def databases(servers: Server) -> Iterator[str]:
    """The URL of an empty database, of every version in turn."""
    with fresh_database(servers) as dsn:
        yield dsn


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    """Starts a server with special settings for one test, which may kill and restart it."""
    with ExitStack() as stack:

        def start(
            version: str = DEFAULT, *, password: str | None = None, **settings: Setting
        ) -> Server:
            _need(version)
            return stack.enter_context(postgres(version, password=password, settings=settings))

        yield start


@pytest.fixture(scope="session")
def shared_mysql() -> Iterator[Callable[[Flavor], MySQL]]:
    """The shared server of a flavor, started when first asked for."""
    with ExitStack() as stack:
        started: dict[Flavor, MySQL] = {}

        def get(flavor: Flavor) -> MySQL:
            if flavor not in started:
                started[flavor] = stack.enter_context(MySQL(flavor))
            return started[flavor].start()

        yield get


@pytest.fixture
def mysql(shared_mysql: Callable[[Flavor], MySQL]) -> Iterator[mysql_support.Database]:
    """An empty database of the shared MySQL."""
    with mysql_support.fresh_database(shared_mysql("mysql")) as database:
        yield database


@pytest.fixture
def mariadb(shared_mysql: Callable[[Flavor], MySQL]) -> Iterator[mysql_support.Database]:
    """An empty database of the shared MariaDB."""
    with mysql_support.fresh_database(shared_mysql("mariadb")) as database:
        yield database


@pytest.fixture(params=FLAVORS)
def binlogs(
    request: pytest.FixtureRequest, shared_mysql: Callable[[Flavor], MySQL]
) -> Iterator[mysql_support.Database]:
    """An empty database of each of both in turn."""
    with mysql_support.fresh_database(shared_mysql(request.param)) as database:
        yield database


class OwnMySQL(Protocol):
    """Starts a server that belongs to one test; it is gone when the test is over."""

    def __call__(self, flavor: Flavor, **settings: MySQLSetting) -> MySQL: ...


@pytest.fixture
def own_mysql() -> Iterator[OwnMySQL]:
    """Starts a server with special settings for one test, which may kill and restart it."""
    with ExitStack() as stack:

        def start(flavor: Flavor, **settings: MySQLSetting) -> MySQL:
            named = {name.replace("_", "-"): value for name, value in settings.items()}
            return stack.enter_context(MySQL(flavor, settings=named))

        yield start


def _need(version: str) -> None:
    if binaries(version) is None:
        pytest.skip(f"there is no PostgreSQL {version} on this machine")
