"""A pipeline's transforms: what the source does of them, what is remembered, what a check tells."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import ConfigError, SchemaError
from penstock.model import Change, Table
from penstock.model.projection import ProjectionOf
from penstock.pipeline.pipeline import Pipeline
from penstock.ports import Context
from penstock.sinks.memory import MemorySink
from penstock.stores.memory import MemoryStore
from penstock.testing import ScriptedSource, VirtualClock, batch, insert, keepalive, run_virtual
from penstock.transforms.mask import Mask
from penstock.transforms.rename import Rename
from tests.support.feed import column, table


def hide(*columns: str) -> Mask:
    return Mask(columns=columns, method="drop")


def user(**more: Any) -> Change:
    return insert("public.users", {"id": 1, "email": "a@b", **more})


class Described(ScriptedSource):
    """Knows its tables beforehand, and can project their rows."""

    def __init__(self, script: Any, *tables: Table, pushes: bool = True) -> None:
        super().__init__(script)
        self.tables = tables
        self.given: ProjectionOf | None = None
        if pushes:
            self.project = self._project

    async def describe(self, context: Context) -> list[Table]:
        return list(self.tables)

    def _project(self, projection_of: ProjectionOf) -> None:
        self.given = projection_of


def pipeline(
    source: Any, *transforms: Any, sink: MemorySink | None = None, store: Any = None
) -> Pipeline:
    context = Context("p", clock=VirtualClock())
    return Pipeline(
        "p", source, [sink or MemorySink()], transforms, store or MemoryStore(), context=context
    )


def run(source: Any, *transforms: Any, store: Any = None) -> list[dict[str, Any]]:
    """The rows that arrive."""
    sink = MemorySink()
    made = pipeline(source, *transforms, sink=sink, store=store)
    run_virtual(made.serve(until_caught_up=True))
    return [dict(change.row) for change in sink.changes]


def test_a_source_that_cannot_project_is_projected_behind() -> None:
    source = ScriptedSource([batch(1, user())])
    rename = Rename(columns={"public.users.id": "number"})
    assert run(source, hide("*.email"), rename) == [{"number": 1}]


def test_rules_behind_a_function_give_the_same() -> None:
    seen: list[Any] = []

    def look(change: Change) -> Change:
        seen.append(dict(change.row))
        return change

    source = Described([batch(1, user())], user().definition)
    assert run(source, look, hide("*.email")) == [{"id": 1}]
    assert seen == [{"id": 1, "email": "a@b"}]


def test_the_first_rules_are_left_to_a_source_that_can() -> None:
    source = Described([batch(1, user())], user().definition)
    assert run(source, hide("*.email")) == [{"id": 1, "email": "a@b"}], "it does not do it here"
    assert source.given is not None
    projection = source.given(user().definition)
    assert projection is not None
    assert projection.table.names == ("id",)


def test_rules_of_an_earlier_pipeline_are_taken_back() -> None:
    source = Described([batch(1, user())], user().definition)
    run(source, hide("*.email"))
    run(source)
    assert source.given is not None
    assert source.given(user().definition) is None


def test_columns_are_known_from_the_start_on() -> None:
    """Not only from the first row on, which may come after an ALTER TABLE."""
    source = Described([batch(1, user(ssn=7))], user().definition, pushes=False)
    assert run(source, hide("*.email")) == [{"id": 1}]


def test_what_is_known_outlives_the_pipeline() -> None:
    store = MemoryStore()
    rules = (lambda change: change, hide("*.email"))
    assert run(ScriptedSource([batch(1, user())]), *rules, store=store) == [{"id": 1}]
    source = ScriptedSource([batch(1, user()), batch(2, user(ssn=7))])
    assert run(source, *rules, store=store) == [{"id": 1}]


def test_it_is_saved_before_the_row_goes_on() -> None:
    store = MemoryStore()

    class Looks(MemorySink):
        async def write(self, batch: Any) -> None:
            saved = await store.load()
            assert saved is not None
            assert saved.facts["known_columns"] == [{"public.users": ["id", "email"]}]
            await super().write(batch)

    made = pipeline(ScriptedSource([batch(1, user())]), hide("*.email"), sink=Looks(), store=store)
    assert run_virtual(made.serve(until_caught_up=True)).caught_up


def test_nothing_is_read_when_the_rules_do_not_fit() -> None:
    source = Described([batch(1, user())], user().definition)
    with pytest.raises(SchemaError, match=r"public\.users\.emial"):
        run(source, hide("public.users.emial"))
    assert not source.starts
    with pytest.raises(ConfigError, match=r"no captured table is public\.user\n.*users"):
        run(source, hide("public.user.email"))
    assert not source.starts


def findings(made: Pipeline) -> list[tuple[str, str]]:
    return [(finding.severity, finding.message) for finding in made.check()]


def test_a_check_tells_what_does_not_fit() -> None:
    source = Described([], user().definition)
    assert findings(pipeline(source, hide("public.users.id"))) == [
        ("error", "public.users.id is of the key, so it cannot be left out")
    ]
    assert findings(pipeline(source, hide("*.email"))) == []


def test_a_check_tells_of_columns_that_are_left_out() -> None:
    store = MemoryStore()
    run(Described([keepalive(1)], user().definition), hide("*.email"), store=store)
    later = table("users", column("id"), column("email"), column("ssn"))
    made = pipeline(Described([], later), hide("*.email"), store=store)
    ((severity, message),) = findings(made)
    assert severity == "warning"
    assert message.startswith("public.users: the new column 'ssn' is left out")


def test_a_check_tells_of_functions() -> None:
    ((severity, message),) = findings(pipeline(Described([]), lambda change: change))
    assert severity == "info"
    assert "a Python function is among the transforms" in message


def test_a_third_partys_transform_has_its_place() -> None:
    class Third:
        def apply(self, batch: Any) -> Any:
            return batch.select(lambda event: True)

    source = Described([batch(1, user())], user().definition)
    assert run(source, Third(), hide("*.email")) == [{"id": 1}]
