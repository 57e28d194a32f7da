"""Writes the reference from the docstrings of the public names, while mkdocs builds the site.

A page asks for a module's names by a line ``<!-- reference: penstock -->``. mkdocs calls
:func:`on_page_markdown` (``hooks`` in mkdocs.yml).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib import import_module
from typing import Any, Final

PLACE: Final = re.compile(r"<!-- reference: ([\w.]+) -->")
_SECTION: Final = re.compile(r"(?m)^(\w+)\n-+\n((?:.+\n?)*)")
_ROLE: Final = re.compile(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`")
_CODE: Final = re.compile(r"(\S?)::\n\n((?:    .*\n?|\n)+)")
_ITEM: Final = re.compile(r"(?m)^([\w*][\w, *]*): (?=\S)")
_ANNOTATED: Final = re.compile(r"(?:typing\.)?Annotated\[(.+?), \w+\(.*?\)\]")
_ANNOTATION: Final = re.compile(r"(: |-> )'([^']*)'")


def on_page_markdown(markdown: str, **_: object) -> str:
    """The page with the reference in place (called by mkdocs)."""
    return PLACE.sub(lambda asked: "\n".join(reference(asked[1])), markdown)


def reference(module: str) -> Iterator[str]:
    """The Markdown of a module's public names."""
    found = import_module(module)
    for name in public(found):
        yield from _entry(f"{module}.{name}", getattr(found, name))


def public(module: Any) -> list[str]:
    """The names that a module offers: ``__all__``, else the classes that it defines."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    return sorted(
        (name for name in names if not inspect.ismodule(getattr(module, name))), key=str.lower
    )


def _entry(path: str, value: Any) -> Iterator[str]:
    name = path.rpartition(".")[2]
    yield f"## {name}\n"
    if inspect.isclass(value) or inspect.isfunction(value):
        yield f"```text\n{_signature(path, value)}\n```\n"
        yield markdown_of(inspect.getdoc(value) or "")
        if inspect.isclass(value):
            yield from _members(value)
    else:
        yield f"`{path} = {value!r}`\n"


def _signature(path: str, value: Any) -> str:
    plain = inspect.isclass(value) and (
        issubclass(value, BaseException | Enum) or getattr(value, "_is_protocol", False)
    )
    if plain or not callable(value):
        return path
    signature = inspect.signature(value)
    parameters = [
        _ANNOTATED.sub(r"\1", str(one))
        for name, one in signature.parameters.items()
        if name != "self"
    ]
    text = _ANNOTATION.sub(r"\1\2", f"{path}({', '.join(parameters)})")
    if len(text) > 90:
        text = _ANNOTATION.sub(
            r"\1\2", f"{path}(\n" + "".join(f"    {one},\n" for one in parameters) + ")"
        )
    return text


def _members(cls: type) -> Iterator[str]:
    named = {field.name for field in fields(cls)} if is_dataclass(cls) else set()
    for name, member in vars(cls).items():
        target = member.__func__ if isinstance(member, classmethod) else member
        function = target.fget if isinstance(target, property) else target
        documented = inspect.isfunction(function) and inspect.getdoc(function)
        if name.startswith("_") or name in named or not documented:
            continue
        shown = name if isinstance(target, property) else _signature(name, function)
        shown = " ".join(shown.split()).replace("( ", "(").replace(",)", ")")
        yield f"**`{shown}`**\n\n{markdown_of(documented)}\n"


def markdown_of(doc: str) -> str:
    """A docstring as Markdown."""
    text = _CODE.sub(
        lambda code: (
            (f"{code[1]}:" if code[1] else "") + f"\n\n```text\n{inspect.cleandoc(code[2])}\n```\n"
        ),
        doc,
    )
    text = _SECTION.sub(lambda part: f"**{part[1]}**\n\n{_ITEM.sub(_item, part[2])}", text)
    return re.sub(r"(?<!`)``(?!`)", "`", _ROLE.sub(r"`\1`", text)) + "\n"


def _item(match: re.Match[str]) -> str:
    return f"* `{match[1]}`: "
