"""A log read off the socket, from a server that is played; only the native kernel does so."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from penstock.errors import ConnectionLostError, ProtocolError
from penstock.kernel import native
from penstock.sources.postgres import replication
from penstock.sources.postgres.replication import PlainReplication, Received

SQL = "START_REPLICATION"
STARTED = b"W\0\0\0\7\0\0\0"
KEEPALIVE = b"k" + (9).to_bytes(8) + bytes(9)
ROW = b"w" + (7).to_bytes(8) + b"row"
CONTEXT = b'Wslot "s"\0'
ERROR = b'SERROR\0C55006\0Mreplication slot "s" is active\0' + CONTEXT + b"\0"
REASON = 'replication slot "s" is active\nCONTEXT:  slot "s"'
NOTICE = b"SNOTICE\0Mhello\0\0"


def message(letter: bytes, payload: bytes = b"") -> bytes:
    return letter + (len(payload) + 4).to_bytes(4) + payload


def taken(received: Received) -> bytes:
    """The payloads as they stood in the stream."""
    assert not isinstance(received.payloads, list)
    return bytes(received.payloads)


def told(received: Received) -> tuple[bytes, int, int, list[bytes], Exception | None]:
    """All that one look gave."""
    return taken(received), received.size, received.position, received.keepalives, received.end


class Played:
    """A stream, and the server's end of its socket."""

    def __init__(self) -> None:
        self._ours, self.server = socket.socketpair()
        closed = SimpleNamespace(close=self._ours.close, pgconn=self)
        connection: Any = closed
        self.stream = PlainReplication(connection, native().Messages())

    @property
    def socket(self) -> int:
        return self._ours.fileno()

    def start(self, answer: bytes) -> None:
        self.server.sendall(answer)
        self.stream.start(SQL)
        assert self.server.recv(1000) == message(b"Q", SQL.encode() + b"\0")

    def read(self, sent: bytes) -> Received:
        self.server.sendall(sent)
        return self.stream.read(1 << 20)


@pytest.fixture
def played() -> Iterator[Played]:
    played = Played()
    yield played
    played.stream.close()
    played.server.close()


def test_messages_stay_together(played: Played) -> None:
    """What came with the answer to the command is not lost, and a cut message waits."""
    both = message(b"d", ROW) + message(b"d", KEEPALIVE)
    played.start(message(b"N", NOTICE) + STARTED + both + message(b"d", ROW)[:6])
    assert told(played.read(b"")) == (both, len(both), 9, [KEEPALIVE], None)
    rest = message(b"d", ROW)
    more = played.read(rest[6:] + message(b"S", b"a\0b\0"))
    assert told(more) == (rest, len(rest), 7, [], None)
    assert told(played.read(b"")) == (b"", 0, 0, [], None)


def test_a_refusal_leaves_the_connection_for_another_try(played: Played) -> None:
    refusal = message(b"E", ERROR) + message(b"Z", b"I")
    with pytest.raises(psycopg.errors.ObjectInUse) as refused:
        played.start(refusal)
    assert str(refused.value) == REASON
    played.server.recv(1000)
    played.start(STARTED)


def test_a_server_that_dies_at_the_start(played: Played) -> None:
    played.server.sendall(message(b"E", ERROR))
    played.server.shutdown(socket.SHUT_WR)
    with pytest.raises(psycopg.errors.ObjectInUse):
        played.stream.start(SQL)


@pytest.mark.parametrize("ready", [b"", message(b"Z", b"I")])
def test_an_error_comes_after_what_was_sent_before_it(played: Played, ready: bytes) -> None:
    played.start(STARTED)
    received = played.read(message(b"d", ROW) + message(b"E", ERROR) + ready)
    assert taken(received) == message(b"d", ROW)
    assert isinstance(received.end, psycopg.errors.ObjectInUse)
    assert str(received.end) == REASON


def test_a_server_that_ends_the_stream(played: Played) -> None:
    played.start(STARTED)
    received = played.read(
        message(b"c") + message(b"C", b"COPY 0\0") + message(b"Z", b"I") + message(b"d", ROW)[:3]
    )
    assert isinstance(received.end, ConnectionLostError)
    assert "ended the replication stream" in str(received.end)


def test_a_server_that_ends_the_stream_and_then_says_why(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "_LAST_WORDS", 60.0)
    played.start(STARTED)
    received = played.read(message(b"c") + message(b"E", ERROR))
    assert isinstance(received.end, psycopg.errors.ObjectInUse)


def test_a_socket_that_ends(played: Played) -> None:
    played.start(STARTED)
    played.server.sendall(message(b"d", ROW))
    played.server.close()
    received = played.stream.read(1 << 20)
    assert taken(received) == message(b"d", ROW)
    assert isinstance(received.end, ConnectionLostError)


def test_what_no_stream_has(played: Played) -> None:
    played.start(STARTED)
    with pytest.raises(ProtocolError, match="streams a message 'T'"):
        played.read(message(b"T"))


def test_reports_are_sent_whole_and_in_order(played: Played) -> None:
    played.start(STARTED)
    reports = [bytes([i]) * 50_000 for i in range(20)]
    for report in reports:
        played.stream.send(report)
    taken = b""
    expected = b"".join(message(b"d", report) for report in reports)
    played.server.setblocking(False)
    while len(taken) < len(expected):
        played.stream.flush()
        if select.select([played.server], [], [], 0)[0]:
            taken += played.server.recv(1 << 20)
    assert taken == expected


def test_leaving_waits_for_the_commands_end(played: Played) -> None:
    played.start(STARTED)
    played.server.sendall(message(b"d", ROW) + message(b"c") + message(b"Z", b"I"))
    played.stream.leave(60.0)
    assert played.server.recv(1000) == message(b"c")
