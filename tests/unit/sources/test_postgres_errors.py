"""What the server says about replication, and which of our errors it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from psycopg import errors

from penstock.errors import (
    ConnectionLostError,
    GapError,
    PenstockError,
    PrivilegeError,
    SlotMissingError,
    StuckError,
)
from penstock.ports import Context
from penstock.sources.postgres import slot
from penstock.sources.postgres.config import Postgres
from penstock.sources.postgres.connection import quotes_rows, words


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (errors.UndefinedObject('publication "p" does not exist'), GapError),
        (errors.UndefinedObject('replication slot "s" does not exist'), SlotMissingError),
        (errors.ObjectNotInPrerequisiteState("invalidated due to wal_removed"), GapError),
        (errors.InsufficientPrivilege("permission denied"), PrivilegeError),
        (errors.AdminShutdown("terminating connection"), ConnectionLostError),
        (errors.ConnectionFailure("gone"), ConnectionLostError),
        (psycopg.OperationalError("server closed the connection"), ConnectionLostError),
    ],
)
def test_known_errors(error: Exception, ours: type[PenstockError]) -> None:
    explained = slot.explain(error, "s", "p")
    assert type(explained) is ours


def test_the_same_failure_at_the_same_place_is_stuck() -> None:
    """Fault 40: a value that is too large for text fails for ever."""
    source = Postgres(dsn="host=127.0.0.1 password=c4nary").build()
    source._context = Context("shop", "source")
    source._reached = 0x1543558
    too_large = errors.InternalError_("invalid memory alloc request size 1258291203 c4nary")
    source._form.objection = "public.pages.body (xml[])"
    assert isinstance(source._explain(too_large), ConnectionLostError)
    stuck = source._explain(too_large)
    assert isinstance(stuck, StuckError)
    assert "nor in binary because of public.pages.body (xml[])" in stuck.hint
    assert "0/1543558" in stuck.message
    assert "c4nary" not in str(stuck)
    source._reached += 1
    assert isinstance(source._explain(too_large), ConnectionLostError)


def test_what_cannot_be_sent_as_text_is_tried_in_binary_once() -> None:
    """Fault 40, where every column has a binary form."""
    source = Postgres(dsn="host=127.0.0.1").build()
    source._context = Context("shop", "source")
    source._link = cast("Any", SimpleNamespace(received=0x1543558))
    too_large = errors.InternalError_("invalid memory alloc request size 1258291203")
    assert isinstance(source._explain(too_large), ConnectionLostError)
    again = source._explain(too_large)
    assert isinstance(again, ConnectionLostError)
    assert "after 0/1543558" in again.message
    assert "binary" in again.message
    source._form.binary = 160000  # as the next opening has it
    stuck = source._explain(too_large)
    assert isinstance(stuck, StuckError)
    assert "1 GB" in stuck.hint
    source._form.binary = 0  # an opening that failed before it could choose
    assert isinstance(source._explain(too_large), StuckError)


def test_a_start_up_that_fails_again_is_stuck() -> None:
    """No other form of the log helps it."""
    source = Postgres(dsn="host=127.0.0.1").build()
    source._context = Context("shop", "source")
    source._reached = 0
    failure = errors.FeatureNotSupported("not here")
    assert isinstance(source._explain(failure), ConnectionLostError)
    assert isinstance(source._explain(failure), StuckError)


@pytest.mark.parametrize(
    "kind",
    [errors.InvalidTextRepresentation, errors.RaiseException, errors.ExternalRoutineException],
)
def test_words_that_may_quote_a_row_are_not_repeated(kind: type[psycopg.Error]) -> None:
    error = kind('invalid input syntax for type integer: "secret"')
    assert quotes_rows(error)
    assert "secret" not in words(error)
    assert f"{kind.__name__} (SQLSTATE {kind.sqlstate})" in words(error)


@pytest.mark.parametrize(
    "error", [errors.UndefinedTable("no such table\n"), psycopg.OperationalError("lost")]
)
def test_other_words_are(error: Exception) -> None:
    assert not quotes_rows(error)
    assert words(error) == str(error).strip()
