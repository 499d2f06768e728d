"""The study reports/ross-under-attack: the published evaluation of ROSS and PRO against the suite, on real CIFAR-10.

usage: python -m benchmarks.ross_under_attack --data-root DATA --weights DIR [--out reports/ross-under-attack]
           [--bases gen,fdbd] [--detectors pro,ross] [--images 100] [--larger-eps 8] [--runs DIR]

For every network, detector and base: the protocol ross-2026 (transfer in normalised space) and the suite (pixel space)
at the same radius in pixels (of the mean channel). Finished populations are kept under --runs and finished records
under --out: the same command goes on where it stopped. Writes a record with its scores per run and README's table,
results.md.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roodbench.config import RunConfig
from roodbench.protocols import PROTOCOLS
from roodbench.result import Result, Row
from roodbench.run import run
from safetensors.torch import load_file, save_file

from detectors.pro import OTHERS, PUBLISHED
from roodbench.metrics import Components, components

NETWORKS = {"cifar-resnet20": (0.5, 1.0, 2.0, 4.0), "cifar-at-resnet2b": (2.0, 4.0)}
"""Radii in pixels, times 255."""
WEIGHTS = {"cifar-resnet20": "cifar10_resnet20.safetensors", "cifar-at-resnet2b": "cifar10_at_resnet2b.safetensors"}
STD = {"cifar-resnet20": 0.226, "cifar-at-resnet2b": 0.25}
"""A unit of normalised space in pixels, the mean over channels: the protocol's epsilon is the radius over it."""
PRO_SPACE = {"cifar-resnet20": "normalized", "cifar-at-resnet2b": "pixel"}
"""Where PRO's published step size was applied: it is the same step in both runs of a network."""


def configs(options: argparse.Namespace) -> Iterator[tuple[str, RunConfig]]:
    """Name and settings of every run, the fast ones first."""
    for base in options.bases.split(","):
        for model, radii in reversed(NETWORKS.items()):
            for detector in options.detectors.split(","):
                for protocol, unit in (("ross-2026", 1 / STD[model]), ("roodbench", 1.0)):
                    params: dict[str, Any] = {"distance_to_mean": False} if base == "fdbd" else {}
                    space = PROTOCOLS[protocol].get("space", "pixel")
                    if detector == "pro" and space != PRO_SPACE[model]:
                        size = PUBLISHED.get(base, OTHERS)[0]
                        params["step_size"] = size * (STD[model] if space == "pixel" else unit)
                    yield (
                        f"{model}-{detector}-{base}-{protocol}",
                        RunConfig(
                            detector=(detector,),
                            base=base,
                            params=params,
                            protocol=protocol,
                            eps=tuple(radius * unit / 255 for radius in (*radii, *options.larger_eps)),
                            benchmark="cifar10",
                            ood=("texture", "cifar100"),
                            data_root=str(options.data_root),
                            model=model,
                            checkpoint=str(options.weights / WEIGHTS[model]),
                            limit=options.images,
                        ),
                    )


def cell(row: Row | None) -> str:
    """AUROC in percent with its interval; a star where an indicator failed."""
    if row is None:
        return "-"
    star = " *" if row.reliable is False else ""
    return f"{100 * row.auroc:.1f} [{100 * row.auroc_ci[0]:.1f}, {100 * row.auroc_ci[1]:.1f}]{star}"


def area(folder: Path, row: Row) -> Components:
    """DeLong's components of a row with both populations attacked, from the scores beside the record."""
    scores = load_file(folder / "scores.safetensors")
    prefix = f"{row.detector}({row.base})/{row.eps:.6g}"
    names = (f"{prefix}/{row.benchmark}/min", f"{prefix}/{row.ood}/max")
    return components(*(scores[name].double().numpy() for name in names))


def lines(name: str, folders: list[Path]) -> Iterator[str]:
    """The table's lines of one network, detector and base, from the folders of the published protocol and the suite."""
    published, suite = (Result.from_json((folder / "result.json").read_text()) for folder in folders)
    old, find = (
        {(r.ood, r.condition, round(255 * (r.eps_pixel or 0), 1)): r for r in result.rows}
        for result in (published, suite)
    )
    for ood in suite.config["ood"]:
        clean = find[ood, "clean", 0.0]
        for eps in sorted({key[2] for key in find} - {0.0}):
            min_, max_, both = (find[ood, condition, eps] for condition in ("min", "max", "both"))
            theirs_clean, theirs = old[ood, "clean", 0.0], old[ood, "both", eps]
            hidden = area(folders[0], theirs).minus(area(folders[1], both))
            low, high = hidden.interval().ci
            forward, backward = (sum(both.passes[p][i] for p in ("id", "ood")) / 2 for i in (0, 1))
            transfer = "-" if both.auroc_transfer is None else f"{100 * both.auroc_transfer:.1f}"
            yield (
                f"| {name} | {ood} | {eps:g}/255 | {cell(clean)} | {cell(theirs_clean)} | {cell(theirs)} | {transfer} "
                f"| {cell(min_)} | {cell(max_)} | {cell(both)} "
                f"| {100 * hidden.value:.1f} [{100 * low:.1f}, {100 * high:.1f}] | {forward:.0f} + {backward:.0f} |"
            )


def write_table(folder: Path, names: list[str]) -> None:
    """results.md, of the runs whose records exist."""
    columns = (
        "network, detector(base)",
        "OOD set",
        "eps (pixels)",
        "clean",
        "published protocol, clean",
        "published protocol, both",
        "same attack, our space and steps, both",
        "suite, min",
        "suite, max",
        "suite, both",
        "published minus suite (paired)",
        "passes per image (suite)",
    )
    text = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name in names:
        folders = [folder / f"{name}-{protocol}" for protocol in ("ross-2026", "roodbench")]
        if all((f / "scores.safetensors").is_file() for f in folders):
            network, detector, base = name.rsplit("-", 2)
            text += lines(f"{network}, {detector}({base})", folders)
    (folder / "results.md").write_text("\n".join(text) + "\n")


def main() -> None:
    """Run what is not finished and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder with the networks' safetensors")
    parser.add_argument("--out", type=Path, default=Path("reports/ross-under-attack"))
    parser.add_argument("--runs", type=Path, help="where finished populations are kept; default the user's cache")
    parser.add_argument("--bases", default="gen,fdbd")
    parser.add_argument("--detectors", default="pro,ross")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--larger-eps", type=float, nargs="*", default=[], help="further radii, times 255")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    names = []
    for name, config in configs(options):
        folder = options.out / name
        if not (folder / "scores.safetensors").is_file():
            # the published protocol fails its indicators by its travel alone: no further attacks to show more
            result, _ = run(config, out=options.runs, check=config.protocol == "roodbench")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_text(result.to_json() + "\n")
            save_file(result.scores, folder / "scores.safetensors")
            logging.info("%s: %.0f s", name, result.timing["seconds"])
        names.append(name.removesuffix(f"-{config.protocol}"))
        write_table(options.out, list(dict.fromkeys(names)))


if __name__ == "__main__":
    main()
