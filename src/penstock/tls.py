"""How a MySQL or MariaDB server is verified, for drivers that take a context of :mod:`ssl`."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final

from penstock.errors import ConfigError

OPTIONS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey")
"""What a URL may say of it, in libpq's words."""
_LOOPBACK: Final = re.compile(r"127(\.\d{1,3}){3}")
_MODES: Final = ("disable", "require", "verify-ca", "verify-full")


def is_local(host: str | None) -> bool:
    """Whether a host is this machine."""
    return not host or bool(_LOOPBACK.fullmatch(host)) or host.lower() in ("localhost", "::1")


def mode(given: Mapping[str, Any], *, local: bool) -> str:
    """The ``sslmode`` of a URL's options, or the default's.

    Raises ConfigError for one that is not known.
    """
    found = str(given.get("sslmode", "disable" if local else "verify-full"))
    if found not in _MODES:
        raise ConfigError(f"sslmode {found!r} is not known", hint=f"one of {', '.join(_MODES)}")
    return found


def driver_arguments(given: Mapping[str, Any], *, local: bool) -> dict[str, Any]:
    """What PyMySQL is to be told: off this machine, certificate and name are verified.

    Parameters
    ----------
    given: a URL's options; ``sslmode`` says otherwise.

    Raises ConfigError for a mode that is not known.
    """
    asked = mode(given, local=local)
    if asked == "disable":
        return {"ssl_disabled": True}
    context = ssl.create_default_context(cafile=given.get("sslrootcert"))
    context.check_hostname = asked == "verify-full"
    if asked == "require":
        context.verify_mode = ssl.CERT_NONE
    if "sslcert" in given:
        context.load_cert_chain(str(given["sslcert"]), given.get("sslkey"))
    return {"ssl": context}
