"""The pipeline file: TOML in, validated components out.

Strings may hold ``${VAR}``, ``${VAR:-default}`` and ``${file:/path}``; ``$$`` is a dollar sign.
Every problem of a file is reported at once, each with its line and key path; values that came
out of a reference never appear in a message.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from penstock import registry
from penstock.component import Component, Secret, SinkComponent
from penstock.errors import ConfigError
from penstock.references import KeyPath, expand

NAME: Final = re.compile(r"[a-z0-9_]{1,54}")
SECTIONS: Final = ("name", "source", "transforms", "sinks", "store")

_EXPECTED: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "path_type": "a path",
}


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """What a pipeline file says; its repr shows no secret.

    Parameters
    ----------
    name: the pipeline's name.
    source, sinks, transforms: the components' configurations.
    store: a path or URL, or None for the default.
    """

    name: str
    source: Component
    sinks: tuple[SinkComponent, ...]
    transforms: tuple[Component, ...] = ()
    store: Secret | None = None


class _Sqlite(Component):
    """State in a SQLite file."""

    type: Literal["sqlite"]
    path: str

    def build(self) -> str:
        return self.path


class _Sql(Component):
    """State in any database that SQLAlchemy reaches."""

    type: Literal["sql"]
    url: Secret

    def build(self) -> str:
        return self.url.get_secret_value()


class _Memory(Component):
    """State that ends with the process."""

    type: Literal["memory"]

    def build(self) -> str:
        return "memory"


_STORES: Final[dict[str, type[Component]]] = {"sqlite": _Sqlite, "sql": _Sql, "memory": _Memory}


def load(path: str | os.PathLike[str], environ: Mapping[str, str] | None = None) -> PipelineConfig:
    """Read a pipeline file.

    Raises ConfigError when it cannot be read, or says something that is not allowed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file", hint="penstock init writes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse(text, origin=str(path), environ=environ)


def parse(
    text: str, *, origin: str = "pipeline.toml", environ: Mapping[str, str] | None = None
) -> PipelineConfig:
    """Validate a pipeline file's text; ``origin`` names it in messages.

    Raises ConfigError, with a line for each problem.
    """
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: not valid TOML: {error}") from error
    document = _Document(origin, text, written, os.environ if environ is None else environ)
    return document.config()


def json_schema() -> dict[str, Any]:
    """The pipeline file's JSON Schema, built from every registered component."""
    models = {
        kind: {name: _model(kind, name) for name in _names(kind)}
        for kind in ("source", "transform", "sink", "store")
    }
    unique = {model for section in models.values() for model in section.values()}
    schemas, shared = models_json_schema(
        [(model, "validation") for model in unique], ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = dict(shared.get("$defs", {}))

    def choice(kind: str) -> list[dict[str, Any]]:
        references = []
        for name, model in models[kind].items():
            place = schemas[model, "validation"]["$ref"].removeprefix("#/$defs/")
            body = dict(definitions[place])
            body["properties"] = {**body.get("properties", {}), "type": {"const": name}}
            explicit = ["snapshot"] if "snapshot" in model.model_fields else []
            required = ["type", *explicit, *body.get("required", [])]
            body["required"] = list(dict.fromkeys(required))
            definitions[f"{kind}.{name}"] = body
            references.append({"$ref": f"#/$defs/{kind}.{name}"})
        return references

    properties: dict[str, Any] = {
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "source": {"oneOf": choice("source")},
        "transforms": {"type": "array", "items": {"oneOf": choice("transform")}},
        "sinks": {"type": "array", "minItems": 1, "items": {"oneOf": choice("sink")}},
        "store": {"oneOf": [{"type": "string"}, *choice("store")]},
    }
    if not properties["transforms"]["items"]["oneOf"]:  # an empty oneOf is not a schema
        del properties["transforms"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "penstock pipeline file",
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "source", "sinks"],
        "properties": properties,
        "$defs": definitions,
    }


def _names(kind: str) -> list[str]:
    return list(_STORES) if kind == "store" else registry.names(kind)


def _model(kind: str, name: str) -> type[Component]:
    model: type[Component] = _STORES[name] if kind == "store" else registry.component(kind, name)
    return model


class _Document:
    """One file under validation: what is written, where it stands, what is wrong with it."""

    def __init__(
        self, origin: str, text: str, written: dict[str, Any], environ: Mapping[str, str]
    ) -> None:
        self.origin = origin
        self.written = written
        self.lines = key_lines(text)
        self.environ = environ
        self.problems: list[str] = []

    def config(self) -> PipelineConfig:
        tree = expand(self.written, self.environ, self.problem)
        self.settle()
        self.unknown_keys(tree, SECTIONS, ())
        name = self.name(tree)
        source = self.component("source", tree.get("source"), ("source",))
        transforms = self.components("transform", tree.get("transforms", []), "transforms")
        sinks = self.components("sink", tree.get("sinks", []), "sinks")
        if not tree.get("sinks"):
            self.problem(("sinks",), "a pipeline needs at least one sink")
        self.unique_names(sinks)
        store = self.store(tree.get("store"))
        self.settle()
        return PipelineConfig(name, source, tuple(sinks), tuple(transforms), store)

    def problem(self, path: KeyPath, message: str) -> None:
        place = self.lines.get(path)
        where = f"{self.origin}:{place}" if place else self.origin
        text = f"{where}: {dotted(path)}: {message}"
        if text not in self.problems:
            self.problems.append(text)

    def settle(self) -> None:
        """Raise what was found so far."""
        if self.problems:
            raise ConfigError("\n".join(self.problems))

    # Sections

    def unknown_keys(self, section: Mapping[str, Any], known: Sequence[str], path: KeyPath) -> None:
        for key in section:
            if key not in known:
                self.unknown_key((*path, key), known)

    def unknown_key(self, path: KeyPath, known: Sequence[str]) -> None:
        near = get_close_matches(str(path[-1]), known, 1)
        advice = f"did you mean {near[0]!r}?" if near else "known keys: " + ", ".join(known)
        self.problem(path, f"unknown key; {advice}")

    def name(self, tree: Mapping[str, Any]) -> str:
        name = tree.get("name")
        if name is None:
            self.problem(("name",), "is required: a name such as 'orders'")
        elif not isinstance(name, str) or not NAME.fullmatch(name):
            shown = self.as_written(("name",))
            self.problem(("name",), f"{shown} is not 1 to 54 of the characters a-z, 0-9 and _")
        return str(name)

    def components(self, kind: str, sections: Any, key: str) -> list[Any]:
        if not isinstance(sections, list):
            self.problem((key,), f"must be written [[{key}]], with two brackets")
            return []
        found = [self.component(kind, section, (key, i)) for i, section in enumerate(sections)]
        return [component for component in found if component is not None]

    def component(self, kind: str, section: Any, path: KeyPath) -> Any:
        """The configuration of one section, or None when something is wrong with it."""
        if section is None:
            self.problem(path, f"is required: [{path[0]}] with a type")
            return None
        if not isinstance(section, dict):
            self.problem(path, f"must be a table: [{path[0]}]")
            return None
        name = section.get("type")
        if not isinstance(name, str):
            known = ", ".join(_names(kind))
            self.problem((*path, "type"), f"is required, as a string: one of {known}")
            return None
        if name not in _names(kind):
            self.unknown_name(kind, (*path, "type"))
            return None
        model = _model(kind, name)
        fields = model.model_fields
        if "snapshot" in fields and "snapshot" not in section:
            choices = "initial, never, always or only"
            self.problem((*path, "snapshot"), f"is required in a file: one of {choices}")
        values = {key: v for key, v in section.items() if key != "type" or "type" in fields}
        try:
            component: Any = model.model_validate(values)
        except ValidationError as invalid:
            self.invalid(model, invalid, path)
            return None
        except ConfigError as error:
            self.problem(path, error.message + (f"; {error.hint}" if error.hint else ""))
            return None
        if isinstance(component, SinkComponent) and "format" in section:
            self.format(component.format, (*path, "format"))
        return component

    def format(self, written: Any, path: KeyPath) -> None:
        """A format's name, or a section with its type and options."""
        if isinstance(written, str):
            if written not in _names("format"):
                self.unknown_name("format", path)
            return
        name = written.get("type")
        known = name in _names("format") and _model("format", name)
        if not known or hasattr(known, "model_fields"):
            self.component("format", written, path)
        elif len(written) > 1:
            self.problem(path, f"the format {name} has no options")

    def unknown_name(self, kind: str, path: KeyPath) -> None:
        known = _names(kind)
        near = get_close_matches(str(self.at(path)), known, 1)
        advice = f"did you mean {near[0]!r}?" if near else "known: " + (", ".join(known) or "none")
        self.problem(path, f"there is no {kind} {self.as_written(path)}; {advice}")

    def unique_names(self, sinks: Sequence[SinkComponent]) -> None:
        seen: dict[str, int] = {}
        for i, sink in enumerate(sinks):
            name = sink.name or sink.type
            if name in seen:
                self.problem(
                    ("sinks", i, "name"),
                    f"{name!r} is the name of sinks[{seen[name]}] already: give this one its own",
                )
            seen.setdefault(name, i)

    def store(self, section: Any) -> Secret | None:
        """``store = "path or URL"``, or a section that says the same at more length."""
        if section is None:
            return None
        if isinstance(section, str):
            if not section:
                self.problem(("store",), "is empty: give a path or a URL")
            return Secret(section)
        found = self.component("store", section, ("store",))
        return Secret(found.build()) if found is not None else None

    # What pydantic found

    def invalid(self, model: type[Component], invalid: ValidationError, path: KeyPath) -> None:
        for error in invalid.errors(include_url=False):
            place = path + self.written_part(error["loc"], path)
            kind, context = error["type"], error.get("ctx", {})
            if kind == "extra_forbidden":
                self.unknown_key((*path, *error["loc"]), _keys(model, error["loc"][:-1]))
            elif kind == "missing":
                self.problem((*path, *error["loc"]), "is required")
            elif kind in ("literal_error", "enum"):
                choices = context["expected"].replace("'", "").replace(" or ", ", ")
                self.problem(place, f"{self.as_written(place)} is not one of {choices}")
            elif kind in _EXPECTED:
                self.problem(place, f"{self.as_written(place)} is not {_EXPECTED[kind]}")
            elif kind == "value_error":
                self.problem(place, str(context["error"]))
            else:
                self.problem(place, error["msg"][0].lower() + error["msg"][1:])

    def written_part(self, location: KeyPath, path: KeyPath) -> KeyPath:
        """As much of a pydantic location as the file really holds: the rest names unions."""
        value: Any = self.at(path)
        part: list[str | int] = []
        for step in location:
            in_list = isinstance(value, list) and isinstance(step, int) and step < len(value)
            if in_list or (isinstance(value, dict) and step in value):
                value = value[step]
                part.append(step)
        return tuple(part)

    def at(self, path: KeyPath) -> Any:
        value: Any = self.written
        for step in path:
            value = value[step]
        return value

    def as_written(self, path: KeyPath) -> str:
        """The value as the file spells it, so that nothing behind a reference shows."""
        value = self.at(path)
        text = "true" if value is True else "false" if value is False else repr(value)
        return text if len(text) <= 60 else text[:57] + "..."


def _keys(model: type[BaseModel], location: KeyPath) -> list[str]:
    """The keys of the table at a place in a model's table."""
    found: type[BaseModel] = model
    for step in location:
        field = found.model_fields.get(str(step))
        inner = () if field is None else (field.annotation, *get_args(field.annotation))
        found = next((one for one in inner if _is_model(one)), found)
    return [*found.model_fields] if location else ["type", *found.model_fields]


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def dotted(path: KeyPath) -> str:
    """A key path as people write it: ``sinks[0].path``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line of each section and key.

    A reading aid for messages only: it knows headers and keys at the start of a line, which is
    how people write these files, and says nothing about the rest.
    """
    lines: dict[KeyPath, int] = {}
    arrays: dict[str, int] = {}
    section: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[\s*([\w.-]+)\s*\]\]", line):
            arrays[header[1]] = arrays.get(header[1], -1) + 1
            section = (header[1], arrays[header[1]])
            lines.setdefault((header[1],), number)
            lines.setdefault(section, number)
        elif header := re.match(r"\s*\[\s*([\w.-]+)\s*\]", line):
            first, *rest = header[1].split(".")
            section = (first, arrays[first], *rest) if first in arrays else (first, *rest)
            lines.setdefault(section, number)
        elif key := re.match(r"""\s*["']?([\w.-]+)["']?\s*=""", line):
            lines.setdefault((*section, *key[1].split(".")), number)
    return lines
