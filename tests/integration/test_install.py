"""penstock from its wheel, in an environment without a compiler and without the native kernel."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from penstock import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with penstock's wheel and what it depends on; its directory of commands."""
    wheels = tmp_path_factory.mktemp("wheels")
    build = "from hatchling.build import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, wheels], cwd=ROOT, check=True, capture_output=True)
    place = tmp_path_factory.mktemp("environment")
    venv.create(place)
    names = {"base": str(place), "platbase": str(place)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=names))
    for there in Path(sysconfig.get_path("purelib")).iterdir():
        if "penstock" not in there.name and not (site / there.name).exists():
            (site / there.name).symlink_to(there)
    commands = Path(sysconfig.get_path("scripts", "venv", vars=names))
    pip = [sys.executable, "-m", "pip", "--python", str(commands / "python"), "install"]
    wheel = [str(wheel) for wheel in wheels.glob("*.whl")]
    install = [*pip, "--quiet", "--no-index", "--no-deps", *wheel]
    subprocess.run(install, check=True, capture_output=True)
    return commands


def penstock(commands: Path, *arguments: str) -> str:
    """What the installed command answers, far from the clone and without the tests' settings."""
    return subprocess.run(
        [commands / "penstock", *arguments],
        cwd=commands,
        env={"PATH": str(commands)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_it_runs_on_the_python_kernel(installed: Path) -> None:
    assert penstock(installed, "--version").startswith(f"penstock {__version__}, python kernel,")


def test_a_verb_finds_its_parts(installed: Path) -> None:
    assert json.loads(penstock(installed, "schema"))["title"]


def test_all_of_the_package_is_in_the_wheel(installed: Path) -> None:
    code = "import penstock; print(penstock.__path__[0])"
    python = [str(installed / "python"), "-c", code]
    done = subprocess.run(python, cwd=installed, env={}, check=True, capture_output=True, text=True)
    place = Path(done.stdout.strip())

    def files(top: Path) -> set[str]:
        return {
            str(file.relative_to(top))
            for file in top.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }

    assert not place.is_relative_to(ROOT)
    assert files(place) == files(ROOT / "src" / "penstock")
