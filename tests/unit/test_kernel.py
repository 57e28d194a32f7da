"""Which kernel is chosen, and what is said of one that does not fit."""

from __future__ import annotations

import logging
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from penstock import __version__, kernel
from penstock.errors import ConfigError
from penstock.sources.postgres.check import kernel_finding

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing asked for, and nothing decided by or for other tests."""
    monkeypatch.delenv("PENSTOCK_KERNEL", raising=False)
    kernel.choice.cache_clear()
    yield
    kernel.choice.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, version: str | None) -> ModuleType:
    module = ModuleType("penstock_native")
    if version is not None:
        module.VERSION = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "penstock_native", module)
    return module


def uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "penstock_native", None)


def test_the_native_kernel_runs_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = install(monkeypatch, __version__)
    assert kernel.kernel() == "native"
    assert kernel.native() is module
    assert kernel_finding().message == f"the native kernel decodes, penstock-native {__version__}"


def test_the_python_kernel_runs_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uninstall(monkeypatch)
    assert kernel.kernel() == "python"
    assert not caplog.records
    found = kernel_finding()
    assert (found.severity, found.fix) == ("info", "pip install 'penstock[native]'")
    with pytest.raises(RuntimeError):
        kernel.native()


def test_the_python_kernel_runs_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, __version__)
    monkeypatch.setenv("PENSTOCK_KERNEL", "python")
    assert kernel.kernel() == "python"
    assert not kernel_finding().fix


def test_nothing_else_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_KERNEL", "rust")
    with pytest.raises(ConfigError, match="PENSTOCK_KERNEL='rust': there is no such kernel"):
        kernel.kernel()


@pytest.mark.parametrize("version", ["0.0.9", None])
def test_a_native_kernel_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str | None
) -> None:
    install(monkeypatch, version)
    problem = f"penstock-native is {version}, which does not fit penstock {__version__}"
    with caplog.at_level(logging.WARNING):
        assert kernel.kernel() == kernel.kernel() == "python"
    assert [record.getMessage() for record in caplog.records] == [
        f"the Python kernel runs: {problem} (pip install 'penstock-native=={__version__}')"
    ]
    found = kernel_finding()
    assert (found.severity, found.fix) == (
        "warning",
        f"pip install 'penstock-native=={__version__}'",
    )
    assert problem in found.message


def test_a_native_kernel_of_another_version_is_an_error_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "0.0.9")
    monkeypatch.setenv("PENSTOCK_KERNEL", "native")
    with pytest.raises(ConfigError, match=r"penstock-native is 0\.0\.9") as caught:
        kernel.kernel()
    assert caught.value.hint == f"pip install 'penstock-native=={__version__}'"


def test_a_native_kernel_that_is_not_there_is_an_error_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uninstall(monkeypatch)
    monkeypatch.setenv("PENSTOCK_KERNEL", "native")
    with pytest.raises(ConfigError, match="penstock-native is not installed"):
        kernel.kernel()


def test_a_native_kernel_that_does_not_load_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "penstock_native", raising=False)
    (tmp_path / "penstock_native.py").write_text("raise ImportError('GLIBC_2.99 not found')")
    monkeypatch.syspath_prepend(tmp_path)
    assert kernel.kernel() == "python"
    assert "penstock-native does not load: GLIBC_2.99 not found" in caplog.text


def test_both_wheels_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    workspace = tomllib.loads((ROOT / "native" / "Cargo.toml").read_text())["workspace"]
    assert project["version"] == __version__
    assert workspace["package"]["version"] == __version__
    assert project["optional-dependencies"]["native"] == [f"penstock-native=={__version__}"]


def test_all_has_every_extra_but_those_it_says() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (everything,) = extras["all"]
    named = everything.removeprefix("penstock[").removesuffix("]").split(",")
    assert sorted(named) == sorted(set(extras) - {"all", "demo", "native"})
