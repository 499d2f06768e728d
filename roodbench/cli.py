"""The command line: options of a run, progress on stderr, the result on stdout, one line for every mistake."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from detectors import unknown

from . import __version__
from .attacker import EvaluationError
from .catalogue import as_text, catalogue
from .certify.command import certify_command
from .config import RunConfig, check_fixed, parse_eps, parse_param
from .console import names, progress, start_logging, whole
from .report.table import checks_csv, checks_table
from .result import Result
from .run import run

ClickException: Any = typer.BadParameter.__mro__[2]  # typer carries click under a private name, or needs it beside
INTERRUPTED = "interrupted; finished populations are kept, the same command goes on from there"
DEFAULTS = RunConfig()
FORMATS: dict[str, Callable[[Result], str]] = {
    "table": Result.to_table,
    "json": Result.to_json,
    "csv": lambda result: result.to_csv().rstrip(),
}
CHECK_LIMIT = 32
CHECK_FORMATS: dict[str, Callable[[Result], str]] = {
    "table": lambda result: checks_table(result.indicators),
    "json": lambda result: json.dumps(result.indicators, indent=1),
    "csv": lambda result: checks_csv(result.indicators),
}
app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=False)


@app.callback(invoke_without_command=True)
def version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Robustness of out-of-distribution detectors under adaptive attacks.

    Without a command, `run` is meant: `python -m roodbench --detector ross --attack both`.
    """
    if version:
        typer.echo(f"roodbench {__version__}")
        raise typer.Exit


def run_command(
    context: typer.Context,
    detector: Annotated[str, typer.Option(help="NAME[,NAME], all, or MODULE:ATTRIBUTE.")] = ",".join(DEFAULTS.detector),
    base: Annotated[str, typer.Option(help="Base score of pro, median, mad, cov, ross, ross-q.")] = DEFAULTS.base,
    param: Annotated[
        list[str] | None, typer.Option(help="Hyper-parameter key=value, repeatable; `list` names them.")
    ] = None,
    search: Annotated[bool, typer.Option("--search", help="Choose parameters on ID val / OOD val first.")] = False,
    attack: Annotated[str, typer.Option(help="none, min (lower ID), max (raise OOD) or both.")] = DEFAULTS.attack,
    method: Annotated[
        str,
        typer.Option(
            help="suite, pgd, apgd, square, noise, transfer, torchattacks:NAME, foolbox:NAME or autoattack:NAME."
        ),
    ] = DEFAULTS.method,
    objective: Annotated[
        str | None, typer.Option(help="Attack this objective alone, such as exact, mean or base.")
    ] = None,
    strength: Annotated[
        str, typer.Option(help="What the attack spends: quick, standard or strong (docs/attacks.md has the cost).")
    ] = DEFAULTS.strength,
    eps: Annotated[str | None, typer.Option(help="Radius [,radius], such as 8/255; default per benchmark.")] = None,
    norm: Annotated[str, typer.Option(help="linf or l2.")] = DEFAULTS.norm,
    steps: Annotated[int | None, typer.Option(help="Attack steps; default by strength (quick: 20).")] = None,
    restarts: Annotated[int | None, typer.Option(help="Random starts; default by strength (quick: 1).")] = None,
    threat: Annotated[
        str, typer.Option(help="fresh noise, known-seed, or resubmit:q (the best of q tries).")
    ] = DEFAULTS.threat,
    quantize: Annotated[bool, typer.Option("--quantize", help="Score attacked images rounded to 8 bits.")] = False,
    protocol: Annotated[
        str, typer.Option(help="roodbench, or a published evaluation and its settings: ross-2026, pro-2025.")
    ] = DEFAULTS.protocol,
    space: Annotated[str, typer.Option(help="pixel, or normalized: units after (x - mean) / std.")] = DEFAULTS.space,
    benchmark: Annotated[str, typer.Option(help="digits or cifar10.")] = DEFAULTS.benchmark,
    data_root: Annotated[str | None, typer.Option(envvar="ROODBENCH_DATA", help="OpenOOD-style folder.")] = None,
    ood: Annotated[str | None, typer.Option(help="OOD sets NAME[,NAME]; default all.")] = None,
    model: Annotated[str | None, typer.Option(help="Network; default per benchmark.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Weights: .safetensors, .th or .pt.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Images per population, 0 for all; default 100, of `check` 32.", show_default=False),
    ] = None,
    batch_size: Annotated[str, typer.Option(help="auto, or images per network pass.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = DEFAULTS.device,
    precision: Annotated[
        str, typer.Option(help="Of the attack's gradients: auto, float32 or bfloat16; scores are float32.")
    ] = DEFAULTS.precision,
    compile: Annotated[str, typer.Option(help="auto, on or off: torch.compile the network.")] = DEFAULTS.compile,
    seed: Annotated[int, typer.Option(help="Seed of all noise and random starts.")] = DEFAULTS.seed,
    out: Annotated[str | None, typer.Option(help="Folder for runs; default in the user's cache.")] = None,
    format: Annotated[str, typer.Option(help="table, json or csv.")] = "table",
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a check of the attack fails.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only warnings.")] = False,
) -> None:
    checking = context.info_name == "check"
    if format not in FORMATS:
        raise ValueError(unknown("format", format, FORMATS))
    for key, value in context.params.items():
        source = context.get_parameter_source(key)
        if source is not None and source.name == "COMMANDLINE":  # a default spelt out is a wish too
            check_fixed(protocol, key, value)
    config = RunConfig(
        detector=names(detector, "detector"),
        base=base,
        params=dict(parse_param(text) for text in param or []),
        search=search,
        attack=attack,
        method=method,
        objective=objective,
        strength=strength,
        eps=None if eps is None else tuple(parse_eps(text) for text in eps.split(",")),
        norm=norm,
        steps=steps,
        restarts=restarts,
        threat=threat,
        quantize=quantize,
        protocol=protocol,
        space=space,
        benchmark=benchmark,
        data_root=data_root,
        ood=None if ood is None else names(ood, "OOD set"),
        model=model,
        checkpoint=checkpoint,
        limit=limit if limit is not None else CHECK_LIMIT if checking else DEFAULTS.limit,
        batch_size=None if batch_size == "auto" else whole("batch-size", batch_size),
        device=device,
        precision=precision,
        compile=compile,
        seed=seed,
    )
    log = start_logging(quiet)
    result, folder = run(config, out=None if out is None else Path(out), progress=progress(quiet))
    typer.echo((CHECK_FORMATS if checking else FORMATS)[format](result))
    log.info("kept in %s (%.0f s)", folder, result.timing["seconds"])
    failed = [i["message"] for i in result.indicators if not i["passed"]]
    for message in failed:
        log.warning("unreliable: %s", message)
    if strict and failed:
        raise typer.Exit(1)


app.command("run", help="Evaluate detectors, clean and under attack: results on stdout, the rest on stderr.")(
    run_command
)
app.command("check", help="Run the indicators of attack failure on a few images: can the attack be trusted?")(
    run_command
)


app.command("certify")(certify_command)


@app.command("list")
def list_command(
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Show detectors, attacks, models and benchmarks: needs, default parameters, search grids, papers."""
    if format not in ("table", "json"):
        raise ValueError(unknown("format", format, ("table", "json")))
    kinds = catalogue()
    typer.echo(as_text(kinds) if format == "table" else json.dumps(kinds, indent=1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failed, 2 usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"run", "check", "certify", "list"}
    if not arguments or (arguments[0] not in commands and arguments[0] not in ("--help", "--version")):
        if arguments and not arguments[0].startswith("-"):
            return fail(f"unknown command {arguments[0]!r}: expected one of {', '.join(sorted(commands))}", 2)
        arguments = ["run", *arguments]
    try:
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


def fail(message: str, code: int) -> int:
    print(f"roodbench: error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return code
