"""Where what Debezium writes and what we write still differs: all of it.

The page of the format lists the same; each entry must show in a comparison, and nothing else may.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from tests.interop.compare import Difference

_Explains = Callable[[Difference, str | None], bool]


class Remaining(NamedTuple):
    """What differs, as each tells it; in which comparison it shows; and which differences it
    explains: given one, and the type of the column that it is in."""

    what: str
    theirs: str
    ours: str
    shows: str
    explains: _Explains


def _values(type: str, *pairs: tuple[Any, Any]) -> _Explains:
    """These values, of Debezium and of ours, in a column of the type."""
    return lambda found, column: column == type and (found.theirs, found.ours) in pairs


_SHAPES: Final = {
    "box": ("KDEuMCwxLjApLCgwLjAsMC4wKQ==", "KDEsMSksKDAsMCk="),
    "circle": ("PCgwLjAsMC4wKSwxLjA-", "PCgwLDApLDE-"),
    "line": ("ezEuMCwyLjAsMy4wfQ==", "ezEsMiwzfQ=="),
    "lseg": ("WygwLjAsMC4wKSwoMS4wLDEuMCld", "WygwLDApLCgxLDEpXQ=="),
    "path": ("WygwLjAsMC4wKSwoMS4wLDEuMCld", "WygwLDApLCgxLDEpXQ=="),
    "polygon": ("KCgwLjAsMC4wKSwoMS4wLDEuMCksKDEuMCwwLjApKQ==", "KCgwLDApLCgxLDEpLCgxLDApKQ=="),
}


def _is_shape(found: Difference, column: str | None) -> bool:
    return _SHAPES.get(column or "") == (found.theirs, found.ours)


def _is_snapshot_id(found: Difference, column: str | None) -> bool:
    return found.field == "value.payload.source.txId" and found.ours is None


def _is_message_counted(found: Difference, column: str | None) -> bool:
    return (
        re.fullmatch(r"value\.payload\.data_collections\.\d+\.data_collection", found.field)
        is not None
        and "LogicalDecodingMessageId@" in found.theirs
        and found.ours == ""
    )


def _is_key_by_index(found: Difference, column: str | None) -> bool:
    """``by_index`` of :mod:`tests.interop.test_shapes`."""
    return found.topic.endswith(".by_index") and (
        found.path[0] == "key" or found.path[1] in ("__debezium.oldkey", "__debezium.newkey")
    )


REMAINING: Final = (
    Remaining(
        "key of a table with `REPLICA IDENTITY USING INDEX` besides its primary key",
        "the primary key, with zeros where a delete does not have it",
        "the columns of that index, which every change has",
        "keys",
        _is_key_by_index,
    ),
    Remaining(
        "`source.txId` of snapshot rows",
        "the id of its snapshot's transaction",
        "null: ours is read-only and has none",
        "default",
        _is_snapshot_id,
    ),
    Remaining(
        "`data_collection` of a logical message, in the END of its transaction",
        "the address of a Java object",
        "an empty text",
        "transactions",
        _is_message_counted,
    ),
    Remaining(
        "`name`",
        "null in the stream, the value in snapshots",
        "the value",
        "default",
        _values("name", (None, "n")),
    ),
    Remaining(
        "`timetz[]`",
        "without the fractions of seconds",
        "with them",
        "default",
        _values("timetz[]", ("11:51:30Z", "11:51:30.5Z")),
    ),
    Remaining(
        "arrays of several dimensions",
        "a null for each element of the first",
        "all elements, one after the other",
        "default",
        _values("integer[]", ([None, None], [1, 2, 3, 4])),
    ),
    Remaining(
        "`int2vector`",
        "an empty array",
        "the numbers",
        "default",
        _values("int2vector", ([], [1, 2])),
    ),
    Remaining(
        "`date` before Christ, and infinite dates",
        "one in snapshots (by the Julian calendar), another in the stream",
        "as Debezium's stream",
        "default",
        _values("date", (-703383, -735160), (-622191234, -2147472692), (-625821272, -2147472691)),
    ),
    Remaining(
        'infinite `date` and `timestamp`, with `time_precision_mode = "isostring"`',
        "the moment that an overflow gives; `date` before Christ as above",
        "`infinity` and `-infinity`",
        "text",
        lambda found, column: (
            _values(
                "date",
                ("0044-03-15Z", "-0043-03-15Z"),
                ("+292278994-08-16Z", "infinity"),
                ("+292269055-12-02Z", "-infinity"),
                ("-5877611-06-21Z", "infinity"),
                ("-5877611-06-22Z", "-infinity"),
            )(found, column)
            or _values(
                "timestamp",
                ("+294247-01-10T04:00:25.2Z", "infinity"),
                ("-290308-12-21T19:59:27.6Z", "-infinity"),
            )(found, column)
        ),
    ),
    Remaining(
        '`numeric` of a negative scale, with `decimal_handling_mode = "string"`',
        "with 2046 zeros after the point",
        "the number",
        "text",
        _values("numeric(5,-2)", ("12300." + 2046 * "0", "12300"), ("-100." + 2046 * "0", "-100")),
    ),
    Remaining(
        "`box`, `circle`, `line`, `lseg`, `path`, `polygon`, with `include_unknown_datatypes`",
        "the bytes of a text with Java's spelling of the numbers",
        "the bytes of the server's text",
        "other",
        _is_shape,
    ),
)


def _is_snapshot_fraction(found: Difference, column: str | None) -> bool:
    if found.path[2:3] != ("after",) or not all(
        isinstance(told, str) and told.endswith("Z") for told in (found.theirs, found.ours)
    ):
        return False
    return bool(re.sub(r"\.?0*Z$", "Z", found.ours) == found.theirs)


def _is_same_json(found: Difference, column: str | None) -> bool:
    if column != "json":
        return False
    same: bool = json.loads(found.theirs) == json.loads(found.ours)
    return same or (found.theirs, found.ours) == _OTHER_JSON


_OTHER_JSON: Final = (
    '{"b":"AP8=","d":"2020-01-02","f":"BQ==","m":"2020-01-02 10:11:12.5","n":1.50,'
    '"t":"11:0-12:0-13.00000-5"}',
    '{"b": "base64:type15:AP8=", "d": "2020-01-02", "f": "base64:type15:BQ==",'
    ' "m": "2020-01-02 10:11:12.500000", "n": 1.50, "t": "-10:11:12.500000"}',
)


def _is_of_truncate(found: Difference, column: str | None) -> bool:
    """The one of :mod:`tests.interop.mysql_workload`."""
    if not found.topic.endswith(".counted"):
        return False
    if found.field == "value.payload.source.thread":
        return found.theirs is None
    size = {"ts_us": 1000, "ts_ns": 1_000_000}.get(str(found.path[-1]))
    return size is not None and found.ours - found.ours % size == found.theirs


BINLOG: Final = (
    Remaining(
        "`TIMESTAMP(1)` to `(6)` in snapshots",
        "a fraction without the zeros at its end",
        "all digits, as in the stream",
        "default",
        _is_snapshot_fraction,
    ),
    Remaining(
        "`FLOAT` in snapshots",
        "six digits",
        "all digits, as in the stream",
        "default",
        _values("float", (123457.0, 123456.7890625), (123457.0, 123456.79)),
    ),
    Remaining(
        "`FLOAT(M,D)`",
        "a `double`",
        "a `float`, which is what the log has",
        "default",
        lambda found, column: column == "float(10,2)" and found.path[-1] == "type",
    ),
    Remaining(
        "`YEAR` 0000",
        "2000 in snapshots, 1900 in the stream",
        "0",
        "default",
        _values("year", (2000, 0), (1900, 0)),
    ),
    Remaining(
        "`ENUM` and `SET` with a comma in a label",
        "a backslash before it, in the stream",
        "the label; `allowed` has the backslash",
        "default",
        _values("enum('a','d,e')", (r"d\,e", "d,e")),
    ),
    Remaining(
        "`JSON` in the stream",
        "without spaces, numbers of 64 bits written out, times that are negative wrong, bytes "
        "without their type",
        "the server's own text, as in snapshots",
        "default",
        _is_same_json,
    ),
    Remaining(
        "`source` of a TRUNCATE",
        "no thread, and the moment in milliseconds",
        "as of any other change",
        "other",
        _is_of_truncate,
    ),
)
"""Of MySQL."""

_OF_MYSQL: Final = ("`YEAR` 0000", "`JSON` in the stream")  # MariaDB's JSON is a text
OF_MARIADB: Final = (
    Remaining(
        "a zero `TIMESTAMP` in the stream of MariaDB",
        "1970-01-01T00:00:00Z",
        "null where it may be, as Debezium has it for MySQL since 3.6",
        "default",
        lambda found, column: (
            found.theirs == "1970-01-01T00:00:00Z"
            and (found.ours is None or found.path[-1] in ("n26", "n30"))
        ),
    ),
    Remaining(
        "`source.ts_ms` of MariaDB, in seconds",
        "when the statement began",
        "when the transaction was committed",
        "",  # where a second ends in between
        lambda found, column: (
            found.path[:3] == ("value", "payload", "source")
            and found.path[3] in ("ts_ms", "ts_us", "ts_ns")
        ),
    ),
)
"""Of MariaDB alone, whose connector is one of 3.5."""
MARIADB: Final = (*(entry for entry in BINLOG if entry.what not in _OF_MYSQL), *OF_MARIADB)

_ColumnOf = Callable[[Difference], str | None]


def _nowhere(found: Difference) -> None:
    return None


def unexplained(
    found: Iterable[Difference],
    column_of: _ColumnOf = _nowhere,
    entries: Sequence[Remaining] = REMAINING,
) -> list[str]:
    """The differences that no entry explains."""
    return [
        str(one)
        for one in found
        if not any(entry.explains(one, column_of(one)) for entry in entries)
    ]


def stale(
    found: Collection[Difference],
    shows: str,
    column_of: _ColumnOf = _nowhere,
    entries: Sequence[Remaining] = REMAINING,
) -> list[str]:
    """The entries that are to show in this comparison and do not."""
    return [
        entry.what
        for entry in entries
        if entry.shows == shows and not any(entry.explains(one, column_of(one)) for one in found)
    ]
