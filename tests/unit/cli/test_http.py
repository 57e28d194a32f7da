"""The HTTP endpoint: loopback only, and what it says."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penstock.cli.http import metrics, parse_address, serving
from penstock.errors import ConfigError
from penstock.pipeline import Pipeline
from penstock.pipeline.observe import SinkStatus, Status
from penstock.sinks.memory import Memory
from penstock.stores.memory import MemoryStore
from penstock.testing.scripted import ScriptedSource


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9400", ("127.0.0.1", 9400)),
        ("127.3.2.1:0", ("127.3.2.1", 0)),
        ("localhost:80", ("localhost", 80)),
        ("[::1]:9400", ("::1", 9400)),
    ],
)
def test_loopback(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["0.0.0.0:80", ":80", "[::]:80", "10.0.0.1:80", "example.org:80", "9400", "localhost:x"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--http"):
        parse_address(text)


def test_metrics() -> None:
    sink = SinkStatus("stalled", "0/1:2", "{}", changes=7, failures=1)
    status = Status("orders", "running", {'a"b': sink}, {"retained_bytes": 5, "slot": "x"})
    text = metrics(status)
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {"penstock_state", "penstock_sink_changes", "penstock_source_retained_bytes"} <= families
    lines = text.splitlines()
    assert 'penstock_state{pipeline="orders",state="running"} 1' in lines
    assert r'penstock_sink_changes_total{pipeline="orders",sink="a\"b"} 7' in lines
    assert r'penstock_sink_stalled{pipeline="orders",sink="a\"b"} 1' in lines
    assert 'penstock_source_retained_bytes{pipeline="orders"} 5' in lines
    assert not any("source_slot" in text for text in lines)


def test_a_port_in_use_is_told_with_what_to_do() -> None:
    async def twice() -> None:
        pipeline = Pipeline("p", source=ScriptedSource([]), sinks=[Memory()], store=MemoryStore())
        async with serving(pipeline, "127.0.0.1", 0) as port, serving(pipeline, "127.0.0.1", port):
            pass

    with pytest.raises(ConfigError, match=r":\d+: Address already in use") as told:
        asyncio.run(twice())
    assert "another port" in told.value.hint
