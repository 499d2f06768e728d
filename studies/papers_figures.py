"""The study reports/papers-figures: figures of the PRO and the ROSS paper from runs on public CIFAR-10 networks.

usage: python -m studies.papers_figures --data-root DATA --weights DIR [--out reports/papers-figures] [--runs DIR]
           [--images 500] [--attacked 64] [--device auto] [--only cifar-resnet20,sigma-0.0125] [--draw]

Clean runs of base scores and of PRO over four of them, all with the published search (PRO, Fig. 1 and 4); one step's
shift of MSP on six networks (Fig. 3 and 7); landscapes of MSP (Fig. 6); ROSS under the suite at several sigmas, and its
medians and instabilities. Every part writes its records and numbers into --out; `--draw` draws all figures from what
lies there, computes nothing and needs matplotlib.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from roodbench import Result, RunConfig, run
from roodbench.record.surroundings import Copies, Landscape, Shifts
from roodbench.reopen import reopened
from roodbench.report.figures import figure, save
from roodbench.store.files import save_text
from roodbench.surroundings import Opening, landscapes, measured, shifts
from studies.setting import long_parser

log = logging.getLogger("roodbench")

NETWORKS = {
    "cifar-resnet20": "cifar10_resnet20.safetensors",
    "cifar-resnet32": "cifar10_resnet32.safetensors",
    "cifar-resnet44": "cifar10_resnet44.safetensors",
    "cifar-resnet56": "cifar10_resnet56.safetensors",
    "cifar-at-resnet2b": "cifar10_at_resnet2b.safetensors",
    "cifar-at-resnet4b": "cifar10_at_resnet4b.safetensors",
}
COMPARED = ("cifar-resnet20", "cifar-at-resnet2b", "cifar-at-resnet4b")
"""Networks of Fig. 1 and 4; the others show their shift alone."""
NEAR, FAR = ("cifar100", "tin"), ("mnist", "texture")
BASES = (
    *("msp", "msp-t", "ent", "gen", "ebo", "mls", "odin", "react", "ash", "scale"),
    *("fdbd", "mds", "knn", "vim", "she", "gradnorm"),
)
OVER = ("msp", "msp-t", "ent", "gen")
"""Base scores of PRO's own variants."""
SIGMAS, RADII, SMOOTHED = (0.00625, 0.0125, 0.025, 0.0625), (1.0, 2.0, 4.0), "cifar-at-resnet2b"
"""The published grid in pixels, radii times 255, and their network."""
SHOWN = ("cifar10:0", "cifar10:1", "cifar100:0", "cifar100:1")
FEW = 500
"""Training images where nothing is fitted on them: the others need not be read."""
REACH, STEP = 8 / 255, 0.003
"""Of landscapes, and PRO-MSP's published step, in pixels."""
KINDS: dict[str, type] = {"shift": Shifts, "landscape": Landscape, "gradient": Landscape, "smoothing": Copies}


def config(options: argparse.Namespace, model: str, **settings: Any) -> RunConfig:
    """A run on CIFAR-10."""
    own: dict[str, Any] = {"attack": "none", "ood": (*NEAR, *FAR), "limit": options.images, **settings}
    return RunConfig(
        benchmark="cifar10",
        data_root=str(options.data_root),
        model=model,
        checkpoint=str(options.weights / NETWORKS[model]),
        device=options.device,
        **own,
    )


def runs_of(part: str, options: argparse.Namespace) -> Iterator[tuple[str, RunConfig]]:
    """Name and settings of a part's runs."""
    if part.startswith("sigma-"):
        params = {"sigma": float(part.removeprefix("sigma-"))}
        eps = tuple(radius / 255 for radius in RADII)
        attacked = {
            "attack": "both",
            "ood": ("texture", "cifar100"),
            "eps": eps,
            "limit": options.attacked,
            "train_limit": FEW,
        }
        yield part, config(options, SMOOTHED, detector=("ross",), params=params, **attacked)
    elif part in COMPARED:
        yield f"{part}-bases", config(options, part, detector=BASES, search=True)
        for base in OVER:
            yield (
                f"{part}-pro-{base}",
                config(options, part, detector=("pro",), base=base, search=True, train_limit=FEW),
            )
    else:
        yield f"{part}-bases", config(options, part, detector=("msp",), train_limit=FEW)


def compute(part: str, options: argparse.Namespace) -> None:
    """A part's records, and the numbers that their networks say again."""
    for name, its in runs_of(part, options):
        result, _ = run(its, out=options.runs, check=False, workers=1)
        save_text(result.to_json() + "\n", options.out / name / "result.json")
        if part.startswith("sigma-"):
            keep(options.out / name, "smoothing", measured("smoothing", result))
        elif name.endswith("-bases"):
            with reopened(result, result.config, {"device": options.device}) as setting:  # once for all of them
                opening = Opening(result, setting, ["msp"])
                keep(options.out / name, "shift", shifts(opening, eps=STEP))
                for kind in ("landscape", "gradient") if part in COMPARED else ():
                    found = landscapes(opening, images=SHOWN, eps=REACH, gradient=kind == "gradient")
                    keep(options.out / name, kind, found)


def keep(folder: Path, kind: str, found: Sequence[Any]) -> None:
    """Write measurements as JSON, in five digits."""
    save_text(json.dumps([plain(asdict(its)) for its in found]) + "\n", folder / f"{kind}.json")


def plain(value: Any) -> Any:
    """JSON-like, arrays as lists of numbers in five digits."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {name: plain(its) for name, its in value.items()}
    if isinstance(value, list | tuple):
        return [plain(its) for its in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def kept(folder: Path, kind: str) -> list[Any]:
    """What `keep` wrote; nothing where it has not."""
    file = folder / f"{kind}.json"
    entries = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    arrays = {f.name for f in fields(KINDS[kind]) if "ndarray" in str(f.type)}

    def array(value: Any) -> Any:
        return {name: np.array(its) for name, its in value.items()} if isinstance(value, dict) else np.array(value)

    return [KINDS[kind](**{k: array(v) if k in arrays else v for k, v in entry.items()}) for entry in entries]


def draw(folder: Path) -> None:
    """Every figure of the records and numbers in a folder, as SVG."""
    records = {file.parent.name: Result.from_json(file.read_text()) for file in sorted(folder.glob("*/result.json"))}
    clean = {name: its for name, its in records.items() if not name.startswith("sigma-")}
    robust = {name: its for name, its in clean.items() if name.startswith("cifar-at-resnet4b")}
    over = [*OVER, *(f"pro({base})" for base in OVER)]
    compared = {name: its for name, its in clean.items() if name.startswith(COMPARED)}
    shifts = [its for model in NETWORKS for its in kept(folder / f"{model}-bases", "shift")]
    pair = [its for its in shifts if its.network.endswith(("cifar-resnet20", "cifar-at-resnet4b"))]
    smoothing = [its for sigma in SIGMAS for its in kept(folder / f"sigma-{sigma:g}", "smoothing")]
    drawn: dict[str, Any] = {
        "pro-figure-1": ("scatter", robust, {}),
        "pro-figure-3": ("shift", pair, {}),
        "pro-figure-4": ("bars", compared, {"ood": "near", "detectors": over}),
        "pro-figure-7": ("shift", shifts, {}),
        "ross-sigma": ("epsilon", {n: its for n, its in records.items() if n.startswith("sigma-")}, {"ood": "texture"}),
        "ross-histograms": ("smoothing", [its for its in smoothing if its.sigma == SIGMAS[2]], {"ood": "texture"}),
    }
    for model in ("cifar-resnet20", "cifar-at-resnet4b"):
        for kind, name in (("landscape", "pro-figure-6"), ("gradient", "pro-figure-6-gradient")):
            drawn[f"{name}-{model}"] = ("landscape", kept(folder / f"{model}-bases", kind), {})
    for name, (kind, found, choice) in drawn.items():
        if found:
            save(figure(kind, found, **choice), folder / f"{name}.svg")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = long_parser(__doc__, out=Path("reports/papers-figures"), images=500)
    parts = [*NETWORKS, *(f"sigma-{sigma:g}" for sigma in SIGMAS)]
    parser.add_argument("--attacked", type=int, default=64, help="images a population under attack; default 64")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    parser.add_argument("--only", default=",".join(parts), help="parts, NAME[,NAME]; default all")
    parser.add_argument("--draw", action="store_true", help="draw the figures of what lies in --out")
    options = parser.parse_args(arguments)
    if options.draw:
        draw(options.out)
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for part in options.only.split(","):
        if part not in parts:
            parser.error(f"unknown part {part!r}: expected some of {', '.join(parts)}")
        start = time.perf_counter()
        compute(part, options)
        log.info("%s: %.0f s", part, time.perf_counter() - start)


if __name__ == "__main__":
    main()
