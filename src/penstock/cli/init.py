"""``penstock init``: a first pipeline file, commented, ready for ``penstock check``."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.console import note, payload, redact, settings
from penstock.errors import ConfigError

_FILE = """\
# A penstock pipeline: changes of some tables, from one database to one or more sinks.
#   penstock check {path}     what is missing, and the SQL that mends it
#   penstock run {path}       run until stopped
# Strings may hold ${{VAR}}, ${{VAR:-default}} and ${{file:/run/secrets/x}}; $$ is a dollar sign.

name = {name}                 # a-z, 0-9 and _; the slot on the server is penstock_{bare_name}

[source]
type = "postgres"
dsn = {dsn}
tables = {tables}             # schema.table; * stands for any characters
snapshot = {snapshot}         # initial: copy the rows first | never | always | only

[[sinks]]
{sink}
# Any number of sinks may follow; give two of a type a name each.
# State is kept in a SQLite file by default; any SQLAlchemy URL works too:
# store = "${{STATE_URL}}"
"""
_SINKS = {
    "jsonl": (
        'type = "jsonl"\n'
        "path = {target}              # one JSON object a line\n"
        'format = "change"            # change | row\n'
    ),
    "sql": (
        'type = "sql"\n'
        'name = "replica"\n'
        "url = {target}               # SQLite or PostgreSQL; tables are created as needed\n"
    ),
}
_TARGETS = {"jsonl": "{name}.jsonl", "sql": "sqlite:///{name}.db"}
_SNAPSHOTS = ("initial", "never", "always", "only")


def init(
    path: Annotated[str, typer.Argument(help="The file to write; default NAME.toml.")] = "",
    name: Annotated[str, typer.Option(metavar="NAME", help="The pipeline's name.")] = "",
    dsn: Annotated[
        str, typer.Option(metavar="URL", help="The database; default ${DATABASE_URL}.")
    ] = "",
    tables: Annotated[
        list[str] | None,
        typer.Option("--tables", "-t", metavar="NAMES", help="schema.table, …; * allowed."),
    ] = None,
    snapshot: Annotated[
        str, typer.Option(metavar="WHEN", help="initial, never, always or only.")
    ] = "",
    sink: Annotated[str, typer.Option(metavar="TYPE", help="jsonl or sql.")] = "",
    target: Annotated[str, typer.Option(metavar="WHERE", help="The sink's file or URL.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented pipeline file.

    Asks for what the options do not say; without a terminal it takes the defaults.
    """
    from penstock.config import NAME

    name = name or _ask("name of the pipeline", Path(path).stem if path else "orders")
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name: {name!r} is not 1 to 54 of the characters a-z, 0-9 and _")
    dsn = _without_password(dsn or _ask("database", "${DATABASE_URL}"), "${DATABASE_URL}")
    chosen = ",".join(tables or [_ask("tables, comma between", "public.*")]).split(",")
    snapshot = _one_of(
        "snapshot", snapshot or _ask(f"snapshot ({', '.join(_SNAPSHOTS)})", "initial"), _SNAPSHOTS
    )
    sink = _one_of("sink", sink or _ask(f"sink ({', '.join(_SINKS)})", "jsonl"), tuple(_SINKS))
    target = target or _ask("where to", _TARGETS[sink].format(name=name))
    target = _without_password(target, "${TARGET_URL}")
    file = Path(path or f"{name}.toml")
    if file.exists() and not force:
        raise ConfigError(f"{file} exists already", hint="--force overwrites it")
    text = _FILE.format(
        path=file,
        name=json.dumps(name),
        bare_name=name,
        dsn=json.dumps(dsn),
        tables=json.dumps([pattern.strip() for pattern in chosen]),
        snapshot=json.dumps(snapshot),
        sink=_SINKS[sink].format(target=json.dumps(target)),
    )
    text = _aligned(text)
    _validate(text, str(file))
    file.write_text(text, encoding="utf-8")
    if settings.json:
        payload(json.dumps({"file": str(file)}))
        return
    payload(f"wrote {file}")
    note(f"next: penstock check {file}   then: penstock run {file}")


def _aligned(text: str) -> str:
    """The text with the comments after values in one column."""
    return re.sub(r"(?m)^(\S.*?) {2,}# ", lambda match: f"{match[1]:<33} # ", text)


def _ask(question: str, default: str) -> str:
    """The answer on the terminal; the default where nobody can be asked."""
    if not sys.stdin.isatty():
        return default
    sys.stderr.write(f"{question} [{default}]: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() or default


def _without_password(url: str, reference: str) -> str:
    """The URL, or a reference in place of one that holds a password."""
    if redact(url) == url:
        return url
    note(f"a file is no place for a password, so it says {reference}: export that variable")
    return reference


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ConfigError(f"--{option}: {value!r} is not one of {', '.join(choices)}")
    return value


def _validate(text: str, origin: str) -> None:
    """Refuse to write what could not be read; variables need not be set yet."""
    from penstock.config import parse

    unset = {
        "DATABASE_URL": "postgresql://localhost/shop",
        "TARGET_URL": "postgresql://localhost/replica",
    }
    given = {name: value for name, value in os.environ.items() if value}
    parse(text, origin=origin, environ={**unset, **given})
