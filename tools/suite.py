"""Run the tests under both kernels: what ``make test`` runs.

    python -m tools.suite [PYTEST-OPTION …]

First everything under the native kernel, then under the Python kernel all that may depend on it:
tests that must not ask for a kernel (see tests/conftest.py) run once. Where no native kernel is
installed, everything runs under the Python kernel alone. The last lines say what passed under
which.

Servers, killed processes and three workers share few cores here. Up to :data:`UNSTEADY` tests that
failed are run once more, alone; the last lines name those that then passed. Each is a defect, of
the product or of the test, and its first failure is printed in full; it does not hide what else
there is to see.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

PYTEST: Final = (sys.executable, "-m", "pytest", "-q")
TOGETHER: Final = ("--numprocesses=3", "--dist=loadfile")
FAILED: Final = 1
UNSTEADY: Final = 3
ONLY_DECODING: Final = ("-m", "not no_kernel")


def main(options: Sequence[str]) -> int:
    """Run the suites; 0 only where all passed."""
    if find_spec("penstock_native") is None:
        runs = [("python", options)]
    else:
        runs = [("native", options), ("python", (*ONLY_DECODING, *options))]
    codes, said = [], []
    for kernel, chosen in runs:
        print(f"-- {kernel} kernel", flush=True)
        code, last, unsteady = judge(kernel, chosen)
        codes.append(code)
        said.append(f"{kernel} kernel: {last.strip('= ')}")
        said += (f"unsteady, to be mended: {test}" for test in unsteady)
    print("", *said, sep="\n")
    if len(runs) == 1:
        print("native kernel: not built, nothing ran under it")
    return max(codes)


def judge(kernel: str, options: Sequence[str]) -> tuple[int, str, list[str]]:
    """Run pytest under a kernel; gives its exit code, its last line and the unsteady tests."""
    with TemporaryDirectory() as folder:
        options = [*options, "-o", f"cache_dir={folder}"]
        code, last = run(kernel, [*TOGETHER, *options])
        note = Path(folder, "v", "cache", "lastfailed")
        failed = list(json.loads(note.read_text())) if note.exists() else []
        if code != FAILED or not 0 < len(failed) <= UNSTEADY:
            return code, last, []
        print(f"-- {kernel} kernel, what failed, alone", flush=True)
        code, again = run(kernel, ["--last-failed", *options])
        return code, f"{last}; alone: {again.strip('= ')}", [] if code else failed


def run(kernel: str, options: Sequence[str]) -> tuple[int, str]:
    """Run pytest under a kernel; gives its exit code and its last line."""
    last = ""
    with subprocess.Popen(
        [*PYTEST, *options],
        env={**os.environ, "PENSTOCK_KERNEL": kernel},
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode, last


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
