"""``penstock check``: what stands in the way, and the SQL that mends it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.console import (
    counted,
    paint,
    payload,
    payload_json,
    redact,
    settings,
    warn_of_password,
    wrapped,
)
from penstock.errors import ConfigError

if TYPE_CHECKING:
    from penstock.ports import Finding

_STYLES = {"error": "1;31", "warning": "33", "info": "36"}


def check(
    target: Annotated[
        str, typer.Argument(help="A pipeline file, module:app, or a URL; default $DATABASE_URL.")
    ] = "",
    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--tables", "-t", metavar="NAMES", help="With a URL: schema.table, …; * allowed."
        ),
    ] = None,
) -> None:
    """Say what stands in the way, with the SQL for it.

    Looks at connection, privileges, settings and tables; changes nothing. Exits with 1 when
    something must be mended first.
    """
    findings = _findings(target, tables)
    errors = sum(finding.severity == "error" for finding in findings)
    if settings.json:
        payload_json(
            [
                {
                    "severity": f.severity,
                    "code": f.code,
                    "message": redact(f.message),
                    "fix": redact(f.fix),
                }
                for f in findings
            ]
        )
    else:
        _show(findings, errors)
    if errors:
        raise typer.Exit(1)


def _findings(target: str, tables: list[str] | None) -> list[Finding]:
    if target and "://" not in target:
        if tables:
            raise ConfigError("--tables goes with a URL", hint=f"{target} names its tables itself")
        from penstock.assembly import from_target

        return from_target(target).check()
    from penstock.ports import Context

    source = source_of(target, **selected(tables)).build()
    findings: list[Finding] = asyncio.run(source.check(Context("check", "source")))
    return findings


def selected(tables: list[str] | None) -> dict[str, list[str]]:
    """The source's option for ``--tables``, given several times or with commas between."""
    names = [name.strip() for text in tables or () for name in text.split(",")]
    return {"tables": names} if names else {}


def source_of(url: str, **options: Any) -> Any:
    """The source's configuration for a URL in an argument, or DATABASE_URL.

    Raises ConfigError when there is neither, or no source reads such a URL.
    """
    from penstock import registry

    warn_of_password(url)
    url = url or os.environ.get("DATABASE_URL", "")
    if not url:
        raise ConfigError(
            "no database: neither an argument nor DATABASE_URL says which",
            hint="export DATABASE_URL=postgresql://user@host/database",
        )
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in registry.URL_SOURCES:
        raise ConfigError(
            f"no source reads a URL that begins with {scheme + '://' if scheme else 'that'}",
            hint="known: " + ", ".join(f"{known}://" for known in registry.URL_SOURCES),
        )
    return registry.component("source", registry.URL_SOURCES[scheme])(dsn=url, **options)


def _show(findings: list[Finding], errors: int) -> None:
    for finding in findings:
        severity = paint(f"{finding.severity:<8}", _STYLES[finding.severity])
        payload(f"{severity} {wrapped(redact(finding.message), 9, sys.stdout)}")
        for text in redact(finding.fix).splitlines():
            payload(f"         {paint(text, '32')}")
    warnings = sum(finding.severity == "warning" for finding in findings)
    verdict = paint("not ready", "1;31") if errors else paint("ready", "1;32")
    payload(f"{verdict}: {counted(errors, 'error')}, {counted(warnings, 'warning')}")
