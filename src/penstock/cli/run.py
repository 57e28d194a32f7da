"""``penstock run``: a pipeline in the foreground."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import console, logs
from penstock.cli.http import parse_address, serving
from penstock.cli.progress import watch
from penstock.cli.serving import serve

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline
    from penstock.pipeline.observe import Report


def run(
    target: Annotated[str, typer.Argument(help="A pipeline file, or module:app.")],
    until_caught_up: Annotated[
        bool,
        typer.Option(
            "--until-caught-up",
            help="End once all that was committed before the start is durable.",
        ),
    ] = False,
    drain_timeout: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long a stop waits for the sinks."),
    ] = 25.0,
    http: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Serve /health, /ready and /metrics.")
    ] = "",
) -> None:
    """Run a pipeline until it is stopped.

    Ctrl-C or SIGTERM drains first: what was read is delivered and saved.
    """
    from penstock.assembly import from_target

    if not console.settings.log_level:
        logs.configure("info", console.settings.log_format)
    address = parse_address(http) if http else None
    pipeline = from_target(target)
    pipeline.drain_timeout = drain_timeout
    report = serve(
        pipeline,
        until_caught_up=until_caught_up,
        companion=lambda: _beside(pipeline, address),
    )
    _show(report)
    if not report.drained or (until_caught_up and not report.caught_up):
        raise typer.Exit(1)


async def _beside(pipeline: Pipeline, address: tuple[str, int] | None) -> None:
    async with AsyncExitStack() as stack:
        if address is not None:
            port = await stack.enter_async_context(serving(pipeline, *address))
            console.note(f"http://{address[0]}:{port} serves /health, /ready and /metrics")
        await watch(pipeline)


def _show(report: Report) -> None:
    checkpoint = report.checkpoint.value if report.checkpoint is not None else None
    if console.settings.json:
        console.payload_json(
            {
                "pipeline": report.pipeline,
                "state": report.state,
                "changes": report.changes,
                "seconds": round(report.seconds, 3),
                "drained": report.drained,
                "caught_up": report.caught_up,
                "sinks": dict(report.sinks),
                "checkpoint": checkpoint,
            }
        )
        return
    sinks = ", ".join(f"{name} {count:,}" for name, count in report.sinks.items())
    at = f", checkpoint {checkpoint['lsn']}" if checkpoint and "lsn" in checkpoint else ""
    console.note(
        f"{report.pipeline}: {report.state} after {report.seconds:.1f} s, "
        f"{console.counted(report.changes, 'change')} ({sinks}){at}"
    )
