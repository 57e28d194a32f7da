"""Feed hostile bytes to every entry of the native kernel, all targets side by side.

    python -m tools.fuzz [--seconds 60] [TARGET …]

libFuzzer, with the stable compiler: its coverage comes from flags that every rustc has. What it
learns stays in native/fuzz/corpus; it begins with what real servers sent (tests/wire/captured). A
target that panics, asks for too much memory or hangs leaves its input in native/fuzz/artifacts, to
be run again by itself: `native/target/quick/TARGET FILE`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from tools.native import why_not
from tools.seeds import seeds

FUZZ: Final = Path(__file__).resolve().parent.parent / "native" / "fuzz"
MAX_INPUT: Final = 16 << 10  # bytes
RSS_LIMIT: Final = 512  # MiB, of the whole process; what the kernel allocates is limited tighter
HANG: Final = 30  # seconds for one input


def main() -> int:
    """Run the targets; 0 where none of them found anything."""
    known = targets()
    parser = argparse.ArgumentParser(description="Fuzz the native kernel.")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(known))
    arguments = parser.parse_args()
    if missing := why_not():
        print(f"nothing is fuzzed: {missing}")
        return 1
    for target in arguments.targets:
        if target not in known:
            parser.error(f"no target {target}; there are {', '.join(known)}")
    return fuzz(build(), arguments.targets or known, arguments.seconds)


def targets() -> list[str]:
    """The names of all targets."""
    return [binary["name"] for binary in tomllib.loads((FUZZ / "Cargo.toml").read_text())["bin"]]


def build() -> Path:
    """Compile the targets; gives the directory of the binaries.

    Only this workspace's own crates are built with coverage: their dependencies are those that the
    tests' build has compiled already.
    """
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--profile", "quick", "-p", "penstock-fuzz"],
        cwd=FUZZ,
        env={**os.environ, "RUSTC_WORKSPACE_WRAPPER": str(FUZZ / "rustc-with-coverage")},
        check=True,
    )
    return FUZZ.parent / "target" / "quick"


def fuzz(binaries: Path, chosen: Sequence[str], seconds: int) -> int:
    """Run targets side by side; prints what each did."""
    running = [(target, start(binaries / target, target, seconds)) for target in chosen]
    failed = 0
    for target, process in running:
        output, _ = process.communicate()
        print(f"{target:<14} {summary(output)}", flush=True)
        if process.returncode:
            failed += 1
            print(*(line for line in output.splitlines() if line[:1] != "#"), sep="\n")
    print(
        f"{len(chosen)} targets, {seconds} s each: " + (f"{failed} FAILED" if failed else "clean")
    )
    return failed > 0


def start(binary: Path, target: str, seconds: int) -> subprocess.Popen[str]:
    """Start one target with its corpus."""
    corpus = FUZZ / "corpus" / target
    artifacts = FUZZ / "artifacts" / target
    for directory in (corpus, artifacts):
        directory.mkdir(parents=True, exist_ok=True)
    for seed in seeds(target):
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    return subprocess.Popen(
        [
            binary,
            f"-max_total_time={seconds}",
            f"-max_len={MAX_INPUT}",
            f"-rss_limit_mb={RSS_LIMIT}",
            f"-timeout={HANG}",
            f"-artifact_prefix={artifacts}/",
            "-print_final_stats=1",
            "-verbosity=1",
            corpus,
            artifacts,  # what was found once is tried first
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def summary(output: str) -> str:
    """Executions, and how much of the code they reached, from libFuzzer's own words."""
    figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", output))
    executions = int(figures.get("number_of_executed_units", 0))
    covered = re.findall(r"cov: (\d+)", output) or ["0"]
    speed = int(figures.get("average_exec_per_sec", 0))
    return f"{executions:>12,} executions, {speed:>8,}/s, {int(covered[-1]):>6,} edges reached"


if __name__ == "__main__":
    begun = time.monotonic()
    code = main()
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    sys.exit(code)
