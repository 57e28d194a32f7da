"""Which name means which component. Strings only: a driver is imported when it is needed.

Third parties add theirs by the entry points ``penstock.sources``, ``penstock.sinks``,
``penstock.formats`` and ``penstock.transforms``.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from penstock.errors import ConfigError, MissingExtraError

SOURCES: Final = {
    "kafka": "penstock.sources.kafka:Kafka",
    "mariadb": "penstock.sources.mysql.config:MySQL",
    "mysql": "penstock.sources.mysql.config:MySQL",
    "postgres": "penstock.sources.postgres.config:Postgres",
}
SINKS: Final = {
    "jsonl": "penstock.sinks.jsonl:Jsonl",
    "kafka": "penstock.sinks.kafka:Kafka",
    "memory": "penstock.sinks.memory:Memory",
    "sql": "penstock.sinks.sql:Sql",
}
FORMATS: Final = {
    "change": "penstock.formats.change:ChangeFormat",
    "cloudevents": "penstock.formats.cloudevents:CloudEvents",
    "debezium": "penstock.formats.debezium:Debezium",
    "row": "penstock.formats.row:RowFormat",
}
TRANSFORMS: Final = {
    "mask": "penstock.transforms.mask:Mask",
    "rename": "penstock.transforms.rename:Rename",
    "select": "penstock.transforms.select:Select",
}
STORES: Final = {
    "kafka": "penstock.stores.kafka:KafkaStore",
    "memory": "penstock.stores.memory:MemoryStore",
    "sql": "penstock.stores.sql:SqlStore",
    "sqlite": "penstock.stores.sqlite:SqliteStore",
}
URL_SOURCES: Final = {
    "mariadb": "mysql",
    "mysql": "mysql",
    "postgres": "postgres",
    "postgresql": "postgres",
}
REGISTRIES: Final = {
    "source": SOURCES,
    "sink": SINKS,
    "format": FORMATS,
    "transform": TRANSFORMS,
    "store": STORES,
}


def resolve(path: str) -> Any:
    """Import ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def names(registry: str) -> list[str]:
    """All known names of a registry (``source``, ``sink``, ``format``, …), ours first."""
    third = [point.name for point in entry_points(group=f"penstock.{registry}s")]
    return list(REGISTRIES[registry]) + sorted(set(third) - set(REGISTRIES[registry]))


def component(registry: str, name: str) -> Any:
    """The class behind a name.

    Raises ConfigError for an unknown name, naming the nearest.
    """
    ours = REGISTRIES[registry].get(name)
    if ours is not None:
        return resolve(ours)
    for point in entry_points(group=f"penstock.{registry}s", name=name):
        return point.load()
    known = names(registry)
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
    raise ConfigError(f"there is no {registry} {name!r}", hint=hint)


def format_of(written: Any, pipeline: str) -> Any:
    """The format that a sink's configuration names: a name, a mapping with ``type`` and options,
    or the configuration of one. ``pipeline`` is the name of the pipeline that it is for.

    Raises ConfigError for an unknown name or option.
    """
    if not hasattr(written, "build"):
        options = {"type": written} if isinstance(written, str) else dict(written)
        name = options.pop("type", None)
        if not isinstance(name, str):
            raise ConfigError("a format needs a type", hint='for example {type = "debezium"}')
        made = component("format", name)
        try:
            written = made(**options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"format {name!r}: {error}") from error
    return written.build(pipeline) if hasattr(written, "build") else written


def source_of(url: str) -> Any:
    """The configuration of the source that reads a URL. Raises ConfigError when none does."""
    scheme, separator, _ = url.partition("://")
    kind = URL_SOURCES.get(scheme.partition("+")[0])
    if kind is None or not separator:
        raise ConfigError(
            "the source is no URL that penstock knows",
            hint="known: " + ", ".join(f"{known}://" for known in URL_SOURCES),
        )
    return component("source", kind)(dsn=url)


def driver(module: str, extra: str) -> Any:
    """Import a driver, or raise MissingExtraError with the line that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingExtraError(
            f"{missing.name} is not installed", hint=f"pip install 'penstock[{extra}]'"
        ) from missing
