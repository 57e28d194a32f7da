"""Events and packets one by one: what each of them means to the stream."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import GapError, ProtocolError
from penstock.model import Table
from penstock.sources.mysql.wire.events import EventType
from penstock.sources.mysql.wire.layouts import TypesNeeded
from penstock.sources.mysql.wire.packets import Packets, StreamError
from penstock.sources.mysql.wire.reader import Reader
from penstock.sources.mysql.wire.tablemap import TableMap
from tests.support.binlog import changes, decode, event, make_decoder

_T = EventType
UUID = bytes(range(16))
ROWS_OF_AN_EVENT = 1000


def gtid(number: int = 1) -> bytes:
    return event(_T.GTID, b"\0" + UUID + number.to_bytes(8, "little"))


def query(statement: str, database: str = "d") -> bytes:
    head = struct.pack("<IIBHH", 1, 0, len(database), 0, 0)
    return event(_T.QUERY, head + database.encode() + b"\0" + statement.encode())


def table_map() -> bytes:
    """Of ``d.t (id int NOT NULL PRIMARY KEY)``."""
    body = (7).to_bytes(6, "little") + b"\1\0" + b"\1d\0" + b"\1t\0" + b"\1\3" + b"\0" + b"\0"
    body += b"\1\1\0" + b"\4\3\2id" + b"\x08\1\0"
    return event(_T.TABLE_MAP, body)


def inserted(*ids: int, last: bool = True) -> bytes:
    head = (7).to_bytes(6, "little") + bytes((last, 0)) + b"\2\0" + b"\1\xff"
    return event(_T.WRITE_ROWS, head + b"".join(b"\xfe" + struct.pack("<i", i) for i in ids))


def transaction(*ids: int, number: int = 1) -> list[bytes]:
    return [gtid(number), query("BEGIN"), table_map(), inserted(*ids), event(_T.XID, bytes(8))]


def test_a_transaction_of_rows() -> None:
    [batch] = decode(make_decoder(), transaction(1, 2))
    found = changes([batch])
    assert [change.after for change in found] == [{"id": 1}, {"id": 2}]
    assert found[0].key == {"id": 1}
    assert found[0].table == "d.t"
    assert found[1].id == "00010203-0405-0607-0809-0a0b0c0d0e0f:1:1"
    assert batch.checkpoint is not None


def test_a_year_has_a_sign_too() -> None:
    """Its bit stands before those of the columns behind it."""
    body = b"\1d\0" + b"\1t\0" + b"\4\x0d\3\x10\3" + b"\2\1\0" + b"\0" + b"\1\1\xc0"
    columns = TableMap.parse(Reader(body)).columns
    assert [column.unsigned for column in columns] == [True, True, False, False]


def test_what_the_log_does_not_tell_is_asked_for_once() -> None:
    known: set[str] = set()

    def complete(table: Table) -> Table:
        if "id" not in known:
            raise TypesNeeded((table.schema, table.name), "id")
        return replace(table, unique_columns=("id",))

    asked, batches = [], []
    for made in make_decoder(complete=complete).feed(transaction(1)):
        if isinstance(made, TypesNeeded):
            asked.append((made.table, made.column))
            known.add(made.column)
        else:
            batches.append(made)
    assert asked == [(("d", "t"), "id")]
    assert changes(batches)[0].definition.unique_columns == ("id",)
    known.clear()
    with pytest.raises(TypesNeeded):
        decode(make_decoder(complete=complete), transaction(1))


def test_nothing_is_read_before_its_commit() -> None:
    decoder = make_decoder()
    assert decode(decoder, transaction(1)[:-1]) == []
    assert decoder.in_transaction
    [batch] = decode(decoder, transaction(1)[-1:])
    assert batch.checkpoint is not None


def compressed(*inner: bytes) -> bytes:
    raw = b"".join(inner)
    packed = zstandard.compress(raw)
    fields = b"\2\1\0" + b"\1\x09\xfe" + len(packed).to_bytes(8, "little")
    return event(_T.TRANSACTION_PAYLOAD, fields + b"\0" + packed)


def test_a_compressed_transaction_is_like_any_other() -> None:
    begin, *rest = transaction(1, 2)
    [plain] = decode(make_decoder(), [begin, *rest])
    [batch] = decode(make_decoder(), [begin, compressed(*rest)])
    assert [c.after for c in changes([batch])] == [c.after for c in changes([plain])]
    assert batch.checkpoint == plain.checkpoint


def test_a_compressed_transaction_that_is_damaged_is_refused() -> None:
    begin, *rest = transaction(*range(100))
    packed = bytearray(compressed(*rest))
    packed[-20] ^= 1
    with pytest.raises(ProtocolError):
        decode(make_decoder(), [begin, bytes(packed)])
    with pytest.raises(ProtocolError, match="in another"):
        decode(make_decoder(), [begin, compressed(compressed(*rest))])


@pytest.mark.parametrize("packs", [False, True])
def test_memory_does_not_grow_with_a_transaction(packs: bool) -> None:
    begin, second, described, *_, commit = transaction(1)
    rows = inserted(*range(ROWS_OF_AN_EVENT), last=False)
    count = 300

    def stream() -> Iterator[bytes]:
        yield begin
        if packs:
            yield compressed(second, described, *[rows] * count, commit)
        else:
            yield from (second, described, *[rows] * count, commit)

    seen = 0
    tracemalloc.start()
    for batch in make_decoder().feed(stream()):
        assert not isinstance(batch, TypesNeeded)
        seen += len(changes([batch]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == count * ROWS_OF_AN_EVENT
    assert peak < 24 << 20


def test_an_incident_is_a_gap() -> None:
    body = (1).to_bytes(2, "little") + b"\4lost"
    with pytest.raises(GapError, match="lost"):
        decode(make_decoder(), [event(_T.INCIDENT, body)])


def test_a_heartbeat_tells_the_place() -> None:
    decoder = make_decoder()
    decode(decoder, [event(_T.HEARTBEAT_V2, b"\1\x08binlog.9" + b"\2\3\xfc\0\2" + b"\0")])
    assert (decoder.file, decoder.position) == ("binlog.9", 512)


def test_a_log_goes_on_in_the_next_file() -> None:
    decoder = make_decoder()
    decode(decoder, [event(_T.ROTATE, (4).to_bytes(8, "little") + b"binlog.000002")])
    assert (decoder.file, decoder.position) == ("binlog.000002", 4)


def test_tables_that_are_not_wanted_are_not_read() -> None:
    decoder = make_decoder(wanted=lambda schema, name: False)
    [batch] = decode(decoder, transaction(1, 2))
    assert not list(batch)
    assert batch.checkpoint is not None


def test_truncate_empties_a_table_that_is_known() -> None:
    batches = decode(make_decoder(), [*transaction(1), gtid(2), query("TRUNCATE TABLE t")])
    *_, last = changes(batches)
    assert last.operation == "truncate"
    assert last.table == "d.t"
    assert batches[-1].checkpoint is not None


def test_a_statement_about_other_tables_is_none_of_ours() -> None:
    decoder = make_decoder(wanted=lambda schema, name: name == "t")
    assert len(decode(decoder, [gtid(), query("BEGIN"), query("DELETE FROM u WHERE 1")])) == 0
    with pytest.raises(GapError, match="instead of its rows"):
        decode(decoder, [query("INSERT INTO t VALUES (1)")])


def test_a_dropped_partition_is_told() -> None:
    decoder = make_decoder()
    decode(decoder, [gtid(), query("ALTER TABLE t DROP PARTITION p")])
    [notice] = decoder.notices
    assert "does not show" in notice


def test_rows_undone_by_a_savepoint_are_a_gap() -> None:
    decoder = make_decoder()
    begin, second, described, rows, _ = transaction(1)
    stream = [begin, second, query("SAVEPOINT `s`"), described, rows, query("ROLLBACK TO `s`")]
    with pytest.raises(GapError, match="savepoint"):
        decode(decoder, stream)


# -- packets


def packet(payload: bytes, number: int) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes((number & 0xFF,)) + payload


@given(
    events=st.lists(st.binary(max_size=40), max_size=300),
    cuts=st.lists(st.integers(1, 50), max_size=100),
)
def test_packets_may_be_cut_anywhere(events: list[bytes], cuts: list[int]) -> None:
    data = b"".join(packet(b"\0" + part, i + 1) for i, part in enumerate(events))
    packets = Packets()
    found: list[bytes] = []
    for cut in cuts:
        found += packets.feed(data[:cut])
        data = data[cut:]
    found += packets.feed(data)
    assert found == events
    assert packets.end is None


def test_a_large_event_comes_in_several_packets() -> None:
    large = bytes(0xFFFFFF + 5)
    payload = b"\0" + large
    data = packet(payload[:0xFFFFFF], 1) + packet(payload[0xFFFFFF:], 2)
    exact = b"\0" + bytes(0xFFFFFF - 1)
    data += packet(exact, 3) + packet(b"", 4) + packet(b"\0x", 5)
    packets = Packets()
    assert [len(part) for part in packets.feed(data)] == [len(large), 0xFFFFFF - 1, 1]


def test_what_ends_a_stream_is_told_behind_its_events() -> None:
    error = b"\xff" + (1236).to_bytes(2, "little") + b"#HY000purged"
    packets = Packets()
    assert packets.feed(packet(b"\0a", 1) + packet(error, 2)) == [b"a"]
    assert isinstance(packets.end, StreamError)
    assert (packets.end.number, packets.end.text) == (1236, "purged")


@pytest.mark.parametrize("data", [packet(b"\0a", 2), packet(b"", 1), packet(b"\x33", 1)])
def test_damaged_packets_end_the_stream(data: bytes) -> None:
    packets = Packets()
    assert packets.feed(data) == []
    assert isinstance(packets.end, ProtocolError)
