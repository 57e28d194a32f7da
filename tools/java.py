"""Java programs that tests and benchmarks need, from Maven projects beside this file.

Needed on the machine: a JDK 17 or newer and Maven (on Debian and Ubuntu, as root:
``apt-get install default-jdk-headless maven``). Maven fetches what the project's pom.xml pins,
once, into a folder under the user's cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

HERE: Final = Path(__file__).resolve().parent
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
INSTALL: Final = "on Debian and Ubuntu, as root: apt-get install default-jdk-headless maven"

# Start-up counts more than peak speed, and several of these run beside each other.
LIGHT: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
QUIET: Final = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)

# Reads until our end of the pipe closes, which happens however this process ends.
GUARD: Final = 'read -r _; kill -KILL "$1" 2>/dev/null'


def missing() -> list[str]:
    """The programs that are not on this machine."""
    return [name for name in ("java", "mvn") if shutil.which(name) is None]


def class_path(project: str) -> str:
    """The class path of ``tools/<project>``, built by Maven when it is not in the cache yet.

    Raises RuntimeError that says what to install, or what Maven said.
    """
    absent = missing()
    if absent:
        raise RuntimeError(f"tools/{project} needs {' and '.join(absent)}; {INSTALL}")
    target = CACHE / "java" / f"{project}-{_digest(HERE / project)}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(project, target)
    return f"{target / 'classes'}{os.pathsep}{target / 'jars'}/*"


def _build(project: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{project}-") as part:
        command = ["mvn", "-q", "-B", "-f", str(HERE / project), f"-Dtarget={part}"]
        done = subprocess.run(
            [*command, "process-classes"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"mvn could not build tools/{project}:\n{done.stdout[-3000:]}")
        os.rename(part, target)
        os.mkdir(part)  # for the context to remove


def _digest(project: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in project.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Java:
    """A Java program that is killed when this process ends, however it ends.

    Parameters
    ----------
    project: which of our Maven projects has its classes.
    main: the main class.
    heap: the largest heap, in MiB.
    stdout: where its output goes; None for nowhere. Errors and logs go to ``log``.
    """

    def __init__(
        self,
        project: str,
        main: str,
        *arguments: str,
        log: Path,
        heap: int = 128,
        options: tuple[str, ...] = LIGHT,
        stdout: int | IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = ["java", f"-Xmx{heap}m", *options, *QUIET, "-cp", class_path(project), main]
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if stdout is None else stdout,
                stderr=errors,
                env={**os.environ, **(environment or {})},
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self.process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self._reap()

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM; SIGKILL when it does not listen. Returns its exit code."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        self.process.kill()
        self._reap()
        return self.process.returncode

    def _reap(self) -> None:
        self.process.wait()
        self._guard.kill()  # before its pipe closes, lest it kill another process of that number
        self._guard.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
