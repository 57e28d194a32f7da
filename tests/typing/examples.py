"""The README's examples, as a type checker sees them: read by mypy and pyright, never run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, assert_type

from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import penstock
from penstock import (
    UNCHANGED,
    App,
    Change,
    Jsonl,
    Message,
    Park,
    Pipeline,
    Postgres,
    Retry,
    Row,
    Sql,
    Unchanged,
)
from penstock.model import Batch
from penstock.testing import insert, play

dsn = os.environ["DATABASE_URL"]


# 1. stream


async def look() -> None:
    async with penstock.stream(dsn, tables=["public.orders"]) as changes:
        async for change in changes:
            assert_type(change, Change[Row])
            print(change.operation, change.table, change.key, change.after)
        async for batch in changes.batches():
            print(batch.checkpoint)


def look_in_plain_code() -> None:
    with penstock.stream(dsn, name="orders", autocommit=False) as changes:
        for change in changes:
            assert_type(change.row, Row)
        changes.commit()
        assert_type(changes.batches(), Iterator[Batch])


# 2. typed rows


@dataclass(frozen=True)
class Order:
    id: int
    status: str


class OrderModel(BaseModel):
    id: int
    note: str | Unchanged | None = None


class OrderDict(TypedDict):
    id: int


app = App("order_mail", source=os.environ["DATABASE_URL"])


class Mailer:
    async def send(self, id: int, status: str, dedupe: str) -> None: ...


mailer = Mailer()


@app.on("public.orders", "insert", "update")
async def announce(change: Change[Order]) -> None:
    await mailer.send(change.row.id, change.row.status, dedupe=change.id)


@app.on("public.orders")
def typed(change: Change[OrderModel]) -> None:
    if change.row.note is UNCHANGED:
        raise Park("the log did not repeat the note")
    assert_type(change.row.note, str | None)
    if change.transaction is not None:
        assert_type(change.transaction.committed_at, datetime)


@app.on("public.orders", "read", "insert", max_rows=500)
def many(changes: list[Change[OrderDict]]) -> None:
    assert_type([change.row["id"] for change in changes], list[int])
    raise Retry(after=30)


@app.on("public.order_*")
def plain(change: Change) -> None:
    assert_type(change.row, Row)
    assert_type(change.row["id"], Any)


@app.on_message("audit")
def heard(message: Message) -> None:
    assert_type(message.content, bytes)


web = FastAPI(lifespan=app.lifespan)


# 3. the checkpoint's transaction


class Base(DeclarativeBase):
    pass


class Stock(Base):
    __tablename__ = "stock"
    sku: Mapped[str] = mapped_column(primary_key=True)
    free: Mapped[int]


@dataclass
class OrderLine:
    sku: str
    quantity: int


stock = App("stock", source=os.environ["SHOP_URL"], store=os.environ["WAREHOUSE_URL"])


@stock.on("public.order_lines", "insert")
def reserve(change: Change[OrderLine], session: Session) -> None:
    session.execute(
        update(Stock)
        .where(Stock.sku == change.row.sku)
        .values(free=Stock.free - change.row.quantity)
    )


# 4. a pipeline


def run() -> None:
    pipeline = Pipeline.from_file("orders.toml")
    for finding in pipeline.check():
        print(finding.severity, finding.message, finding.fix)
    report = pipeline.run(until_caught_up=True)
    assert_type(report.changes, int)


def assembled() -> Pipeline:
    return Pipeline(
        "orders",
        source=Postgres(dsn=dsn, tables=("public.orders",), snapshot="initial"),
        sinks=[Jsonl(path="orders.jsonl"), Sql(url="sqlite:///replica.db")],
    )


# 5. a handler's test


def test_a_new_order_is_announced() -> None:
    result = play(app, [insert("public.orders", {"id": 1, "status": "new"})])
    assert result.handled == 1
    assert not result.parked
    # The decorators leave the functions as they are.
    assert_type(typed(insert("public.orders", {"id": 1})), None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
