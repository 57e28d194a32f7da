"""Names of columns in a transform's configuration: ``schema.table.column``, ``*`` for anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from penstock.model.pattern import ColumnPattern

_Columns = TypeVar("_Columns", bound=Iterable[str])


def _checked(columns: _Columns) -> _Columns:
    for column in columns:
        ColumnPattern.parse(column)
    return columns


ColumnNames = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_checked)]
"""One column or more."""

NewNames = Annotated[
    dict[str, Annotated[str, Field(min_length=1)]], Field(min_length=1), AfterValidator(_checked)
]
"""By column another name."""
