"""Rows whose values come in binary form: what the decoder was made for decides."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest

from penstock.errors import ProtocolError
from penstock.model import UNCHANGED, Change
from penstock.sources.postgres.wire import RelationFacts
from penstock.sources.postgres.wire.tables import TextNeeded
from tests.wire.payloads import ORDERS, begin, commit, decoder, relation, xlog

SERVER = 160004
COLUMNS = (("id", 20), ("price", 1700), ("words", 25))
PRICE = pack(">HhHHHH", 2, 0, 0, 2, 12, 5000)  # 12.50


def row(tag: bytes, *values: tuple[bytes, bytes] | object | None, old: bytes = b"") -> bytes:
    data = pack(">H", len(values))
    for value in values:
        if isinstance(value, tuple):
            data += pack(">cI", value[0], len(value[1])) + value[1]
        else:
            data += b"n" if value is None else b"u"
    return xlog(tag + pack(">I", ORDERS) + old + b"N" + data)


def changes(*payloads: bytes, binary: int = SERVER, columns: Any = COLUMNS) -> list[Change[Any]]:
    source = decoder(binary=binary)
    batches = source.feed(
        [begin(0x100), relation(ORDERS, "orders", columns), *payloads, commit(0x100)]
    )
    source.describe(RelationFacts("0/99", primary_key=("id",)))
    batches += source.feed([])
    return [event for batch in batches for event in batch if isinstance(event, Change)]


def test_binary_and_text_in_one_row() -> None:
    (change,) = changes(row(b"I", (b"b", pack(">q", -7)), (b"b", PRICE), (b"t", b"text")))
    assert list(change.values_after or ()) == [b"-7", b"12.50", b"text"]


def test_an_old_key_and_a_value_that_is_not_repeated() -> None:
    old = b"K" + pack(">HcIqcc", 3, b"b", 8, 1, b"n", b"n")
    (change,) = changes(row(b"U", (b"b", pack(">q", 2)), None, UNCHANGED, old=old))
    assert list(change.values_after or ()) == [b"2", None, UNCHANGED]
    assert change.old_key == {"id": 1}


def test_binary_was_not_asked_for() -> None:
    with pytest.raises(ProtocolError, match="which was not asked for") as caught:
        changes(row(b"I", (b"b", pack(">q", 1)), None, None), binary=0)
    assert "binary 'false'" in str(caught.value)


def test_a_value_that_is_none_of_its_type() -> None:
    with pytest.raises(ProtocolError, match="column 1 of 3: 3 bytes where 8 are due"):
        changes(row(b"I", (b"b", b"abc"), None, None))
    with pytest.raises(ProtocolError, match="column 2 of 3: a digit above 9999"):
        changes(row(b"I", (b"b", pack(">q", 1)), (b"b", PRICE[:-2] + b"\xff\xff"), None))


@pytest.mark.parametrize("type", [3614, 1186, 99_999])
def test_a_type_that_must_come_as_text(type: int) -> None:
    columns = (("id", 20), ("odd", type))
    with pytest.raises(TextNeeded, match=r"public\.orders\.odd"):
        changes(row(b"I", (b"b", pack(">q", 1)), None), columns=columns)


def test_an_interval_since_it_may_be_infinite() -> None:
    columns = (("id", 20), ("odd", 1186))
    form = pack(">qii", 2**63 - 1, 2**31 - 1, 2**31 - 1)
    (change,) = changes(
        row(b"I", (b"b", pack(">q", 1)), (b"b", form)), binary=170000, columns=columns
    )
    assert change.row.text("odd") == "infinity"
