"""The verb `run`: evaluate detectors, clean and under attack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .console import computing, log, progress, start_logging
from .options import OPTIONS, Context, check_protocol, one_format, run_config, taking

if TYPE_CHECKING:
    from ..record.result import Result


@taking(*OPTIONS)
def run(context: Context, **given: Any) -> None:
    """Evaluate detectors, clean and under attack: results on stdout, the rest on stderr."""
    result = evaluated(context, given, check=not given["no_check"])
    shown = {"table": result.to_table, "json": result.to_json, "csv": lambda: result.to_csv().rstrip()}
    typer.echo(shown[given["format"]]())
    warn(result, strict=given["strict"])


def evaluated(context: Context, given: dict[str, Any], *, check: bool, thorough: bool = False) -> Result:
    """The result of what the options name, kept in its folder."""
    one_format(given["format"], ("table", "json", "csv"))
    check_protocol(context)
    config = run_config(given)
    start_logging(given["quiet"])
    from .. import api

    computing()
    out = None if given["out"] is None else Path(given["out"])
    settings = {"check": check, "thorough": thorough, "fresh": given["fresh"]}
    result, folder = api.run(config, out=out, progress=progress(given["quiet"]), **settings)
    log.info("kept in %s (%.0f s)", folder, result.timing.seconds)
    return result


def warn(result: Result, *, strict: bool) -> None:
    """Say on stderr which checks failed; with `strict` they end in exit code 1."""
    failed = [i.message for i in result.indicators if not i.passed]
    for message in failed:
        log.warning("unreliable: %s", message)
    if strict and failed:
        raise typer.Exit(1)
