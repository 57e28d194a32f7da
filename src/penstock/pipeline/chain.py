"""A pipeline's transforms in their order: the first rules in the source, the rest behind it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeAlias

from penstock.component import Component
from penstock.errors import ConfigError, PenstockError, SchemaError
from penstock.model import Batch, Table
from penstock.model.projection import whole
from penstock.pipeline.functions import ChangeFunction, FunctionTransform
from penstock.pipeline.projector import Projector, left_out
from penstock.ports import Context, Finding, Rule, Source, Transform

AnyTransform: TypeAlias = Component | Rule | Transform | ChangeFunction


class Chain:
    """The transforms of a pipeline.

    Rules that follow each other are one :class:`Projector`. One that stands first is left to the
    source, where that can: then nothing ever holds what it hides.
    """

    def __init__(self, parts: Iterable[AnyTransform] = ()) -> None:
        self._transforms: list[Transform] = []
        made: Iterable[Any] = (p.build() if hasattr(p, "build") else p for p in parts)
        for rules, group in groupby(made, key=lambda part: hasattr(part, "project")):
            if rules:
                self._transforms.append(Projector(list(group)))
            else:
                self._transforms += map(_transform, group)
        self._projectors = [t for t in self._transforms if isinstance(t, Projector)]
        self._behind = self._transforms
        self.fitted = False
        """Whether the first rules were held against the source's tables, and fit."""

    @property
    def _first(self) -> Projector | None:
        first = next(iter(self._transforms), None)
        return first if isinstance(first, Projector) else None

    @property
    def known(self) -> list[Mapping[str, Sequence[str]]]:
        """What each projector knows of tables."""
        return [projector.known for projector in self._projectors]

    @property
    def news(self) -> bool:
        """Whether :attr:`known` has something to save."""
        return any(projector.news for projector in self._projectors)

    def remember(self, known: Sequence[Mapping[str, Collection[str]]]) -> None:
        """Begin with what was known."""
        self.fitted = False
        for i, projector in enumerate(self._projectors):
            projector.remember(known[i] if i < len(known) else {})

    def saved(self) -> None:
        """:attr:`known` is saved as it is now."""
        for projector in self._projectors:
            projector.news = False

    def attach(self, source: Source) -> None:
        """Leave to the source what it can do."""
        project = getattr(source, "project", None)
        self._behind = self._transforms
        if project is not None and self._first is not None:
            self._behind = self._transforms[1:]
        if project is not None:
            project(whole if self._first is None else self._first.of)

    def apply(self, batch: Batch) -> Batch:
        """The batch that goes on to the sinks."""
        for transform in self._behind:
            batch = transform.apply(batch)
        return batch

    async def misfits(self, source: Source, context: Context) -> list[ConfigError | SchemaError]:
        """Where the first rules do not fit the source's tables of today.

        Where the source tells none, this is left to the first row of each table.
        """
        if self._first is None or self.fitted:
            return []
        tables = await described(source, context)
        misfits = list(self._first.check(tables)) if tables else []
        self.fitted = bool(tables) and not misfits
        return misfits

    async def findings(self, source: Source, context: Context) -> list[Finding]:
        """What a check has to tell."""
        found = [
            Finding("error", misfit.message, misfit.hint)
            for misfit in await self.misfits(source, context)
        ]
        for table, column in self._first.left_out if self._first is not None else ():
            found.append(Finding("warning", *left_out(table, column)))
        if any(isinstance(transform, FunctionTransform) for transform in self._transforms):
            found.append(
                Finding(
                    "info",
                    "a Python function is among the transforms: an object is made of every change",
                    "where select, mask and rename do the same, they are faster",
                )
            )
        return found

    async def tables(self, source: Source, context: Context) -> list[Table]:
        """The source's tables of today as they are behind the first rules."""
        tables = await described(source, context)
        if self._first is None:
            return tables
        shown = []
        for table in tables:
            try:
                projection = self._first.of(table)
            except PenstockError:  # told by `misfits`
                continue
            shown.append(table if projection is None else projection.table)
        return shown


async def described(source: Source, context: Context) -> list[Table]:
    """The source's tables of today; none where it cannot tell."""
    describe = getattr(source, "describe", None)
    if describe is None:
        return []
    found: list[Table] = await describe(replace(context, component="source"))
    return found


def _transform(part: Any) -> Transform:
    made: Transform = part if hasattr(part, "apply") else FunctionTransform(part)
    return made
