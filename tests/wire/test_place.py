"""Places in the log of a server without GTIDs."""

from __future__ import annotations

import pytest

from penstock.model import Mark
from penstock.sources.mysql.position import covers, gtids_in, gtids_of, main_checkpoint, meet
from penstock.sources.mysql.wire.place import Place

HERE = "11111111-1111-1111-1111-111111111111"
THERE = "22222222-2222-2222-2222-222222222222"


def at(file: str, position: int, server: str = HERE) -> Place:
    return Place(server, file, position)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (at("binlog.000002", 4), at("binlog.000002", 5)),
        (at("binlog.000002", 900), at("binlog.000003", 4)),
        (at("binlog.999999", 900), at("binlog.1000000", 4)),
        (at("binlog.9", 900), at("binlog.000010", 4)),
    ],
)
def test_files_are_compared_by_their_numbers(a: Place, b: Place) -> None:
    assert a <= b
    assert not b <= a
    assert a & b == b & a == a


@pytest.mark.parametrize(
    "other", [at("binlog.000002", 4, THERE), at("other.000002", 4), Place("", "", 0)]
)
def test_places_elsewhere_have_no_order(other: Place) -> None:
    one = at("binlog.000002", 4)
    assert not one <= other
    assert not other <= one
    assert str(one & other) == ""


def test_a_transaction_is_known_by_where_it_is() -> None:
    """Its mark is behind its first event, and so before the place at which it has ended."""
    read = main_checkpoint("mysql", at("binlog.000009", 500))
    assert covers(read, Mark("binlog.000009/499", 3))
    assert covers(read, Mark("binlog.000008/100000", 0))
    assert not covers(read, Mark("binlog.000009/500", 0))
    assert not covers(read, Mark("binlog.000010/77", 0))
    assert not covers(read, Mark("other.000001/4", 0))


def test_a_checkpoint_keeps_the_place_and_its_server() -> None:
    place = at("a/b-c.000009", 500)
    checkpoint = main_checkpoint("mysql", place)
    assert gtids_in(checkpoint) == place
    assert meet(checkpoint, main_checkpoint("mysql", at("a/b-c.000009", 90))).text != (
        checkpoint.text
    )


@pytest.mark.parametrize("text", [f"{HERE}/binlog/4", "x/binlog.000001/4", f"{HERE}/binlog.1/x"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        gtids_of("mysql", text)


def test_a_place_is_moved_by_where_it_was_read_to_alone() -> None:
    place = at("binlog.000001", 4)
    place.add(f"{HERE}:7")
    assert place == at("binlog.000001", 4)
    copy = place.copy()
    copy.reach("binlog.000002", 99)
    assert (copy.position, place.position) == (99, 4)
