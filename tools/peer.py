"""Debezium's own connectors in its embedded engine: the peer of interoperability tests.

python tools/peer.py DSN [name=value …]     capture until SIGINT, JSON lines to standard output
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

from tools.java import LIGHT, Java

HEAP: Final = 192  # MiB
DEFAULTS: Final = {
    "name": "peer",
    "topic.prefix": "dbserver",
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "offset.flush.interval.ms": "1000",
    "poll.interval.ms": "50",
}
POSTGRESQL: Final = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "plugin.name": "pgoutput",
    "slot.name": "debezium",
    "publication.name": "debezium",
    "slot.drop.on.stop": "true",
}
BINLOG: Final = {
    "database.server.id": "5701",
    "include.schema.changes": "false",
    "schema.history.internal": "io.debezium.relational.history.MemorySchemaHistory",
}
OF_FLAVOR: Final = {
    "mysql": {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "database.ssl.mode": "disabled",
    },
    "mariadb": {
        "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
        "database.ssl.mode": "disable",
    },
}
PROJECTS: Final = {"mariadb": "debezium-mariadb"}
"""Of what is not in the project ``debezium``, by the URL's scheme."""


def properties(dsn: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The connector's properties for a database; ``settings`` use ``__`` for dots."""
    given = {name.replace("__", "."): value for name, value in settings.items()}
    connector = _binlog if urlsplit(dsn).scheme in OF_FLAVOR else _postgresql
    return {**DEFAULTS, **connector(dsn), **given}


def project(dsn: str) -> str:
    """The Maven project that has the connector for a database."""
    return PROJECTS.get(urlsplit(dsn).scheme, "debezium")


def _postgresql(dsn: str) -> dict[str, str]:
    parts = conninfo_to_dict(dsn)
    return {
        **POSTGRESQL,
        "database.hostname": str(parts["host"]),
        "database.port": str(parts["port"]),
        "database.user": str(parts["user"]),
        "database.password": str(parts.get("password") or ""),
        "database.dbname": str(parts["dbname"]),
    }


def _binlog(dsn: str) -> dict[str, str]:
    parts = urlsplit(dsn)
    return {
        **BINLOG,
        **OF_FLAVOR[parts.scheme],
        "database.hostname": str(parts.hostname),
        "database.port": str(parts.port),
        "database.user": str(parts.username),
        "database.password": parts.password or "",
        "database.include.list": parts.path.strip("/"),
    }


class Peer:
    """A running Debezium; :attr:`records` grows while it captures."""

    def __init__(
        self,
        settings: Mapping[str, str],
        directory: Path,
        *,
        heap: int = HEAP,
        options: tuple[str, ...] = LIGHT,
        project: str = "debezium",
    ) -> None:
        self.records: list[dict[str, Any]] = []
        self.log = directory / "debezium.log"
        path = directory / "debezium.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self.java = Java(
            project,
            "Peer",
            str(path),
            log=self.log,
            heap=heap,
            options=options,
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(
        self,
        condition: Callable[[list[dict[str, Any]]], bool],
        *,
        within: float = 60.0,
        what: str = "the records",
    ) -> list[dict[str, Any]]:
        """The records, once they are as ``condition`` wants them.

        Raises RuntimeError with the end of Debezium's log when they are not in time.
        """
        deadline = time.monotonic() + within
        while not condition(self.records):
            if not self.java.running or time.monotonic() > deadline:
                said = self.log.read_text("utf-8", "replace")[-4000:]
                raise RuntimeError(f"Debezium gave no {what} ({len(self.records)}):\n{said}")
            time.sleep(0.02)
        return list(self.records)

    def stop(self) -> None:
        """Let it end in order, which drops its slot."""
        self.java.stop()
        self._reader.join()

    def _read(self) -> None:
        assert self.java.process.stdout is not None
        with self.java.process.stdout as lines:
            for line in lines:
                self.records.append(json.loads(line))


@contextmanager
def running(dsn: str, settings: Mapping[str, str], *, heap: int = HEAP) -> Iterator[Peer]:
    """Debezium captures a database; ``settings`` are its properties with ``__`` for dots."""
    with tempfile.TemporaryDirectory(prefix="penstock-debezium-") as directory:
        made = properties(dsn, settings)
        peer = Peer(made, Path(directory), heap=heap, project=project(dsn))
        try:
            yield peer
        finally:
            peer.stop()


def main(dsn: str, *settings: str) -> int:
    pairs = dict(setting.partition("=")[::2] for setting in settings)
    with tempfile.TemporaryDirectory(prefix="penstock-debezium-") as directory:
        path = Path(directory) / "debezium.properties"
        merged = properties(dsn, pairs)
        path.write_text("".join(f"{name}={value}\n" for name, value in merged.items()))
        log = Path(directory) / "log"
        java = Java(project(dsn), "Peer", str(path), log=log, heap=HEAP, stdout=sys.stdout.buffer)
        signal.signal(signal.SIGINT, lambda *_: java.process.terminate())
        code = java.process.wait()
        sys.stderr.write(log.read_text("utf-8", "replace"))
        return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
