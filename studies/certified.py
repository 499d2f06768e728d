"""The study reports/certified: what can be proved of median, ROSS and ROSS-Q, over noise, radius, base and network.

usage: python -m studies.certified [--data-root DATA --weights DIR] [--out reports/certified] [--runs DIR]
           [--images 50] [--samples 2000]

Digits with 10,000 samples an image and the l2 suite at every radius; real CIFAR-10 against texture with 2,000 samples.
On CIFAR-10 the attacks run for the adversarially trained network over GEN, and for ResNet-20 at the noise and radius
named in ATTACKED: to attack and score the population form costs as much again per radius and detector.
Noisy scores and attacks are kept under --runs and records under --out: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from roodbench.certify import CertifyConfig, certify
from roodbench.setup.config import RunConfig
from roodbench.store.files import save_text
from studies.setting import WEIGHTS, long_parser, resume, save_table

DETECTORS = ("median", "ross", "ross-q")
SIGMAS = (0.05, 0.12, 0.25)
RADII = (0.1, 0.25, 0.5)
BASES = ("msp", "gen")
NETWORKS = ("cifar-at-resnet2b", "cifar-resnet20")
ATTACKED = ("ross-q", 0.12, 0.25)
"""Detector, noise and radius of the attack on ResNet-20."""


def configs(options: argparse.Namespace) -> Iterator[tuple[str, CertifyConfig]]:
    """Name and settings of every run."""
    for sigma in SIGMAS:
        for base in BASES:
            run = RunConfig(detector=DETECTORS, base=base, norm="l2", ood=("unseen-digits", "photos"), limit=50)
            yield f"digits-{base}-{sigma}", CertifyConfig(run, sigma, RADII, samples=10_000)
    if options.data_root is None:
        return
    for model in NETWORKS:
        settings: dict[str, Any] = {
            "norm": "l2",
            "benchmark": "cifar10",
            "ood": ("texture",),
            "data_root": str(options.data_root),
            "model": model,
            "checkpoint": str(options.weights / WEIGHTS[model]),
            "limit": options.images,
        }
        for sigma in SIGMAS:
            for base in BASES:
                attack = "both" if base == "gen" and model == "cifar-at-resnet2b" else "none"
                run = RunConfig(detector=DETECTORS, base=base, attack=attack, **settings)
                yield f"{model}-{base}-{sigma}", CertifyConfig(run, sigma, RADII, samples=options.samples)
    detector, sigma, radius = ATTACKED
    run = RunConfig(detector=(detector,), base="gen", **settings)
    yield f"cifar-resnet20-gen-{sigma}-attacked", CertifyConfig(run, sigma, (radius,), samples=options.samples)


COLUMNS = (
    "network, base",
    "sigma",
    "detector",
    "OOD set",
    "radius (l2)",
    "clean",
    "certified, both",
    "attacked, both",
    "certified min",
    "certified max",
    "bounds that say something (ID, OOD)",
    "25 draws: certified",
)


def percent(value: float | None) -> str:
    """A fraction in percent, `-` where it was not computed."""
    return "-" if value is None else f"{100 * value:.1f}"


def rows_of(file: Path) -> Iterator[list[str]]:
    """The cells of one record, one row per detector, OOD set and radius; none where it is not there yet."""
    rows = json.loads(file.read_text())["rows"] if file.is_file() else []
    find = {(r["detector"], r["ood"], r["radius"], r["condition"]): r for r in rows}
    for (detector, ood, radius, condition), r in find.items():
        if condition == "both":
            low, high = (find[detector, ood, radius, side] for side in ("min", "max"))
            numbers = (r["auroc_clean"], r["gauroc"], r["auroc_attacked"], low["gauroc"], high["gauroc"])
            says = f"{100 * r['says_id']:.0f}, {100 * r['says_ood']:.0f}"
            deployed = percent(r["deployed"]["certified"])
            what = [f"{r['model']}, {r['base']}", str(r["sigma"]), detector, ood, str(radius)]
            yield [*what, *map(percent, numbers), says, deployed]


def write_table(folder: Path, names: Sequence[str]) -> None:
    """results.md: one line per network, base, noise, detector, OOD set and radius."""
    save_table(
        folder / "results.md", COLUMNS, (row for name in names for row in rows_of(folder / name / "result.json"))
    )


def compute(config: CertifyConfig, folder: Path, runs: Path | None) -> float:
    """Certify and keep the record, the table and the curve; returns the seconds."""
    result, kept = certify(config, out=runs)
    for file in ("table.txt", "curve.svg", "result.json"):
        if (kept / file).is_file():
            save_text((kept / file).read_text(), folder / file)
    return result.timing["seconds"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not finished and write the table."""
    parser = long_parser(__doc__, out=Path("reports/certified"), images=50)
    parser.add_argument("--samples", type=int, default=2000, help="of every CIFAR-10 image; default 2000")
    options = parser.parse_args(argv)
    if options.data_root is not None and options.weights is None:
        parser.error("--data-root DATA needs --weights DIR, the folder with the networks' safetensors")
    one = partial(compute, runs=options.runs)
    resume(configs(options), options.out, "result.json", one, partial(write_table, options.out))


if __name__ == "__main__":
    main()
