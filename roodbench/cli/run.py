"""The verb `run`: evaluate detectors, clean and under attack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from ..engine.errors import UnsavedError
from ..setup.config import one_of
from ..words import counted
from .console import computing, log, progress_for, start_logging
from .given import check_protocol, check_spelt, one_format, run_config, spelt_out
from .numbers import share_of
from .options import OPTIONS, Context, taking

if TYPE_CHECKING:
    from ..record.result import Result
    from ..setup.config import RunConfig

TRACKERS = ("mlflow",)


FORMATS = ("table", "json", "csv", "markdown", "latex")


@taking(*OPTIONS)
def run(context: Context, **given: Any) -> None:
    """Evaluate detectors, clean and under attack: results on stdout, the rest on stderr."""
    if given["shard"] is not None:
        shared(context, given)
        return
    if given["dry_run"]:
        foretold(context, given)
        return
    with showing(given["format"]) as show:
        result = evaluated(context, given, check=not given["no_check"])
        show(result)
    warn(result, given)


@contextmanager
def showing(format: str) -> Iterator[Callable[[Any], None]]:
    """How a record is shown in a format, also one that could not be kept."""

    def show(result: Any) -> None:
        if format in ("markdown", "latex"):
            from ..report.tables import papers_table

            typer.echo(papers_table({"A": result}, format))
            return
        shown = {"table": result.to_table, "json": result.to_json, "csv": lambda: result.to_csv().rstrip()}
        typer.echo(shown[format]())

    try:
        yield show
    except UnsavedError as error:
        show(error.result)
        raise


def evaluated(context: Context, given: dict[str, Any], *, check: bool, thorough: bool = False) -> Result:
    """The result of what the options name, kept in its folder."""
    config = asked(context, given)
    from .. import api
    from ..record import tracking

    if given["track"] is not None:
        tracking.library()  # where it is missing, that shows before anything is computed
    computing()
    settings = {"check": check, "thorough": thorough, "fresh": given["fresh"], **hands(given)}
    result, folder = api.run(config, out=given["out"], progress=progress_for(given), **settings)
    log.info("kept in %s (%.0f s)", folder, result.timing.seconds)
    if given["track"] is not None:
        log.info("logged to %s", tracking.track(result, folder))
    return result


def shared(context: Context, given: dict[str, Any]) -> None:
    """Compute what the options name together with other processes, and leave the record to one without --shard."""
    number, of = share_of(given["shard"])
    for name in ("fresh", "strict", "dry_run", "workers", "engine", "address", "track"):
        if spelt_out(context).get(name):
            said = name.replace("_", "-")
            raise ValueError(f"--shard takes no {said}: leave out --{said}, or give it without --shard")
    config = asked(context, given)
    from .. import api

    computing()
    turn, check = (number - 1) / of, not given["no_check"]
    folder = api.share(config, turn=turn, out=given["out"], progress=progress_for(given), check=check)
    log.info("all of it is kept: the same command without --shard writes the record into %s", folder)


def foretold(context: Context, given: dict[str, Any]) -> None:
    """Print what the run would do and take."""
    one_format(given["format"], ("table", "json"))
    config = asked(context, given)
    from .. import api

    computing()
    found = api.forecast(config, out=given["out"], check=not given["no_check"])
    if given["format"] == "json":
        typer.echo(
            json.dumps({**asdict(found), "seconds": found.seconds, "at_most": found.at_most}, indent=1, default=str)
        )
        return
    for part in found.parts:
        passes = "{:.0f} + {:.0f} passes each".format(*part.passes)
        typer.echo(f"{part.detector}, {part.what}: {counted(part.images, 'image')}, {passes}, {part.seconds:.1f} s")
    memory = "memory unknown" if found.memory is None else f"{found.memory / 2**30:.1f} GiB"
    most = f"{found.at_most:.0f} s if no image is decided early"
    typer.echo(f"in all about {found.seconds:.0f} s of one process, {most}, {memory}")
    typer.echo(f"an earlier start of this run left {found.kept} parts; its folder: {found.folder}")


def hands(given: dict[str, Any]) -> dict[str, Any]:
    """What the options say of the processes that share the work."""
    return {name: given[name] for name in ("workers", "engine", "address")}


def asked(context: Context, given: dict[str, Any]) -> RunConfig:
    """The settings that the options name."""
    one_format(given["format"], FORMATS)
    if given["track"] is not None:
        one_of("tracker", given["track"], TRACKERS)
    check_protocol(context)
    config = run_config(given)
    check_spelt(context, config)
    start_logging(given["quiet"], given["log_format"])
    return config


def warn(result: Result, given: dict[str, Any]) -> None:
    """Say on stderr what a table says below itself, where none is printed; `strict` ends in exit code 1.

    It does so where a check failed, and where an attack could not be judged: nobody knows whether that one failed.
    """
    from ..record.notes import failures_of, unjudged_of

    failed, unjudged = failures_of(result.indicators), unjudged_of(result.rows)
    if given["format"] != "table":
        for line in failed:
            log.warning("unreliable: %s", line)
    if given["strict"]:
        names = dict.fromkeys(i.name for i in result.indicators if i.passed is False)
        for line in [*([f"failed {', '.join(names)}"] if names else []), *unjudged]:
            log.warning("--strict: %s", line)
        if failed or unjudged:
            raise typer.Exit(1)
