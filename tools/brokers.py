"""A real Apache Kafka on loopback ports (KRaft mode), its data in a temporary directory."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tools.java import LIGHT, QUIET, Java, class_path

CLUSTER: Final = "cGVuc3RvY2stdGVzdHMtMQ"  # a UUID in base64
HEAP: Final = 128  # MiB
USERS: Final = {"writer": "open sesame", "guest": "let me in"}
"""Who may log in where passwords are asked for. The writer may do all; the guest, nothing."""


class Kafka:
    """A cluster of brokers that are controllers too.

    It goes with this process. Killing brokers and starting them again keeps ports and data.

    Parameters
    ----------
    brokers: how many; topics of three or more survive the death of one.
    settings: what else stands in ``server.properties``.
    """

    def __init__(
        self, brokers: int = 1, *, heap: int = HEAP, settings: dict[str, str] | None = None
    ) -> None:
        self.nodes = list(range(1, brokers + 1))
        self._heap = heap
        self._settings = settings or {}
        self._directory: Path | None = None
        self._ports = dict(zip(self.nodes, _free_ports(brokers), strict=True))
        self._controllers = dict(zip(self.nodes, _free_ports(brokers), strict=True))
        self._guarded = dict(zip(self.nodes, _free_ports(brokers), strict=True))
        self._running: dict[int, Java] = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """``bootstrap.servers``."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports.values())

    @property
    def guarded(self) -> str:
        """``bootstrap.servers`` where :data:`USERS` log in by SASL/PLAIN."""
        return ",".join(f"127.0.0.1:{port}" for port in self._guarded.values())

    @property
    def directory(self) -> Path:
        """Holds data, settings and log of each broker; removed by ``close``."""
        assert self._directory is not None, "start it first"
        return self._directory

    def log(self, node: int = 1) -> str:
        """What a broker has said so far."""
        return (self.directory / f"{node}.log").read_text("utf-8", "replace")

    def pid(self, node: int = 1) -> int:
        """The process id of a broker that runs."""
        return self._running[node].process.pid

    def start(self, *nodes: int, timeout: float = 240.0) -> Self:
        """Start the brokers that do not run, or those that are named; wait until all serve.

        Raises RuntimeError with the end of a broker's log when it does not come up.
        """
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="penstock-kafka-"))
            with ThreadPoolExecutor() as threads:
                list(threads.map(self._format, self.nodes))
        for node in nodes or self.nodes:
            if node not in self._running:
                self._running[node] = Java(
                    "kafka",
                    "kafka.Kafka",
                    str(self._properties(node)),
                    log=self.directory / f"{node}.log",
                    heap=self._heap,
                )
        self._wait(time.monotonic() + timeout)
        return self

    def kill(self, *nodes: int) -> None:
        """SIGKILL these brokers, or all that run."""
        for node in nodes or list(self._running):
            self._running.pop(node).kill()

    def close(self) -> None:
        """Kill all and remove their data."""
        self.kill()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _wait(self, deadline: float) -> None:
        """Until each broker that runs answers, and knows of all others that run."""
        wanted = set(self._running)
        for node, broker in self._running.items():
            url = f"127.0.0.1:{self._ports[node]}"
            client = AdminClient({"bootstrap.servers": url, "log_level": 0})
            while not wanted <= _brokers(client):
                if not broker.running:
                    raise RuntimeError(f"broker {node} has ended:\n{self.log(node)[-3000:]}")
                if time.monotonic() > deadline:
                    raise RuntimeError(f"broker {node} does not serve:\n{self.log(node)[-3000:]}")
                time.sleep(0.05)

    def _properties(self, node: int) -> Path:
        return self.directory / f"{node}.properties"

    def _format(self, node: int) -> None:
        copies = str(min(3, len(self.nodes)))
        in_sync = str(min(2, len(self.nodes)))
        listeners = (
            f"PLAINTEXT://127.0.0.1:{self._ports[node]},"
            f"GUARDED://127.0.0.1:{self._guarded[node]},"
            f"CONTROLLER://127.0.0.1:{self._controllers[node]}"
        )
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in self._controllers.items())
        users = " ".join(f'user_{name}="{word}"' for name, word in USERS.items())
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "GUARDED:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.guarded.plain.sasl.jaas.config": (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:writer",
            "log.dirs": str(self.directory / str(node)),
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
            # small and quick to start
            "offsets.topic.num.partitions": "3",
            "transaction.state.log.num.partitions": "3",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.dedupe.buffer.size": str(4 << 20),
            # a killed broker may come back as soon as its old life is over
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "num.network.threads": "2",
            "num.io.threads": "2",
            **self._settings,
        }
        path = self._properties(node)
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        command = ["java", "-Xmx64m", *LIGHT, *QUIET, "-cp", class_path("kafka")]
        done = subprocess.run(
            [*command, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"cannot format broker {node}:\n{done.stderr[-3000:]}")


def _brokers(client: AdminClient) -> set[int]:
    try:
        return set(client.list_topics(timeout=1).brokers)
    except KafkaException:
        return set()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
