"""Start and stop the real servers that tests and people need.

On free loopback ports, their data in temporary directories: PostgreSQL 16 and 18 from the wheel,
PostgreSQL 15 from the system where it is present, MySQL and MariaDB from Debian's packages.

    python tools/servers.py start        start them and print their URLs
    python tools/servers.py status
    python tools/servers.py stop
    python tools/servers.py run -- CMD   run CMD with PENSTOCK_POSTGRESQL_16=URL and so on, then
                                         stop them
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

sys.path.append(str(Path(__file__).resolve().parent.parent))

from penstock.embedded.binaries import binaries
from penstock.embedded.server import Server, Setting
from tools.mysql import MySQL

REQUIRED: Final = ("16", "18")
WHERE_PRESENT: Final = ("15",)
STATE: Final = Path(__file__).resolve().parent.parent / ".servers" / "state.json"
LOG: Final = STATE.with_name("log")

# Nothing of value lives in them, and a killed process needs no fsync.
DURABILITY: Final = {"fsync": False}


def versions() -> list[str]:
    """The versions that tests run against here, oldest first."""
    return [v for v in WHERE_PRESENT if binaries(v) is not None] + list(REQUIRED)


def postgres(
    version: str,
    *,
    password: str | None = None,
    settings: Mapping[str, Setting] | None = None,
) -> Server:
    """A server for tests, not yet started."""
    return Server(version, password=password, settings={**DURABILITY, **(settings or {})})


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """All servers; gives their URLs by name."""
    with ExitStack() as stack:
        urls = {f"PostgreSQL {v}": stack.enter_context(postgres(v)).dsn() for v in versions()}
        urls["MySQL"] = stack.enter_context(MySQL("mysql")).dsn()
        urls["MariaDB"] = stack.enter_context(MySQL("mariadb")).dsn()
        yield urls


def hold() -> int:
    """Keep the servers until SIGTERM: the process that ``start`` leaves behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with running() as urls:
        part = STATE.with_suffix(".part")
        part.write_text(json.dumps({"pid": os.getpid(), "urls": urls}))
        part.replace(STATE)
        try:
            while True:
                signal.pause()
        finally:
            STATE.unlink(missing_ok=True)


def start() -> int:
    """Start the servers in the background, unless they run already."""
    if _state() is None:
        STATE.parent.mkdir(exist_ok=True)
        with LOG.open("wb") as log:
            holder = subprocess.Popen(
                [sys.executable, __file__, "hold"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while _state() is None:
            if holder.poll() is not None:
                print(LOG.read_text(), file=sys.stderr)
                return 1
            time.sleep(0.05)
    return status()


def status() -> int:
    """Print the URLs of the running servers; 1 when there are none."""
    state = _state()
    if state is None:
        print("no servers run; start them with: python tools/servers.py start")
        return 1
    for name, url in state["urls"].items():
        print(f"{name}: {url}")
    return 0


def stop() -> int:
    """Stop what ``start`` started."""
    state = _state()
    if state is not None:
        os.kill(state["pid"], signal.SIGTERM)
        while _state() is not None:
            time.sleep(0.05)
    print("stopped")
    return 0


def run(command: list[str]) -> int:
    """Run a command with the servers' URLs in its environment; returns its exit code."""
    with running() as urls:
        names = {f"PENSTOCK_{name.upper().replace(' ', '_')}": url for name, url in urls.items()}
        return subprocess.run(command, env={**os.environ, **names}, check=False).returncode


def _state() -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads(STATE.read_text())
        os.kill(state["pid"], 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return state


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="servers.py", description="The real servers of the tests."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("start", "stop", "status", "hold"):
        verbs.add_parser(verb)
    verbs.add_parser("run").add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.verb == "run":
        return run(options.command)
    return {"start": start, "stop": stop, "status": status, "hold": hold}[options.verb]()


if __name__ == "__main__":
    sys.exit(main())
