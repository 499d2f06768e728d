"""The command `roodbench certify`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from detectors import unknown

from ..config import RunConfig, parse_eps, parse_param
from ..console import names, progress, start_logging, whole
from .config import CertifyConfig
from .plan import as_record, plan, plan_table
from .result import CertifiedResult
from .run import certify
from .verify import demand, read, verify

DEFAULTS, RUN = CertifyConfig(), RunConfig()
RADII = ",".join(f"{radius:g}" for radius in DEFAULTS.radius)
FORMATS: dict[str, Callable[[CertifiedResult], str]] = {
    "table": CertifiedResult.to_table,
    "json": CertifiedResult.to_json,
    "csv": lambda result: result.to_csv().rstrip(),
}


def certify_command(
    detector: Annotated[str, typer.Option(help="median, ross or ross-q, or several: NAME[,NAME].")] = "median",
    base: Annotated[str, typer.Option(help="Base score; for ross a bounded one, as msp or gen.")] = RUN.base,
    sigma: Annotated[float, typer.Option(help="Standard deviation of the noise, in pixels.")] = DEFAULTS.sigma,
    radius: Annotated[str, typer.Option(help="R[,R]: l2 radii in pixels, or linf ones such as 2/255.")] = RADII,
    norm: Annotated[str, typer.Option(help="l2, or linf: certified through the l2 ball of eps sqrt(d).")] = "l2",
    samples: Annotated[int, typer.Option(help="Noisy copies of every image, also of --verify.")] = DEFAULTS.samples,
    alpha: Annotated[float, typer.Option(help="Error of each certified number, over all its images.")] = DEFAULTS.alpha,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Show the least sigma and samples, and the time; certify nothing.")
    ] = False,
    verify_file: Annotated[
        str | None, typer.Option("--verify", help="Check a certificate.json on fresh noise; exit 1 if it fails.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Hyper-parameter key=value, repeatable; copies: draws when deployed.")
    ] = None,
    attack: Annotated[str, typer.Option(help="both, or none: leave out the attacks beside the bounds.")] = "both",
    strength: Annotated[str, typer.Option(help="Of the attack: quick, standard or strong.")] = RUN.strength,
    steps: Annotated[int | None, typer.Option(help="Attack steps; default by strength.")] = None,
    restarts: Annotated[int | None, typer.Option(help="Random starts; default by strength.")] = None,
    benchmark: Annotated[str, typer.Option(help="digits or cifar10.")] = RUN.benchmark,
    data_root: Annotated[str | None, typer.Option(envvar="ROODBENCH_DATA", help="OpenOOD-style folder.")] = None,
    ood: Annotated[str | None, typer.Option(help="OOD sets NAME[,NAME]; default all.")] = None,
    model: Annotated[str | None, typer.Option(help="Network; default per benchmark.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Weights: .safetensors, .th or .pt.")] = None,
    limit: Annotated[int, typer.Option(help="Images per population, 0 for all.")] = RUN.limit,
    batch_size: Annotated[str, typer.Option(help="auto, or images per network pass.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = RUN.device,
    compile: Annotated[str, typer.Option(help="auto, on or off: torch.compile the network.")] = RUN.compile,
    seed: Annotated[int | None, typer.Option(help="Of all noise; default 0, of --verify a random one.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder for runs; default in the user's cache.")] = None,
    format: Annotated[str, typer.Option(help="table, json or csv.")] = "table",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only warnings.")] = False,
) -> None:
    """Certified AUROC of smoothed detectors: what no l2 adversary can do, beside what the best attack does."""
    if format not in FORMATS:
        raise ValueError(unknown("format", format, FORMATS))
    if attack not in ("none", "both"):
        raise ValueError(unknown("attack", attack, ("none", "both")))
    log = start_logging(quiet)
    if verify_file is not None:
        if plan_only or format == "csv":
            raise ValueError("--verify prints one line, or a verdict with --format json; leave out --plan and csv")
        verdict = verify(
            read(Path(verify_file)),
            samples=samples,
            seed=seed,
            device=device,
            progress=progress(quiet),
            data_root=data_root,
            checkpoint=checkpoint,
        )
        if format == "json":
            typer.echo(json.dumps(asdict(verdict), indent=1))
        demand(verdict)
        if format == "json":
            return
        fresh = f"{verdict.samples} fresh draws an image (seed {verdict.seed}) disprove none of {verdict.bounds} bounds"
        typer.echo(
            "holds: settings, network and images are the certificate's, its metrics follow from its bounds, and "
            f"{fresh} of {verdict.images} images"
        )
        return
    config = CertifyConfig(
        run=RunConfig(
            detector=names(detector, "detector"),
            base=base,
            params=dict(parse_param(text) for text in param or []),
            attack=attack,
            strength=strength,
            norm=norm,
            steps=steps,
            restarts=restarts,
            benchmark=benchmark,
            data_root=data_root,
            ood=None if ood is None else names(ood, "OOD set"),
            model=model,
            checkpoint=checkpoint,
            limit=limit,
            batch_size=None if batch_size == "auto" else whole("batch-size", batch_size),
            device=device,
            compile=compile,
            seed=seed or 0,
        ),
        sigma=sigma,
        radius=tuple(parse_eps(text, "radius") for text in radius.split(",")),
        samples=samples,
        alpha=alpha,
    )
    if plan_only:
        if format == "csv":
            raise ValueError("format 'csv': a plan comes as table or json")
        plans = plan(config)
        typer.echo(plan_table(plans, config) if format == "table" else json.dumps(as_record(plans), indent=1))
        return
    result, folder = certify(config, out=None if out is None else Path(out), progress=progress(quiet))
    typer.echo(FORMATS[format](result))
    log.info("kept in %s, with certificate.json (%.0f s)", folder, result.timing["seconds"])
