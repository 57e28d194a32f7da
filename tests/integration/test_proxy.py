"""The proxy of the fault tests does what its methods say."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import Direction, Proxy
from tests.support.waiting import eventually


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(end: socket.socket) -> None:
        with end:
            try:
                while data := end.recv(65536):
                    end.sendall(data)
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                end, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(end,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    listener.close()


@pytest.fixture
def proxy(echo_port: int) -> Iterator[Proxy]:
    with Proxy(echo_port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        assert ask(client, b"hello") == b"hello"
        yield client


def ask(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    answer = b""
    while len(answer) < len(data):
        part = client.recv(65536)
        if not part:
            break
        answer += part
    return answer


def talk_forever(client: socket.socket) -> None:
    while True:
        client.sendall(b"x")
        client.recv(1)


def test_it_forwards_both_ways_and_counts(proxy: Proxy, client: socket.socket) -> None:
    big = bytes(range(256)) * 4096
    received = bytearray()

    def receive() -> None:
        while len(received) < len(big):
            received.extend(client.recv(65536))

    reader = threading.Thread(target=receive)
    reader.start()
    client.sendall(big)
    reader.join()
    assert received == big
    eventually(lambda: proxy.passed == {"up": len(big) + 5, "down": len(big) + 5})
    assert proxy.connections == 1


def test_an_end_is_forwarded(proxy: Proxy, client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    eventually(lambda: proxy.connections == 0)


def test_cut_ends_the_connection_and_new_ones_work(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut()
    assert proxy.connections == 0
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        talk_forever(client)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as again:
        assert ask(again, b"again") == b"again"


def test_cut_after_lets_exactly_so_many_bytes_pass(proxy: Proxy, client: socket.socket) -> None:
    proxy.cut_after(3, "down")
    client.sendall(b"abcdef")
    seen = b""
    try:
        while part := client.recv(16):
            seen += part
    except ConnectionResetError:
        pass
    assert seen in {b"abc", b""}  # a reset may overtake what was sent before it
    eventually(lambda: proxy.passed["down"] == 5 + 3)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_corrupt_flips_one_byte_once(
    proxy: Proxy, client: socket.socket, direction: Direction
) -> None:
    proxy.corrupt(2, direction)
    assert ask(client, b"\0\0\0\0") == b"\0\0\xff\0"
    assert ask(client, b"\0\0\0\0") == b"\0\0\0\0"


def test_delay_holds_what_passes(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.2, "down")
    begin = time.monotonic()
    assert ask(client, b"slow") == b"slow"
    assert time.monotonic() - begin >= 0.2


def test_a_black_hole_is_silent_and_heals(proxy: Proxy, client: socket.socket) -> None:
    proxy.black_hole()
    client.sendall(b"lost?")
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.3) as other:
        other.sendall(b"x")
        with pytest.raises(TimeoutError):
            other.recv(1)
    client.settimeout(5)
    proxy.heal()
    assert client.recv(5) == b"lost?"


def test_a_black_hole_can_be_cut(proxy: Proxy, client: socket.socket) -> None:
    proxy.black_hole()
    client.sendall(b"x")
    proxy.cut()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        talk_forever(client)


def test_refuse_and_heal(proxy: Proxy, client: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    assert ask(client, b"still") == b"still"
    proxy.heal()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as again:
        assert ask(again, b"back") == b"back"


def test_a_server_that_is_gone_resets_the_client() -> None:
    # The reset may reach us while we still connect.
    with (
        Proxy(1) as proxy,
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client,
    ):
        client.recv(1)


def test_urls_lead_through_the_proxy() -> None:
    proxy = Proxy.before("postgresql://me:s%20@127.0.0.1:7777/db?sslmode=disable")
    assert proxy.server_port == 7777
    assert (
        proxy.dsn("postgresql://me:s%20@127.0.0.1:7777/db?sslmode=disable")
        == f"postgresql://me:s%20@127.0.0.1:{proxy.port}/db?sslmode=disable"
    )
