"""The real command in a process of its own, against real servers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from penstock.embedded.server import Server, free_port
from tests.conftest import OwnServer
from tests.support.postgres import execute, fetch
from tests.support.waiting import eventually

CANARY = "canary-S3cr3t"
FILE = """\
name = "orders"
store = "state.db"

[source]
type = "postgres"
dsn = "${DATABASE_URL}"
tables = ["public.orders"]
snapshot = "initial"

[[sinks]]
type = "jsonl"
path = "orders.jsonl"
format = "row"
"""
SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
PUBLICATIONS = "SELECT pubname FROM pg_publication"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a pipeline file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.toml").write_text(FILE)
    return tmp_path


@pytest.fixture
def shop(database: str, here: Path) -> str:
    """A database with two orders."""
    make_orders(database)
    return database


def make_orders(dsn: str) -> None:
    execute(
        dsn,
        "CREATE TABLE orders (id int PRIMARY KEY, status text)",
        "INSERT INTO orders VALUES (1, 'new'), (2, 'paid')",
    )


def environment(dsn: str) -> dict[str, str]:
    """With the database, and with state that stays in the working directory."""
    own = {"DATABASE_URL": dsn, "NO_COLOR": "1", "XDG_STATE_HOME": os.getcwd()}
    return {**os.environ, **own}


def penstock(
    dsn: str, *arguments: str, timeout: float = 120, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", *arguments],
        env=environment(dsn),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert "Traceback" not in done.stderr or "debug" in arguments
    return done


@contextmanager
def running(dsn: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run beside the test; its stderr goes to the file ``err``, its stdout to ``out``."""
    with open("out", "w") as out, open("err", "w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock.cli.main", *arguments],
            env=environment(dsn),
            stdout=out,
            stderr=err,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def rows(count: int) -> list[dict[str, Any]]:
    """The values that the jsonl sink has, once there are so many."""

    def found() -> Sequence[str]:
        path = Path("orders.jsonl")
        lines = path.read_text().splitlines() if path.exists() else []
        return lines if len(lines) >= count else []

    lines = eventually(found, what=f"{count} rows; stderr: {said()}")
    assert len(lines) == count
    return [json.loads(line)["value"] for line in lines]


def said() -> str:
    return Path("err").read_text() if Path("err").exists() else ""


# -- run


def test_run_until_caught_up_goes_on_where_it_ended(shop: str) -> None:
    first = penstock(shop, "run", "orders.toml", "--until-caught-up", "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert (report["changes"], report["caught_up"]) == (2, True)
    execute(shop, "UPDATE orders SET status = 'sent' WHERE id = 1")
    second = penstock(shop, "run", "orders.toml", "--until-caught-up")
    assert second.returncode == 0, second.stderr
    assert second.stdout == ""
    assert "1 change " in second.stderr.splitlines()[-1]
    assert [row["status"] for row in rows(3)] == ["new", "paid", "sent"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(shop: str, number: signal.Signals) -> None:
    with running(shop, "run", "orders.toml") as process:
        rows(2)
        execute(shop, "INSERT INTO orders VALUES (3, 'late')")
        rows(3)
        process.send_signal(number)
        assert process.wait(120) == 0
    assert "draining, press again to stop now" in said()
    again = penstock(shop, "run", "orders.toml", "--until-caught-up")
    assert again.returncode == 0
    rows(3)


def test_a_killed_server_is_waited_for(own_server: OwnServer, here: Path) -> None:
    server = own_server()
    make_orders(server.dsn())
    with running(server.dsn(), "run", "orders.toml") as process:
        rows(2)
        server.kill()
        server.start()
        execute(server.dsn(), "INSERT INTO orders VALUES (3, 'after')")
        rows(3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, said()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_http(shop: str) -> None:
    with running(shop, "run", "orders.toml", "--http", "127.0.0.1:0"):
        rows(2)
        (base,) = eventually(lambda: re.findall(r"http://[\d.:]+", said()))
        eventually(lambda: get(base + "/ready")[0] == 200)
        assert get(base + "/health")[0] == 200
        assert (
            'penstock_sink_changes_total{pipeline="orders",sink="jsonl"} 2'
            in (get(base + "/metrics")[1])
        )
        assert get(base + "/other")[0] == 404


def test_http_on_a_taken_port(shop: str) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = penstock(shop, "run", "orders.toml", "--http", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert f"--http 127.0.0.1:{port}" in done.stderr


APP = """\
import asyncio
from penstock.app import App

app = App("mail", source="{dsn}", store="state.db", snapshot="initial")

@app.on("public.orders", "read")
async def announce(change):
    print("got", change.row["id"], flush=True)
    await asyncio.sleep({pause})
"""


def test_a_second_signal_leaves_at_once(shop: str) -> None:
    Path("mails.py").write_text(APP.format(dsn=shop, pause=3600))
    with running(shop, "run", "mails:app", "--drain-timeout", "3600") as process:
        eventually(lambda: "got 1" in Path("out").read_text(), what=said())
        process.send_signal(signal.SIGINT)
        eventually(lambda: "draining" in said())
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    Path("mails.py").write_text(APP.format(dsn=shop, pause=0))
    done = penstock(shop, "run", "mails:app", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["got 1", "got 2"]


def test_draining_ends_in_time(shop: str) -> None:
    Path("mails.py").write_text(APP.format(dsn=shop, pause=3600))
    with running(shop, "run", "mails:app", "--drain-timeout", "0.5") as process:
        eventually(lambda: "got 1" in Path("out").read_text(), what=said())
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 1
    assert "left after 0.5 s of draining" in said()


def test_a_gap_ends_with_3(shop: str) -> None:
    assert penstock(shop, "run", "orders.toml", "--until-caught-up").returncode == 0
    execute(shop, "SELECT pg_drop_replication_slot('penstock_orders')")
    done = penstock(shop, "run", "orders.toml")
    assert done.returncode == 3
    assert " code  slot-missing" in done.stderr


def test_another_server_ends_with_4(shop: str, own_server: OwnServer) -> None:
    assert penstock(shop, "run", "orders.toml", "--until-caught-up").returncode == 0
    other = own_server()
    make_orders(other.dsn())
    done = penstock(other.dsn(), "run", "orders.toml")
    assert done.returncode == 4
    assert " code  diverged" in done.stderr


# -- status and teardown


def test_status_while_it_runs_and_after(shop: str) -> None:
    def lag_is_known() -> bool:
        execute(shop, "UPDATE orders SET status = 'paid' WHERE id = 2")
        beside = penstock(shop, "status", "orders.toml", "--json")
        seconds = json.loads(beside.stdout)["source"]["lag_seconds"]
        return seconds is not None and 0 <= seconds < 30

    with running(shop, "run", "orders.toml") as process:
        rows(2)
        execute(shop, "DELETE FROM orders WHERE id = 1")
        rows(3)
        beside = penstock(shop, "status", "orders.toml", "--json")
        assert beside.returncode == 0, beside.stderr
        status = json.loads(beside.stdout)
        assert status["state"] == "running"
        assert status["sinks"]["jsonl"]["parked"] == 0
        eventually(lag_is_known, what="a lag in seconds")
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    after = penstock(shop, "status", "orders.toml", "--json")
    status = json.loads(after.stdout)
    assert status["state"] == "stopped"
    assert status["sinks"]["jsonl"]["safe"]["lsn"]
    text = penstock(shop, "status", "orders.toml")
    assert text.returncode == 0
    assert "jsonl" in text.stdout


def test_status_of_a_server_that_is_away_shows_what_the_store_knows(shop: str) -> None:
    penstock(shop, "run", "orders.toml", "--until-caught-up")
    execute(shop, "DELETE FROM orders")
    penstock(shop, "run", "orders.toml", "--until-caught-up")
    away = re.sub(r":\d+/", f":{free_port()}/", shop)
    done = penstock(away, "status", "orders.toml", "--json")
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert (status["state"], status["source"]) == ("unknown", {})
    assert "cannot connect" in status["error"]
    assert status["sinks"]["jsonl"]["data"]
    text = penstock(away, "status", "orders.toml")
    assert text.returncode == 1
    assert text.stdout.startswith("orders: unknown\n")
    assert status["sinks"]["jsonl"]["data"] in text.stdout
    assert "cannot connect" in text.stderr


def test_status_before_the_first_run(shop: str) -> None:
    done = penstock(shop, "status", "orders.toml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("orders: stopped\n")
    assert "penstock_orders, not there" in done.stdout
    assert not Path("state.db").exists()


def test_teardown_asks_and_leaves_nothing(shop: str) -> None:
    assert penstock(shop, "run", "orders.toml", "--until-caught-up").returncode == 0
    assert fetch(shop, SLOTS) == [("penstock_orders",)]
    refused = penstock(shop, "teardown", "orders.toml", stdin="\n")
    assert refused.returncode == 1
    assert fetch(shop, SLOTS) == [("penstock_orders",)]
    done = penstock(shop, "teardown", "orders.toml", stdin="y\n")
    assert done.returncode == 0, done.stderr
    assert fetch(shop, SLOTS) == fetch(shop, PUBLICATIONS) == []
    rows(2)


# -- tail


def test_tail_shows_changes_and_leaves_nothing(shop: str) -> None:
    with running(shop, "tail", "-n", "2", "--format", "change") as process:
        eventually(lambda: fetch(shop, SLOTS), what=said())
        execute(shop, "INSERT INTO orders VALUES (3, 'x')", "DELETE FROM orders WHERE id = 1")
        assert process.wait(120) == 0, said()
    shown = [json.loads(line) for line in Path("out").read_text().splitlines()]
    assert [(one["op"], one["key"]) for one in shown] == [
        ("insert", {"id": 3}),
        ("delete", {"id": 1}),
    ]
    assert fetch(shop, SLOTS) == fetch(shop, PUBLICATIONS) == []


def test_tail_leaves_out_what_publishing_would_break(shop: str) -> None:
    execute(shop, "CREATE TABLE notes (body text)", "INSERT INTO notes VALUES ('old')")
    with running(shop, "tail", "-n", "1", "--format", "change") as process:
        eventually(lambda: fetch(shop, SLOTS), what=said())
        execute(shop, "UPDATE notes SET body = 'new'", "DELETE FROM notes")
        execute(shop, "DELETE FROM orders WHERE id = 1")
        assert process.wait(120) == 0, said()
    (shown,) = [json.loads(line) for line in Path("out").read_text().splitlines()]
    assert (shown["op"], shown["table"]) == ("delete", "public.orders")
    (told,) = [line for line in said().splitlines() if "public.notes" in line]
    assert "not shown" in told
    named = penstock(shop, "tail", "--tables", "public.notes", "--until-caught-up")
    assert named.returncode == 1
    assert "public.notes has no primary key" in named.stderr


def test_tail_of_a_snapshot(shop: str) -> None:
    done = penstock(shop, "tail", "--snapshot", "--until-caught-up", "--tables", "public.orders")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        [".", "read", "orders", "id=1", "status=new"],
        [".", "read", "orders", "id=2", "status=paid"],
    ]
    assert fetch(shop, SLOTS) == fetch(shop, PUBLICATIONS) == []


def test_tail_ends_when_nobody_reads(shop: str) -> None:
    execute(shop, "INSERT INTO orders SELECT i, repeat('x', 100) FROM generate_series(10, 5000) i")
    command = f"{sys.executable} -m penstock.cli.main tail --snapshot 2> err | head -1"
    done = subprocess.run(
        command, shell=True, env=environment(shop), capture_output=True, text=True, timeout=120
    )
    assert "read" in done.stdout
    assert said() == ""
    eventually(lambda: fetch(shop, SLOTS) == fetch(shop, PUBLICATIONS) == [])


# -- check


def test_check(shop: str, here: Path) -> None:
    good = penstock(shop, "check", "orders.toml")
    assert good.returncode == 0, good.stderr
    assert "ready" in good.stdout
    assert penstock(shop, "check").returncode == 0


def test_check_of_a_server_without_logical_decoding(own_server: OwnServer, here: Path) -> None:
    server = own_server(wal_level="replica")
    make_orders(server.dsn())
    done = penstock(server.dsn(), "check", "orders.toml")
    assert done.returncode == 1
    assert "ALTER SYSTEM SET wal_level" in done.stdout


def test_a_file_from_init_passes_check_and_runs(shop: str) -> None:
    init = penstock(shop, "init", "mine.toml", "--name", "mine")
    assert init.returncode == 0, init.stderr
    assert penstock(shop, "check", "mine.toml").returncode == 0
    done = penstock(shop, "run", "mine.toml", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert len(Path("mine.jsonl").read_text().splitlines()) == 2


# -- what goes wrong


def test_a_typo(shop: str) -> None:
    Path("orders.toml").write_text(FILE.replace("snapshot", "snapshto"))
    done = penstock(shop, "run", "orders.toml")
    assert done.returncode == 2
    assert "orders.toml:8: source.snapshto: unknown key; did you mean 'snapshot'?" in done.stderr


def test_no_password_is_ever_shown(own_server: OwnServer, here: Path) -> None:
    """Neither the right one at the level that shows most, nor a wrong one that was refused."""
    server = own_server(password=CANARY)
    make_orders(server.dsn())
    execute(server.dsn(), "CREATE DATABASE postgres_replica")
    text = FILE + '[[sinks]]\ntype = "sql"\nurl = "${DATABASE_URL}_replica"\n'
    Path("orders.toml").write_text(text)
    for verb in (
        "check orders.toml",
        "run orders.toml --until-caught-up",
        "status orders.toml",
        "tail --snapshot --until-caught-up",
        "teardown orders.toml --yes",
    ):
        done = penstock(server.dsn(), *verb.split(), "--log-level", "debug")
        assert done.returncode == 0, done.stderr
        assert CANARY not in done.stdout + done.stderr
    wrong = CANARY[::-1]
    Path("orders.toml").write_text(FILE)
    for verb in ("check orders.toml", "run orders.toml --until-caught-up", "tail"):
        dsn = server.dsn().replace(CANARY, wrong)
        done = penstock(dsn, *verb.split(), "--log-level", "debug", timeout=120)
        assert done.returncode == 1
        assert "password authentication failed" in done.stdout + done.stderr
        assert wrong not in done.stdout + done.stderr
    server.stop()
    Path("orders.toml").write_text(text)
    options = ("--log-level", "debug", "--drain-timeout", "0.5")
    with running(server.dsn(), "run", "orders.toml", *options) as process:
        eventually(lambda: "sink sql is unavailable" in said())
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    assert CANARY not in said()


def test_a_server_that_is_not_there(here: Path) -> None:
    dsn = f"postgresql://postgres:{CANARY}@127.0.0.1:{free_port()}/shop"
    done = penstock(dsn, "check", "orders.toml")
    assert done.returncode == 1
    assert "refused" in done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr


# -- demo


def test_the_demo(server: Server, here: Path) -> None:
    done = penstock("", "demo", "--seconds", "2", "--rate", "20", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["equal"]
    assert result["changes"] > 20
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"]


def test_the_demo_stops_early_and_still_proves(here: Path) -> None:
    with running("", "demo", "--seconds", "60", "--rate", "20") as process:
        eventually(lambda: "+ insert" in Path("out").read_text(), what=said())
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0, said()
    assert "The replica equals the source." in Path("out").read_text()
