"""Typed rows: the columns of a table as the fields of a user's type.

A maker is compiled once per row type and table version; a row then costs one call.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NotRequired, Required, TypeAlias, get_origin, get_type_hints

from typing_extensions import is_typeddict

from penstock.errors import ConfigError, DecodeError, SchemaError
from penstock.model import UNCHANGED, Change, Column, Kind, Raw, Row, Table
from penstock.ports import Finding
from penstock.sinks.handlers.fitting import TEXT_TOO, Annotation

Maker: TypeAlias = Callable[[Sequence[Raw]], Any]
_Reader: TypeAlias = Callable[[Raw], Any]

_LARGE: Final = frozenset({Kind.TEXT, Kind.BYTES, Kind.JSON, Kind.ARRAY, Kind.NUMERIC, Kind.OTHER})
"""Kinds whose values may be stored out of line, where the source does not know it by column."""

_VERSIONS: Final = 1000
"""Table versions whose makers are kept."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a row type.

    Parameters
    ----------
    name: the column's name, and the argument's.
    required: whether a table must have the column.
    converted: whether the type's own validator makes the value; then its kind is not checked.
    """

    name: str
    annotation: Annotation
    required: bool
    converted: bool = False


class RowType:
    """A dataclass, pydantic model, msgspec Struct or TypedDict that rows become.

    Raises ConfigError for any other type.
    """

    def __init__(self, type: Any) -> None:
        build: Callable[..., Any] = type
        self.name: str = getattr(type, "__qualname__", repr(type))
        self.build: Callable[[dict[str, Any]], Any]
        self.validates = False
        if is_typeddict(type):
            self.fields, self.build = _typed_dict_fields(type), lambda values: values
        elif dataclasses.is_dataclass(type):
            self.fields, self.build = _dataclass_fields(type), lambda values: build(**values)
        elif hasattr(type, "__struct_fields__"):
            self.fields, self.build = _struct_fields(type), lambda values: build(**values)
        elif hasattr(type, "model_validate"):
            self.fields, self.build = _model_fields(type), type.model_validate
            self.validates = True
        else:
            raise ConfigError(
                f"{self.name} is no type of rows",
                hint="a dataclass, a pydantic model, a msgspec Struct or a TypedDict is",
            )
        # By identity: hashing a Table hashes every column. The table is kept so that its id is.
        self._makers: dict[int, tuple[Table, Maker]] = {}

    def maker(self, table: Table) -> Maker:
        """The function that makes a row of raw values. Raises SchemaError where none can be."""
        known = self._makers.get(id(table))
        if known is not None:
            return known[1]
        for problem in self.problems(table):
            raise problem
        readers = [
            (field.name, table.index[field.name], self._reader(table, field))
            for field in self.fields
            if field.name in table.index
        ]
        build = self.build

        def make(values: Sequence[Raw]) -> Any:
            return build({name: read(values[i]) for name, i, read in readers})

        if len(self._makers) >= _VERSIONS:
            self._makers.clear()
        self._makers[id(table)] = (table, self._guarded(table, make))
        return self._makers[id(table)][1]

    def typed(self, change: Change[Any]) -> Change[Any]:
        """The change with its row in this type, where it carries one.

        Raises DecodeError for values that the fields cannot hold, SchemaError as :meth:`maker`.
        """
        make = self.maker(change.definition)
        values = change.values_after if change.values_after is not None else change.values_before
        if values is None:
            return change
        typed: Change[Any] = Change(
            change.operation,
            change.definition,
            change.origin,
            change.ordinal,
            change.values_before,
            change.values_after,
            change.key_new,
            change.key_old,
        )
        typed.part, typed.route, typed.headers = change.part, change.route, change.headers
        typed.own_id = change.own_id
        try:
            typed.typed_row = make(values)
        except DecodeError as error:
            error.mark = change.mark
            raise
        return typed

    def problems(self, table: Table) -> list[SchemaError]:
        """Every field that the table's columns cannot fill."""
        found = []
        for field in self.fields:
            place = table.index.get(field.name)
            if place is None:
                if field.required:
                    found.append(self._missing(table, field))
                continue
            type = table.columns[place].type
            if not field.converted and not field.annotation.fits(type, converts=self.validates):
                found.append(
                    SchemaError(
                        f"{table.text}.{field.name} is {type.sql}: it does not fit the field "
                        f"{self.name}.{field.name}",
                        hint=f"annotate the field for {type.kind.value} values"
                        + (" (Decimal)" if type.kind is Kind.NUMERIC else ""),
                        table=table.text,
                    )
                )
        return found

    def _missing(self, table: Table, field: Field) -> SchemaError:
        return SchemaError(
            f"{table.text} has no column for the field {self.name}.{field.name}",
            hint=f"its columns: {', '.join(table.names)}; a field with a default may be absent",
            table=table.text,
        )

    def findings(self, table: Table) -> list[Finding]:
        """What a check says about this type and a table."""
        found = [
            Finding("error", error.message, error.hint, error.code)
            for error in self.problems(table)
        ]
        for field in self.fields:
            place = table.index.get(field.name)
            if place is None:
                continue
            column = table.columns[place]
            if column.nullable and not field.annotation.null:
                found.append(
                    Finding(
                        "warning",
                        f"{table.text}.{field.name} may be null, which "
                        f"{self.name}.{field.name} cannot hold: such a change fails",
                        f"annotate the field with `| None`, or: ALTER TABLE {table.text} "
                        f'ALTER COLUMN "{field.name}" SET NOT NULL',
                        "decode",
                    )
                )
            if _may_be_unchanged(table, column) and not field.annotation.unchanged:
                found.append(
                    Finding(
                        "info",
                        f"a large value of {table.text}.{field.name} is UNCHANGED in updates that "
                        f"leave it alone, which {self.name}.{field.name} cannot hold: such a "
                        "change fails",
                        f"ALTER TABLE {table.text} REPLICA IDENTITY FULL",
                        "decode",
                    )
                )
        return found

    def _reader(self, table: Table, field: Field) -> _Reader:
        """Reads one column: null and UNCHANGED where the field allows them, else its value."""
        column = table.columns[table.index[field.name]]
        parse, annotation = column.type.parse, field.annotation
        enum = None if self.validates else annotation.enum
        no_text = not self.validates and column.type.kind in TEXT_TOO and not annotation.text
        where = f"{table.text}.{field.name}"
        lenient = self.validates and field.converted

        def read(raw: Raw) -> Any:
            if raw is None:
                if annotation.null or lenient:
                    return None
                raise DecodeError(
                    f"{where} is null: {self.name}.{field.name} cannot hold it",
                    hint="annotate the field with `| None`",
                    table=table.text,
                )
            if raw is UNCHANGED:
                if annotation.unchanged:
                    return UNCHANGED
                raise DecodeError(
                    f"{where} is UNCHANGED: the log did not repeat it, and "
                    f"{self.name}.{field.name} cannot hold that",
                    hint=f"ALTER TABLE {table.text} REPLICA IDENTITY FULL, or annotate the field "
                    "with `| Unchanged`",
                    table=table.text,
                )
            value = parse(raw)
            if no_text and isinstance(value, str):
                raise DecodeError(
                    f"{where} is {value!r}: Python has no such {column.type.kind.value}, and "
                    f"{self.name}.{field.name} takes no text",
                    hint="annotate the field with `| str`",
                    table=table.text,
                )
            return value if enum is None else enum(value)

        return read

    def _guarded(self, table: Table, make: Maker) -> Maker:
        def guarded(values: Sequence[Raw]) -> Any:
            try:
                return make(values)
            except DecodeError:
                raise
            except Exception as error:
                raise DecodeError(
                    f"no {self.name} can be made of a row of {table.text}: {error}",
                    table=table.text,
                ) from error

        return guarded


def row_type(type: Any) -> RowType | None:
    """The row type behind ``T`` of ``Change[T]``; None for plain rows."""
    return None if type in (Row, Any) else RowType(type)


def _may_be_unchanged(table: Table, column: Column) -> bool:
    return (
        table.identity != "full"
        and (column.type.kind in _LARGE if column.external is None else column.external)
        and column.name not in table.key_columns
    )


def _hints(type: Any, *, extras: bool = False) -> dict[str, Any]:
    try:
        return get_type_hints(type, include_extras=extras)
    except NameError as error:
        raise ConfigError(
            f"the annotations of {type.__qualname__} name {error.name!r}, which cannot be found",
            hint="define or import it at the top of its module, outside `if TYPE_CHECKING`",
        ) from error


def _typed_dict_fields(type: Any) -> tuple[Field, ...]:
    # Annotations that are strings hide NotRequired from the class itself.
    marks = {name: get_origin(hint) for name, hint in _hints(type, extras=True).items()}
    required = {name for name, mark in marks.items() if mark is Required} | {
        name for name in type.__required_keys__ if marks[name] is not NotRequired
    }
    return tuple(
        Field(name, Annotation.of(hint), name in required) for name, hint in _hints(type).items()
    )


def _dataclass_fields(type: Any) -> tuple[Field, ...]:
    hints = _hints(type)
    return tuple(
        Field(
            field.name,
            Annotation.of(hints[field.name]),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(type)
        if field.init
    )


def _struct_fields(type: Any) -> tuple[Field, ...]:
    # Whoever has a Struct has imported msgspec; penstock itself does not need it.
    described = sys.modules["msgspec"].structs.fields(type)
    hints = _hints(type)
    return tuple(
        Field(field.name, Annotation.of(hints[field.name]), field.required) for field in described
    )


def _model_fields(type: Any) -> tuple[Field, ...]:
    own = {
        name
        for decorator in type.__pydantic_decorators__.field_validators.values()
        for name in decorator.info.fields
    }
    return tuple(
        Field(
            info.validation_alias if isinstance(info.validation_alias, str) else name,
            Annotation.of(info.annotation),
            info.is_required(),
            name in own or any("Validator" in m.__class__.__name__ for m in info.metadata),
        )
        for name, info in type.model_fields.items()
    )
