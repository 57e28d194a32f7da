"""``penstock status``: how a pipeline is, whether it runs or not."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.console import paint, payload, payload_json, settings, table

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

    Reads only, and disturbs nothing, whether the pipeline runs or not.
    """
    from penstock.assembly import from_target

    found = from_target(target).status()
    if found.state == "stopped" and found.source.get("active"):
        found = replace(found, state="running")  # by another process
    if settings.json:
        payload_json(asdict(found))
    else:
        _show(found)


def _show(found: Status) -> None:
    payload(f"{found.pipeline}: {paint(found.state, _STYLES.get(found.state, '1;31'))}")
    for name, value in found.source.items():
        if value is not None:
            payload(f"  {name.replace('_', ' '):<22} {amount(name, value)}")
    table(
        ["sink", "state", "delivered", "checkpoint", "changes", "failures"],
        [
            [
                name,
                paint(sink.state, _STYLES.get(sink.state, "2")),
                sink.data or "-",
                sink.safe or "-",
                f"{sink.changes:,}",
                f"{sink.failures:,}",
            ]
            for name, sink in found.sinks.items()
        ],
    )
    for name, sink in found.sinks.items():
        if sink.error:
            payload(f"  {name}: {sink.error}")


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
