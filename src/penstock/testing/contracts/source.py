"""The contract of sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from penstock.model import Barrier, Batch, Change, Checkpoint, Mark
from penstock.ports import Context, Source, StreamState
from penstock.testing.contracts.contract import Contract


@dataclass
class Remembered:
    """A :class:`~penstock.ports.SourceState` that keeps what it is told."""

    start: Mapping[str, Checkpoint] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fresh(self) -> bool:
        """Whether nothing is remembered."""
        return not self.start and not self.facts

    @property
    def reached(self) -> Mapping[str, Sequence[Checkpoint]]:
        """Where the one sink that there is stands."""
        return {stream: (at,) for stream, at in self.start.items()}

    async def save(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts."""
        self.facts = dict(facts)

    async def begin(
        self, streams: Mapping[str, Checkpoint], states: Mapping[tuple[str, str], StreamState]
    ) -> Mapping[str, Checkpoint]:
        """Where the one sink that there is was, or where the stream begins."""
        kept = {stream: state.safe for (_, stream), state in states.items() if state.safe}
        return {**streams, **kept}


class SourceContract(Contract):
    """The contract of sources.

    Fixtures
    --------
    connect: makes a new client of the same origin. It has, in its stream ``main``, at least
        three transactions of changes to give, and gives them to every client that starts anew.
    """

    def context(self) -> Context:
        """What sources are opened with."""
        return Context("contract", "source")

    async def taken(
        self, source: Source, start: Mapping[str, Checkpoint], *, to_head: bool = True
    ) -> list[Batch]:
        """Open at ``start`` and read until the head is reached."""
        await source.open(self.context(), Remembered(start, {"contract": True} if start else {}))
        head = await source.head()
        taken: list[Batch] = []
        batches = source.batches()
        if head is not None and start and source.meet(start[head.stream], head) == head:
            await source.close()
            return taken
        async for item in batches:
            if isinstance(item, Barrier):
                continue
            taken.append(item)
            reached = item.checkpoint
            if head is None or reached is None or reached.stream != head.stream:
                continue
            if source.meet(reached, head) == head:
                break
        await source.close()
        return taken

    def test_marks_are_unique_and_batches_say_their_last(
        self, connect: Callable[[], Source]
    ) -> None:
        taken = self.run(self.taken(connect(), {}))
        ids = [event.id for part in taken for event in part if isinstance(event, Change)]
        assert len(ids) >= 3
        assert len(set(ids)) == len(ids)
        for part in taken:
            marks = [event.mark for event in part if isinstance(event, Change)]
            assert not marks or part.last == marks[-1]

    def test_a_checkpoint_covers_what_came_before_and_nothing_after(
        self, connect: Callable[[], Source]
    ) -> None:
        source = connect()
        before: list[Mark] = []
        points: list[Checkpoint] = []
        taken = self.run(self.taken(source, {}))
        for part in (part for part in taken if part.stream == "main"):
            for event in part:
                if isinstance(event, Change):
                    assert not any(source.covers(point, event.mark) for point in points)
                    before.append(event.mark)
            if part.checkpoint is not None:
                points.append(part.checkpoint)
                assert all(source.covers(part.checkpoint, mark) for mark in before)

    def test_meet_is_the_earlier_one(self, connect: Callable[[], Source]) -> None:
        source = connect()
        found = [part.checkpoint for part in self.run(self.taken(source, {}))]
        points = [point for point in found if point is not None and point.stream == "main"]
        assert len(points) >= 2
        for earlier, later in pairwise(points):
            assert source.meet(earlier, later) == source.meet(later, earlier) == earlier
            assert source.meet(later, later) == later

    def test_reading_goes_on_where_a_checkpoint_says(self, connect: Callable[[], Source]) -> None:
        whole = self.run(self.taken(connect(), {}))
        start: dict[str, Checkpoint] = {}
        for i, part in enumerate(whole):
            if part.checkpoint is None:
                continue
            start[part.stream] = part.checkpoint
            if part.stream != "main":
                continue
            rest = self.run(self.taken(connect(), start))
            expected = [e.id for p in whole[i + 1 :] for e in p if isinstance(e, Change)]
            assert [e.id for p in rest for e in p if isinstance(e, Change)] == expected

    def test_acknowledging_what_was_read_is_accepted(self, connect: Callable[[], Source]) -> None:
        async def main() -> None:
            source = connect()
            await source.open(self.context(), Remembered())
            async for item in source.batches():
                if not isinstance(item, Barrier) and item.checkpoint is not None:
                    await source.acknowledge(item.checkpoint)
                    break
            await source.close()

        self.run(main())

    def test_closing_twice_or_before_opening_is_harmless(
        self, connect: Callable[[], Source]
    ) -> None:
        async def main() -> None:
            source = connect()
            await source.close()
            await source.open(self.context(), Remembered())
            await source.close()
            await source.close()

        self.run(main())
