"""References in a pipeline file's strings: ``${VAR}``, ``${VAR:-default}``, ``${file:/path}``.

``$$`` is a dollar sign. What a reference brings is never looked at for further references.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands in the file: ``("sinks", 0, "path")``."""

Report: TypeAlias = Callable[[KeyPath, str], None]
"""Takes a problem and where it is."""

_logger = logging.getLogger("penstock.config")


def expand(value: Any, environ: Mapping[str, str], report: Report, path: KeyPath = ()) -> Any:
    """The value with every reference in its strings replaced; keys are left alone."""
    if isinstance(value, dict):
        return {key: expand(item, environ, report, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, environ, report, (*path, i)) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        try:
            return _replacement(match, environ)
        except ValueError as error:
            report(path, str(error))
            return ""

    return re.sub(r"\$\$|\$\{([^}]*)(\}?)", replacement, value)


def _replacement(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    if not match[2]:
        raise ValueError("'${' has no closing '}'; write $${ for a literal one")
    if match[1].startswith("file:"):
        return _file(match[1].removeprefix("file:"))
    variable = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", match[1], re.DOTALL)
    if variable is None:
        raise ValueError(
            f"{match[0]} is no reference: write ${{VAR}}, ${{VAR:-default}} or ${{file:/path}}, "
            "or $$ for a dollar sign"
        )
    name, default = variable.groups()
    if default is not None:
        return environ.get(name) or default
    value = environ.get(name)
    if not value:
        trouble = "is not set" if value is None else "is empty"
        raise ValueError(
            f"the environment variable {name} {trouble}: export it, or write ${{{name}:-default}}"
        )
    return value


def _file(name: str) -> str:
    """The text of a secret's file, without its last line break."""
    try:
        mode = os.stat(name).st_mode
        text = Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"the file {name!r} is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"the file {name!r} cannot be read: {error.strerror}") from error
    if mode & stat.S_IWOTH:
        raise ValueError(f"everybody may write to {name}: chmod o-w {name}")
    if mode & stat.S_IROTH:
        _logger.warning("everybody may read %s: chmod o-r %s", name, name)
    return text.removesuffix("\n").removesuffix("\r")
