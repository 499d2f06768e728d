"""The command line: one file a verb, progress on stderr, the result on stdout, one line for every mistake."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from opcode import opmap
from typing import Annotated, Any

import typer

from .. import __version__
from ..engine.errors import EvaluationError
from .certify import certify
from .check import check
from .compare import compare
from .console import error_line, own_logging, own_matplotlib
from .figure import figure
from .inspect import inspect
from .leaderboard import leaderboard
from .list import list_names
from .options import Grouped
from .report import report
from .run import run
from .runs import runs
from .streams import interruptible, tolerant
from .table import table
from .validate import validate
from .validate_entry import validate_entry
from .work import work

ClickException: Any = typer.BadParameter.__mro__[2]  # typer carries click under a private name, or needs it beside
INTERRUPTED = "interrupted; finished shards are kept, the same command goes on from there"
INTERRUPT = 130
ARGUMENTS: list[str] = []
"""Of the command line that is being run: an error, too, takes the format that they ask for."""
OURS = ("attacks", "detectors", "roodbench")
app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=False)


@app.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Robustness of out-of-distribution detectors under adaptive attacks.

    Without a command, `run` is meant: `python -m roodbench --detector ross --attack both`.
    """


VERBS = {
    "run": run,
    "check": check,
    "compare": compare,
    "certify": certify,
    "figure": figure,
    "inspect": inspect,
    "leaderboard": leaderboard,
    "list": list_names,
    "report": report,
    "runs": runs,
    "table": table,
    "validate": validate,
    "validate-entry": validate_entry,
    "work": work,
}
for name, verb in VERBS.items():
    app.command(name, cls=Grouped)(verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failed, 2 usage, 130 interrupted (143 by SIGTERM)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    ARGUMENTS[:] = arguments
    collecting = gc.isenabled()
    gc.disable()  # imports make many objects and no garbage; a verb that computes enables it
    with tolerant(), interruptible() as signals:
        try:
            code = command(arguments)
            return code if code != INTERRUPT else interrupted(signals)
        except (KeyboardInterrupt, typer.Abort):  # typer turns Ctrl-C into one of these or into its code
            return interrupted(signals)
        except ClickException as error:
            return fail(error.format_message(), 2)
        except Exception as error:
            if isinstance(error, ValueError) and is_mistake(error):
                return fail(str(error), 2)
            if isinstance(error, EvaluationError | OSError | MemoryError):
                return fail(str(error) or "out of memory", 1)
            if os.environ.get("ROODBENCH_TRACEBACK"):
                raise
            return fail(f"internal error: {type(error).__name__}: {error} (ROODBENCH_TRACEBACK=1 shows where)", 1)
        except SystemExit as error:
            return fail(f"a module that was imported called sys.exit({error.code!r})", 1)
        finally:
            if collecting:
                gc.enable()


def command(arguments: list[str]) -> int:
    """Run a verb; returns its exit code."""
    if arguments == ["--version"]:
        typer.echo(f"roodbench {__version__}")
        return 0
    if not arguments or (arguments[0] not in VERBS and arguments[0] != "--help"):
        if arguments and not arguments[0].startswith("-"):
            near = get_close_matches(arguments[0], VERBS, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            return fail(f"unknown command {arguments[0]!r}: {hint}expected one of {', '.join(sorted(VERBS))}", 2)
        arguments = ["run", *arguments]
    try:
        with own_logging(), own_matplotlib(arguments[0]):
            return made()(arguments, standalone_mode=False, prog_name="roodbench") or 0
    except typer.Exit as error:
        return error.exit_code


@cache
def made() -> Any:
    """The commands with their options, which takes a while, once a process."""
    return typer.main.get_command(app)


def is_mistake(error: ValueError) -> bool:
    """Whether a statement `raise` of ours raised it, as for every mistake of the user.

    Any other ValueError falls out of torch, numpy, a user's module or a call of ours, and tells the user nothing.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in OURS:
        return False
    return last.tb_frame.f_code.co_code[last.tb_lasti] == opmap["RAISE_VARARGS"]


def interrupted(signals: Sequence[int]) -> int:
    return fail(INTERRUPTED, 128 + signals[-1] if signals else INTERRUPT)


def fail(message: str, code: int) -> int:
    print(error_line(message, ARGUMENTS), file=sys.stderr, flush=True)  # noqa: T201
    return code
