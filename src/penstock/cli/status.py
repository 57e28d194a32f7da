"""``penstock status``: how a pipeline is, whether it runs or not."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.console import note, paint, payload, payload_json, redact, settings, table

if TYPE_CHECKING:
    from penstock.pipeline.observe import Status

_STYLES = {
    "running": "1;32",
    "snapshot": "1;32",
    "starting": "33",
    "stalled": "33",
    "stopped": "33",
}


def status(
    target: Annotated[str, typer.Argument(help="A pipeline file, or module:app.")],
) -> None:
    """Show a pipeline's state, lag and checkpoints.

    Reads only, and disturbs nothing, whether the pipeline runs or not. Exits with 1 when the
    source cannot be asked; what the store knows is shown all the same.
    """
    from penstock.assembly import from_target

    found = from_target(target).status()
    if found.state == "stopped" and found.source.get("active"):
        found = replace(found, state="running")  # by another process
    if settings.json:
        payload_json(_as_json(found))
    else:
        _show(found)
    if found.error:
        if not settings.json:
            note(f"{paint('error', '1;31', sys.stderr)}  {found.error}")
        raise typer.Exit(1)


def _as_json(found: Status) -> dict[str, Any]:
    shown = {**asdict(found), "error": redact(found.error)}
    for sink in shown["sinks"].values():
        sink["safe"] = json.loads(sink["safe"]) if sink["safe"] is not None else None
    return shown


def _show(found: Status) -> None:
    payload(f"{found.pipeline}: {paint(found.state, _STYLES.get(found.state, '1;31'))}")
    for name, value in found.source.items():
        if value is not None and name not in ("exists", "published", "snapshot"):
            label = name.removesuffix("_bytes").replace("_seconds", " time").replace("_", " ")
            proof = {"slot": "exists", "publication": "published"}.get(name, name)
            missing = proof != name and found.source.get(proof) is False
            payload(f"  {label:<12} {amount(name, value)}{', not there' * missing}")
    payload("")
    table(
        ["sink", "delivered", "checkpoint", "parked"],
        [
            [name, sink.data or "-", _place(sink.safe), f"{sink.parked:,}"]
            for name, sink in found.sinks.items()
        ],
    )


def _place(checkpoint: str | None) -> str:
    """A checkpoint for people: PostgreSQL's is a place in the log."""
    if checkpoint is None:
        return "-"
    value = json.loads(checkpoint)
    return str(value.get("lsn", checkpoint))


def amount(name: str, value: Any) -> str:
    """A figure as people read it; the unit is in its name."""
    if name.endswith("bytes") and isinstance(value, int | float):
        return _bytes(value)
    if name.endswith("seconds") and isinstance(value, int | float):
        return f"{value:,.1f} s"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _bytes(value: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(value) < 1024 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1024
    return ""
