"""Build the native kernel into this environment, where a Rust compiler is.

    python tools/native.py [--profile quick|release]

Builds only when a source is newer than what is installed. Without a compiler it says so and
penstock runs on the Python kernel; under CI=true that is a failure, since half of the tests would
not run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

NATIVE: Final = Path(__file__).resolve().parent.parent / "native"
INSTALLED: Final = Path(sys.prefix) / ".native"  # its content is the profile, its time the build's
CI: Final = os.environ.get("CI") == "true"


def main() -> int:
    """Build if need be; the exit code is 1 where the build failed, or could not be in CI."""
    parser = argparse.ArgumentParser(description="Build the native kernel into this environment.")
    parser.add_argument("--profile", default="release", choices=("release", "quick"))
    profile = parser.parse_args().profile
    if missing := why_not():
        print(f"no native kernel: {missing}; the Python kernel does the same, slower", flush=True)
        return CI
    if fresh(profile):
        return 0
    print(f"building the native kernel ({profile})", file=sys.stderr, flush=True)
    return build(profile)


def why_not() -> str | None:
    """What keeps the native kernel from being built here."""
    wanted = tomllib.loads((NATIVE / "Cargo.toml").read_text())["workspace"]["package"]
    try:
        answer = subprocess.run(
            [os.environ.get("CARGO", "cargo"), "--version"],
            cwd=NATIVE,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except FileNotFoundError:
        return "cargo is not there (https://rustup.rs installs it)"
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        return f"cargo does not run: {reason.strip().splitlines()[0]}"
    found = answer.split()[1]  # cargo 1.88.0 (…), cargo 1.90.0-nightly (…)
    if _release(found) < _release(wanted["rust-version"]):
        return f"cargo {found} is too old, {wanted['rust-version']} or newer is needed"
    return None


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split(".")[:2])


def fresh(profile: str) -> bool:
    """Whether what is installed has this profile and is newer than every source."""
    if not INSTALLED.exists() or INSTALLED.read_text() != profile:
        return False
    built = INSTALLED.stat().st_mtime
    return all(source.stat().st_mtime < built for source in sources())


def sources() -> list[Path]:
    """What the module is made of."""
    members = [NATIVE / "Cargo.toml", NATIVE / "Cargo.lock"]
    for member in ("wire", "python"):
        members += [path for path in (NATIVE / member).rglob("*") if path.is_file()]
    return members


def build(profile: str) -> int:
    """Compile and install; gives maturin's exit code."""
    INSTALLED.unlink(missing_ok=True)
    begun = INSTALLED.with_suffix(".begun")
    begun.write_text(profile)
    maturin = Path(sys.executable).with_name("maturin")
    done = subprocess.run(
        [maturin, "develop", "--locked", "--profile", profile],
        cwd=NATIVE / "python",
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 0:
        begun.replace(INSTALLED)  # its time is the begin: a source written meanwhile is newer
    else:
        begun.unlink()
        print(done.stdout, "the native kernel did not build", sep="\n", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
