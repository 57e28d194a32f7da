"""COPY read off the socket, from a server that is played; only the native kernel does so."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from penstock.errors import ConnectionLostError, ProtocolError
from penstock.kernel import native
from penstock.sources.postgres.directcopy import DirectCopy

SQL = "COPY t TO STDOUT"
QUERY = b"Q\0\0\0\x15COPY t TO STDOUT\0"


def message(letter: bytes, payload: bytes = b"") -> bytes:
    return letter + (len(payload) + 4).to_bytes(4) + payload


ROWS = [b"1\tone\n", b"", b"2\t" + b"x" * 300_000 + b"\n", b"3\tthree\n"]
DATA = b"".join(message(b"d", row) for row in ROWS)
BEGIN = message(b"H", b"\0\0\0")
END = message(b"c") + message(b"C", b"COPY 4\0") + message(b"Z", b"T")
ERROR = message(b"E", b"SERROR\0VERROR\0C42501\0Mpermission denied for table t\0\0")
NOTICE = message(b"N", b"SNOTICE\0Mhello\0\0")


def copied(
    answer: bytes, *, size: int = 100_000, block: int = 1000, leaves: bool = False
) -> list[bytes]:
    """What is read of a server that sends ``answer`` in pieces once it was asked."""
    messages = native().Messages
    ours, theirs = socket.socketpair()

    def serve() -> None:
        asked = b""
        while len(asked) < len(QUERY):
            asked += theirs.recv(1000)
        assert asked == QUERY
        for at in range(0, len(answer), size):
            theirs.sendall(answer[at : at + size])
        if leaves:
            theirs.shutdown(socket.SHUT_RDWR)

    server = threading.Thread(target=serve)
    server.start()
    connection: Any = SimpleNamespace(pgconn=SimpleNamespace(socket=ours.fileno()))
    copy = DirectCopy(connection, messages, lambda: None, 1000)
    try:
        return [bytes(piece) for piece in copy.read(SQL, block)]
    finally:
        server.join()
        copy.close()
        ours.close()
        theirs.close()


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_all_messages_arrive_whole_however_they_are_cut(size: int) -> None:
    few = BEGIN + message(b"d", ROWS[0]) + message(b"d", ROWS[3]) + END
    assert b"".join(copied(few, size=size)) == message(b"d", ROWS[0]) + message(b"d", ROWS[3])
    if size > 7:
        pieces = copied(BEGIN + DATA + END, size=size)
        assert b"".join(pieces) == DATA
        assert all(piece[:1] == b"d" for piece in pieces)


def test_pieces_are_about_as_large_as_asked_for() -> None:
    rows = message(b"d", b"x" * 995) * 500
    pieces = copied(BEGIN + rows + END, block=10_000)
    assert b"".join(pieces) == rows
    assert max(map(len, pieces)) < 10_000 + (1 << 17) + 1000


def test_no_rows_and_what_a_server_may_say_at_any_time() -> None:
    assert copied(BEGIN + END) == []
    said = NOTICE + BEGIN + NOTICE + DATA + message(b"S", b"a\0b\0") + END
    assert b"".join(copied(said)) == DATA


def test_the_servers_error_is_raised_once_it_is_ready_again() -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        copied(ERROR + message(b"Z", b"E"))
    with pytest.raises(psycopg.DatabaseError) as unknown:
        copied(BEGIN + DATA + message(b"E", b"SERROR\0CXY123\0Modd\0\0") + message(b"Z", b"E"))
    assert unknown.value.sqlstate == "XY123"


def test_a_server_that_leaves() -> None:
    with pytest.raises(ConnectionLostError, match="closed it"):
        copied(BEGIN + DATA, leaves=True)
    fatal = message(b"E", b"SFATAL\0C57P01\0Mterminating connection\0\0")
    with pytest.raises(psycopg.errors.AdminShutdown):
        copied(BEGIN + DATA + fatal, leaves=True)


@pytest.mark.parametrize("answer", [message(b"T", b"\0\0"), b"H\0\0\0\x03", b"d\0\0\0\0"])
def test_another_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        copied(answer)


def test_silence_is_looked_into() -> None:
    class Enough(Exception):
        pass

    def look_up() -> None:
        raise Enough

    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection: Any = SimpleNamespace(pgconn=SimpleNamespace(socket=ours.fileno()))
        copy = DirectCopy(connection, native().Messages, look_up, 1)
        with pytest.raises(Enough):
            list(copy.read(SQL, 1000))
        copy.close()
