"""What is measured is penstock as a user has it."""

from __future__ import annotations

from compileall import compile_dir
from pathlib import Path

import penstock


def compile_modules() -> None:
    """Compile penstock's modules, as pip does with all that it installs: a checkout whose
    environment forbids Python to keep them compiles them anew in each process, for 0.1 s and more.
    """
    compile_dir(Path(penstock.__file__).parent, quiet=1)
