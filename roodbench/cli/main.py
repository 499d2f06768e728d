"""The command line: one file a verb, progress on stderr, the result on stdout, one line for every mistake."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from .. import __version__
from ..engine.errors import EvaluationError
from .certify import certify
from .check import check
from .console import own_logging
from .list import list_names
from .options import Grouped
from .run import run

ClickException: Any = typer.BadParameter.__mro__[2]  # typer carries click under a private name, or needs it beside
INTERRUPTED = "interrupted; finished shards are kept, the same command goes on from there"
app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=False)


@app.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Robustness of out-of-distribution detectors under adaptive attacks.

    Without a command, `run` is meant: `python -m roodbench --detector ross --attack both`.
    """


VERBS = {"run": run, "check": check, "certify": certify, "list": list_names}
for name, verb in VERBS.items():
    app.command(name, cls=Grouped)(verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failed, 2 usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        typer.echo(f"roodbench {__version__}")
        return 0
    if not arguments or (arguments[0] not in VERBS and arguments[0] != "--help"):
        if arguments and not arguments[0].startswith("-"):
            return fail(f"unknown command {arguments[0]!r}: expected one of {', '.join(sorted(VERBS))}", 2)
        arguments = ["run", *arguments]
    collecting = gc.isenabled()
    gc.disable()  # imports make many objects and no garbage; a verb that computes enables it
    try:
        with own_logging():
            code = app(arguments, standalone_mode=False, prog_name="roodbench") or 0
        return code if code != 130 else fail(INTERRUPTED, 130)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):  # typer turns Ctrl-C into one of these or into the code 130
        return fail(INTERRUPTED, 130)
    except ClickException as error:
        return fail(error.format_message(), 2)
    except ValueError as error:
        return fail(str(error), 2)
    except (EvaluationError, OSError) as error:
        return fail(str(error), 1)
    except Exception as error:
        if os.environ.get("ROODBENCH_TRACEBACK"):
            raise
        return fail(f"{type(error).__name__}: {error} (ROODBENCH_TRACEBACK=1 shows where)", 1)
    finally:
        (gc.enable if collecting else gc.disable)()


def fail(message: str, code: int) -> int:
    print(f"roodbench: error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return code
