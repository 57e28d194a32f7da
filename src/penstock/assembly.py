"""From what a user names (a pipeline file, ``module:app``) to a pipeline that can run."""

from __future__ import annotations

import importlib
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigError, PenstockError

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline


def from_file(path: str | os.PathLike[str]) -> Pipeline:
    """The pipeline that a pipeline file describes.

    Raises ConfigError when the file is wrong; nothing is connected to.
    """
    from penstock.config import load
    from penstock.pipeline import Pipeline

    config = load(path)
    return Pipeline(
        config.name,
        source=config.source,
        sinks=config.sinks,
        transforms=config.transforms,
        store=config.store and config.store.get_secret_value(),
    )


def from_target(target: str) -> Pipeline:
    """The pipeline behind a command's TARGET: a pipeline file, or ``module:app``.

    A module is imported with the working directory on the path; where DJANGO_SETTINGS_MODULE is
    set, Django is set up first.

    Raises ConfigError when there is no such thing.
    """
    if "://" in target:
        raise ConfigError(
            "a database URL is not a pipeline",
            hint="name a pipeline file or module:app; penstock tail and check take a URL",
        )
    if target.endswith(".toml") or Path(target).is_file():
        return from_file(target)
    module, separator, attribute = target.partition(":")
    if not separator or not module or not attribute:
        raise ConfigError(
            f"{target!r} is neither a file nor module:app",
            hint="for example orders.toml, or shop.mail:app for app in shop/mail.py",
        )
    return _pipeline(_attribute(_import(module), attribute, module), target)


def _import(name: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        if os.environ.get("DJANGO_SETTINGS_MODULE"):
            importlib.import_module("django").setup()
        return importlib.import_module(name)
    except PenstockError:
        raise
    except ModuleNotFoundError as missing:
        if missing.name and (name == missing.name or name.startswith(missing.name + ".")):
            raise ConfigError(
                f"there is no module {missing.name!r} in {here} or among the installed ones",
                hint="run from the directory that holds it",
            ) from missing
        raise ConfigError(
            f"importing {name} failed: {missing}", hint="install it beside penstock"
        ) from missing
    except Exception as error:
        raise ConfigError(
            f"importing {name} failed{_where(error)}: {type(error).__name__}: {error}"
        ) from error


def _where(error: BaseException) -> str:
    """The last line of the traceback, as `` at file:line``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _attribute(module: Any, path: str, name: str) -> Any:
    value = module
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            public = [known for known in vars(value) if not known.startswith("_")]
            near = get_close_matches(part, public, 1)
            raise ConfigError(
                f"{name} has no {path!r}",
                hint=f"did you mean {name}:{near[0]}?" if near else "",
            ) from None
    return value


def _pipeline(value: Any, target: str) -> Pipeline:
    from penstock.pipeline import Pipeline

    if not isinstance(value, Pipeline):
        value = getattr(value, "pipeline", value)
    if not isinstance(value, Pipeline):
        raise ConfigError(
            f"{target} is a {type(value).__name__}, not an App or a Pipeline",
            hint="name the object that penstock.App(...) or penstock.Pipeline(...) returned",
        )
    return value
