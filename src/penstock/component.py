"""The base of every component's configuration: one model in the component's own file.

The model is both what the pipeline file says and what Python users write:
``Jsonl(path="orders.jsonl")``. ``build()`` makes the working object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr

Secret = SecretStr
"""A value that never prints: its repr, str and JSON are stars."""

if TYPE_CHECKING:

    class SecretField:
        """A field that holds a Secret and is given a Secret or a str: pydantic converts it."""

        def __get__(self, instance: object, owner: Any) -> Secret: ...
        def __set__(self, instance: object, value: Secret | str) -> None: ...
else:
    SecretField = Secret


def _as_texts(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: _as_text(given) for name, given in value.items()}


def _as_text(value: object) -> str | Secret:
    if isinstance(value, Secret):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


Settings = Annotated[Mapping[str, Secret], BeforeValidator(_as_texts)]
"""A client's own settings by its own names: texts, numbers and booleans, and any may be secret."""


class Component(BaseModel):
    """A frozen pydantic model; unknown keys are errors. Errors show no value: it may be a secret.

    ``extra_name`` is the extra (``penstock[...]``) that installs the component's driver.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    extra_name: ClassVar[str] = ""

    def build(self) -> Any:
        """The working Source, Sink, Transform or Store."""
        raise NotImplementedError


class SinkComponent(Component):
    """What every sink's configuration has.

    Parameters
    ----------
    name: unique in its pipeline; defaults to the type.
    format: how changes become records: a name, or ``{type = "debezium", schemas = false}`` with
        the options of a format that has some; sinks that need none ignore it.
    start: where a sink that is added to a running pipeline begins: with a snapshot of its own,
        or with what comes from now on. Without it such a sink is refused.
    """

    type: str
    name: str | None = None
    format: str | Mapping[str, Any] | Component = "change"
    start: Literal["snapshot", "now"] | None = None
