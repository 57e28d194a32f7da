"""The embedded server: starts, survives kills, goes with its process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from penstock.embedded.server import Server, free_port
from penstock.errors import MissingExtraError, SourceError
from tests.conftest import OwnServer
from tests.support.postgres import execute, fetch
from tests.support.waiting import eventually


def test_a_server_is_ready_for_logical_replication(servers: Server) -> None:
    [(version, level)] = fetch(
        servers.dsn(), "SELECT current_setting('server_version'), current_setting('wal_level')"
    )
    assert version.split(".")[0] == servers.version
    assert level == "logical"


def test_each_database_is_fresh_and_droppable_with_its_slots(database: str, server: Server) -> None:
    execute(database, "CREATE TABLE t (id int)")
    execute(database, "SELECT pg_create_logical_replication_slot('left_behind', 'pgoutput')")
    assert fetch(database, "SELECT count(*) FROM t") == [(0,)]


def test_committed_rows_survive_kill_and_restart(own_server: OwnServer) -> None:
    server = own_server()
    execute(server.dsn(), "CREATE TABLE t AS SELECT 1 AS id")
    server.kill()
    assert not server.running
    server.start()
    assert fetch(server.dsn(), "SELECT id FROM t") == [(1,)]
    server.settings["work_mem"] = "1234kB"
    server.restart()
    assert fetch(server.dsn(), "SHOW work_mem") == [("1234kB",)]


def test_settings_are_quoted(own_server: OwnServer) -> None:
    server = own_server(cluster_name="it's", fsync=True, max_connections=20)
    assert fetch(server.dsn(), "SELECT current_setting('cluster_name')") == [("it's",)]
    assert fetch(server.dsn(), "SHOW fsync") == [("on",)]


def test_a_password_is_asked_for(own_server: OwnServer) -> None:
    server = own_server(password="s3cret/ word")
    assert fetch(server.dsn(), "SELECT 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        fetch(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres", "SELECT 1")


def test_a_server_that_cannot_start_says_why() -> None:
    server = Server(settings={"wal_level": "nonsense"})
    with pytest.raises(SourceError, match="nonsense"):
        server.start()
    server.close()


def test_a_port_that_was_taken_meanwhile_is_given_up() -> None:
    server = Server(fsync=False)
    wanted = server.port
    with socket.create_server(("127.0.0.1", wanted)), server:
        assert server.port != wanted
        assert fetch(server.dsn(), "SELECT 1") == [(1,)]


def test_a_busy_server_restarts_after_a_kill(own_server: OwnServer) -> None:
    server = own_server()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        [pid] = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        os.kill(pid, signal.SIGSTOP)  # does not notice that its postmaster is gone
        server.kill()
        threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
        server.start()
    assert "is still in use" in server.log
    assert fetch(server.dsn(), "SELECT 1") == [(1,)]


def test_a_version_that_is_not_there_names_the_cure() -> None:
    with pytest.raises(MissingExtraError, match=r"penstock\[demo\]"):
        Server("7")


def test_close_removes_the_data(own_server: OwnServer) -> None:
    server = own_server()
    directory = server.directory
    server.close()
    assert not directory.exists()
    server.close()


def test_the_server_goes_with_a_killed_process() -> None:
    code = (
        "from penstock.embedded.server import Server; import time;"
        "s = Server(fsync=False).start(); print(s.pid, s.directory, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid, directory = owner.stdout.readline().split()
    owner.kill()
    owner.communicate()
    eventually(lambda: _gone(int(pid)), what="postmaster gone")
    eventually(lambda: not Path(directory).exists(), what="data gone")


def test_free_ports_are_below_the_ephemeral_range() -> None:
    assert all(15_000 <= free_port() <= 30_000 for _ in range(20))


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
