from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from penstock.errors import ConnectionLostError, RejectedError, SinkUnavailableError
from penstock.model import Barrier, Batch, Checkpoint, Mark
from penstock.ports import Context
from penstock.sinks.memory import MemorySink
from penstock.testing import (
    Fault,
    FlakySink,
    Pause,
    ScriptedSource,
    batch,
    checkpoint,
    insert,
    keepalive,
    read,
    run_virtual,
    snapshot,
    table_of,
)
from penstock.testing.contracts import Remembered
from penstock.testing.scripted import Step

CONTEXT = Context("test")
TABLE = table_of("public.t", {"id": 1})


def row(id: int) -> Any:
    return insert(TABLE, {"id": id})


async def play(source: ScriptedSource, **start: Checkpoint) -> list[Batch | Barrier]:
    await source.open(CONTEXT, Remembered(start))
    return [item async for item in source.batches()]


def test_a_batch_gives_its_changes_their_place() -> None:
    part, rest = batch(7, row(1), complete=False), batch(7, row(2), row(3), first=1)
    assert [change.id for change in (*part, *rest)] == ["7:0", "7:1", "7:2"]
    assert (part.checkpoint, rest.checkpoint) == (None, checkpoint(7))
    assert (part.last, rest.last) == (Mark("7", 0), Mark("7", 2))
    assert (part.size, rest.size) == (100, 200)


def test_a_snapshot_is_a_stream_of_its_own() -> None:
    begin, first, second, end = snapshot(
        TABLE, [read(TABLE, {"id": i}) for i in range(3)], at=9, attempt=2, per_batch=2
    )
    assert {part.stream for part in (begin, first, second, end)} == {"snapshot:public.t"}
    assert [len(part) for part in (begin, first, second, end)] == [1, 2, 1, 1]
    assert str(second.last) == "snapshot:public.t@2:2"
    assert end.checkpoint is not None
    source = ScriptedSource([])
    assert second.last is not None
    assert source.covers(end.checkpoint, second.last)
    assert source.covers(end.checkpoint, Mark("8", 0))
    assert not source.covers(end.checkpoint, Mark("9", 0))
    assert not source.covers(end.checkpoint, Mark("snapshot:public.t@3", 0))
    assert not source.covers(checkpoint(99), second.last)


def test_it_goes_on_after_the_checkpoint_and_an_error_happens_once() -> None:
    async def main() -> None:
        script: list[Step] = [
            batch(1, row(1)),
            Barrier(("main",)),
            keepalive(2),
            ConnectionLostError("cut"),
            batch(10, row(2)),
        ]
        source = ScriptedSource(script, ends=True)
        with pytest.raises(ConnectionLostError, match="cut"):
            await play(source)
        assert await play(source, main=checkpoint(1)) == script[1:3] + script[4:]
        assert await play(source, main=checkpoint(2)) == [script[1], script[4]]
        assert source.starts == [{}, {"main": checkpoint(1)}, {"main": checkpoint(2)}]
        assert await source.head() == checkpoint(10)
        assert source.meet(checkpoint(10), checkpoint(9)) == checkpoint(9)

    run_virtual(main())


def test_a_pause_takes_virtual_time_and_the_end_waits_for_close() -> None:
    async def main() -> float:
        source = ScriptedSource([Pause(60), batch(1, row(1))])
        reading = asyncio.create_task(play(source))
        await asyncio.sleep(30)
        assert not source.waiting()
        await asyncio.sleep(3600)
        assert not reading.done()
        await source.acknowledge(checkpoint(1))
        await source.close()
        assert len(await reading) == 1
        assert source.acknowledged == [checkpoint(1)]
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 3630


def flaky(*faults: Fault, rejects: tuple[str, ...] = ()) -> tuple[FlakySink, MemorySink]:
    inner = MemorySink()
    return FlakySink(inner, faults, rejects=rejects), inner


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    run_virtual(coroutine)


def test_a_fault_before_a_write_and_one_after_it() -> None:
    down = SinkUnavailableError("down")
    sink, inner = flaky(Fault("write", 1, error=down), Fault("write", 2, after=down))

    async def main() -> None:
        await sink.open(CONTEXT)
        for expected in (0, 1):
            with pytest.raises(SinkUnavailableError):
                await sink.write(batch(1, row(1)))
            assert len(inner.changes) == expected
        await sink.write(batch(1, row(1)))
        assert await sink.flush() == Mark("1", 0)
        await sink.close()
        assert sink.calls == {"open": 1, "write": 3, "flush": 1, "close": 1}

    run(main())


def test_a_delay_and_a_hold() -> None:
    sink, inner = flaky(Fault("write", delay=5.0), Fault("flush", delay=float("inf")))

    async def main() -> None:
        clock = asyncio.get_running_loop()
        await sink.open(CONTEXT)
        await sink.write(batch(1, row(1)))
        assert clock.time() == 5.0
        flushing = asyncio.create_task(sink.flush())
        await asyncio.sleep(1000)
        assert not flushing.done()
        assert not inner.flushed
        sink.release()
        assert await flushing == Mark("1", 0)

    run(main())


def test_what_is_rejected_is_named() -> None:
    sink, inner = flaky(rejects=("2:1",))

    async def main() -> None:
        await sink.open(CONTEXT)
        await sink.write(batch(1, row(1)))
        with pytest.raises(RejectedError) as caught:
            await sink.write(batch(2, row(1), row(2)))
        assert caught.value.which == ("2:1",)
        assert len(inner.changes) == 1

    run(main())
