"""``penstock teardown``: remove what a pipeline keeps on the server and here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.console import confirmed, note, payload, payload_json, settings

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline


def teardown(
    target: Annotated[str, typer.Argument(help="A pipeline file, or module:app.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a pipeline's slot, publication and state.

    What its sinks have written stays.
    """
    from penstock.assembly import from_target

    pipeline = from_target(target)
    if not yes and not _agreed(pipeline):
        note("nothing was removed")
        raise typer.Exit(1)
    removed = pipeline.teardown()
    if settings.json:
        payload_json({"pipeline": pipeline.name, "removed": removed})
        return
    for text in removed:
        payload(f"removed {text}")


def _agreed(pipeline: Pipeline) -> bool:
    found = pipeline.status().source
    note(f"This removes, for the pipeline {pipeline.name}:")
    for name in ("server", "slot", "publication"):
        if name in found:
            note(f"  {name:<12} {found[name]}")
    note("  state        checkpoints, table facts and parked changes")
    note("Changes that were not delivered yet are then lost to it. What its sinks wrote stays.")
    return confirmed("Go on?")
