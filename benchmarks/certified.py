"""The study reports/certified: what can be proved of median, ROSS and ROSS-Q, over noise, radius, base and network.

usage: python -m benchmarks.certified [--data-root DATA --weights DIR] [--out reports/certified] [--runs DIR]
           [--images 50] [--samples 2000]

Digits with 10,000 samples an image and the l2 suite at every radius; real CIFAR-10 against texture with 2,000 samples.
On CIFAR-10 the attacks run for the adversarially trained network over GEN, and for ResNet-20 at the noise and radius
named in ATTACKED: to attack and score the population form costs as much again per radius and detector.
Noisy scores and attacks are kept under --runs and records under --out: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roodbench.config import RunConfig

from roodbench.certify.config import CertifyConfig
from roodbench.certify.run import certify

DETECTORS = ("median", "ross", "ross-q")
SIGMAS = (0.05, 0.12, 0.25)
RADII = (0.1, 0.25, 0.5)
BASES = ("msp", "gen")
WEIGHTS = {"cifar-at-resnet2b": "cifar10_at_resnet2b.safetensors", "cifar-resnet20": "cifar10_resnet20.safetensors"}
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
    for model, file in WEIGHTS.items():
        settings: dict[str, Any] = {
            "norm": "l2",
            "benchmark": "cifar10",
            "ood": ("texture",),
            "data_root": str(options.data_root),
            "model": model,
            "checkpoint": str(options.weights / file),
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


def write_table(folder: Path, names: list[str]) -> None:
    """results.md: one line per network, base, noise, detector, OOD set and radius."""
    columns = (
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
    text = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name in names:
        file = folder / name / "result.json"
        rows = json.loads(file.read_text())["rows"] if file.is_file() else []
        find = {(r["detector"], r["ood"], r["radius"], r["condition"]): r for r in rows}
        for (detector, ood, radius, condition), r in find.items():
            if condition != "both":
                continue
            low, high = (find[detector, ood, radius, c] for c in ("min", "max"))
            numbers = (r["auroc_clean"], r["gauroc"], r["auroc_attacked"], low["gauroc"], high["gauroc"])
            clean, both, attacked, one, other = ("-" if v is None else f"{100 * v:.1f}" for v in numbers)
            says = f"{100 * r['says_id']:.0f}, {100 * r['says_ood']:.0f}"
            text.append(
                f"| {r['model']}, {r['base']} | {r['sigma']} | {detector} | {ood} | {radius} | {clean} | {both} "
                f"| {attacked} | {one} | {other} | {says} | {100 * r['deployed']['certified']:.1f} |"
            )
    (folder / "results.md").write_text("\n".join(text) + "\n")


def main() -> None:
    """Run what is not finished and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--weights", type=Path, help="folder with the networks' safetensors")
    parser.add_argument("--out", type=Path, default=Path("reports/certified"))
    parser.add_argument("--runs", type=Path, help="where scores and attacks are kept; default the user's cache")
    parser.add_argument("--images", type=int, default=50, help="of CIFAR-10 and texture each")
    parser.add_argument("--samples", type=int, default=2000, help="of every CIFAR-10 image")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    names = []
    for name, config in configs(options):
        folder = options.out / name
        if not (folder / "result.json").is_file():
            result, kept = certify(config, out=options.runs)
            folder.mkdir(parents=True, exist_ok=True)
            for file in ("result.json", "table.txt", "curve.svg"):
                if (kept / file).is_file():
                    (folder / file).write_text((kept / file).read_text())
            logging.info("%s: %.0f s", name, result.timing["seconds"])
        names.append(name)
        write_table(options.out, names)


if __name__ == "__main__":
    main()
