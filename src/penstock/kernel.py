"""The one door to native code."""

from __future__ import annotations

import os
from functools import cache
from typing import Literal

from penstock.errors import ConfigError


@cache
def kernel() -> Literal["python"]:
    """The kernel that decodes and encodes, chosen by ``PENSTOCK_KERNEL``.

    Raises ConfigError for a kernel that is not there.
    """
    chosen = os.environ.get("PENSTOCK_KERNEL", "python")
    if chosen != "python":
        raise ConfigError(
            f"PENSTOCK_KERNEL={chosen!r}: there is no such kernel",
            hint="unset PENSTOCK_KERNEL, or set it to python",
        )
    return "python"
