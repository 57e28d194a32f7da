"""``penstock teardown``: remove what a pipeline keeps on the server and here."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.console import confirmed, note, payload, payload_json, settings


def teardown(
    target: Annotated[str, typer.Argument(help="A pipeline file, or module:app.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a pipeline's slot, publication and state.

    What its sinks have written stays.
    """
    from penstock.assembly import from_target

    pipeline = from_target(target)
    slot = f"penstock_{pipeline.name}"
    note(f"This removes, for the pipeline {pipeline.name!r}:")
    note(f"  slot         {slot}   (the server then forgets changes not yet delivered)")
    note(f"  publication  {slot}")
    note("  state        checkpoints, table facts and parked changes in the store")
    note("What the sinks have written stays.")
    if not yes and not confirmed("Go on?"):
        note("nothing was removed")
        raise typer.Exit(1)
    removed = pipeline.teardown()
    if settings.json:
        payload_json({"pipeline": pipeline.name, "removed": removed})
        return
    for text in removed:
        payload(f"removed {text}")
