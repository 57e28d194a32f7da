"""``penstock parked``: the changes set aside, and what becomes of them."""

from __future__ import annotations

from typing import Annotated

import typer


def parked(
    target: Annotated[str, typer.Argument(help="A pipeline file, or module:app.")],
) -> None:
    """List, show, replay or discard changes that a sink set aside."""
    raise NotImplementedError
