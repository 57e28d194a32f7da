"""A pipeline in the foreground, and what goes on beside it."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from penstock.cli.serving import serve
from penstock.errors import ConfigError
from penstock.pipeline import Pipeline
from penstock.sinks.memory import MemorySink
from penstock.stores.memory import MemoryStore
from penstock.testing import ScriptedSource, batch, insert


def pipeline(sink: MemorySink) -> Pipeline:
    source = ScriptedSource([batch(1, insert("public.orders", {"id": 1}))])
    return Pipeline("orders", source, [sink], store=MemoryStore())


def test_until_caught_up() -> None:
    sink = MemorySink()
    report = serve(pipeline(sink), until_caught_up=True)
    assert (report.state, report.changes) == ("stopped", 1)


def test_a_companion_that_fails_ends_it() -> None:
    async def fail() -> None:
        raise ConfigError("the port is taken")

    with pytest.raises(ConfigError, match="the port is taken"):
        serve(pipeline(MemorySink()), companion=fail)


def test_a_companion_that_ends_does_not_end_it() -> None:
    line = pipeline(MemorySink())
    ended = asyncio.Event()

    async def end() -> None:
        asyncio.get_running_loop().call_later(0, line.stop)
        ended.set()

    assert serve(line, companion=end).state == "stopped"
    assert ended.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    line = pipeline(MemorySink())

    async def press() -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    report = serve(line, companion=press)
    assert (report.state, report.drained) == ("stopped", True)
    assert capsys.readouterr().err == "draining, press again to stop now\n"


def test_a_signal_may_mean_something_else() -> None:
    line = pipeline(MemorySink())
    asked = []

    async def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def stop() -> None:
        asked.append(True)
        line.stop()

    serve(line, companion=press, stop=stop, farewell="closing")
    assert asked == [True]
