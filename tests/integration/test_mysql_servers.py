"""The real MySQL and MariaDB that other tests rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import OwnMySQL
from tests.support.mysql import Database
from tests.support.waiting import eventually
from tools.mysql import FLAVORS, Flavor


def test_the_binlog_is_on_with_all_that_it_can_tell(binlogs: Database) -> None:
    [settings] = binlogs.fetch(
        "SELECT @@log_bin, @@binlog_format, @@binlog_row_image, @@binlog_row_metadata, @@time_zone"
    )
    assert settings == (1, "ROW", "FULL", "FULL", "+00:00")


def test_each_flavor_is_what_it_says(mysql: Database, mariadb: Database) -> None:
    [(version, gtids)] = mysql.fetch("SELECT version(), @@gtid_mode")
    assert version.startswith("9.")
    assert gtids == "ON"
    [(version, strict)] = mariadb.fetch("SELECT version(), @@gtid_strict_mode")
    assert version.startswith("10.11.")
    assert "MariaDB" in version
    assert strict == 1


def test_each_database_is_fresh(binlogs: Database) -> None:
    binlogs.execute("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    assert binlogs.fetch("SELECT * FROM t") == [(1,)]


def test_servers_do_not_share_temporary_files(binlogs: Database) -> None:
    [(found,)] = binlogs.fetch("SELECT @@tmpdir")
    assert Path(found) == binlogs.server.directory


@pytest.mark.parametrize("flavor", FLAVORS)
def test_committed_rows_survive_a_kill_and_a_restart(own_mysql: OwnMySQL, flavor: Flavor) -> None:
    server = own_mysql(flavor)
    database = Database(server, "")
    database.execute("CREATE DATABASE d", "CREATE TABLE d.t (id int)", "INSERT INTO d.t VALUES (1)")
    server.kill()
    server.start()
    assert database.fetch("SELECT * FROM d.t") == [(1,)]
    directory = server.directory
    server.close()
    assert not directory.exists()


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_server_goes_with_a_killed_process(flavor: Flavor) -> None:
    """Even one that would not stop if it were asked to."""
    code = (
        f"from tools.mysql import MySQL; import time; s = MySQL('{flavor}').start();"
        "print(s.pid, s.directory, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid, directory = owner.stdout.readline().split()
    os.kill(int(pid), signal.SIGSTOP)
    owner.kill()
    owner.communicate()
    eventually(partial(_ended, int(pid)), what="server gone")
    eventually(lambda: not Path(directory).exists(), what="data gone")


def _ended(pid: int) -> bool:
    """Whether a process that is not our child is gone, or only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
