"""A handler: a function, what it is called for, and what its signature asks for."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, partial
from typing import Any, Final, get_args, get_origin

from penstock.errors import ConfigError
from penstock.model import OPERATIONS, Change, Message, Row
from penstock.sinks.handlers.rows import RowType, row_type

CONNECTIONS: Final[Mapping[tuple[str, str], bool]] = {
    ("sqlalchemy", "Session"): False,
    ("sqlalchemy", "AsyncSession"): True,
    ("sqlalchemy", "Connection"): False,
    ("sqlalchemy", "AsyncConnection"): True,
    ("psycopg", "Connection"): False,
    ("psycopg", "AsyncConnection"): True,
}
"""Parameter types that get the transaction of the checkpoint, and whether they are async."""


@dataclass(frozen=True)
class Handler:
    """A registered function.

    Parameters
    ----------
    function: the user's function.
    name: its qualified name; where: ``file:line``.
    tables: a table's name or a pattern with ``*``; for messages their prefix.
    operations: what it is called for; empty for messages.
    rows: the type that rows become; None for plain rows.
    batch: whether it takes lists, with at most ``max_rows`` and for at most ``max_wait`` seconds.
    connection: the parameter that gets the checkpoint's transaction, and its type.
    """

    function: Callable[..., Any]
    name: str
    where: str
    tables: str
    operations: frozenset[str]
    rows: RowType | None = None
    batch: bool = False
    max_rows: int = 1000
    max_wait: float = 1.0
    connection: tuple[str, type] | None = None
    is_async: bool = field(default=False)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(".*".join(re.escape(part) for part in self.tables.split("*")))

    def matches(self, table: str) -> bool:
        """Whether it wants changes of this table."""
        return self._pattern.fullmatch(table) is not None

    def arguments(self, connection: object) -> dict[str, object]:
        """The arguments besides the change."""
        return {} if self.connection is None else {self.connection[0]: connection}

    def __str__(self) -> str:
        return f"{self.name} ({self.where})"


def bind(
    function: Callable[..., Any],
    tables: str,
    operations: Sequence[str],
    *,
    names: Mapping[str, Any] | None = None,
    max_rows: int = 1000,
    max_wait: float = 1.0,
) -> Handler:
    """Read a handler's signature, once.

    Parameters
    ----------
    names: local names at the place of registration, for annotations that are strings.

    Raises
    ------
    ConfigError: names the function, its file and line, and the parameter that cannot be filled.
    """
    signature = _Signature(function, names or {})
    for operation in operations:
        if operation not in OPERATIONS:
            near = get_close_matches(operation, OPERATIONS, 1)
            raise ConfigError(
                f"{signature.place}: there is no operation {operation!r}",
                hint=f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(OPERATIONS),
            )
    if max_rows < 1 or max_wait < 0:
        raise ConfigError(f"{signature.place}: max_rows is at least 1, max_wait at least 0")
    row, batch = signature.change()
    return Handler(
        function,
        signature.name,
        signature.where,
        tables,
        frozenset(operations) or frozenset(OPERATIONS) - {"read"},
        row,
        batch,
        max_rows,
        max_wait,
        signature.connection(),
        signature.is_async,
    )


def bind_message(
    function: Callable[..., Any], prefix: str, *, names: Mapping[str, Any] | None = None
) -> Handler:
    """Read the signature of a handler of messages. Raises ConfigError as :func:`bind`."""
    signature = _Signature(function, names or {})
    signature.message()
    return Handler(
        function,
        signature.name,
        signature.where,
        prefix,
        frozenset(),
        connection=signature.connection(),
        is_async=signature.is_async,
    )


class _Signature:
    def __init__(self, function: Callable[..., Any], names: Mapping[str, Any]) -> None:
        inner = inspect.unwrap(function)
        while hasattr(inner, "func"):  # functools.partial
            inner = inner.func
        code = getattr(inner, "__code__", None)
        self.name: str = getattr(inner, "__qualname__", type(inner).__qualname__)
        self.where = f"{code.co_filename}:{code.co_firstlineno}" if code else "?"
        self.place = f"handler {self.name} ({self.where})"
        self.is_async = _is_async(function)
        self._wraps_async = _is_async(inner)
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            raise ConfigError(f"{self.place} yields: it would never run", hint="return instead")
        self._hints = self._resolve(inner, names)
        self._parameters = list(inspect.signature(function).parameters.values())
        if not self._parameters:
            raise ConfigError(
                f"{self.place} takes no argument", hint="its first parameter gets the change"
            )

    def _resolve(self, inner: Any, names: Mapping[str, Any]) -> dict[str, Any]:
        target = inner if hasattr(inner, "__code__") else type(inner).__call__
        try:
            # Functions and classes made inside a function are found only in its frame.
            return typing.get_type_hints(target, localns=dict(names))
        except NameError as error:
            raise ConfigError(
                f"{self.place}: its annotations name {error.name!r}, which cannot be found",
                hint="define or import it above the handler, outside `if TYPE_CHECKING`",
            ) from error
        except TypeError as error:
            raise ConfigError(f"{self.place}: {error}") from error

    def _refuse(self, parameter: inspect.Parameter, hint: str) -> ConfigError:
        shown = getattr(self._hints.get(parameter.name), "__qualname__", None) or str(
            self._hints.get(parameter.name, "no annotation")
        )
        return ConfigError(f"{self.place}: parameter {parameter.name!r} is {shown}", hint=hint)

    def change(self) -> tuple[RowType | None, bool]:
        """The row type of the first parameter, and whether it is a list."""
        first = self._parameters[0]
        hint = self._hints.get(first.name, Change)
        batch = get_origin(hint) in (list, Sequence)
        if batch:
            hint = get_args(hint)[0]
        if hint is not Change and get_origin(hint) is not Change:
            raise self._refuse(first, "the first parameter is a Change[T] or a list[Change[T]]")
        try:
            return row_type(*(get_args(hint) or (Row,))), batch
        except ConfigError as error:
            raise ConfigError(
                f"{self.place}: parameter {first.name!r}: {error.message}", hint=error.hint
            ) from error

    def message(self) -> None:
        """Check that the first parameter takes a Message."""
        first = self._parameters[0]
        if self._hints.get(first.name, Message) is not Message:
            raise self._refuse(first, "a handler of messages takes a Message")

    def connection(self) -> tuple[str, type] | None:
        """The parameter that gets the transaction, among those after the first."""
        found: tuple[str, type] | None = None
        for parameter in self._parameters[1:]:
            hint = self._hints.get(parameter.name)
            kind = _connection(hint)
            if kind is None:
                if parameter.default is not parameter.empty or parameter.kind in (
                    parameter.VAR_POSITIONAL,
                    parameter.VAR_KEYWORD,
                ):
                    continue
                known = ", ".join(f"{package}'s {name}" for package, name in CONNECTIONS)
                raise self._refuse(parameter, f"what can be given here: {known}")
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise self._refuse(parameter, "it is given by name: move it behind the `/`")
            if found is not None:
                raise self._refuse(parameter, f"{found[0]!r} has the transaction already")
            if kind[1] != (self.is_async or self._wraps_async):
                wanted = "async def" if kind[1] else "def (it runs in a worker thread)"
                raise self._refuse(parameter, f"a handler with this parameter is a {wanted}")
            found = (parameter.name, kind[0])
            self.is_async = kind[1]
        return found


def _is_async(function: Any) -> bool:
    """Whether a call gives a coroutine, as far as can be seen: of a decorated function it is the
    decorator that counts."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  (an object with async __call__)
    )


def _connection(hint: Any) -> tuple[type, bool] | None:
    """The connection class behind an annotation, and whether it is async."""
    cls = get_origin(hint) or hint
    if not isinstance(cls, type):
        return None
    for base in cls.__mro__:
        package = base.__module__.partition(".")[0]
        if (package, base.__name__) in CONNECTIONS:
            return cls, CONNECTIONS[package, base.__name__]
    return None
