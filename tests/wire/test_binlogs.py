"""What real servers wrote, replayed: the changes, applied, give the tables of the server.

The workload is in binlogs/*.sql; ``python -m tools.capture_binlog`` records it anew.
"""

from __future__ import annotations

import json
from collections import Counter

import pyarrow as pa
import pytest

from penstock.errors import ProtocolError
from penstock.formats.change import ChangeFormat
from penstock.formats.row import RowFormat
from penstock.model import Change, SchemaChange, Table, TransactionBegin, TransactionEnd
from penstock.sources.mysql.position import covers
from penstock.sources.mysql.wire.events import MAGIC, EventType, header
from tests.support.binlog import changes, decode, events, make_decoder, replay, shown, six_digits
from tools.capture_binlog import BINLOGS, DATABASE, Recorded, load
from tools.mysql import FLAVORS, Flavor

FOR_EVER = b"2038-01-19 03:14:07.999999+00"


def recorded(flavor: Flavor) -> Recorded:
    return load(BINLOGS / f"{flavor}.gz")


def captured(schema: str, name: str) -> bool:
    return schema == DATABASE


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("max_bytes", [1, 1 << 20])
def test_the_changes_give_the_tables_of_the_server(flavor: Flavor, max_bytes: int) -> None:
    record = recorded(flavor)
    decoder = make_decoder(flavor, wanted=captured, max_bytes=max_bytes)
    tables = replay(changes(decode(decoder, events(*record.files))))
    assert not decoder.in_transaction
    assert decoder.prepared == 0
    for name, (columns, rows) in record.tables.items():
        if name == "numbers" or not rows:
            continue
        table, found = tables[name]
        assert [c for c in table.names if c in columns] == columns, name
        if name == "versioned":  # what was is there too
            now = table.index["row_end"]
            found = Counter({row: n for row, n in found.items() if row[now] == FOR_EVER})
        places = [table.index[column] for column in columns]
        ours = [
            [text for i, text in enumerate(shown(table, row)) if i in places]
            for row in found.elements()
        ]
        if name == "items":  # a new column's default is in no event
            assert len(ours) == len(rows)
            continue
        if name == "v_f":
            rows = [[key, text and six_digits(text)] for key, text in rows]
        assert Counter(map(tuple, ours)) == Counter(map(tuple, rows)), name


@pytest.mark.parametrize("flavor", FLAVORS)
def test_each_change_has_one_id_and_stands_in_its_transaction(flavor: Flavor) -> None:
    batches = decode(make_decoder(flavor, wanted=captured), events(*recorded(flavor).files))
    ids = [change.id for change in changes(batches)]
    assert len(set(ids)) == len(ids)
    open_: str | None = None
    for batch in batches:
        for event in batch:
            if isinstance(event, TransactionBegin):
                assert open_ is None
                open_ = event.origin.mark
                ordinal = 0
            elif isinstance(event, TransactionEnd):
                assert event.origin.mark == open_
                assert sum(event.counts.values()) == ordinal
                open_ = None
            elif isinstance(event, Change):
                assert event.origin.mark == open_
                assert event.ordinal == ordinal
                ordinal += 1
        assert batch.checkpoint is None or open_ is None


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_change_tells_where_its_transaction_stands_in_the_log(flavor: Flavor) -> None:
    begins = (EventType.GTID, EventType.GTID_TAGGED, EventType.MARIADB_GTID)
    files = recorded(flavor).files
    decoder, named = make_decoder(flavor, wanted=captured), {"": files[0]}
    for file, following in zip(files, [*files[1:], b""], strict=True):
        for change in changes(decode(decoder, events(file))):
            facts = change.origin.source
            begin = header(next(events(MAGIC + named[facts["file"]][facts["pos"] :])))
            assert begin.type in begins
            assert begin.server_id == facts["server_id"]
            assert flavor == "mariadb" or facts["thread"]
        named[decoder.file] = following


@pytest.mark.parametrize("flavor", FLAVORS)
def test_it_does_not_matter_where_batches_are_cut(flavor: Flavor) -> None:
    stream = list(events(*recorded(flavor).files))
    large = decode(make_decoder(flavor, wanted=captured), stream)
    small = decode(make_decoder(flavor, wanted=captured, max_bytes=1), stream)
    one_by_one = make_decoder(flavor, wanted=captured)
    single = [batch for event in stream for batch in decode(one_by_one, [event])]
    lines = [
        b"".join(batch.lines(ChangeFormat()) for batch in batches)
        for batches in (large, small, single)
    ]
    assert lines[0] == lines[1] == lines[2]
    assert large[-1].checkpoint == small[-1].checkpoint == single[-1].checkpoint


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_checkpoint_has_all_before_it_and_nothing_behind(flavor: Flavor) -> None:
    """Also while XA transactions are prepared: their rows come when they are committed."""
    decoder = make_decoder(flavor, wanted=captured)
    batches = [b for event in events(*recorded(flavor).files) for b in decode(decoder, [event])]
    points = [(i, batch.checkpoint) for i, batch in enumerate(batches) if batch.checkpoint]
    assert len(points) > 100
    for i, point in points:
        assert all(covers(point, change.mark) for change in changes(batches[: i + 1]))
        assert not any(covers(point, change.mark) for change in changes(batches[i + 1 :]))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_values_are_json(flavor: Flavor) -> None:
    for batch in decode(make_decoder(flavor, wanted=captured), events(*recorded(flavor).files)):
        if any(isinstance(e, Change) and not e.definition.columns for e in batch):
            continue
        for format in (ChangeFormat(), RowFormat()):
            for line in batch.lines(format).splitlines():
                json.loads(line)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_every_value_parses(flavor: Flavor) -> None:
    batches = decode(make_decoder(flavor, wanted=captured), events(*recorded(flavor).files))
    for change in changes(batches):
        for row in (change.before, change.after):
            assert row is None or dict(row).keys() == set(row.table.names)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_integers_keep_their_width_and_sign_in_arrow(flavor: Flavor) -> None:
    """Which the whole numbers of Python cannot show, nor the text of the log."""
    batches = decode(make_decoder(flavor, wanted=captured), events(*recorded(flavor).files))
    found: dict[str, pa.DataType] = {}
    for batch in batches:
        theirs = changes([batch])
        for rows in batch.to_arrow():
            rows.validate(full=True)
            name = rows.schema.metadata[b"penstock.table"].decode()
            shown = [c.after or c.before or c.key for c in theirs if c.table == name]
            for field in rows.schema:
                found[(field.metadata or {}).get(b"penstock.type", b"").decode()] = field.type
                if pa.types.is_integer(field.type) and not field.name.startswith("_"):
                    expected = [(row or {}).get(field.name) for row in shown]
                    assert rows.column(field.name).to_pylist() == expected
    widths = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "bigint": 64}
    for name, bits in widths.items():
        assert str(found[name]) == f"int{bits}"
        assert str(found[f"{name} unsigned"]) == f"uint{bits}"


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_flipped_bit_is_noticed(flavor: Flavor) -> None:
    stream = list(events(*recorded(flavor).files))
    for i in range(1, len(stream), 17):
        event = bytearray(stream[i])
        event[-10] ^= 4
        decoder = make_decoder(flavor, wanted=captured)
        with pytest.raises(ProtocolError, match="checksum"):
            decode(decoder, [*stream[:i], bytes(event)])


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_shape_is_told_before_its_first_row(flavor: Flavor) -> None:
    batches = decode(make_decoder(flavor, wanted=captured), events(*recorded(flavor).files))
    shapes: dict[str, Table] = {}
    for batch in batches:
        for i, event in enumerate(batch):
            if isinstance(event, SchemaChange):
                assert i == 0
                name = event.after.text
                assert event.before == shapes.get(name)
                shapes[name] = event.after
            elif isinstance(event, Change) and event.operation != "truncate":
                assert event.definition == shapes[event.table]
