"""``--http``: health, readiness and metrics of a running pipeline, on loopback only."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from penstock.cli.console import redact
from penstock.errors import ConfigError, PenstockError

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline
    from penstock.pipeline.observe import Status

_ALIVE = frozenset({"starting", "snapshot", "running", "stalled", "stopping"})
_READY = frozenset({"snapshot", "running"})
_LONGEST_REQUEST = 10.0


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``. Raises ConfigError unless it is a loopback address."""
    host, separator, port = text.rpartition(":")
    host = host.strip("[]")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--http: {text!r} is not HOST:PORT", hint="--http 127.0.0.1:9400")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"--http: {host or 'every address'} is not a loopback address, and nothing here asks "
            "who is calling",
            hint="--http 127.0.0.1:9400, and a proxy in front where others must reach it",
        )
    return host, int(port)


@asynccontextmanager
async def serving(pipeline: Pipeline, host: str, port: int) -> AsyncIterator[int]:
    """Answer on that address inside; gives the port, which differs for port 0."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_LONGEST_REQUEST):
                request = (await reader.readline()).split()
                while (await reader.readline()).strip():
                    pass
                path = request[1].decode("latin-1") if len(request) > 1 else ""
                writer.write(await _response(pipeline, path))
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # the caller's trouble, not the pipeline's
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(answer, host, port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(
            f"--http {host}:{port}: {reason}",
            hint="name another port; 0 takes any that is free",
        ) from error
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _response(pipeline: Pipeline, path: str) -> bytes:
    match path.partition("?")[0]:
        case "/health":
            code, kind, body = _state(pipeline, _ALIVE)
        case "/ready":
            code, kind, body = _state(pipeline, _READY)
        case "/metrics":
            code, kind, body = await _metrics_now(pipeline)
        case _:
            code, kind, body = 404, "text/plain", "here: /health /ready /metrics\n"
    reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[code]
    content = body.encode()
    head = (
        f"HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}; charset=utf-8\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + content


def _state(pipeline: Pipeline, good: frozenset[str]) -> tuple[int, str, str]:
    """Asks nobody: a server that is away must not make the pipeline look dead."""
    body = json.dumps({"pipeline": pipeline.name, "state": pipeline.state})
    return 200 if pipeline.state in good else 503, "application/json", body + "\n"


async def _metrics_now(pipeline: Pipeline) -> tuple[int, str, str]:
    try:
        return 200, "text/plain; version=0.0.4", metrics(await pipeline.astatus())
    except PenstockError as error:
        return 503, "text/plain", redact(f"{error.message}\n")


def metrics(status: Status) -> str:
    """The status in Prometheus' text format."""
    return "\n".join(_metrics(status)) + "\n"


def _metrics(status: Status) -> Iterator[str]:
    own = {"pipeline": status.pipeline}
    yield from _family(
        "state", "gauge", "1 for the present state.", [({**own, "state": status.state}, 1)]
    )
    yield from _family(
        "reconnects_total", "counter", "Times the source was reopened.", [(own, status.reconnects)]
    )
    sinks = [({**own, "sink": name}, sink) for name, sink in status.sinks.items()]
    yield from _family(
        "sink_changes_total",
        "counter",
        "Changes written.",
        [(at, sink.changes) for at, sink in sinks],
    )
    yield from _family(
        "sink_failures_total",
        "counter",
        "Failed writes.",
        [(at, sink.failures) for at, sink in sinks],
    )
    yield from _family(
        "sink_stalled",
        "gauge",
        "1 while the sink holds everything up.",
        [(at, int(sink.state == "stalled")) for at, sink in sinks],
    )
    yield from _family(
        "sink_lag_seconds",
        "gauge",
        "Age of the last durable transaction while newer ones wait.",
        [(at, sink.lag_seconds) for at, sink in sinks if sink.lag_seconds is not None],
    )
    for name, value in status.source.items():
        if isinstance(value, int | float):
            yield from _family(f"source_{name}", "gauge", "Of the source.", [(own, value)])


def _family(
    name: str, kind: str, help: str, samples: list[tuple[dict[str, str], Any]]
) -> Iterator[str]:
    yield f"# HELP penstock_{name} {help}"
    yield f"# TYPE penstock_{name} {kind}"
    for labels, value in samples:
        text = ",".join(
            f"{key}={json.dumps(label, ensure_ascii=False)}" for key, label in labels.items()
        )
        yield f"penstock_{name}{{{text}}} {float(value):g}"
