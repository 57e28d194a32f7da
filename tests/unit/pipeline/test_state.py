"""Where sinks stand at start-up, when what they have has no order."""

from __future__ import annotations

from penstock.pipeline.state import reconcile
from penstock.ports import Saved, StreamState
from penstock.stores.memory import MemoryStore
from tests.unit.pipeline.test_passage import SetSource, having


def test_the_start_is_what_all_have_and_each_is_told_apart() -> None:
    saved = Saved(
        {
            ("a", "main"): StreamState(None, having("AB")),
            ("b", "main"): StreamState(None, having("AC")),
        }
    )
    memory, _ = reconcile(SetSource(), MemoryStore(), saved, {"a": None, "b": None}, {})
    assert memory.start == {"main": having("A")}
    assert memory.reached == {"main": [having("AB"), having("AC")]}
    assert memory.of("b") == {"main": having("AC")}


def test_a_sink_that_knows_what_it_has_is_believed() -> None:
    """What only the store counts as passed had nothing for the sink, or it would be a gap."""
    saved = Saved({("a", "main"): StreamState(None, having("AC"))})
    own = {("a", "main"): having("AB")}
    memory, states = reconcile(SetSource(), MemoryStore(), saved, {"a": None}, own, {"a"})
    assert memory.start == {"main": having("AB")}
    assert states["a", "main"].safe == having("AB")


def test_a_keepalive_moves_the_store_ahead_of_the_sink() -> None:
    saved = Saved({("a", "main"): StreamState(None, having("ABC"))})
    own = {("a", "main"): having("AB")}
    memory, _ = reconcile(SetSource(), MemoryStore(), saved, {"a": None}, own, {"a"})
    assert memory.start == {"main": having("ABC")}
