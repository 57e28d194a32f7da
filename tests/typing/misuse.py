"""What a type checker must refuse; each line says by which rule. Never run.

An ignore that is not needed is an error of its own, so each of these must stay refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import penstock
from penstock import App, Change

app = App("mail", source="postgresql://localhost/shop")


@dataclass
class Order:
    id: int


@app.on("public.orders", "insrt")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def misspelt(change: Change[Order]) -> None: ...


@app.on("public.orders")
def wrong_field(change: Change[Order]) -> None:
    print(change.row.status)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]


@app.on("public.orders")
def maybe_absent(change: Change) -> None:
    print(change.key["id"])  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript, reportUnknownArgumentType]
    change.row["id"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def wrong_arguments() -> None:
    App("mail", source="postgresql://localhost/shop", on_failure="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    penstock.stream("postgresql://localhost/shop", snapshot="sometimes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    penstock.strem  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # noqa: B018


async def plain_loop_over_an_async_stream() -> None:
    async with penstock.stream("postgresql://localhost/shop") as changes:
        for _ in changes:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
            pass


async def async_loop_over_a_plain_stream() -> None:
    with penstock.stream("postgresql://localhost/shop") as changes:
        async for _ in changes:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
            pass
