"""``penstock parked``: the changes that a sink set aside, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.console import confirmed, counted, note, payload, payload_json, settings, table
from penstock.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from penstock.pipeline import Pipeline
    from penstock.ports import Context, Parked


class Action(StrEnum):
    """What is to be done."""

    LIST = "list"
    SHOW = "show"
    REPLAY = "replay"
    DISCARD = "discard"


def parked(
    target: Annotated[str, typer.Argument(help="A pipeline file, or module:app.")],
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.LIST,
    ids: Annotated[
        list[str] | None, typer.Argument(help="Ids as list shows them; default: all.")
    ] = None,
    sink: Annotated[str, typer.Option(metavar="NAME", help="Only what this sink parked.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="discard: do not ask.")] = False,
) -> None:
    """List, show, replay or discard parked changes.

    list and show work while the pipeline runs; for replay and discard it must be stopped.
    """
    from penstock.assembly import from_target

    pipeline = from_target(target)
    if sink and sink not in pipeline.sinks:
        raise ConfigError(
            f"{pipeline.name} has no sink {sink!r}", hint="its sinks: " + ", ".join(pipeline.sinks)
        )

    context = replace(pipeline.context, component="store")

    async def look() -> None:
        parked = await pipeline.store.peek_parked(context)
        found = _chosen([one for one in parked if sink in ("", one.sink)], ids or [])
        (_list if action is Action.LIST else _show)(found)

    async def act() -> bool:
        found = _chosen(await pipeline.store.parked(sink or None), ids or [])
        if action is Action.REPLAY:
            return await _replay(pipeline, found)
        return await _discard(pipeline, found, yes)

    if action in (Action.LIST, Action.SHOW):
        asyncio.run(look())
    elif not asyncio.run(_with_store(pipeline, context, action, act)):
        raise typer.Exit(1)


async def _with_store(
    pipeline: Pipeline, context: Context, action: Action, act: Callable[[], Awaitable[bool]]
) -> bool:
    try:
        await pipeline.store.open(context)
    except StoreError as error:
        stopped = f"{action} needs the pipeline stopped; list and show do not"
        raise StoreError(
            error.message, hint=f"{stopped}; {error.hint}" if error.hint else stopped
        ) from error
    try:
        return await act()
    finally:
        await pipeline.store.close()


def _chosen(found: Sequence[Parked], ids: Sequence[str]) -> list[Parked]:
    """The parked changes with these ids, or all. Raises ConfigError for an id that is none."""
    unknown = set(ids) - {one.id for one in found}
    if unknown:
        raise ConfigError(f"nothing parked has the id {min(unknown)}")
    return [one for one in found if not ids or one.id in ids]


def _list(found: Sequence[Parked]) -> None:
    if settings.json:
        payload_json([_summary(one) for one in found])
    elif not found:
        payload("nothing is parked")
    else:
        rows = [
            [one.id, one.table, f"{one.parked_at:%Y-%m-%d %H:%M:%S}", one.sink, one.reason]
            for one in found
        ]
        table(["id", "table", "parked at", "sink", "reason"], rows)


def _summary(one: Parked) -> dict[str, Any]:
    return {
        "id": one.id,
        "sink": one.sink,
        "table": one.table,
        "keys": list(one.keys),
        "reason": one.reason,
        "parked_at": one.parked_at.isoformat(),
    }


def _show(found: Sequence[Parked]) -> None:
    """Each with the change itself, as the ``change`` format has it."""
    import json

    from penstock import registry
    from penstock.model.archive import load_change

    if not found:
        note("nothing is parked")
    format = registry.component("format", "change")()
    for one in found:
        value = format.record(load_change(dict(one.change))).value
        payload_json({**_summary(one), "change": json.loads(value) if value else None})


async def _replay(pipeline: Pipeline, found: Sequence[Parked]) -> bool:
    passed = 0
    for name, (sink, context) in pipeline.sinks.items():
        mine = [one for one in found if one.sink == name]
        replay = getattr(sink, "replay", None)
        if not mine or replay is None:
            continue
        await sink.open(context)
        try:
            ids = await replay(mine)
            await pipeline.store.unpark(name, ids)
        finally:
            await sink.close()
        passed += len(ids)
    left = len(await pipeline.store.parked())
    if settings.json:
        payload_json({"replayed": passed, "left": left})
    else:
        payload(f"replayed {passed}, still parked {left}")
    return passed == len(found)


async def _discard(pipeline: Pipeline, found: Sequence[Parked], yes: bool) -> bool:
    question = f"Forget {counted(len(found), 'parked change')} of {pipeline.name} for ever?"
    if found and not yes and not confirmed(question):
        note("nothing was discarded")
        return False
    for name in dict.fromkeys(one.sink for one in found):
        await pipeline.store.unpark(name, [one.id for one in found if one.sink == name])
    if settings.json:
        payload_json({"discarded": len(found)})
    else:
        payload(f"discarded {len(found)}")
    return True
