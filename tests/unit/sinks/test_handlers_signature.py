"""What a handler's signature may ask for, and what is said where it cannot be given."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from penstock import Change, ConfigError, Message, Row
from penstock.sinks.handlers import Policy
from penstock.sinks.handlers.handler import bind, bind_message
from penstock.sinks.handlers.sink import HandlersSink

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypes


@dataclass
class Order:
    id: int


def plain(change: Change) -> None: ...
def rows(change: Change[Row]) -> None: ...
def unannotated(change): ...  # type: ignore[no-untyped-def]
def typed(change: Change[Order]) -> None: ...
def many(changes: list[Change[Order]]) -> None: ...
def sequence(changes: Sequence[Change[Order]]) -> None: ...
async def coroutine(change: Change[Order]) -> None: ...
def with_default(change: Change, color: str = "red") -> None: ...
def with_rest(change: Change, *more: int, **named: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "row", "batch", "is_async"),
    [
        (plain, None, False, False),
        (rows, None, False, False),
        (unannotated, None, False, False),
        (typed, "Order", False, False),
        (many, "Order", True, False),
        (sequence, "Order", True, False),
        (coroutine, "Order", False, True),
        (with_default, None, False, False),
        (with_rest, None, False, False),
        (functools.partial(with_default, color="blue"), None, False, False),
    ],
)
def test_the_first_parameter_says_what_is_given(
    function: Callable[..., Any], row: str | None, batch: bool, is_async: bool
) -> None:
    handler = bind(function, "public.orders", ())
    assert (handler.rows.name if handler.rows else None) == row
    assert handler.batch is batch
    assert handler.is_async is is_async
    assert handler.connection is None
    assert __file__ in handler.where


def test_a_method_and_an_object_can_be_handlers() -> None:
    class Mailer:
        def send(self, change: Change[Order]) -> None: ...

        async def __call__(self, change: Change[Order]) -> None: ...

    assert bind(Mailer().send, "t", ()).rows is not None
    called = bind(Mailer(), "t", ())
    assert called.rows is not None
    assert called.is_async


def test_types_made_inside_a_function_are_found_by_their_local_name() -> None:
    @dataclass
    class Local:
        id: int

    def handler(change: Change[Local]) -> None: ...

    bound = bind(handler, "t", (), names=locals())
    assert bound.rows is not None
    assert bound.rows.name.endswith("Local")


def no_parameter() -> None: ...
def not_a_change(order: Order) -> None: ...
def no_rows(change: Change[int]) -> None: ...
def unknown_extra(change: Change, mailer: Order) -> None: ...
def unfindable(change: Change, amount: OnlyForTypes) -> None: ...
def yields(change: Change) -> Iterator[int]:
    yield 1


async def yields_async(change: Change) -> AsyncIterator[int]:
    yield 1


def two(change: Change, a: Session, b: Session) -> None: ...
async def blocking(change: Change, session: Session) -> None: ...
def awaiting(change: Change, session: AsyncSession) -> None: ...
def by_place(change: Change, session: Session, /) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (no_parameter, "takes no argument"),
        (not_a_change, "parameter 'order' is Order"),
        (no_rows, "parameter 'change': int is no type of rows"),
        (unknown_extra, "parameter 'mailer' is Order"),
        (unfindable, "'OnlyForTypes', which cannot be found"),
        (yields, "yields"),
        (yields_async, "yields"),
        (two, "'a' has the transaction already"),
        (blocking, "a handler with this parameter is a def"),
        (awaiting, "a handler with this parameter is a async def"),
        (by_place, "it is given by name"),
    ],
)
def test_a_signature_that_cannot_be_filled_is_refused_with_its_place(
    function: Callable[..., Any], says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(function, "public.orders", ())
    assert says in str(caught.value)
    assert f"{__file__}:{function.__code__.co_firstlineno}" in str(caught.value)
    assert function.__name__ in str(caught.value)


def test_an_unknown_operation_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'delete'"):
        bind(plain, "public.orders", ("deletes",))


def test_without_operations_all_but_the_snapshots_rows_are_meant() -> None:
    assert bind(plain, "t", ()).operations == {
        "insert",
        "update",
        "delete",
        "truncate",
        "upsert",
    }
    assert bind(plain, "t", ("read",)).operations == {"read"}


@pytest.mark.parametrize(
    ("pattern", "table", "fits"),
    [
        ("public.orders", "public.orders", True),
        ("public.orders", "public.orders_old", False),
        ("public.order_*", "public.order_lines", True),
        ("public.order_*", "shop.order_lines", False),
        ("*.orders", "shop.orders", True),
        ("*", "any.thing", True),
        ("public.a[b]", "public.ab", False),
        ("public.a[b]", "public.a[b]", True),
    ],
)
def test_table_patterns(pattern: str, table: str, fits: bool) -> None:
    assert bind(plain, pattern, ()).matches(table) is fits


def takes_session(change: Change, session: Session) -> None: ...
def takes_connection(change: Change, connection: Connection) -> None: ...
async def takes_async_session(change: Change, *, db: AsyncSession) -> None: ...
async def takes_async_connection(change: Change, db: AsyncConnection) -> None: ...
def takes_psycopg(change: Change, db: psycopg.Connection[Any]) -> None: ...
async def takes_async_psycopg(change: Change, db: psycopg.AsyncConnection[Any]) -> None: ...


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (takes_session, ("session", Session)),
        (takes_connection, ("connection", Connection)),
        (takes_async_session, ("db", AsyncSession)),
        (takes_async_connection, ("db", AsyncConnection)),
        (takes_psycopg, ("db", psycopg.Connection)),
        (takes_async_psycopg, ("db", psycopg.AsyncConnection)),
    ],
)
def test_connections_are_found_by_type(
    function: Callable[..., Any], found: tuple[str, type]
) -> None:
    assert bind(function, "t", ()).connection == found


def test_two_kinds_of_connection_do_not_go_together() -> None:
    both = [bind(takes_session, "a", ()), bind(takes_connection, "b", ())]
    with pytest.raises(ConfigError, match=r"takes_session .* a Session, .*takes_connection"):
        HandlersSink(both, [], Policy())


def test_a_transaction_takes_no_concurrency() -> None:
    with pytest.raises(ConfigError, match="concurrency is 1"):
        HandlersSink([bind(takes_session, "a", ())], [], Policy(concurrency=2))


@pytest.mark.parametrize(
    "wrong", [{"concurrency": 0}, {"max_parked": -1}, {"retries": -1}, {"on_failure": "ignore"}]
)
def test_a_policy_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Policy(**wrong)


def test_messages_have_their_own_signature() -> None:
    def takes(message: Message, session: Session) -> None: ...
    def not_this(message: Change) -> None: ...

    assert bind_message(takes, "audit", names=locals()).connection == ("session", Session)
    with pytest.raises(ConfigError, match="takes a Message"):
        bind_message(not_this, "audit", names=locals())
