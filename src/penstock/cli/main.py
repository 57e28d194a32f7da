"""The ``penstock`` command: global options, the verbs, and how errors leave it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from penstock import __version__
from penstock.cli import (
    check,
    console,
    demo,
    init,
    logs,
    parked,
    run,
    schema,
    status,
    tail,
    teardown,
)
from penstock.errors import PenstockError

_GLOBAL_FLAGS = ("--json", "--version")
_GLOBAL_VALUES = ("--log-format", "--log-level")

app = typer.Typer(
    name="penstock",
    help="Change data capture: every insert, update and delete of a database, where you need it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from platform import python_version

        from penstock.kernel import kernel

        if "--json" in sys.argv:  # this option is handled before all others
            console.payload_json(
                {"penstock": __version__, "kernel": kernel(), "python": python_version()}
            )
        else:
            console.payload(f"penstock {__version__}, {kernel()} kernel, Python {python_version()}")
        raise typer.Exit


@app.callback()
def settings(
    log_format: Annotated[
        str, typer.Option(metavar="FORMAT", help="text or json; logs go to stderr.")
    ] = "text",
    log_level: Annotated[
        str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show versions and exit."),
    ] = False,
) -> None:
    """Set what all verbs share; every option here may also follow the verb."""
    if log_format not in ("text", "json"):
        raise typer.BadParameter("must be text or json", param_hint="--log-format")
    if log_level and log_level not in logs.LEVELS:
        raise typer.BadParameter("must be " + ", ".join(logs.LEVELS), param_hint="--log-level")
    console.settings.json = json
    console.settings.log_format = log_format
    console.settings.log_level = log_level
    logs.configure(log_level or "warning", log_format)


app.command()(demo.demo)
app.command()(tail.tail)
app.command()(init.init)
app.command()(check.check)
app.command()(run.run)
app.command()(status.status)
app.command()(parked.parked)
app.command()(teardown.teardown)
app.command()(schema.schema)


def globals_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options moved before the verb, wherever they stood."""
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in _GLOBAL_FLAGS or argument.partition("=")[0] in _GLOBAL_VALUES:
            first.append(argument)
            if argument in _GLOBAL_VALUES:
                first += [value for value in (next(waiting, None),) if value is not None]
        else:
            rest.append(argument)
    return first + rest


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage or config, 3 GAP, 4 DIVERGED,
    5 STUCK."""
    try:
        app(globals_first(sys.argv[1:]))
    except PenstockError as error:
        _debug_traceback(error)
        console.show_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the last door: nothing else may print a traceback
        _debug_traceback(error)
        failure = PenstockError(
            f"{type(error).__name__}: {error}",
            hint="this is a bug in penstock or in a component; --log-level debug shows where",
        )
        console.show_error(failure)
        sys.exit(failure.exit_code)


def _debug_traceback(error: BaseException) -> None:
    if console.settings.debug:
        import traceback

        console.note("".join(traceback.format_exception(error)).rstrip())


if __name__ == "__main__":
    main()
