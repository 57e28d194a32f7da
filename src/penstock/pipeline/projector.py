"""Declarative transforms that follow each other, as one: rules in, projections out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from penstock.errors import ConfigError, SchemaError
from penstock.model import Batch, Table
from penstock.model.pattern import matches
from penstock.model.projection import Projection, project
from penstock.ports import Rule

Known = dict[str, tuple[str, ...]]
"""By table the columns that go on unless a rule says otherwise."""

_logger: Final = logging.getLogger("penstock")


class Projector:
    """Compiles rules for each version of a table; applies them where the source does not.

    A table with a mask is closed: columns that it gets later are left out unless a rule names
    them. So the columns that it had when the rules first met it are ``known``, and survive the
    process: ``news`` says that there are some to save.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.remember({})

    def remember(self, known: Mapping[str, Collection[str]]) -> None:
        """Begin with these known columns."""
        self.known: Known = {table: tuple(names) for table, names in known.items()}
        self.news = False
        self._compiled: dict[str, tuple[Table, Projection | None]] = {}
        self.left_out: dict[tuple[str, str], None] = {}
        """New columns, with their tables, that do not go on."""

    def of(self, table: Table) -> Projection | None:
        """A table's projection; None where its rows go on as they are.

        Raises SchemaError where the rules do not fit the table.
        """
        compiled = self._compiled.get(table.text)
        if compiled is not None and (compiled[0] is table or compiled[0] == table):
            return compiled[1]
        projection = self._compile(table)
        found = None if projection.trivial else projection
        self._compiled[table.text] = (table, found)
        return found

    def apply(self, batch: Batch) -> Batch:
        """The batch that goes on."""
        return project(batch, self.of)

    def check(self, tables: Sequence[Table]) -> Iterator[ConfigError | SchemaError]:
        """What does not fit the source's tables of today."""
        idle = [(i, pattern) for i, rule in enumerate(self.rules) for pattern in rule.patterns]
        failed = False
        for table in tables:
            try:
                steps = self._steps(table)
                self.of(table)
            except SchemaError as error:
                yield error
                failed = True
                continue
            idle = [
                (i, pattern)
                for i, pattern in idle
                if not any(pattern.names(table.text, name) for name in _names(steps[i]))
            ]
        if failed:
            return
        texts = [table.text for table in tables]
        once = [(t, name) for t, names in self.known.items() if t not in texts for name in names]
        for _, pattern in idle:
            if any(pattern.names(*column) for column in once):
                continue
            if any(matches(pattern.table, text) for text in texts):
                yield ConfigError(f"a transform names {pattern}, but no captured table has it")
            else:
                near = get_close_matches(pattern.table, texts, 1)
                yield ConfigError(
                    f"a transform names {pattern}, but no captured table is {pattern.table}",
                    hint=f"did you mean {near[0]}?" if near else "",
                )

    def _compile(self, table: Table) -> Projection:
        known = self.known.get(table.text, table.names)
        new = [name for name in table.names if name not in known]
        projection = self._steps(table)[-1]
        if projection.closed:
            whole, projection = projection, projection.without(new)
            for output in set(whole.outputs) - set(projection.outputs):
                self._tell(table.text, table.names[output.position])
            new = []
        projection.table  # noqa: B018  (raises where there can be none)
        if new or table.text not in self.known:
            self.known[table.text] = (*known, *new)
            self.news = True
        return projection

    def _steps(self, table: Table) -> list[Projection]:
        """What each rule gets, and what the last one gives."""
        projection = Projection.whole(table, self.known.get(table.text, ()))
        steps = [projection]
        for rule in self.rules:
            for pattern in rule.patterns:
                if pattern.exact and pattern.table == table.text:
                    _check_there(pattern.column, projection)
            projection = rule.project(projection)
            steps.append(projection)
        return steps

    def _tell(self, table: str, name: str) -> None:
        if (table, name) not in self.left_out:
            self.left_out[table, name] = None
            _logger.warning("%s; %s", *left_out(table, name))


def left_out(table: str, column: str) -> tuple[str, str]:
    """That a new column does not go on, in words, and what lets it on."""
    return (
        f"{table}: the new column {column!r} is left out, since columns of this table are masked",
        f"name it in a mask, a rename or a select ({table}.* for all that come)",
    )


def _names(projection: Projection) -> Iterable[str]:
    return (*(output.name for output in projection.outputs), *projection.gone)


def _check_there(column: str, projection: Projection) -> None:
    """Raises SchemaError where a rule names a column that is not there and never was."""
    names = tuple(_names(projection))
    if column in names:
        return
    text, source = projection.source.text, projection.source
    why = "the table has no such column"
    hint = ""
    if column in source.index:
        renamed = [o.name for o in projection.outputs if o.position == source.index[column]]
        why = "an earlier transform leaves it out"
        if renamed:
            why, hint = "an earlier transform renames it", f"it is {renamed[0]!r} from there on"
    elif near := get_close_matches(column, names, 1):
        hint = f"did you mean {near[0]!r}?"
    raise SchemaError(f"a transform names {text}.{column}, but {why}", hint=hint, table=text)
