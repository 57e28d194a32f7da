"""The one door to native code.

Two kernels decode and encode, with the same results: the Python kernel is part of this package,
the native one is the wheel ``penstock-native`` (compiled from ``native/``). The native one is taken
where it is installed in this package's own version; ``PENSTOCK_KERNEL=python|native`` decides
otherwise. What is built on it asks here once, when it is made.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Literal, TypeAlias

from penstock.errors import ConfigError

Kernel: TypeAlias = Literal["python", "native"]

_MODULE = "penstock_native"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which kernel runs here; what keeps an installed native one from running, if it does not
    fit; and, unless the Python kernel was asked for, how to have the native one."""

    name: Kernel
    module: ModuleType | None = None
    problem: str = ""
    cure: str = ""


@cache
def choice() -> Choice:
    """The kernel of this process; a native one that does not fit is told to the log, once.

    Raises ConfigError where ``PENSTOCK_KERNEL`` names a kernel that cannot be had.
    """
    wanted = os.environ.get("PENSTOCK_KERNEL", "")
    if wanted == "python":
        return Choice("python")
    if wanted not in ("", "native"):
        raise ConfigError(
            f"PENSTOCK_KERNEL={wanted!r}: there is no such kernel",
            hint="set it to python or native, or unset it for the best there is",
        )
    found = _native()
    if found.name == "native":
        return found
    if wanted == "native":
        raise ConfigError(
            f"PENSTOCK_KERNEL='native', but {found.problem or 'penstock-native is not installed'}",
            hint=found.cure,
        )
    if found.problem:
        logging.getLogger("penstock.kernel").warning(
            "the Python kernel runs: %s (%s)", found.problem, found.cure
        )
    return found


def kernel() -> Kernel:
    """The name of the kernel of this process. Raises as :func:`choice` does."""
    return choice().name


def native() -> ModuleType:
    """The native kernel's module; only for who found that :func:`kernel` is ``native``."""
    module = choice().module
    if module is None:
        raise RuntimeError("the Python kernel runs here")
    return module


def _native() -> Choice:
    from penstock import __version__

    try:
        module = import_module(_MODULE)
    except ModuleNotFoundError as error:
        if error.name == _MODULE:
            return Choice("python", cure="pip install 'penstock[native]'")
        return Choice("python", problem=f"penstock-native does not load: {error}", cure=_install())
    except ImportError as error:  # another machine's, or an older C library
        return Choice("python", problem=f"penstock-native does not load: {error}", cure=_install())
    if (version := getattr(module, "VERSION", None)) != __version__:
        problem = f"penstock-native is {version}, which does not fit penstock {__version__}"
        return Choice("python", problem=problem, cure=_install())
    return Choice("native", module)


def _install() -> str:
    from penstock import __version__

    return f"pip install 'penstock-native=={__version__}'"
