"""From what an App or a stream is given to the source that it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from penstock import registry
from penstock.component import Component
from penstock.errors import ConfigError
from penstock.ports import Source

Snapshot: TypeAlias = Literal["initial", "never", "always", "only"]


def configured(
    source: str | Component | Source, chosen: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Component | Source:
    """The configuration of a source, completed; a working source stays as it is.

    Parameters
    ----------
    source: a URL, a configuration or a working source.
    chosen: fields to set.
    defaults: fields to set where the configuration does not give them.

    Raises
    ------
    ConfigError: a URL that no source reads, a value that is refused, or a choice that a working
        source cannot be given any more.
    """
    config = registry.source_of(source) if isinstance(source, str) else source
    if not isinstance(config, Component):
        if chosen:
            raise ConfigError(
                f"{' and '.join(chosen)}: the {type(source).__name__} has its own",
                hint="set them where it is made",
            )
        return config
    given = {name: getattr(config, name) for name in config.model_fields_set}
    known = type(config).model_fields
    defaults = {name: value for name, value in defaults.items() if name in known}
    try:
        made: Component = type(config).model_validate({**defaults, **given, **chosen})
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return made
