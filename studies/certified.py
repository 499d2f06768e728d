"""The study reports/certified: what can be proved of median, ROSS and ROSS-Q, over noise, radius, base and network.

usage: python -m studies.certified [--data-root DATA --weights DIR] [--out reports/certified] [--runs DIR]
           [--images 50] [--samples 2000] [--only WORD]

Digits with 10,000 samples an image, over GEN with the l2 suite at every radius, and once the median of all test images
without an attack, for what is said of new images; real CIFAR-10 against texture over GEN with 2,000 samples, where the
attacks run for the adversarially trained network (reports/denoised has more of ResNet-20, with a denoiser and without).
Noisy scores and attacks are kept under --runs and records, certificates and their pages under --out: the same command
goes on where it stopped. Two of them share the work where each names some of it (`--only digits`, `--only cifar`).
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from roodbench.certify import CertifyConfig, certify
from roodbench.certify.certificate import NAME, PAGE
from roodbench.record.text import at_least, at_most
from roodbench.report.certificate import certificate_page
from roodbench.setup.config import RunConfig
from roodbench.store.files import replacing, save_text
from studies.setting import WEIGHTS, long_parser, resume, save_table

DETECTORS = ("median", "ross", "ross-q")
BASES = ("msp", "gen")
DIGITS = {0.05: (0.05, 0.1), 0.12: (0.1, 0.25), 0.25: (0.25, 0.5)}
CIFAR = {0.05: (0.05, 0.1), 0.12: (0.1, 0.25), 0.25: (0.25, 0.5)}
"""The l2 radii of every noise, all within the reach of the samples."""
FARTHER = {("gen", 0.12): 0.3}
"""One more radius on the digits, near the end of the reach."""
NOISES = {"cifar-at-resnet2b": (0.12, 0.25), "cifar-resnet20": (0.05,)}
ALL = 333
"""Digits test images of the known classes, and as many of the unseen: for statements about new ones."""


def configs(options: argparse.Namespace) -> Iterator[tuple[str, CertifyConfig]]:
    """Name and settings of every run."""
    for sigma, radii in DIGITS.items():
        for base in BASES:
            own: dict[str, Any] = {"base": base, "attack": "both" if base == "gen" else "none"}
            run = RunConfig(detector=DETECTORS, norm="l2", ood=("unseen-digits", "photos"), limit=50, **own)
            more = (FARTHER[base, sigma],) if (base, sigma) in FARTHER else ()
            yield f"digits-{base}-{sigma}", CertifyConfig(run, sigma, (*radii, *more), samples=10_000)
    run = RunConfig(detector=("median",), base="gen", norm="l2", attack="none", ood=("unseen-digits",), limit=ALL)
    yield "digits-gen-0.25-all-images", CertifyConfig(run, 0.25, DIGITS[0.25], samples=10_000)
    if options.data_root is None:
        return
    for model, noises in NOISES.items():
        settings: dict[str, Any] = {
            "base": "gen",
            "norm": "l2",
            "benchmark": "cifar10",
            "ood": ("texture",),
            "data_root": str(options.data_root),
            "model": model,
            "checkpoint": str(options.weights / WEIGHTS[model]),
            "limit": options.images,
        }
        for sigma in noises:
            run = RunConfig(detector=DETECTORS, attack="both" if "-at-" in model else "none", **settings)
            yield f"{model}-gen-{sigma}", CertifyConfig(run, sigma, CIFAR[sigma], samples=options.samples)


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
    "certified both, all at once",
    "new images, at least",
    "bounds that say something (ID, OOD)",
    "as many fresh copies: certified",
    "25 draws: certified",
    "25 draws: attacked",
)
RATES = (
    "network, base",
    "sigma",
    "detector",
    "threshold",
    "OOD set",
    "radius (l2)",
    "TPR at least",
    "TPR of new images",
    "FPR at most",
    "FPR of new images",
    "TPR, FPR of new images by fresh copies",
    "worst class",
    "radius up to which TPR is 90",
    "the same of new images",
)


def percent(value: float | None) -> str:
    """A fraction that was measured, in percent, `-` where it was not computed; bounds are `at_least` and `at_most`."""
    return "-" if value is None else f"{100 * value:.1f}"


def record_in(file: Path) -> dict[str, Any]:
    """What a record says; an empty one where it is not there yet."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {"rows": [], "operating": []}
    return found


def rows_of(file: Path) -> Iterator[list[str]]:
    """The cells of one record, one row per detector, OOD set and radius; none where it is not there yet."""
    find = {(r["detector"], r["ood"], r["radius"], r["condition"]): r for r in record_in(file)["rows"]}
    for (detector, ood, radius, condition), r in find.items():
        if condition == "both":
            low, high = (find[detector, ood, radius, side] for side in ("min", "max"))
            deployed = r["deployed"]
            numbers = percent(r["auroc_clean"]), at_least(r["gauroc"]), percent(r["auroc_attacked"])
            certified = low["gauroc"], high["gauroc"], r["gauroc_joint"], r["gauroc_new"]
            says = f"{100 * r['says_id']:.0f}, {100 * r['says_ood']:.0f}"
            copies = at_least(r["gauroc_predicted"]), at_least(deployed["certified"]), percent(deployed["attacked"])
            what = [f"{r['model']}, {r['base']}", str(r["sigma"]), detector, ood, str(radius)]
            yield [*what, *numbers, *map(at_least, certified), says, *copies]


def rates_of(file: Path) -> Iterator[list[str]]:
    """The cells of one record's operating points, one row per detector, OOD set and radius, 0 first."""
    record = record_in(file)
    for entry in record["operating"]:
        of = next(r for r in record["rows"] if r["detector"] == entry["detector"])
        what = [f"{of['model']}, {of['base']}", str(of["sigma"]), of["detector"], f"{entry['threshold']:.6g}"]
        reach = (entry[name] for name in ("largest_radius", "largest_radius_new"))
        largest = ["none" if radius is None else f"{math.floor(1000 * radius + 1e-9) / 1000:.3f}" for radius in reach]
        for point in entry["points"]:
            for ood, fpr in point["fpr"].items():
                passing = (
                    at_least(point["tpr"]),
                    at_least(point["tpr_new"]),
                    at_most(fpr),
                    at_most(point["fpr_new"][ood]),
                )
                copies = f"{at_least(point['tpr_copies'])}, {at_most(point['fpr_copies'][ood])}"
                worst = f"class {point['worst_class']}: {at_least(point['tpr_worst'])}"
                where = [ood, f"{point['radius_l2']:g}"]
                yield [*what, *where, *passing, copies, worst, *largest]


def write_table(folder: Path, names: Sequence[str]) -> None:
    """results.md and operating.md: one line per network, base, noise, detector, OOD set and radius."""
    files = [folder / name / "result.json" for name in names]
    save_table(folder / "results.md", COLUMNS, (row for file in files for row in rows_of(file)))
    save_table(folder / "operating.md", RATES, (row for file in files for row in rates_of(file)))


def keep(kept: Path, folder: Path, files: Sequence[str]) -> None:
    """Copy those text files of a run that are there."""
    for file in files:
        if (kept / file).is_file():
            save_text((kept / file).read_text(), folder / file)


def compute(config: CertifyConfig, folder: Path, runs: Path | None) -> float:
    """Certify and keep the record, the table and the curve; returns the seconds."""
    result, kept = certify(config, out=runs)
    keep(kept, folder, ("table.txt", "curve.svg", "result.json"))
    return result.timing["seconds"]


def certified(config: CertifyConfig, folder: Path, runs: Path | None) -> float:
    """Certify and keep the record, the certificate, compressed, its page, and the curve, where an attack is drawn in it
    beside the bounds; returns the seconds."""
    result, kept = certify(config, out=runs)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{NAME}.xz") as file:
        file.write_bytes(lzma.compress((kept / NAME).read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    save_text(certificate_page(kept / NAME, check=False), folder / PAGE)
    keep(kept, folder, ("result.json",) if config.run.attack == "none" else ("curve.svg", "result.json"))
    return result.timing["seconds"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not finished and write the table."""
    parser = long_parser(__doc__, out=Path("reports/certified"), images=50)
    parser.add_argument("--samples", type=int, default=2000, help="of every CIFAR-10 image; default 2000")
    parser.add_argument("--only", default="", help="compute only what has this word in its name; default all")
    options = parser.parse_args(argv)
    if options.data_root is not None and options.weights is None:
        parser.error("--data-root DATA needs --weights DIR, the folder with the networks' safetensors")
    one, everything = partial(certified, runs=options.runs), list(configs(options))
    asked = [(name, config) for name, config in everything if options.only in name]
    resume(asked, options.out, "result.json", one, lambda names: write_table(options.out, [n for n, _ in everything]))


if __name__ == "__main__":
    main()
