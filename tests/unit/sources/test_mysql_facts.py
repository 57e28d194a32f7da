"""What a MySQL source remembers."""

from __future__ import annotations

import json

from penstock.model import Column, Kind, Table, Type
from penstock.sources.mysql.facts import Captured, Facts, Shape
from penstock.sources.mysql.wire.gtid import GtidSet

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


def shape(name: str) -> Table:
    return Table("shop", "t", (Column(name, Type("int", Kind.INTEGER, "int"), False),), (name,))


def gtid(number: int) -> str:
    return f"{UUID}:{number}"


def upto(number: int) -> GtidSet:
    return GtidSet.parse(f"{UUID}:1-{number}")


def test_what_was_saved_is_loaded() -> None:
    facts = Facts(
        "mysql",
        began=str(upto(3)),
        captured={"shop.t": Captured(2, 1)},
        shapes=[Shape(shape("a"), gtid(5))],
    )
    assert Facts.load(json.loads(json.dumps(facts.dump()))).dump() == facts.dump()


def test_shapes_are_known_as_they_were_at_the_start() -> None:
    facts = Facts("mysql")
    assert facts.learn(shape("a"), gtid(10), upto(1))
    assert not facts.learn(shape("a"), gtid(20), upto(1))
    assert facts.learn(shape("b"), gtid(30), upto(1))
    assert facts.learn(shape("c"), gtid(40), upto(31))
    assert [s.table for s in facts.shapes] == [shape("b"), shape("c")], "a is needed by no start"
    assert facts.rewind(upto(39)) == [shape("b")], "what showed c is read again"
    assert facts.rewind(upto(29)) == []
