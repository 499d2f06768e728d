"""The study reports/denoised: what a denoiser before the network buys a smoothed detector, clean and certified.

usage: python -m studies.denoised [--data-root DATA --weights DIR --denoisers FILE [FILE ...]] [--device cuda]
           [--out reports/denoised] [--runs DIR] [--images 100] [--samples 5000] [--only WORD]

Median, ROSS and ROSS-Q over GEN on the digits, with and without `digits-denoiser`, and with `--data-root` on CIFAR-10
against texture before ResNet-20, without a denoiser and with the one in each FILE (`roodbench.models.train_denoiser`).
Nothing is attacked: what is certified holds against every attack. The same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from roodbench.certify import CertifyConfig
from roodbench.record.text import at_least, at_most
from roodbench.setup.config import RunConfig
from studies.certified import compute, percent
from studies.setting import WEIGHTS, long_parser, resume, save_table

DETECTORS = ("median", "ross", "ross-q")
MODEL = "cifar-resnet20"
DIGITS, CIFAR = {0.25: (0.25, 0.5), 0.5: (0.5, 1.0)}, {0.12: (0.1, 0.25), 0.25: (0.25, 0.5)}
"""The radii of every noise."""


def configs(options: argparse.Namespace) -> Iterator[tuple[str, CertifyConfig]]:
    """Name and settings of every run."""
    shared: dict[str, Any] = {"detector": DETECTORS, "norm": "l2", "attack": "none", "limit": options.images}
    shared["device"] = options.device
    for sigma, radii in DIGITS.items():
        for denoiser in (None, "digits-denoiser"):
            run = RunConfig(**shared, ood=("unseen-digits", "photos"), denoiser=denoiser)
            yield f"digits-{denoiser or 'bare'}-{sigma}", CertifyConfig(run, sigma, radii, samples=10_000)
    if options.data_root is None:
        return
    shared |= {"benchmark": "cifar10", "ood": ("texture",), "data_root": str(options.data_root), "model": MODEL}
    shared["checkpoint"] = str(options.weights / WEIGHTS[MODEL])
    for file in (None, *options.denoisers):
        before: dict[str, Any] = {} if file is None else {"denoiser": "residual", "denoiser_checkpoint": str(file)}
        for sigma, radii in CIFAR.items():
            run, name = RunConfig(**shared, **before), "bare" if file is None else file.stem
            yield f"{MODEL}-{name}-{sigma}", CertifyConfig(run, sigma, radii, samples=options.samples)


COLUMNS = (
    "network",
    "denoiser",
    "sigma",
    "detector",
    "OOD set",
    "clean, population",
    "clean, 25 draws",
    "radius (l2)",
    "certified, both",
    "certified FPR95, both",
)


def rows_of(file: Path) -> Iterator[list[str]]:
    """The cells of one record, one row per detector, OOD set and radius; none where it is not there yet."""
    record = json.loads(file.read_text()) if file.is_file() else {"rows": []}
    for r in record["rows"]:
        if r["condition"] == "both":
            run = record["config"]["run"]
            net, _, behind = r["model"].partition(" behind ")
            denoiser = Path(run["denoiser_checkpoint"] or behind or "-").stem
            clean = percent(r["auroc_clean"]), percent(r["deployed"]["clean"])
            certified = at_least(r["gauroc"]), at_most(r["gfpr95"])
            what = [net, denoiser, str(r["sigma"]), r["detector"], r["ood"]]
            yield [*what, *clean, str(r["radius"]), *certified]


def write_table(folder: Path, names: Sequence[str]) -> None:
    """results.md: one line per network, denoiser, noise, detector, OOD set and radius."""
    save_table(
        folder / "results.md", COLUMNS, (row for name in names for row in rows_of(folder / name / "result.json"))
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not finished and write the table."""
    parser = long_parser(__doc__, out=Path("reports/denoised"), images=100)
    parser.add_argument("--samples", type=int, default=5000, help="of every CIFAR-10 image; default 5000")
    parser.add_argument("--only", default="", help="compute only what has this word in its name; default all")
    parser.add_argument("--denoisers", type=Path, nargs="+", default=[], help="weights of CIFAR-10 denoisers")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    options = parser.parse_args(argv)
    if options.data_root is not None and options.weights is None:
        parser.error("--data-root DATA needs --weights DIR, the folder with the networks' safetensors")
    one = partial(compute, runs=options.runs)
    everything = list(configs(options))
    asked = [(name, config) for name, config in everything if options.only in name]
    resume(asked, options.out, "result.json", one, lambda names: write_table(options.out, [n for n, _ in everything]))


if __name__ == "__main__":
    main()
