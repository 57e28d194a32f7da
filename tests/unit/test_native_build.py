"""When the native kernel is built, and what is said where it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools import native


def cargo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "cargo"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CARGO", str(path))


@pytest.mark.parametrize(
    "version", ["1.88.0", "1.95.0", "2.0.0", "1.99.0-nightly", "1.88.0-beta.3"]
)
def test_a_compiler_that_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    cargo(tmp_path, monkeypatch, f"echo 'cargo {version} (abc 2026-01-01)'")
    assert native.why_not() is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'cargo 1.87.2 (abc)'", "cargo 1.87.2 is too old, 1.88 or newer is needed"),
        ("echo 'error: no default toolchain' >&2; exit 1", "cargo does not run: error: no default"),
    ],
)
def test_a_compiler_that_will_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    cargo(tmp_path, monkeypatch, script)
    assert str(native.why_not()).startswith(reason)


@pytest.mark.parametrize("ci", [False, True])
def test_without_a_compiler_it_says_so_and_only_ci_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: bool
) -> None:
    monkeypatch.setenv("CARGO", "/no/such/cargo")
    monkeypatch.setattr(native, "CI", ci)
    monkeypatch.setattr("sys.argv", ["native.py", "--profile", "quick"])
    assert native.main() == int(ci)
    assert capsys.readouterr().out == (
        "no native kernel: cargo is not there (https://rustup.rs installs it); "
        "the Python kernel does the same, slower\n"
    )


def test_it_is_built_anew_when_a_source_or_the_profile_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp, source = tmp_path / "stamp", tmp_path / "lib.rs"
    monkeypatch.setattr(native, "INSTALLED", stamp)
    monkeypatch.setattr(native, "sources", lambda: [source])
    source.touch()
    assert not native.fresh("quick")
    stamp.write_text("quick")
    os.utime(source, (1, 1))
    assert native.fresh("quick")
    assert not native.fresh("release")
    os.utime(source, (2**33, 2**33))
    assert not native.fresh("quick")
