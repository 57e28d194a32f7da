"""Real MySQL and MariaDB servers on loopback ports, their data in temporary directories.

MariaDB 10.11 comes from Debian bookworm, Oracle's MySQL 9 from Debian unstable
(:mod:`tools.packages`).
"""

from __future__ import annotations

import atexit
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, Self

from penstock.embedded.server import ENVIRONMENT, free_port
from tools.packages import Package

Flavor = Literal["mysql", "mariadb"]
Setting = str | int

FLAVORS: Final[tuple[Flavor, ...]] = ("mysql", "mariadb")
PACKAGES: Final[dict[Flavor, Package]] = {
    "mysql": Package("mysql-server-core", "unstable"),
    "mariadb": Package("mariadb-server-core", "bookworm"),
}
PROGRAMS: Final[dict[Flavor, str]] = {"mysql": "usr/sbin/mysqld", "mariadb": "usr/sbin/mariadbd"}

# Nothing of value lives in them, and what is written survives a killed process without fsync.
SETTINGS: Final[dict[str, Setting]] = {
    "bind-address": "127.0.0.1",
    "log-bin": "binlog",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "binlog-row-metadata": "FULL",
    "character-set-server": "utf8mb4",
    "default-time-zone": "+00:00",
    "innodb-buffer-pool-size": "64M",
    "innodb-flush-log-at-trx-commit": 2,
    "max-allowed-packet": "256M",
    "performance-schema": "OFF",
    "sync-binlog": 0,
}
OF_FLAVOR: Final[dict[Flavor, dict[str, Setting]]] = {
    "mysql": {
        "enforce-gtid-consistency": "ON",
        "gtid-mode": "ON",
        "innodb-redo-log-capacity": "64M",
        "mysqlx": "OFF",
        "secure-file-priv": "NULL",
    },
    "mariadb": {"gtid-strict-mode": "ON", "innodb-log-file-size": "64M"},
}
_SYSTEM_TABLES: Final = (
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
)
# Reads until our end of the pipe closes, which happens however this process ends. An orderly stop
# would wait for XA transactions and readers of the log, for data that goes anyway.
GUARD: Final = """
read -r _
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -KILL "$1" 2>/dev/null || break; sleep 0.5; done
rm -rf "$2"
"""
# A user for TCP: that 127.0.0.1 is also called localhost is the machine's own business.
_USERS: Final = (
    "SET SESSION sql_log_bin = 0;\n"
    "CREATE USER IF NOT EXISTS root@'127.0.0.1';\n"
    "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
)


class MySQL:
    """One server on a loopback port, its data in a directory of its own; it goes with this process.

    Its user ``root`` has no password. The binlog is on, by rows with full metadata, with GTIDs.

    Parameters
    ----------
    flavor: whose server.
    settings: further options, by their names on the command line; may be changed between two
        starts.
    """

    def __init__(self, flavor: Flavor, *, settings: Mapping[str, Setting] | None = None) -> None:
        self.flavor: Flavor = flavor
        self.package = PACKAGES[flavor]
        self.port = free_port()
        self.settings: dict[str, Setting] = {
            **SETTINGS,
            **OF_FLAVOR[flavor],
            "server-id": random.randint(1, 1 << 31),
            **(settings or {}),
        }
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """Holds ``data`` and ``log``; made by the first start, removed by ``close``."""
        assert self._directory is not None, "start it first"
        return self._directory

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def log(self) -> str:
        """What the server has said so far."""
        path = self.directory / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "start it first"
        return self._process.pid

    def dsn(self, database: str = "", *, user: str = "root", password: str = "") -> str:
        """The URL of a database of this server."""
        secret = f":{password}" if password else ""
        return f"{self.flavor}://{user}{secret}@127.0.0.1:{self.port}/{database}"

    @property
    def parameters(self) -> dict[str, Any]:
        """What a driver's ``connect`` takes, without the database."""
        return {"host": "127.0.0.1", "port": self.port, "user": "root", "password": ""}

    def start(self, timeout: float = 120.0) -> Self:
        """Start, and return once connections are accepted; the first start makes the data.

        Raises RuntimeError with the end of the server's log when it does not come up.
        """
        if self.running:
            return self
        self._end_process(signal.SIGKILL)  # what is left of one that died by itself
        first = self._directory is None
        if first:
            self._directory = Path(tempfile.mkdtemp(prefix=f"penstock-{self.flavor}-"))
            atexit.register(self.close)
            shutil.copytree(template(self.flavor), self.data)
            (self.directory / "users.sql").write_text(_USERS)
        deadline = time.monotonic() + timeout
        while not self._launch(deadline):
            said = self.log[-3000:]
            self._end_process(signal.SIGKILL)
            if not first or "Address already in use" not in said or time.monotonic() > deadline:
                raise RuntimeError(f"{self.flavor} did not start: {said}")
            self.port = free_port()
        return self

    def stop(self, timeout: float = 60.0) -> None:
        """Stop in order and keep the data."""
        self._end_process(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """SIGKILL."""
        self._end_process(signal.SIGKILL)

    def restart(self) -> None:
        """Stop, then start on the same port with the settings as they are now."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove the data; harmless when repeated."""
        self._end_process(signal.SIGKILL)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        atexit.unregister(self.close)

    def _launch(self, deadline: float) -> bool:
        options = {
            "datadir": self.data,
            "tmpdir": self.directory,  # a server that starts clears it, whoever else uses it
            "port": self.port,
            "socket": self.directory / "socket",
            "pid-file": self.directory / "pid",
            "init-file": self.directory / "users.sql",
            **self.settings,
        }
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_server(self.flavor), *(f"--{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                cwd=self.directory,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._process.pid), str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                if probe.recv(5):  # its greeting
                    return True
            time.sleep(0.02)
        return False

    def _end_process(self, number: signal.Signals, timeout: float = 60.0) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f"{self.flavor} still runs {timeout:g} s after {number.name}: {self.log[-2000:]}"
            ) from None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        self._process = None


def _server(flavor: Flavor) -> list[str]:
    """The server's command line, as far as it is always the same."""
    root = PACKAGES[flavor].fetch()
    # The account is that of whoever runs the tests.
    account = ["--user=root"] if os.geteuid() == 0 else []
    return [
        *PACKAGES[flavor].command(PROGRAMS[flavor]),
        "--no-defaults",
        f"--basedir={root / 'usr'}",
        f"--lc-messages-dir={root / 'usr/share/mysql'}",
        f"--character-sets-dir={root / 'usr/share/mysql/charsets'}",
        f"--plugin-dir={root / 'usr/lib/mysql/plugin'}",
        *account,
    ]


def template(flavor: Flavor) -> Path:
    """A data directory as a new server has it, made once and kept beside the programs."""
    root = PACKAGES[flavor].fetch()
    made = root.with_name(f"{root.name}-data")
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=root.parent, prefix="part-") as part:
                _initialize(flavor, Path(part) / "data")
                os.rename(Path(part) / "data", made)
    return made


def _initialize(flavor: Flavor, data: Path) -> None:
    command = [*_server(flavor), f"--datadir={data}", "--innodb-buffer-pool-size=32M"]
    script = b""
    if flavor == "mysql":
        command += ["--initialize-insecure", "--innodb-redo-log-capacity=16M"]
    else:
        data.mkdir()
        command += ["--bootstrap", "--innodb-log-file-size=16M"]
        share = PACKAGES[flavor].folder / "usr/share/mysql"
        script = b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"
        script += b"".join((share / name).read_bytes() for name in _SYSTEM_TABLES)
    done = subprocess.run(
        command, input=script, capture_output=True, env=ENVIRONMENT, cwd="/", check=False
    )
    if done.returncode:
        raise RuntimeError(f"{flavor} cannot make its data: {done.stderr.decode()[-3000:]}")
    # What makes a server itself is made anew by each copy.
    (data / "auto.cnf").unlink(missing_ok=True)
