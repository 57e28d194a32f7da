"""Programs of Debian releases other than the machine's own, in folders of their own.

apt downloads a package with all that it depends on, down to the C library, from the mirror that
this machine uses, tries again where that fails, and compares signatures and hashes; nothing is
installed. The programs run through the loader of their own folder, so they work beside any release.
Needs a Debian, and no rights.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tools.java import CACHE

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TARGETS: Final = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"


class Package:
    """A package of a Debian release, unpacked with its dependencies when first asked for.

    Parameters
    ----------
    name: the package's name.
    suite: the release, e.g. ``bookworm`` or ``unstable``.
    """

    def __init__(self, name: str, suite: str) -> None:
        self.name = name
        self.suite = suite
        self.folder = CACHE / "debian" / f"{name}-{suite}-{platform.machine()}"

    def fetch(self) -> Path:
        """The folder that holds the package as if it were the root of a machine.

        Raises RuntimeError with what apt said, or what is missing here.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.folder.exists():
                with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix="part-") as part:
                    self._download(Path(part))
                    os.rename(Path(part) / "root", self.folder)
        return self.folder

    def command(self, program: str) -> list[str]:
        """How to run a program of the folder, e.g. ``usr/sbin/mysqld``."""
        libraries = {path.parent for path in self.folder.glob("**/*.so.*")}
        (loader, *_) = sorted(self.folder.glob("**/ld-linux*.so.*"))
        path = os.pathsep.join(map(str, sorted(libraries)))
        return [str(loader), "--library-path", path, str(self.folder / program)]

    def _download(self, part: Path) -> None:
        settings = _settings(part, self.suite)
        try:
            _run(["apt-get", "--quiet", "update"], settings)
            _run(["apt-get", "--quiet", "--yes", "--download-only", "install", self.name], settings)
        except RuntimeError as error:
            raise RuntimeError(
                f"{self.name} is not to be had: it comes from the suite {self.suite} of the mirror "
                f"that apt is set up for here, through apt's own proxy settings.\n{error}"
            ) from None
        root = part / "root"
        for archive in sorted((part / "cache" / "archives").glob("*.deb")):
            _run(["dpkg", "-x", str(archive), str(root)], settings)
        if not root.exists():
            raise RuntimeError(f"apt downloaded nothing for {self.name} of Debian {self.suite}")


def _settings(part: Path, suite: str) -> Path:
    """An apt that knows this machine's mirror and that nothing is installed."""
    for folder in ("state/lists/partial", "cache/archives/partial", "preferences", "sources"):
        (part / folder).mkdir(parents=True)
    (part / "status").touch()
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    (part / "sources.list").write_text(f"deb {signed}{_mirror()} {suite} main\n")
    options = {
        "Dir::State": part / "state",
        "Dir::State::status": part / "status",
        "Dir::Cache": part / "cache",
        "Dir::Etc::sourcelist": part / "sources.list",
        "Dir::Etc::sourceparts": part / "sources",
        "Dir::Etc::preferencesparts": part / "preferences",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Retries": "3",
        "APT::Install-Recommends": "false",
        "APT::Update::Error-Mode": "any",
        "APT::Sandbox::User": "root",
    }
    path = part / "apt.conf"
    path.write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))
    return path


def _mirror() -> str:
    """Where this machine's own packages come from."""
    if shutil.which("apt-get") is None:
        raise RuntimeError("there is no apt here: this needs a Debian")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    targets = [line.split("|") for line in listed.splitlines()]
    own = platform.freedesktop_os_release().get("VERSION_CODENAME")
    for origin, release, component, address in targets:
        # Without an earlier `apt-get update` there is no origin to compare.
        if origin in ("Debian", "$(ORIGIN)") and release == own and component == "main":
            return address
    raise RuntimeError("apt knows no Debian mirror here: this needs a Debian")


def _run(command: list[str], settings: Path) -> None:
    environment = {**os.environ, "APT_CONFIG": str(settings), "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{' '.join(command)} failed:\n{said}")
