"""A PostgreSQL server that lives as long as the process that started it."""

from __future__ import annotations

import atexit
import os
import pwd
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
from urllib.parse import quote

from penstock.embedded.binaries import DEFAULT, require
from penstock.errors import SourceError

Setting = str | int | bool
StopMode = Literal["smart", "fast", "immediate"]

SIGNALS: Final[dict[StopMode, signal.Signals]] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
SETTINGS: Final[dict[str, Setting]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": 50,
    "max_replication_slots": 50,
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}
# The libpq variables of the user must not reach the server, and its messages are parsed below.
ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
# Reads until our end of the pipe closes, which happens however this process ends.
GUARD: Final = """
read -r _
kill -QUIT "$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" || break; sleep 0.5; done
rm -rf "$2"
"""


class Server:
    """One server on a loopback port, its data in a directory of its own.

    It goes with this process: at a normal exit, and also when the process is killed. Run by root
    it drops to an unprivileged user, since PostgreSQL refuses root.

    Parameters
    ----------
    version: the major version; the wheel brings 16 and 18, others must be on the system.
    password: of the superuser ``postgres``, asked for by SCRAM; without one everyone is trusted.
    fsync: False trades safety against a power cut for speed; killing processes stays safe.
    settings: what else goes to ``postgresql.conf``; may be changed between two starts.

    Raises MissingExtraError where there are no binaries of that version.
    """

    def __init__(
        self,
        version: str = DEFAULT,
        *,
        password: str | None = None,
        fsync: bool = True,
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        self.version = version
        self.binaries = require(version)
        self.password = password
        self.port = free_port()
        self.settings: dict[str, Setting] = {**SETTINGS, "fsync": fsync, **(settings or {})}
        self._directory: Path | None = None
        self._account = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """Holds ``data`` and ``log``; made by the first start, removed by ``close``."""
        if self._directory is None:
            raise SourceError(f"this PostgreSQL {self.version} has no data", hint="start it first")
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
        """Whether the postmaster lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id. Raises SourceError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise SourceError(f"PostgreSQL {self.version} does not run", hint="start it first")
        return self._process.pid

    def dsn(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """The URL of a database of this server, as the superuser or another role."""
        secret = f":{quote(self.password, '')}" if self.password and user == "postgres" else ""
        return f"postgresql://{quote(user, '')}{secret}@127.0.0.1:{self.port}/{quote(database, '')}"

    def start(self, timeout: float = 60.0) -> Self:
        """Start, and return once connections are accepted; the first start makes the data.

        Raises SourceError with the end of the server's log when it does not come up.
        """
        if self.running:
            return self
        first = self._directory is None
        if first:
            self._initialize()
        deadline = time.monotonic() + timeout
        while True:
            begin = len(self.log)
            if self._launch(deadline):
                return self
            said = self.log[begin:]
            if first and "Address already in use" in said:
                self.port = free_port()
            # Processes of a killed postmaster hold its shared memory until they notice.
            elif "is still in use" not in said or time.monotonic() > deadline:
                self._end_process(signal.SIGQUIT)
                raise SourceError(
                    f"PostgreSQL {self.version} did not start: {said[-2000:]}",
                    hint=f"its settings: {self.settings}",
                )
            time.sleep(0.05)

    def stop(self, mode: StopMode = "fast", timeout: float = 60.0) -> None:
        """Stop and keep the data. Raises SourceError when that takes longer than ``timeout``."""
        self._end_process(SIGNALS[mode], timeout)

    def kill(self) -> None:
        """Kill the postmaster (SIGKILL); its other processes leave when they notice."""
        self._end_process(signal.SIGKILL)

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop, then start on the same port with the settings as they are now."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop at once and remove the data; harmless when repeated."""
        self._end_process(signal.SIGQUIT)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        atexit.unregister(self.close)

    def _initialize(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
        atexit.register(self.close)
        self._give(self._directory)
        if not self._may_execute():
            self._copy_binaries()
        command = [str(self.binaries / "initdb"), "-D", str(self.data), "-U", "postgres"]
        command += ["-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        if self.password is None:
            command += ["-A", "trust"]
        else:
            secret = self._directory / "password"
            secret.touch(0o600)
            self._give(secret)
            secret.write_text(self.password)
            command += ["-A", "scram-sha-256", "--pwfile", str(secret)]
        done = subprocess.run(
            command, env=ENVIRONMENT, cwd=self._directory, capture_output=True, **self._account
        )
        (self._directory / "password").unlink(missing_ok=True)
        if done.returncode:
            self.close()
            raise SourceError(
                f"initdb of PostgreSQL {self.version} failed: {done.stderr.decode().strip()}",
                hint=f"can {tempfile.gettempdir()} be used by another user? else set TMPDIR",
            )

    def _may_execute(self) -> bool:
        """Whether the unprivileged user reaches the binaries: below /root it does not."""
        command = [str(self.binaries / "initdb"), "--version"]
        try:
            subprocess.run(command, check=True, capture_output=True, cwd="/", **self._account)
        except (PermissionError, subprocess.CalledProcessError):
            return False
        return True

    def _copy_binaries(self) -> None:
        # They find their libraries beside the package, by a path relative to their own.
        install = self.binaries.parent
        target = self.directory / "site"
        shutil.copytree(install, target / install.parent.name / install.name, symlinks=True)
        libraries = install.parent.with_suffix(".libs")
        if libraries.exists():
            shutil.copytree(libraries, target / libraries.name)
        for path in (target, *target.rglob("*")):
            self._give(path)
        self.binaries = target / install.parent.name / install.name / "bin"

    def _give(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account["user"], self._account["group"], follow_symlinks=False)

    def _launch(self, deadline: float) -> bool:
        """Start the postmaster; True once it is ready, False when it gave up or is late."""
        lines = [f"{name} = {_quoted(value)}" for name, value in self.settings.items()]
        (self.data / "postgresql.conf").write_text("\n".join([f"port = {self.port}", *lines, ""]))
        command = [str(self.binaries / "postgres"), "-D", str(self.data)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                cwd=self.data,
                start_new_session=True,  # Ctrl-C in our terminal is for us
                **self._account,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._process.pid), str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._dismiss_guard()
                return False
            with suppress(FileNotFoundError):
                status = (self.data / "postmaster.pid").read_text().split("\n")
                if status[0] == str(self._process.pid) and "ready" in "".join(status[7:]):
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
            raise SourceError(
                f"PostgreSQL {self.version} still runs {timeout:g} s after {number.name}",
                hint="a client that does not answer can hold a fast shutdown",
            ) from None
        self._dismiss_guard()
        self._process = None

    def _dismiss_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None


def free_port() -> int:
    """A free loopback port below the ephemeral range.

    A client that keeps asking for an ephemeral port while its server is down may be given that
    very port for its own end, and so meet itself.
    """
    while True:
        port = random.randint(15_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _unprivileged() -> dict[str, Any]:
    """The user for subprocesses: ours, or for root one that PostgreSQL accepts."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise SourceError(
        "PostgreSQL refuses to run as root, and there is no user nobody to run it as",
        hint="run as an ordinary user",
    )


def _quoted(value: Setting) -> str:
    text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
