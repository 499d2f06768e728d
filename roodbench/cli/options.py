"""Every option once: its type, default, sentence and group in the help. A verb names those that it takes."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..setup.config import RunConfig
from .numbers import number, whole

Context = typer.Context
DETECTOR, ADVERSARY, DATA, NETWORK = "Detector", "Adversary", "Data", "Network"
MACHINE, OUTPUT, CERTIFICATE = "Machine", "Output", "Certificate"


def option(
    name: str, kind: Any, default: Any, help: str, panel: str, *declarations: str, **settings: Any
) -> inspect.Parameter:
    """One option as a parameter of a function."""
    annotation = Annotated[kind, typer.Option(*declarations, help=help, rich_help_panel=panel, **settings)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def argument(name: str, help: str) -> inspect.Parameter:
    """A word without an option's name, which may be left out."""
    annotation = Annotated[str | None, typer.Argument(help=help, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def arguments(name: str, help: str, metavar: str) -> inspect.Parameter:
    """Words without an option's name, any number of them."""
    annotation = Annotated[list[str] | None, typer.Argument(help=help, metavar=metavar, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


OPTIONS = {
    parameter.name: parameter
    for parameter in (
        option("detector", str, "ross", "Evaluate NAME[,NAME], all, or a MODULE:ATTRIBUTE of yours.", DETECTOR),
        option(
            "base",
            str,
            RunConfig.base,
            "Wrap this base score, or a MODULE:ATTRIBUTE of yours, in pro, median, mad, cov, ross, ross-q.",
            DETECTOR,
        ),
        option(
            "param",
            list[str] | None,
            None,
            "Set a hyper-parameter, key=value; repeatable, `list` names them.",
            DETECTOR,
            metavar="KEY=VALUE",
        ),
        option("search", bool, False, "Choose parameters on ID val / OOD val first.", DETECTOR, "--search"),
        option("attack", str, RunConfig.attack, "Attack none, min (lower ID), max (raise OOD) or both.", ADVERSARY),
        option(
            "method",
            str,
            RunConfig.method,
            "Attack by suite, pgd, targeted, apgd, square, noise, transfer, or by torchattacks:NAME, "
            "foolbox:NAME, autoattack:NAME.",
            ADVERSARY,
        ),
        option("objective", str | None, None, "Attack this objective alone, such as exact, mean or base.", ADVERSARY),
        option(
            "strength",
            str,
            RunConfig.strength,
            "Spend as much as quick, standard or strong does (docs/attacks.md has the cost).",
            ADVERSARY,
        ),
        option("budget", int | None, None, "Spend so many passes per image: scale steps and restarts.", ADVERSARY),
        option("eps", str | None, None, "Attack within R[,R], such as 8/255; default per benchmark.", ADVERSARY),
        option("norm", str, RunConfig.norm, "Measure the radius in linf or l2.", ADVERSARY),
        option("steps", int | None, None, "Make so many steps; default by strength (quick: 10).", ADVERSARY),
        option("restarts", int | None, None, "Start so often; default by strength (quick: 4).", ADVERSARY),
        option(
            "threat",
            str,
            RunConfig.threat,
            "Let the adversary know fresh noise only, known-seed, or resubmit:q (the best of q tries); corruptions: no "
            "adversary, corrupted ID (docs/data.md).",
            ADVERSARY,
        ),
        option("quantize", bool, False, "Score attacked images rounded to 8 bits.", ADVERSARY, "--quantize"),
        option(
            "protocol",
            str,
            RunConfig.protocol,
            "Follow roodbench, or a published evaluation and its settings: ross-2026, pro-2025.",
            ADVERSARY,
        ),
        option(
            "space", str, RunConfig.space, "Attack in pixel space, or in normalized units, (x - mean) / std.", ADVERSARY
        ),
        option(
            "benchmark",
            str,
            RunConfig.benchmark,
            "Load digits, cifar10, cifar100, imagenet200, imagenet1k, a FILE.toml or folder of yours, torchvision:NAME "
            "or MODULE:ATTRIBUTE (docs/data.md).",
            DATA,
        ),
        option(
            "data_root",
            str | None,
            None,
            "Read images from this folder, laid out as OpenOOD's or torchvision's.",
            DATA,
            envvar="ROODBENCH_DATA",
        ),
        option("ood", str | None, None, "Take these OOD sets, NAME[,NAME]; default all.", DATA),
        option(
            "full_spectrum",
            bool,
            False,
            "Count covariate-shifted ID as ID; default apart, its accuracy alone.",
            DATA,
            "--full-spectrum",
        ),
        option("train_limit", int | None, None, "Fit on so many images, 0: all; default all, of ImageNet 10000.", DATA),
        option("limit", int, RunConfig.limit, "Take so many images per population, 0 for all.", DATA),
        option(
            "model",
            str | None,
            None,
            "Take this network, NAME, openood:NAME, torchvision:NAME, timm:NAME, robustbench:NAME or MODULE:ATTRIBUTE "
            "of yours; default per benchmark.",
            NETWORK,
        ),
        option("checkpoint", str | None, None, "Read its weights from a .safetensors, .th or .pt file.", NETWORK),
        option(
            "trust_checkpoint", bool, False, "Run code that a file of weights holds.", NETWORK, "--trust-checkpoint"
        ),
        option(
            "model_arg",
            list[str] | None,
            None,
            "Give the function that makes it an argument, key=value; repeatable.",
            NETWORK,
            metavar="KEY=VALUE",
        ),
        option("mean", str | None, None, "Subtract M[,M,M] of pixels in [0, 1]; default the network's own.", NETWORK),
        option("std", str | None, None, "Divide by S[,S,S] after that; default the network's own.", NETWORK),
        option("size", int | None, None, "Resize images to so many pixels a side; default its own size.", NETWORK),
        option("head", str | None, None, "Take this layer for the last linear one; default the one found.", NETWORK),
        option(
            "denoiser",
            str | None,
            None,
            "Denoise every image that the network gets by digits-denoiser, residual or a MODULE:ATTRIBUTE of yours.",
            NETWORK,
        ),
        option("denoiser_checkpoint", str | None, None, "Read the denoiser's weights from a file.", NETWORK),
        option(
            "model_dir",
            str | None,
            None,
            "Look for weights in this folder, of robustbench: in its own layout; default in the user's cache.",
            NETWORK,
        ),
        option(
            "threat_model",
            str | None,
            None,
            "Take the network that robustbench: has for Linf, L2 or corruptions; default Linf.",
            NETWORK,
        ),
        option("download", bool, False, "Download weights and data sets; else nothing is.", NETWORK, "--download"),
        option("batch_size", str, "auto", "Give the network auto or so many images in a pass.", MACHINE),
        option("memory", str | None, None, "Take no more than this, such as 4GiB, for all processes.", MACHINE),
        option("device", str, RunConfig.device, "Compute on auto, cpu, cuda or cuda:N.", MACHINE),
        option(
            "precision",
            str,
            RunConfig.precision,
            "Compute the attack's gradients in auto, float32 or bfloat16; scores are float32.",
            MACHINE,
        ),
        option("compile", str, RunConfig.compile, "Compile the network: auto, on or off.", MACHINE),
        option(
            "workers",
            int | None,
            None,
            "Share the work among so many processes; default as many as cores or GPUs, where that is faster.",
            MACHINE,
        ),
        option("engine", str, "local", "Find them on this machine (local), or on a cluster (ray).", MACHINE),
        option("address", str | None, None, "Join the Ray cluster at this address.", MACHINE),
        option(
            "shard",
            str | None,
            None,
            "Be process I/N of a run that several share, and write no record: for an array of jobs.",
            MACHINE,
            metavar="I/N",
        ),
        option("seed", int, RunConfig.seed, "Seed all noise and random starts.", MACHINE),
        option("out", str | None, None, "Keep runs in this folder; default in the user's cache.", OUTPUT),
        option("dry_run", bool, False, "Show what the run would take, from a rehearsal.", OUTPUT, "--dry-run"),
        option("fresh", bool, False, "Compute anew what earlier runs kept, and keep that.", OUTPUT, "--fresh"),
        option(
            "keep_images",
            bool,
            False,
            "Keep the first images of each set, clean and attacked.",
            OUTPUT,
            "--keep-images",
        ),
        option("track", str | None, None, "Log parameters, metrics and report to mlflow too.", OUTPUT),
        option("format", str, "table", "Print a table, json, csv, or the papers' table in markdown or latex.", OUTPUT),
        option(
            "no_check",
            bool,
            False,
            "Leave out the attacks of indicators and adaptive gap; `reliable` is then null.",
            OUTPUT,
            "--no-check",
        ),
        option("strict", bool, False, "Exit 1 if a check fails, or the attack is not judged.", OUTPUT, "--strict"),
        option(
            "log_format",
            str,
            "text",
            "Write notices and errors as text, or as json lines.",
            OUTPUT,
        ),
        option("quiet", bool, False, "Show no progress, only warnings.", OUTPUT, "--quiet"),
    )
}


NETWORKS = (
    *("model", "checkpoint", "trust_checkpoint", "model_arg", "mean", "std", "size", "head"),
    *("model_dir", "threat_model", "download"),
)
"""Options of the network."""
SEVERAL = ("detector", "ood", "eps", "radius", "condition")
"""Options that take several values, separated by commas: of a second one, the first would be forgotten."""


class Grouped(TyperCommand):
    """A command whose help shows its options in their groups, and whose mistakes name the value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """ValueError for text that is not a number, and for a list of values that is given twice."""
        found, _, order = self.make_parser(ctx).parse_args(list(args))
        kinds = {name: p.annotation for name, p in inspect.signature(self.callback).parameters.items()}  # type: ignore[arg-type]
        for name in [] if found.get("help") else [parameter.name for parameter in order]:
            kind, option = typing.get_args(kinds.get(name))[:1], name.replace("_", "-")
            if name in SEVERAL and [p.name for p in order].count(name) > 1:
                raise ValueError(f"--{option} is given twice: give it once, as --{option} A,B for several")
            if kind in ((int,), (int | None,)):
                whole(option, found[name], "a whole number")
            elif kind == (float,):
                number(option, found[name])
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            if line is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(line)
        for group, lines in groups.items():
            with formatter.section(group):
                formatter.write_dl(lines)


def taking(*parameters: inspect.Parameter | str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, a function of a context and keywords, the options of these names (or others of its own)."""
    found = [OPTIONS[p] if isinstance(p, str) else p for p in parameters]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Context)

    def give(command: Callable[..., None]) -> Callable[..., None]:
        command.__signature__ = inspect.Signature([context, *found])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in (context, *found)}
        return command

    return give


def changed(name: str, **settings: Any) -> inspect.Parameter:
    """An option with another default or sentence."""
    old = OPTIONS[name]
    (info,) = old.annotation.__metadata__
    help = settings.pop("help", info.help)
    return option(
        name, old.annotation.__origin__, settings.pop("default", old.default), help, info.rich_help_panel, **settings
    )
